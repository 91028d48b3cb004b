#include "mgmt/transfer.h"

#include "common/loop.h"
#include "common/text.h"
#include "mgmt/copy.h"
#include "mgmt/draft.h"
#include "mgmt/far.h"
#include "mgmt/image.h"
#include "mgmt/private_nbd.h"
#include "mgmt/rawcopy.h"
#include "mgmt/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct export
{
	struct mg_node *node;
	char volume[BS_FULL_NAME_MAX], format[MG_IMAGE_FORMAT];
	char dest[PATH_MAX], partial[PATH_MAX + 32];
	bool force, block;
};

static int export_raw(struct export *ex, struct mg_task *t, const char *full, uint64_t size,
		      struct vs_error *err)
{
	struct mg_rawcopy c = {.store = ex->node->store, .size = size, .task = t};
	uint64_t room = 0;
	int rc = 0;

	c.fd =
	    open(ex->partial, O_WRONLY | O_CLOEXEC | (ex->block ? O_EXCL : O_CREAT | O_EXCL), 0600);
	if (c.fd < 0)
		return vs_fail_errno(err, "cannot write %s", ex->partial);
	if (!ex->block && ftruncate(c.fd, (off_t)size) != 0)
		rc = vs_fail_errno(err, "cannot write %s", ex->partial);
	if (ex->block && (ioctl(c.fd, BLKGETSIZE64, &room) != 0 || room < size))
		rc = vs_fail(err, VS_E_NOSPC, "%s has %llu bytes, %s has %llu", ex->dest,
			     (unsigned long long)room, ex->volume, (unsigned long long)size);
	if (rc == 0)
		rc = bs_volume_open(c.store, full, &c.volume, err);
	if (rc == 0) {
		rc = mg_rawcopy_out(&c, ex->block, err);
		bs_volume_close(c.volume);
	}
	close(c.fd);
	return rc;
}

static int export_image(struct export *ex, struct mg_task *t, const char *full, uint64_t size,
			struct vs_error *err)
{
	struct mg_private_nbd nbd;
	char name[32];
	int fd, rc;

	/* qemu-img would make it readable for others. */
	fd = open(ex->partial, O_WRONLY | O_CLOEXEC | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return vs_fail_errno(err, "cannot write %s", ex->partial);
	close(fd);
	(void)snprintf(name, sizeof(name), "export-%lld", (long long)mg_task_id(t));
	rc = mg_private_nbd_open(ex->node, name, full, true, &nbd, err);
	if (rc != 0)
		return rc;
	rc = mg_image_from_nbd(t, nbd.socket, full, ex->partial, ex->format, size, err);
	mg_private_nbd_close(&nbd);
	return rc;
}

/* The partial file becomes the file asked for, durably; without force it replaces nothing. */
static int put_in_place(struct export *ex, struct vs_error *err)
{
	char folder[PATH_MAX];
	int fd, rc = 0;

	fd = open(ex->partial, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		rc = vs_fail_errno(err, "cannot flush %s", ex->partial);
	if (fd >= 0)
		close(fd);
	if (rc == 0 && renameat2(AT_FDCWD, ex->partial, AT_FDCWD, ex->dest,
				 ex->force ? 0 : RENAME_NOREPLACE) != 0)
		rc = vs_fail_errno(err, "cannot write %s", ex->dest);
	if (rc != 0)
		return rc;
	mg_copy(folder, sizeof(folder), ex->dest);
	strrchr(folder, '/')[1] = '\0';
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		rc = vs_fail_errno(err, "cannot flush %s", folder);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int copy_out(struct export *ex, struct mg_task *t, const char *full, uint64_t size,
		    struct vs_error *err)
{
	int rc;

	if (ex->block)
		mg_copy(ex->partial, sizeof(ex->partial), ex->dest);
	else
		(void)snprintf(ex->partial, sizeof(ex->partial), "%s.part-%lld", ex->dest,
			       (long long)mg_task_id(t));
	rc = strcmp(ex->format, "raw") == 0 ? export_raw(ex, t, full, size, err)
					    : export_image(ex, t, full, size, err);
	if (!ex->block) {
		if (rc == 0)
			rc = put_in_place(ex, err);
		if (rc != 0)
			(void)unlink(ex->partial);
	}
	return rc;
}

/* A volume is copied as it is now: from a snapshot that goes when the copy is made. */
static int run(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct export *ex = arg;
	uint64_t begun = vs_now_ns();
	char full[BS_FULL_NAME_MAX];
	struct bs_volume_info info;
	bool draft = !strchr(ex->volume, '@');
	int rc;

	if (draft) {
		(void)snprintf(full, sizeof(full), "%.63s@export-%lld", ex->volume,
			       (long long)mg_task_id(t));
		rc = mg_draft_snapshot(ex->node, full, &info, err);
	} else {
		mg_copy(full, sizeof(full), ex->volume);
		rc = bs_volume_find(ex->node->store, full, &info, err);
	}
	if (rc != 0)
		return rc;
	rc = copy_out(ex, t, full, info.size, err);
	if (draft)
		mg_draft_drop(ex->node, &info.uuid);
	if (rc != 0)
		return rc;
	mg_event(ex->node->events, MG_INFO, "volume.exported", ex->volume, "to %s (%s)", ex->dest,
		 ex->format);
	*result = json_pack("{s:s, s:s, s:s, s:I, s:f}", "volume", ex->volume, "dest", ex->dest,
			    "format", ex->format, "size", (json_int_t)info.size, "seconds",
			    (double)(vs_now_ns() - begun) / 1e9);
	return 0;
}

static int check_dest(struct export *ex, struct vs_error *err)
{
	struct stat st;

	if (stat(ex->dest, &st) != 0)
		return errno == ENOENT ? 0 : vs_fail_errno(err, "cannot write %s", ex->dest);
	ex->block = S_ISBLK(st.st_mode);
	if (ex->block && strcmp(ex->format, "raw") != 0)
		return vs_fail(err, VS_E_INVAL, "onto a block device only raw can be written");
	if (!ex->block && !S_ISREG(st.st_mode))
		return vs_fail(err, VS_E_INVAL, "%s is neither a file nor a block device",
			       ex->dest);
	if (!ex->block && !ex->force)
		return vs_fail(err, VS_E_EXIST, "%s exists; remove it or use force", ex->dest);
	return 0;
}

int mg_export_start(struct mg_node *n, const struct mg_export_spec *spec, json_t **task,
		    struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = "export", .subject = spec->volume, .run = run, .free = free};
	struct bs_volume_info info;
	struct export *ex;
	int rc;

	if (mg_far_is(spec->dest))
		return mg_export_far_start(n, spec, task, err);
	if (spec->chap_user || spec->chap_secret)
		return vs_fail(err, VS_E_INVAL, "a CHAP user and secret are for an iscsi:// dest");
	if (spec->dest[0] != '/' || strlen(spec->dest) >= PATH_MAX)
		return vs_fail(err, VS_E_INVAL,
			       "dest must be an absolute path on the node, an iscsi:// LUN or an "
			       "nfs:// file");
	if (!mg_image_format_ok(spec->format, true))
		return vs_fail(err, VS_E_INVAL, "format '%s' is none of raw, qcow2, vmdk, vhdx",
			       spec->format);
	rc = mg_draft_find(n, spec->volume, &info, err);
	if (rc != 0)
		return rc;
	ex = calloc(1, sizeof(*ex));
	if (!ex)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	ex->node = n;
	ex->force = spec->force;
	(void)snprintf(ex->volume, sizeof(ex->volume), "%s", spec->volume);
	mg_copy(ex->format, sizeof(ex->format), spec->format);
	mg_copy(ex->dest, sizeof(ex->dest), spec->dest);
	rc = check_dest(ex, err);
	if (rc != 0) {
		free(ex);
		return rc;
	}
	ts.arg = ex;
	return mg_task_start(n->tasks, &ts, task, err);
}
