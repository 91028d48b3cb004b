/* Import of a volume that is used before its blocks are here. */
#include "mgmt/transfer.h"

#include "common/bytes.h"
#include "common/secret.h"
#include "mgmt/far.h"
#include "mgmt/origin.h"
#include "mgmt/volume.h"

#include <string.h>

/* {url, user?, secret?}: the URL without its user. */
static int describe(const struct mg_far_access *a, json_t **doc, struct vs_error *err)
{
	const char *user = a->user[0] ? a->user : NULL;
	char url[MG_FAR_TEXT];

	*doc = json_pack("{s:s, s:s*, s:s*}", "url", mg_far_text(a, url), "user", user, "secret",
			 user ? a->secret : NULL);
	return *doc ? 0 : vs_fail(err, VS_E_INVAL, "the URL or the CHAP user is no UTF-8 text");
}

/* Whether it is there, and how it looks: *out is only that, the source is closed. */
static int look(struct mg_node *n, const struct mg_far_access *a, const char *format,
		struct mg_source *out, struct vs_error *err)
{
	struct bs_far_info info = {0};
	struct vs_loop *loop;
	struct bs_far *far;
	int rc = vs_loop_new(&loop, err);

	if (rc != 0)
		return rc;
	rc = mg_far_open(a, loop, false, mg_origins_stopping(n->origins), &far, err);
	if (rc == 0) {
		info = bs_far_info(far);
		rc = mg_far_check_raw(a, far, loop, format, mg_origins_stopping(n->origins), err);
		bs_far_close(far);
	}
	vs_loop_free(loop);
	if (rc == 0 && (info.size == 0 || info.size > BS_VOLUME_MAX_SIZE))
		rc = vs_fail(err, VS_E_INVAL,
			     "the source has %llu bytes; 1 byte to 128T can be imported",
			     (unsigned long long)info.size);
	*out = (struct mg_source){.kind = a->nfs ? &mg_source_nfs : &mg_source_lun,
				  .size = info.size,
				  .identity = info.identity,
				  .sector = info.sector};
	return rc;
}

static int make(struct mg_node *n, const struct mg_import_spec *spec, const struct mg_far_access *a,
		json_t *doc, int64_t *task, struct vs_error *err)
{
	struct bs_volume_spec v = {.name = spec->name, .compression = spec->compression};
	struct mg_source source;
	int rc = look(n, a, spec->format, &source, err);

	if (rc != 0)
		return rc;
	v.size = VS_ALIGN_UP(source.size, (uint64_t)BS_BLOCK);
	v.sector = spec->sector ? spec->sector : source.sector;
	return mg_origin_make(n->origins, &source, doc, &v, task, err);
}

int mg_import_live(struct mg_node *n, const struct mg_import_spec *spec, json_t **volume,
		   struct vs_error *err)
{
	json_t *doc = NULL, *shown = NULL;
	struct mg_far_access a = {0};
	int64_t task = 0;
	int rc;

	if (!mg_far_is(spec->source))
		return vs_fail(err, VS_E_INVAL,
			       "only an iscsi:// LUN or an nfs:// file can be imported live");
	if (spec->format && strcmp(spec->format, "raw") != 0)
		return vs_fail(err, VS_E_INVAL, MG_FAR_RAW_ONLY);
	rc = mg_import_check(n, spec, err);
	if (rc == 0)
		rc = mg_far_access(&a, spec->source, spec->chap_user, spec->chap_secret, err);
	if (rc == 0)
		rc = describe(&a, &doc, err);
	if (rc == 0)
		rc = make(n, spec, &a, doc, &task, err);
	vs_secret_wipe(&a, sizeof(a));
	if (rc == 0)
		mg_event(n->events, MG_INFO, "volume.imported", spec->name, "live from %s",
			 json_string_value(json_object_get(doc, "url")));
	mg_source_wipe(doc);
	json_decref(doc);
	if (rc == 0)
		rc = mg_volume_show(n, spec->name, 0, volume, err);
	if (rc == 0 && mg_task_get(n->tasks, task, &shown, NULL) == 0)
		json_object_set_new(*volume, "task", shown);
	return rc;
}
