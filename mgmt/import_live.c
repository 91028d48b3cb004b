/* Import of a volume that is used before its blocks are here. */
#include "mgmt/transfer.h"

#include "blockstore/lun_url.h"
#include "common/bytes.h"
#include "common/secret.h"
#include "mgmt/luncopy.h"
#include "mgmt/origin.h"
#include "mgmt/volume.h"

#include <string.h>

/* {url, user?, secret?}: the URL without its user. */
static int describe(const struct mg_import_spec *spec, json_t **doc, struct vs_error *err)
{
	struct mg_lun_access a = {0};
	char url[BS_LUN_URL_TEXT];
	int rc = mg_lun_access(&a, spec->source, spec->chap_user, spec->chap_secret, err);

	if (rc == 0) {
		const char *user = a.user[0] ? a.user : NULL;

		*doc = json_pack("{s:s, s:s*, s:s*}", "url", bs_lun_url_text(&a.url, url), "user",
				 user, "secret", user ? a.secret : NULL);
		if (!*doc)
			rc = vs_fail(err, VS_E_INVAL, "the URL or the CHAP user is no UTF-8 text");
	}
	vs_secret_wipe(&a, sizeof(a));
	return rc;
}

/* Whether it is there, and how it looks: *out is only that, the source is closed. */
static int look(struct mg_node *n, const json_t *doc, struct mg_source *out, struct vs_error *err)
{
	struct mg_source *s;
	struct vs_loop *loop;
	int rc = vs_loop_new(&loop, err);

	if (rc != 0)
		return rc;
	rc = mg_source_lun.open(doc, loop, mg_origins_stopping(n->origins), &s, err);
	if (rc == 0) {
		*out = *s;
		s->kind->close(s);
	}
	vs_loop_free(loop);
	if (rc == 0 && (out->size == 0 || out->size > BS_VOLUME_MAX_SIZE))
		rc = vs_fail(err, VS_E_INVAL,
			     "the LUN has %llu bytes; 1 byte to 128T can be imported",
			     (unsigned long long)out->size);
	return rc;
}

static int make(struct mg_node *n, const struct mg_import_spec *spec, json_t *doc, int64_t *task,
		struct vs_error *err)
{
	struct bs_volume_spec v = {.name = spec->name, .compression = spec->compression};
	struct mg_source source;
	int rc = look(n, doc, &source, err);

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
	int64_t task = 0;
	int rc;

	if (!bs_lun_url_is(spec->source))
		return vs_fail(err, VS_E_INVAL, "only an iscsi:// LUN can be imported live");
	if (spec->format && strcmp(spec->format, "raw") != 0)
		return vs_fail(err, VS_E_INVAL, "a LUN is always of format raw");
	rc = mg_import_check(n, spec, err);
	if (rc == 0)
		rc = describe(spec, &doc, err);
	if (rc == 0)
		rc = make(n, spec, doc, &task, err);
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
