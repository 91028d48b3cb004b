/* Who may mount a datastore. */
#include "mgmt/datastore_impl.h"

#include "common/bytes.h"

#include <string.h>

static const char *const squashes[] = {
    [NFS_SQUASH_ROOT] = "root", [NFS_SQUASH_NONE] = "none", [NFS_SQUASH_ALL] = "all"};

static int squash_of(const char *text, enum nfs_squash *out)
{
	for (unsigned i = 0; text && i < VS_ARRAY_LEN(squashes); i++) {
		if (strcmp(text, squashes[i]) != 0)
			continue;
		*out = (enum nfs_squash)i;
		return 0;
	}
	return VS_E_INVAL;
}

/* A document's share as the server takes it; the strings stay the document's. */
static int rule_of(const json_t *share, struct nfs_rule *out)
{
	*out = (struct nfs_rule){
	    .clients = json_string_value(json_object_get(share, "client")),
	    .read_only = json_is_true(json_object_get(share, "read_only")),
	    .anonymous_uid = NFS_ANONYMOUS,
	    .anonymous_gid = NFS_ANONYMOUS,
	};
	if (!out->clients)
		return VS_E_CORRUPT;
	return squash_of(json_string_value(json_object_get(share, "squash")), &out->squash);
}

int mg_datastore_serve(struct mg_datastores *d, struct mg_datastore *s, const json_t *doc,
		       struct vs_error *err)
{
	const json_t *shares = json_object_get(doc, "shares"), *share;
	struct nfs_rule rules[NFS_RULES_MAX];
	size_t n = 0, i;
	int rc;

	if (!d->server)
		return 0;
	json_array_foreach(shares, i, share)
	{
		if (n == NFS_RULES_MAX || rule_of(share, &rules[n]) != 0)
			return vs_fail(err, VS_E_CORRUPT,
				       "the catalogue's shares of %s are damaged", s->name);
		n++;
	}
	if (n)
		return nfs_server_share(d->server, s->name, s->store, rules, n, err);
	rc = nfs_server_unshare(d->server, s->name, err);
	return rc == VS_E_NOENT ? 0 : rc;
}

static int index_of(const json_t *shares, const char *client)
{
	const json_t *share;
	size_t i;

	json_array_foreach(shares, i, share)
	{
		const char *have = json_string_value(json_object_get(share, "client"));

		if (have && strcmp(have, client) == 0)
			return (int)i;
	}
	return -1;
}

/* Serves the changed list first: what the server refuses is not kept. */
static int apply(struct mg_node *n, struct mg_datastore *s, json_t *doc, const json_t *before,
		 struct vs_error *err)
{
	int rc = mg_datastore_serve(n->datastores, s, doc, err);

	if (rc != 0)
		return rc;
	rc = mg_datastore_keep(n, s, doc, err);
	if (rc != 0 && mg_datastore_serve(n->datastores, s, before, NULL) != 0)
		mg_event(n->events, MG_ERROR, "datastore.failed", s->name,
			 "its shares could not be put back");
	return rc;
}

int mg_datastore_share(struct mg_node *n, const char *name, const char *client, bool read_only,
		       const char *squash, struct vs_error *err)
{
	struct mg_datastore *s = mg_datastore_find(n, name, err);
	json_t *doc = NULL, *before, *shares, *share;
	enum nfs_squash how;
	int rc, at;

	if (!s)
		return VS_E_NOENT;
	if (squash_of(squash, &how) != 0)
		return vs_fail(err, VS_E_INVAL, "squash must be none, root or all");
	if (!n->datastores->server)
		return vs_fail(err, VS_E_NOTSUP, "NFS is off; start vstored with --nfs ADDR:PORT");
	rc = mg_datastore_doc(n, s, &doc, err);
	if (rc != 0)
		return rc;
	before = json_deep_copy(doc);
	shares = json_object_get(doc, "shares");
	share = json_pack("{s:s, s:b, s:s}", "client", client, "read_only", read_only, "squash",
			  squash);
	at = index_of(shares, client);
	if (at < 0 && json_array_size(shares) == NFS_RULES_MAX)
		rc = vs_fail(err, VS_E_LIMIT, "%s is shared with %d clients already", name,
			     NFS_RULES_MAX);
	else if (!before || (at < 0 ? json_array_append(shares, share)
				    : json_array_set(shares, (size_t)at, share)) != 0)
		rc = vs_fail(err, VS_E_NOMEM, "out of memory");
	json_decref(share);
	if (rc == 0)
		rc = apply(n, s, doc, before, err);
	json_decref(before);
	json_decref(doc);
	return rc;
}

int mg_datastore_unshare(struct mg_node *n, const char *name, const char *client,
			 struct vs_error *err)
{
	struct mg_datastore *s = mg_datastore_find(n, name, err);
	json_t *doc = NULL, *before;
	int rc, at;

	if (!s)
		return VS_E_NOENT;
	rc = mg_datastore_doc(n, s, &doc, err);
	if (rc != 0)
		return rc;
	before = json_deep_copy(doc);
	at = index_of(json_object_get(doc, "shares"), client);
	if (at < 0)
		rc = vs_fail(err, VS_E_NOENT, "%s is not shared with %s", name, client);
	else if (!before || json_array_remove(json_object_get(doc, "shares"), (size_t)at) != 0)
		rc = vs_fail(err, VS_E_NOMEM, "out of memory");
	if (rc == 0)
		rc = apply(n, s, doc, before, err);
	json_decref(before);
	json_decref(doc);
	return rc;
}

void mg_datastores_addresses(struct mg_datastores *d, json_t *front_ends)
{
	char text[NFS_ADDRESS_MAX];

	for (unsigned i = 0; d->server && nfs_server_address(d->server, i, text) == 0; i++)
		json_array_append_new(front_ends, json_pack("{s:s, s:s}", "kind",
							    i < d->naddresses ? "nfs" : "portmap",
							    "address", text));
}
