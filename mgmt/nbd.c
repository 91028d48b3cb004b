#include "mgmt/nbd.h"

#include "mgmt/draft.h"
#include "mgmt/volume.h"
#include "targets/nbd/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS 64
#define THREADS 2

struct mg_nbd {
	struct nbd_server *server; /* NULL: off */
	unsigned naddresses;
};

/* A document is {volume: UUID, read_only}; its name in the catalogue is the UUID. */
static int decode(const json_t *doc, struct vs_uuid *uuid, bool *read_only)
{
	const char *text = json_string_value(json_object_get(doc, "volume"));

	*read_only = json_is_true(json_object_get(doc, "read_only"));
	return text && vs_uuid_parse(text, uuid) == 0 ? 0 : VS_E_CORRUPT;
}

static int serve_all(struct mg_node *n, struct mg_nbd *b, struct vs_error *err)
{
	json_t *docs, *doc;
	size_t i;
	int rc = mg_catalogue_list(n->catalogue, MG_NBD, &docs, err);

	if (rc != 0)
		return rc;
	json_array_foreach(docs, i, doc)
	{
		char full[BS_FULL_NAME_MAX];
		struct vs_uuid uuid;
		struct vs_error why;
		bool read_only;

		if (decode(doc, &uuid, &read_only) != 0)
			continue;
		mg_volume_name(n, &uuid, full);
		if (nbd_server_export(b->server, full, read_only, &why) != 0)
			mg_event(n->events, MG_WARNING, "nbd.failed", full, "not served: %s",
				 why.text);
	}
	json_decref(docs);
	return 0;
}

int mg_nbd_open(struct mg_node *n, struct mg_nbd **out, struct vs_error *err)
{
	const struct mg_listens *l = &n->options->nbd;
	const char *addresses[MG_LISTEN_MAX];
	struct nbd_server_options o = {.store = n->store,
				       .listen = addresses,
				       .nlisten = l->n,
				       .max_connections = CONNECTIONS,
				       .threads = THREADS};
	struct mg_nbd *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	*out = b;
	if (l->n == 0)
		return 0;
	for (unsigned i = 0; i < l->n; i++)
		addresses[i] = l->at[i].text;
	rc = nbd_server_start(&o, &b->server, err);
	if (rc == 0)
		rc = serve_all(n, b, err);
	b->naddresses = l->n;
	if (rc != 0) {
		mg_nbd_close(b);
		*out = NULL;
	}
	return rc;
}

void mg_nbd_close(struct mg_nbd *b)
{
	if (!b)
		return;
	if (b->server)
		nbd_server_stop(b->server);
	free(b);
}

static json_t *to_json(struct mg_node *n, const struct bs_volume_info *info, bool read_only)
{
	struct nbd_server_entry *entries = NULL;
	char full[BS_FULL_NAME_MAX];
	unsigned clients = 0;
	size_t have = 0;

	mg_full_name(info, full);
	if (n->nbd->server) {
		entries = calloc(NBD_EXPORTS_MAX, sizeof(*entries));
		have = entries ? nbd_server_list(n->nbd->server, entries, NBD_EXPORTS_MAX) : 0;
	}
	for (size_t i = 0; i < have && i < NBD_EXPORTS_MAX; i++)
		if (strcmp(entries[i].name, full) == 0)
			clients = entries[i].connections;
	free(entries);
	return json_pack("{s:s, s:s, s:I, s:b, s:i}", "name", full, "volume", info->name, "size",
			 (json_int_t)info->size, "read_only", read_only || info->snapshot,
			 "clients", (int)clients);
}

int mg_nbd_export(struct mg_node *n, const char *full, bool read_only, json_t **out,
		  struct vs_error *err)
{
	struct bs_volume_info info;
	char uuid[VS_UUID_TEXT];
	json_t *doc;
	int rc = mg_draft_find(n, full, &info, err);

	if (rc != 0)
		return rc;
	if (!n->nbd->server)
		return vs_fail(err, VS_E_NOTSUP, "NBD is off; start vstored with --nbd ADDR:PORT");
	vs_uuid_format(&info.uuid, uuid);
	doc = json_pack("{s:s, s:b}", "volume", uuid, "read_only", read_only);
	rc = mg_catalogue_insert(n->catalogue, MG_NBD, uuid, doc, &info.uuid, 1, err);
	json_decref(doc);
	if (rc == VS_E_EXIST)
		return vs_fail(err, rc, "%s is exported already", full);
	if (rc != 0)
		return rc;
	rc = nbd_server_export(n->nbd->server, full, read_only, err);
	if (rc != 0) {
		if (mg_catalogue_delete(n->catalogue, MG_NBD, uuid, NULL) != 0)
			mg_event(n->events, MG_WARNING, "nbd.failed", full,
				 "a failed export could not be taken back");
		return rc;
	}
	*out = to_json(n, &info, read_only);
	return 0;
}

int mg_nbd_unexport(struct mg_node *n, const char *full, struct vs_error *err)
{
	struct bs_volume_info info;
	char uuid[VS_UUID_TEXT];
	int rc = bs_volume_find(n->store, full, &info, err);

	if (rc != 0)
		return rc;
	vs_uuid_format(&info.uuid, uuid);
	rc = mg_catalogue_delete(n->catalogue, MG_NBD, uuid, err);
	if (rc == VS_E_NOENT)
		return vs_fail(err, rc, "%s is not exported", full);
	if (rc == 0 && n->nbd->server) {
		rc = nbd_server_unexport(n->nbd->server, full, err);
		if (rc == VS_E_NOENT)
			rc = 0;
	}
	return rc;
}

int mg_nbd_list(struct mg_node *n, json_t **out, struct vs_error *err)
{
	json_t *docs, *doc, *list = json_array();
	size_t i;
	int rc = mg_catalogue_list(n->catalogue, MG_NBD, &docs, err);

	if (rc != 0) {
		json_decref(list);
		return rc;
	}
	json_array_foreach(docs, i, doc)
	{
		struct bs_volume_info info;
		struct vs_uuid uuid;
		bool read_only;

		if (decode(doc, &uuid, &read_only) == 0 &&
		    bs_volume_find_uuid(n->store, &uuid, &info, NULL) == 0)
			json_array_append_new(list, to_json(n, &info, read_only));
	}
	json_decref(docs);
	*out = list;
	return 0;
}

void mg_nbd_volume_renamed(struct mg_node *n, const char *from, const char *to)
{
	json_t *docs, *doc;
	size_t i;

	if (!n->nbd->server || mg_catalogue_list(n->catalogue, MG_NBD, &docs, NULL) != 0)
		return;
	json_array_foreach(docs, i, doc)
	{
		struct bs_volume_info info;
		char old[BS_FULL_NAME_MAX], full[BS_FULL_NAME_MAX];
		struct vs_uuid uuid;
		struct vs_error why;
		bool read_only;
		int rc;

		if (decode(doc, &uuid, &read_only) != 0 ||
		    bs_volume_find_uuid(n->store, &uuid, &info, NULL) != 0 ||
		    strcmp(info.name, to) != 0)
			continue;
		(void)snprintf(old, sizeof(old), "%s%s%s", from, info.snap[0] ? "@" : "",
			       info.snap);
		rc = nbd_server_unexport(n->nbd->server, old, &why);
		if (rc == 0)
			rc = nbd_server_export(n->nbd->server, mg_full_name(&info, full), read_only,
					       &why);
		if (rc != 0)
			mg_event(n->events, MG_WARNING, "nbd.failed", to, "not served: %s",
				 why.text);
	}
	json_decref(docs);
}

void mg_nbd_addresses(struct mg_nbd *b, json_t *front_ends)
{
	char text[NBD_ADDRESS_MAX];

	for (unsigned i = 0; b->server && i < b->naddresses; i++)
		if (nbd_server_address(b->server, i, text) == 0)
			json_array_append_new(
			    front_ends, json_pack("{s:s, s:s}", "kind", "nbd", "address", text));
}
