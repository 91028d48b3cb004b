/*
 * Import from and export to LUNs of other arrays and files of NFS servers: what import.c and
 * export.c do with files.
 */
#include "mgmt/transfer.h"

#include "common/bytes.h"
#include "common/loop.h"
#include "common/secret.h"
#include "mgmt/copy.h"
#include "mgmt/draft.h"
#include "mgmt/far.h"
#include "mgmt/farcopy.h"
#include "mgmt/image.h"
#include "mgmt/nfs_dest.h"
#include "mgmt/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct transfer {
	struct mg_node *node;
	struct mg_far_access access;
	char text[MG_FAR_TEXT]; /* the URL without its user */
	char name[BS_FULL_NAME_MAX];
	char format[MG_IMAGE_FORMAT]; /* "": none was said */
	bool force;
	uint32_t sector;
	int compression;
	uint64_t begun_ns, bytes;
	struct mg_nfs_dest dest;
};

static void transfer_free(void *arg)
{
	vs_secret_wipe(arg, sizeof(struct transfer));
	free(arg);
}

static struct transfer *transfer_new(struct mg_node *n, const char *url, const char *name,
				     const char *user, const char *secret, struct vs_error *err)
{
	struct transfer *x = calloc(1, sizeof(*x));

	if (!x) {
		(void)vs_fail(err, VS_E_NOMEM, "out of memory");
		return NULL;
	}
	x->node = n;
	(void)snprintf(x->name, sizeof(x->name), "%s", name);
	if (mg_far_access(&x->access, url, user, secret, err) != 0) {
		transfer_free(x);
		return NULL;
	}
	(void)mg_far_text(&x->access, x->text);
	return x;
}

/* On a loop of the task's own. */
static int begin(struct transfer *x, struct mg_task *t, struct mg_farcopy *c, struct vs_error *err)
{
	c->store = x->node->store;
	c->task = t;
	x->begun_ns = vs_now_ns();
	return vs_loop_new(&c->loop, err);
}

static void end(struct mg_farcopy *c)
{
	if (c->far)
		bs_far_close(c->far);
	vs_loop_free(c->loop);
}

static double seconds_since(uint64_t ns)
{
	return (double)(vs_now_ns() - ns) / 1e9;
}

/* ---- import ---------------------------------------------------------------------------------- */

static int fill(struct transfer *x, struct mg_farcopy *c, struct vs_error *err)
{
	struct bs_far_info far = bs_far_info(c->far);
	struct bs_volume_spec spec = {.name = x->name,
				      .size = VS_ALIGN_UP(far.size, (uint64_t)BS_BLOCK),
				      .sector = x->sector ? x->sector : far.sector,
				      .compression = x->compression};
	struct bs_volume_info info;
	int rc;

	if (far.size == 0 || far.size > BS_VOLUME_MAX_SIZE)
		return vs_fail(err, VS_E_INVAL, "%s has %llu bytes; 1 byte to 128T can be imported",
			       x->text, (unsigned long long)far.size);
	rc = mg_draft_volume(x->node, &spec, &info, err);
	if (rc != 0)
		return rc;
	c->size = far.size;
	rc = bs_volume_open(c->store, x->name, &c->volume, err);
	if (rc == 0) {
		rc = mg_farcopy_in(c, err);
		bs_volume_close(c->volume);
	}
	if (rc == 0)
		rc = bs_store_flush(c->store, err);
	if (rc == 0)
		rc = mg_draft_keep(x->node, &info.uuid, err);
	if (rc != 0)
		mg_draft_drop(x->node, &info.uuid);
	return rc;
}

static int run_import(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct transfer *x = arg;
	struct mg_farcopy c = {0};
	int rc = begin(x, t, &c, err);

	if (rc == 0)
		rc = mg_far_open(&x->access, c.loop, false, mg_task_cancel_flag(t), &c.far, err);
	if (rc == 0)
		rc = mg_far_check_raw(&x->access, c.far, c.loop, x->format[0] ? x->format : NULL,
				      mg_task_cancel_flag(t), err);
	if (rc == 0)
		rc = fill(x, &c, err);
	end(&c);
	if (rc != 0)
		return rc;
	mg_event(x->node->events, MG_INFO, "volume.imported", x->name, "from %s", x->text);
	rc = mg_volume_show(x->node, x->name, 0, result, err);
	if (rc == 0)
		json_object_update_new(*result, json_pack("{s:s, s:I, s:I, s:f}", "format", "raw",
							  "bytes_read", (json_int_t)c.bytes,
							  "bytes_written", (json_int_t)c.bytes,
							  "seconds", seconds_since(x->begun_ns)));
	return rc;
}

int mg_import_far_start(struct mg_node *n, const struct mg_import_spec *spec, json_t **task,
			struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = "import", .subject = spec->name, .run = run_import, .free = transfer_free};
	struct transfer *x;

	if (spec->format && strcmp(spec->format, "raw") != 0)
		return vs_fail(err, VS_E_INVAL, MG_FAR_RAW_ONLY);
	x = transfer_new(n, spec->source, spec->name, spec->chap_user, spec->chap_secret, err);
	if (!x)
		return err->code;
	mg_copy(x->format, sizeof(x->format), spec->format ? spec->format : "");
	x->sector = spec->sector;
	x->compression = spec->compression;
	ts.arg = x;
	return mg_task_start(n->tasks, &ts, task, err);
}

/* ---- export ---------------------------------------------------------------------------------- */

static int open_file(struct transfer *x, struct mg_farcopy *c, struct vs_error *err)
{
	int rc = mg_nfs_dest_open(&x->dest, &x->access.file, mg_task_id(c->task), x->force, c->size,
				  c->loop, mg_task_cancel_flag(c->task), err);

	if (rc != 0)
		return rc;
	c->far = bs_nfs_far(x->dest.file);
	c->blank = true;
	return 0;
}

static int open_lun(struct transfer *x, struct mg_farcopy *c, struct vs_error *err)
{
	struct bs_far_info far;
	int rc = mg_far_open(&x->access, c->loop, true, mg_task_cancel_flag(c->task), &c->far, err);

	if (rc != 0)
		return rc;
	far = bs_far_info(c->far);
	if (far.read_only)
		return vs_fail(err, VS_E_ROFS, "%s can only be read", x->text);
	return far.size >= c->size
		   ? 0
		   : vs_fail(err, VS_E_NOSPC, "%s has %llu bytes, %s has %llu", x->text,
			     (unsigned long long)far.size, x->name, (unsigned long long)c->size);
}

/* Nothing of a file is left that is not all there. */
static void drop_file(struct transfer *x, struct mg_farcopy *c)
{
	char part[BS_NFS_URL_TEXT];
	struct vs_error why;

	if (c->far)
		bs_far_close(c->far);
	c->far = NULL;
	if (mg_nfs_dest_drop(&x->dest, c->loop, &why) != 0)
		mg_event(x->node->events, MG_WARNING, "export.left", x->name, "%s is left: %s",
			 bs_nfs_url_text(&x->dest.part, part), why.text);
}

static int pour(struct transfer *x, struct mg_farcopy *c, const char *full, struct vs_error *err)
{
	int rc = bs_volume_open(c->store, full, &c->volume, err);

	if (rc != 0)
		return rc;
	c->size = bs_volume_size(c->volume);
	rc = x->access.nfs ? open_file(x, c, err) : open_lun(x, c, err);
	if (rc == 0)
		rc = mg_farcopy_out(c, err);
	bs_volume_close(c->volume);
	if (rc == 0 && x->access.nfs)
		rc = mg_nfs_dest_keep(&x->dest, err);
	if (rc != 0 && x->dest.file)
		drop_file(x, c);
	return rc;
}

/* As with files, a volume is copied as it is now, from a snapshot that goes afterwards. */
static int run_export(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct transfer *x = arg;
	struct mg_farcopy c = {0};
	struct bs_volume_info info;
	char full[BS_FULL_NAME_MAX];
	bool draft = !strchr(x->name, '@');
	int rc = begin(x, t, &c, err);

	if (draft)
		(void)snprintf(full, sizeof(full), "%.63s@export-%lld", x->name,
			       (long long)mg_task_id(t));
	else
		mg_copy(full, sizeof(full), x->name);
	if (rc == 0)
		rc = draft ? mg_draft_snapshot(x->node, full, &info, err) : 0;
	if (rc == 0) {
		rc = pour(x, &c, full, err);
		if (draft)
			mg_draft_drop(x->node, &info.uuid);
	}
	end(&c);
	if (rc != 0)
		return rc;
	mg_event(x->node->events, MG_INFO, "volume.exported", x->name, "to %s", x->text);
	*result = json_pack("{s:s, s:s, s:s, s:I, s:I, s:f}", "volume", x->name, "dest", x->text,
			    "format", "raw", "size", (json_int_t)c.size, "bytes_written",
			    (json_int_t)c.bytes, "seconds", seconds_since(x->begun_ns));
	return 0;
}

int mg_export_far_start(struct mg_node *n, const struct mg_export_spec *spec, json_t **task,
			struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = "export", .subject = spec->volume, .run = run_export, .free = transfer_free};
	struct bs_volume_info info;
	struct transfer *x;
	int rc;

	if (strcmp(spec->format, "raw") != 0)
		return vs_fail(err, VS_E_INVAL,
			       "onto a LUN or over NFS only raw can be written; export to a file "
			       "of the node for other formats");
	rc = mg_draft_find(n, spec->volume, &info, err);
	if (rc != 0)
		return rc;
	x = transfer_new(n, spec->dest, spec->volume, spec->chap_user, spec->chap_secret, err);
	if (!x)
		return err->code;
	x->force = spec->force;
	ts.arg = x;
	return mg_task_start(n->tasks, &ts, task, err);
}
