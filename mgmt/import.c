#include "mgmt/transfer.h"

#include "common/bytes.h"
#include "common/loop.h"
#include "common/text.h"
#include "mgmt/copy.h"
#include "mgmt/draft.h"
#include "mgmt/far.h"
#include "mgmt/image.h"
#include "mgmt/private_nbd.h"
#include "mgmt/rawcopy.h"
#include "mgmt/volume.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct import {
	struct mg_node *node;
	char source[PATH_MAX], name[BS_NAME_MAX];
	char format[MG_IMAGE_FORMAT]; /* "": find out */
	uint32_t sector;
	int compression;
	uint64_t bytes; /* that were read from the source and not known to be holes */
};

/* Size in bytes of a regular file or block device. */
static int source_size(int fd, const char *path, uint64_t *size, struct vs_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return vs_fail_errno(err, "cannot read %s", path);
	if (S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return vs_fail(err, VS_E_INVAL, "%s is neither a file nor a block device", path);
	return ioctl(fd, BLKGETSIZE64, size) == 0 ? 0 : vs_fail_errno(err, "cannot read %s", path);
}

/* NONBLOCK: opening a FIFO must not wait. */
static int open_source(const char *path, uint64_t *size, int *out, struct vs_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;

	if (fd < 0)
		return vs_fail_errno(err, "cannot read %s", path);
	rc = source_size(fd, path, size, err);
	if (rc == 0 && *size == 0)
		rc = vs_fail(err, VS_E_INVAL, "%s is empty", path);
	if (rc != 0)
		close(fd);
	else
		*out = fd;
	return rc;
}

static int copy_raw(struct import *im, struct mg_task *t, int fd, uint64_t size,
		    struct vs_error *err)
{
	struct mg_rawcopy c = {.store = im->node->store, .fd = fd, .size = size, .task = t};
	int rc = bs_volume_open(im->node->store, im->name, &c.volume, err);

	if (rc != 0)
		return rc;
	rc = mg_rawcopy_in(&c, err);
	im->bytes = c.bytes;
	bs_volume_close(c.volume);
	return rc;
}

static int copy_image(struct import *im, struct mg_task *t, const struct mg_image *image,
		      struct vs_error *err)
{
	struct mg_private_nbd nbd;
	char name[32];
	int rc;

	(void)snprintf(name, sizeof(name), "import-%lld", (long long)mg_task_id(t));
	rc = mg_private_nbd_open(im->node, name, im->name, false, &nbd, err);
	if (rc != 0)
		return rc;
	rc = mg_image_to_nbd(t, im->source, image, nbd.socket, im->name, err);
	mg_private_nbd_close(&nbd);
	im->bytes = image->size;
	return rc;
}

/* Fills a volume that is a draft until all of it is there and durable. */
static int fill(struct import *im, struct mg_task *t, int fd, const struct mg_image *image,
		struct vs_error *err)
{
	struct bs_volume_spec spec = {.name = im->name,
				      .size = VS_ALIGN_UP(image->size, BS_BLOCK),
				      .sector = im->sector,
				      .compression = im->compression};
	struct bs_volume_info info;
	int rc;

	if (image->size == 0 || image->size > BS_VOLUME_MAX_SIZE)
		return vs_fail(err, VS_E_INVAL,
			       "%s holds a disk of %llu bytes; 1 byte to 128T can be imported",
			       im->source, (unsigned long long)image->size);
	rc = mg_draft_volume(im->node, &spec, &info, err);
	if (rc != 0)
		return rc;
	rc = strcmp(image->format, "raw") == 0 ? copy_raw(im, t, fd, image->size, err)
					       : copy_image(im, t, image, err);
	if (rc == 0)
		rc = bs_store_flush(im->node->store, err);
	if (rc == 0)
		rc = mg_draft_keep(im->node, &info.uuid, err);
	if (rc != 0)
		mg_draft_drop(im->node, &info.uuid);
	return rc;
}

static int run(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct mg_image image = {.format = "raw"};
	struct import *im = arg;
	uint64_t begun = vs_now_ns(), size = 0;
	int fd = -1, rc = open_source(im->source, &size, &fd, err);

	if (rc != 0)
		return rc;
	if (strcmp(im->format, "raw") != 0)
		rc = mg_image_probe(t, im->source, im->format[0] ? im->format : NULL, &image, err);
	if (strcmp(image.format, "raw") == 0)
		image.size = size; /* qemu-img rounds to sectors */
	if (rc == 0)
		rc = fill(im, t, fd, &image, err);
	close(fd);
	if (rc != 0)
		return rc;
	mg_event(im->node->events, MG_INFO, "volume.imported", im->name, "from %s (%s)", im->source,
		 image.format);
	rc = mg_volume_show(im->node, im->name, 0, result, err);
	if (rc == 0)
		json_object_update_new(*result,
				       json_pack("{s:s, s:I, s:I, s:f}", "format", image.format,
						 "bytes_read", (json_int_t)im->bytes,
						 "bytes_written", (json_int_t)im->bytes, "seconds",
						 (double)(vs_now_ns() - begun) / 1e9));
	return rc;
}

int mg_import_check(struct mg_node *n, const struct mg_import_spec *spec, struct vs_error *err)
{
	int rc;

	if (!vs_name_ok(spec->name))
		return vs_fail(err, VS_E_INVAL, "'%s' is not a name", spec->name);
	if (spec->format && !mg_image_format_ok(spec->format, false))
		return vs_fail(err, VS_E_INVAL,
			       "format '%s' is none of raw, qcow2, vmdk, vhdx, vdi", spec->format);
	rc = bs_volume_find(n->store, spec->name, NULL, err);
	if (rc == 0)
		return vs_fail(err, VS_E_EXIST, "volume %s exists; choose another name",
			       spec->name);
	return rc == VS_E_NOENT ? 0 : rc;
}

int mg_import_start(struct mg_node *n, const struct mg_import_spec *spec, json_t **task,
		    struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = "import", .subject = spec->name, .run = run, .free = free};
	struct import *im;
	uint64_t size = 0;
	int fd = -1, rc;

	bool far = mg_far_is(spec->source);

	if (!far && (spec->chap_user || spec->chap_secret))
		return vs_fail(err, VS_E_INVAL,
			       "a CHAP user and secret are for an iscsi:// source");
	if (!far && (spec->source[0] != '/' || strlen(spec->source) >= PATH_MAX))
		return vs_fail(err, VS_E_INVAL,
			       "source must be an absolute path on the node, an iscsi:// LUN or an "
			       "nfs:// file");
	rc = mg_import_check(n, spec, err);
	if (rc != 0)
		return rc;
	if (far)
		return mg_import_far_start(n, spec, task, err);
	rc = open_source(spec->source, &size, &fd, err);
	if (rc != 0)
		return rc;
	close(fd);
	im = calloc(1, sizeof(*im));
	if (!im)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	im->node = n;
	mg_copy(im->source, sizeof(im->source), spec->source);
	mg_copy(im->name, sizeof(im->name), spec->name);
	mg_copy(im->format, sizeof(im->format), spec->format ? spec->format : "");
	im->sector = spec->sector;
	im->compression = spec->compression;
	ts.arg = im;
	return mg_task_start(n->tasks, &ts, task, err);
}
