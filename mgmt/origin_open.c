/* Origins at the start and the end of the daemon. */
#include "mgmt/origin_impl.h"

#include "common/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST 64 /* origins of the store asked for at once */

static const struct mg_source_kind *const kinds[] = {&mg_source_lun, &mg_source_nfs};

static const struct mg_source_kind *find_kind(const char *name)
{
	for (size_t i = 0; i < VS_ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	return NULL;
}

static void nobody(void *arg)
{
	(void)arg;
}

static void say(struct mg_node *n, const char *of, const char *why)
{
	mg_event(n->events, MG_ERROR, "origin.lost", of,
		 "what is left at its origin is not fetched: %s; reads of that fail", why);
}

static int go_on(struct mg_origins *os, const char *kind_name, const char *name,
		 const struct vs_uuid *uuid, json_int_t size, json_int_t identity,
		 struct vs_error *err)
{
	const struct mg_source_kind *kind = find_kind(kind_name);
	struct mg_origin *o;
	int rc;

	if (!kind)
		return vs_fail(err, VS_E_NOTSUP, "this version knows no source of kind %s",
			       kind_name);
	o = mg_origin_take(os, err);
	if (!o)
		return err->code;
	(void)snprintf(o->name, sizeof(o->name), "%s", name);
	o->uuid = *uuid;
	o->size = (uint64_t)size;
	o->identity = (uint64_t)identity;
	rc = mg_origin_start(o, kind, err);
	if (rc != 0)
		mg_origin_leave(o);
	return rc;
}

/* Whatever is wrong with one origin, the node starts. */
static void resume(struct mg_origins *os, json_t *doc)
{
	struct mg_node *n = os->node;
	const char *text, *kind, *name;
	struct bs_origin_info info;
	struct vs_uuid uuid;
	struct vs_error err;
	json_int_t size, identity;
	int rc;

	if (json_unpack(doc, "{s:s, s:s, s:s, s:I, s:I}", "uuid", &text, "kind", &kind, "name",
			&name, "size", &size, "identity", &identity) != 0 ||
	    vs_uuid_parse(text, &uuid) != 0 || size <= 0) {
		say(n, "", "its document in the catalogue is damaged");
		return;
	}
	rc = bs_origin_find(n->store, &uuid, &info, &err);
	if (rc == VS_E_NOENT) { /* the volume was not made, or nothing was left */
		mg_origin_forget(n, &uuid, name);
		return;
	}
	if (rc == 0)
		rc = go_on(os, kind, name, &uuid, size, identity, &err);
	if (rc != 0)
		say(n, name, err.text);
}

/* One without a document: its volume could not be made, or the catalogue is an older one. */
static void orphan(struct mg_node *n, const struct bs_origin_info *info, const char *name)
{
	struct bs_origin *o;

	if (info->contents_left || info->pages_left)
		say(n, name, "the catalogue does not say where it is");
	else if (bs_origin_attach(n->store, &info->uuid, nobody, NULL, &o, NULL) == 0 &&
		 bs_origin_remove(o, NULL) != 0)
		bs_origin_detach(o);
}

static void look_for_orphans(struct mg_origins *os)
{
	struct bs_origin_info *page = calloc(LIST, sizeof(*page));
	struct mg_node *n = os->node;
	uint64_t after = 0;
	size_t got = 1;

	while (page && got > 0 && bs_origin_list(n->store, after, page, LIST, &got, NULL) == 0) {
		for (size_t i = 0; i < got; i++) {
			char uuid[VS_UUID_TEXT];
			json_t *doc = NULL;

			after = page[i].id;
			vs_uuid_format(&page[i].uuid, uuid);
			if (mg_origin_document(n, &page[i].uuid, &doc, NULL) == VS_E_NOENT)
				orphan(n, &page[i], uuid);
			mg_source_wipe(doc);
			json_decref(doc);
		}
	}
	free(page);
}

int mg_origins_open(struct mg_node *n, struct mg_origins **out, struct vs_error *err)
{
	struct mg_origins *os;
	json_t *docs, *doc;
	size_t i;
	int rc = mg_catalogue_list(n->catalogue, MG_ORIGIN, &docs, err);

	if (rc != 0)
		return rc;
	os = calloc(1, sizeof(*os));
	if (!os) {
		json_decref(docs);
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	os->node = n;
	pthread_mutex_init(&os->lock, NULL);
	json_array_foreach(docs, i, doc)
	{
		resume(os, doc);
		mg_source_wipe(doc);
	}

	json_decref(docs);
	look_for_orphans(os);
	*out = os;
	return 0;
}

void mg_origins_hush(struct mg_origins *os)
{
	struct vs_error err;

	if (!os)
		return;
	atomic_store(&os->stopping, true);
	if (bs_origin_set_hold(os->node->store, 0, &err) != 0)
		mg_event(os->node->events, MG_WARNING, "origin.lost", "", "%s", err.text);
}

const atomic_bool *mg_origins_stopping(const struct mg_origins *os)
{
	return &os->stopping;
}

void mg_origins_close(struct mg_origins *os)
{
	if (!os)
		return;
	for (unsigned i = 0; i < MG_ORIGINS_MAX; i++)
		if (os->at[i].fetch)
			mg_fetch_stop(os->at[i].fetch);
	pthread_mutex_destroy(&os->lock);
	free(os);
}
