/* Import from and export to LUNs of other arrays: what import.c and export.c do with files. */
#include "mgmt/transfer.h"

#include "common/bytes.h"
#include "common/loop.h"
#include "common/secret.h"
#include "mgmt/copy.h"
#include "mgmt/draft.h"
#include "mgmt/luncopy.h"
#include "mgmt/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct transfer {
	struct mg_node *node;
	struct mg_lun_access access;
	char text[BS_LUN_URL_TEXT]; /* the URL without its user */
	char name[BS_FULL_NAME_MAX];
	uint32_t sector;
	int compression;
	uint64_t begun_ns, bytes;
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
	if (mg_lun_access(&x->access, url, user, secret, err) != 0) {
		transfer_free(x);
		return NULL;
	}
	(void)bs_lun_url_text(&x->access.url, x->text);
	return x;
}

/* The LUN on a loop of the task's own. */
static int connect_lun(struct transfer *x, struct mg_task *t, bool writable, struct mg_luncopy *c,
		       struct vs_error *err)
{
	int rc = vs_loop_new(&c->loop, err);

	c->store = x->node->store;
	c->task = t;
	x->begun_ns = vs_now_ns();
	if (rc == 0)
		rc = mg_lun_open(&x->access, c->loop, writable, mg_task_cancel_flag(t), &c->lun,
				 err);
	return rc;
}

static void disconnect_lun(struct mg_luncopy *c)
{
	if (c->lun)
		bs_lun_close(c->lun);
	vs_loop_free(c->loop);
}

static double seconds_since(uint64_t ns)
{
	return (double)(vs_now_ns() - ns) / 1e9;
}

static int fill(struct transfer *x, struct mg_luncopy *c, struct vs_error *err)
{
	struct bs_lun_info lun = bs_lun_info(c->lun);
	struct bs_volume_spec spec = {.name = x->name,
				      .size = VS_ALIGN_UP(lun.size, (uint64_t)BS_BLOCK),
				      .sector = x->sector ? x->sector : lun.sector,
				      .compression = x->compression};
	struct bs_volume_info info;
	int rc;

	if (lun.size > BS_VOLUME_MAX_SIZE)
		return vs_fail(err, VS_E_INVAL, "%s is larger than 128T", x->text);
	rc = mg_draft_volume(x->node, &spec, &info, err);
	if (rc != 0)
		return rc;
	c->size = lun.size;
	rc = bs_volume_open(c->store, x->name, &c->volume, err);
	if (rc == 0) {
		rc = mg_luncopy_in(c, err);
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
	struct mg_luncopy c = {0};
	int rc = connect_lun(x, t, false, &c, err);

	if (rc == 0)
		rc = fill(x, &c, err);
	disconnect_lun(&c);
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

int mg_import_lun_start(struct mg_node *n, const struct mg_import_spec *spec, json_t **task,
			struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = "import", .subject = spec->name, .run = run_import, .free = transfer_free};
	struct transfer *x;

	if (spec->format && strcmp(spec->format, "raw") != 0)
		return vs_fail(err, VS_E_INVAL, "a LUN is always of format raw");
	x = transfer_new(n, spec->source, spec->name, spec->chap_user, spec->chap_secret, err);
	if (!x)
		return err->code;
	x->sector = spec->sector;
	x->compression = spec->compression;
	ts.arg = x;
	return mg_task_start(n->tasks, &ts, task, err);
}

static int pour(struct transfer *x, struct mg_luncopy *c, const char *full, struct vs_error *err)
{
	struct bs_lun_info lun = bs_lun_info(c->lun);
	int rc;

	if (lun.read_only)
		return vs_fail(err, VS_E_ROFS, "%s can only be read", x->text);
	rc = bs_volume_open(c->store, full, &c->volume, err);
	if (rc != 0)
		return rc;
	c->size = bs_volume_size(c->volume);
	if (lun.size < c->size)
		rc = vs_fail(err, VS_E_NOSPC, "%s has %llu bytes, %s has %llu", x->text,
			     (unsigned long long)lun.size, x->name, (unsigned long long)c->size);
	else
		rc = mg_luncopy_out(c, err);
	bs_volume_close(c->volume);
	return rc;
}

/* As with files, a volume is copied as it is now, from a snapshot that goes afterwards. */
static int run_export(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct transfer *x = arg;
	struct mg_luncopy c = {0};
	struct bs_volume_info info;
	char full[BS_FULL_NAME_MAX];
	bool draft = !strchr(x->name, '@');
	int rc = connect_lun(x, t, true, &c, err);

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
	disconnect_lun(&c);
	if (rc != 0)
		return rc;
	mg_event(x->node->events, MG_INFO, "volume.exported", x->name, "to %s", x->text);
	*result = json_pack("{s:s, s:s, s:s, s:I, s:I, s:f}", "volume", x->name, "dest", x->text,
			    "format", "raw", "size", (json_int_t)c.size, "bytes_written",
			    (json_int_t)c.bytes, "seconds", seconds_since(x->begun_ns));
	return 0;
}

int mg_export_lun_start(struct mg_node *n, const struct mg_export_spec *spec, json_t **task,
			struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = "export", .subject = spec->volume, .run = run_export, .free = transfer_free};
	struct bs_volume_info info;
	struct transfer *x;
	int rc;

	if (strcmp(spec->format, "raw") != 0)
		return vs_fail(err, VS_E_INVAL, "onto a LUN only raw can be written");
	rc = mg_draft_find(n, spec->volume, &info, err);
	if (rc != 0)
		return rc;
	x = transfer_new(n, spec->dest, spec->volume, spec->chap_user, spec->chap_secret, err);
	if (!x)
		return err->code;
	ts.arg = x;
	return mg_task_start(n->tasks, &ts, task, err);
}
