#include "mgmt/origin_impl.h"

#include "common/bytes.h"
#include "mgmt/copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- of a fetch ------------------------------------------------------------------------------ */

int mg_origin_document(struct mg_node *n, const struct vs_uuid *uuid, json_t **doc,
		       struct vs_error *err)
{
	char name[VS_UUID_TEXT];

	vs_uuid_format(uuid, name);
	return mg_catalogue_get(n->catalogue, MG_ORIGIN, name, doc, err);
}

static int document(void *arg, json_t **doc, struct vs_error *err)
{
	const struct mg_origin *o = arg;

	return mg_origin_document(o->origins->node, &o->uuid, doc, err);
}

static void progress(void *arg, uint64_t left)
{
	const struct mg_origin *o = arg;

	mg_task_report(o->origins->node->tasks, o->task, o->size - VS_MIN(left, o->size), o->size);
}

static void trouble(void *arg, const char *why)
{
	const struct mg_origin *o = arg;
	struct mg_events *events = o->origins->node->events;

	if (why)
		mg_event(events, MG_WARNING, "origin.lost", o->name,
			 "what is left at its origin cannot be fetched: %s; it is tried again",
			 why);
	else
		mg_event(events, MG_INFO, "origin.back", o->name,
			 "what is left at its origin is fetched again");
}

void mg_origin_forget(struct mg_node *n, const struct vs_uuid *uuid, const char *of)
{
	char name[VS_UUID_TEXT];
	struct vs_error err;
	int rc;

	vs_uuid_format(uuid, name);
	rc = mg_catalogue_delete(n->catalogue, MG_ORIGIN, name, &err);
	if (rc != 0 && rc != VS_E_NOENT)
		mg_event(n->events, MG_WARNING, "catalogue.failed", of,
			 "how its origin was reached is forgotten at the next start: %s", err.text);
}

static void finished(void *arg)
{
	struct mg_origin *o = arg;
	struct mg_node *n = o->origins->node;

	mg_origin_forget(n, &o->uuid, o->name);
	mg_event(n->events, MG_INFO, "origin.done", o->name, "nothing is left at its origin");
	mg_task_report(n->tasks, o->task, o->size, o->size);
	mg_task_followed(n->tasks, o->task, NULL);
	atomic_store(&o->over, true);
}

int mg_origin_start(struct mg_origin *o, const struct mg_source_kind *kind, struct vs_error *err)
{
	struct mg_node *n = o->origins->node;
	struct mg_fetch_spec spec = {.store = n->store,
				     .origin = o->uuid,
				     .size = o->size,
				     .identity = o->identity,
				     .kind = kind,
				     .document = document,
				     .progress = progress,
				     .trouble = trouble,
				     .finished = finished,
				     .arg = o};
	int rc = mg_task_follow(n->tasks, "fetch", o->name, &o->task, err);

	if (rc != 0)
		return rc;
	rc = mg_fetch_start(&spec, &o->fetch, err);
	if (rc != 0)
		mg_task_followed(n->tasks, o->task, err);
	return rc;
}

/* ---- places ---------------------------------------------------------------------------------- */

struct mg_origin *mg_origin_take(struct mg_origins *os, struct vs_error *err)
{
	for (unsigned i = 0; i < MG_ORIGINS_MAX; i++) {
		struct mg_origin *o = &os->at[i];

		if (o->taken && !atomic_load(&o->over))
			continue;
		if (o->fetch)
			mg_fetch_stop(o->fetch);
		*o = (struct mg_origin){.origins = os, .taken = true};
		return o;
	}
	(void)vs_fail(err, VS_E_LIMIT,
		      "%u volumes are being fetched already; wait until one of them is complete, "
		      "or import without live",
		      MG_ORIGINS_MAX);
	return NULL;
}

void mg_origin_leave(struct mg_origin *o)
{
	o->taken = false;
}

static int keep(struct mg_origin *o, const struct mg_source_kind *kind, json_t *doc,
		struct vs_error *err)
{
	char uuid[VS_UUID_TEXT];

	vs_uuid_format(&o->uuid, uuid);
	if (json_object_set_new(doc, "uuid", json_string(uuid)) != 0 ||
	    json_object_set_new(doc, "kind", json_string(kind->name)) != 0 ||
	    json_object_set_new(doc, "name", json_string(o->name)) != 0 ||
	    json_object_set_new(doc, "size", json_integer((json_int_t)o->size)) != 0 ||
	    json_object_set_new(doc, "identity", json_integer((json_int_t)o->identity)) != 0)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	return mg_catalogue_insert(o->origins->node->catalogue, MG_ORIGIN, uuid, doc, NULL, 0, err);
}

static int make(struct mg_origin *o, const struct mg_source_kind *kind,
		const struct bs_volume_spec *spec, struct vs_error *err)
{
	struct bs_store *s = o->origins->node->store;
	int rc = bs_volume_create(s, spec, NULL, err);

	if (rc != 0)
		return rc;
	rc = mg_origin_start(o, kind, err);
	if (rc != 0 && bs_volume_delete(s, spec->name, BS_DELETE_PLAIN, NULL) != 0)
		mg_event(o->origins->node->events, MG_WARNING, "draft.left", spec->name,
			 "could not be deleted");
	return rc;
}

int mg_origin_make(struct mg_origins *os, const struct mg_source *of, json_t *doc,
		   struct bs_volume_spec *spec, int64_t *task, struct vs_error *err)
{
	struct mg_origin *o;
	int rc = 0;

	pthread_mutex_lock(&os->lock);
	o = mg_origin_take(os, err);
	if (!o) {
		pthread_mutex_unlock(&os->lock);
		return err->code;
	}
	mg_copy(o->name, sizeof(o->name), spec->name);
	o->size = of->size;
	o->identity = of->identity;
	if (vs_uuid_new(&o->uuid) != 0)
		rc = vs_fail(err, VS_E_IO, "cannot get random bytes");
	if (rc == 0)
		rc = keep(o, of->kind, doc, err);
	if (rc == 0) {
		spec->origin = &o->uuid;
		rc = make(o, of->kind, spec, err);
		spec->origin = NULL;
		if (rc != 0)
			mg_origin_forget(os->node, &o->uuid, o->name);
	}
	*task = o->task;
	if (rc != 0)
		mg_origin_leave(o);
	pthread_mutex_unlock(&os->lock);
	return rc;
}

/* ---- shown ----------------------------------------------------------------------------------- */

static uint64_t bytes_left(struct mg_origins *os, const struct vs_uuid *uuid)
{
	struct bs_origin_info info;
	uint64_t left = 0;
	bool found = false;

	pthread_mutex_lock(&os->lock);
	for (unsigned i = 0; i < MG_ORIGINS_MAX && !found; i++) {
		const struct mg_origin *o = &os->at[i];

		found = o->taken && o->fetch && vs_uuid_equal(&o->uuid, uuid);
		if (found)
			left = mg_fetch_left(o->fetch);
	}
	pthread_mutex_unlock(&os->lock);
	if (!found && bs_origin_find(os->node->store, uuid, &info, NULL) == 0)
		left = info.size;
	return left;
}

json_t *mg_origin_json(struct mg_node *n, const struct bs_volume_info *v)
{
	const char *url;
	json_t *doc = NULL, *json = NULL;

	if (!n->origins || v->snapshot || !v->has_origin || !v->fetching ||
	    mg_origin_document(n, &v->origin, &doc, NULL) != 0)
		return NULL;
	url = json_string_value(json_object_get(doc, "url"));
	json = json_pack("{s:s?, s:I}", "url", url, "bytes_left",
			 (json_int_t)bytes_left(n->origins, &v->origin));
	mg_source_wipe(doc);
	json_decref(doc);
	return json;
}
