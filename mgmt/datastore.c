/* Datastores between the catalogue, the store and the NFS server. */
#include "mgmt/datastore.h"

#include "blockstore/object.h"
#include "common/bytes.h"
#include "common/secret.h"
#include "common/text.h"
#include "mgmt/copy.h"
#include "mgmt/datastore_impl.h"
#include "mgmt/datastore_part.h"
#include "mgmt/volume_impl.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 2
#define CONNECTIONS 256
#define KEY 32u
#define KEY_NAME "handles" /* of the catalogue's document that holds it */

static int find(struct mg_datastores *d, const char *name)
{
	for (unsigned i = 0; i < MG_DATASTORES_MAX; i++)
		if (d->at[i].store && strcmp(d->at[i].name, name) == 0)
			return (int)i;
	return -1;
}

struct mg_datastore *mg_datastore_find(struct mg_node *n, const char *name, struct vs_error *err)
{
	int i = find(n->datastores, name);

	if (i >= 0)
		return &n->datastores->at[i];
	vs_fail(err, VS_E_NOENT, "no datastore named %s", name);
	return NULL;
}

static void key_of(const struct mg_datastore *s, char text[VS_UUID_TEXT])
{
	vs_uuid_format(ds_uuid(s->store), text);
}

int mg_datastore_doc(struct mg_node *n, const struct mg_datastore *s, json_t **doc,
		     struct vs_error *err)
{
	char key[VS_UUID_TEXT];

	key_of(s, key);
	return mg_catalogue_get(n->catalogue, MG_DATASTORE, key, doc, err);
}

int mg_datastore_keep(struct mg_node *n, const struct mg_datastore *s, const json_t *doc,
		      struct vs_error *err)
{
	char key[VS_UUID_TEXT];

	key_of(s, key);
	return mg_catalogue_update(n->catalogue, MG_DATASTORE, key, doc, ds_uuid(s->store), 1, err);
}

/* Opens it with its quota, and shares it as its document says. */
static int take(struct mg_node *n, struct mg_datastores *d, const char *name, struct vs_error *err)
{
	struct mg_datastore *s = NULL;
	json_t *doc = NULL;
	int rc;

	for (unsigned i = 0; i < MG_DATASTORES_MAX && !s; i++)
		if (!d->at[i].store)
			s = &d->at[i];
	if (!s)
		return vs_fail(err, VS_E_LIMIT, "there are %u datastores already",
			       MG_DATASTORES_MAX);
	mg_copy(s->name, sizeof(s->name), name);
	s->users = 0;
	rc = ds_open(n->store, name, &s->store, err);
	if (rc != 0) {
		s->store = NULL;
		return rc;
	}
	if (mg_datastore_doc(n, s, &doc, NULL) == 0) {
		ds_set_quota(s->store, (uint64_t)json_integer_value(json_object_get(doc, "quota")));
		rc = mg_datastore_serve(d, s, doc, err);
	}
	json_decref(doc);
	return rc;
}

static void drop(struct mg_datastores *d, struct mg_datastore *s)
{
	if (d->server)
		(void)!nfs_server_unshare(d->server, s->name, NULL);
	pthread_mutex_lock(&d->lock);
	while (s->users)
		pthread_cond_wait(&d->idle, &d->lock);
	pthread_mutex_unlock(&d->lock);
	ds_close(s->store);
	s->store = NULL;
}

static bool in_use(struct mg_datastores *d, const struct mg_datastore *s)
{
	bool used;

	pthread_mutex_lock(&d->lock);
	used = s->users > 0;
	pthread_mutex_unlock(&d->lock);
	return used;
}

struct names {
	char name[MG_DATASTORES_MAX][BS_NAME_MAX];
	unsigned n;
};

static int add_name(void *arg, const struct bs_volume_info *v)
{
	struct names *list = arg;

	if (!v->snapshot && list->n < MG_DATASTORES_MAX)
		mg_copy(list->name[list->n++], BS_NAME_MAX, v->name);
	return 0;
}

/* One that does not open is said, and the others are served. */
static int take_all(struct mg_node *n, struct mg_datastores *d, struct vs_error *err)
{
	struct names *list = calloc(1, sizeof(*list));
	struct vs_error why;
	int rc;

	if (!list)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = mg_objects_walk(n, add_name, list, err);
	for (unsigned i = 0; rc == 0 && i < list->n; i++)
		if (take(n, d, list->name[i], &why) != 0)
			mg_event(n->events, MG_ERROR, "datastore.failed", list->name[i],
				 "not served: %s", why.text);
	free(list);
	return rc;
}

/* The key that file handles are sealed with stays the same, so that clients go on. */
static int handle_key(struct mg_node *n, uint8_t key[KEY], struct vs_error *err)
{
	char text[2 * KEY + 1];
	json_t *doc = NULL;
	const char *have;
	int rc = mg_catalogue_get(n->catalogue, MG_NFS, KEY_NAME, &doc, err);

	if (rc == VS_E_NOENT) {
		if (RAND_bytes(key, KEY) != 1)
			return vs_fail(err, VS_E_IO, "cannot get random bytes");
		vs_format_hex(key, KEY, text);
		doc = json_pack("{s:s}", "key", text);
		rc = mg_catalogue_insert(n->catalogue, MG_NFS, KEY_NAME, doc, NULL, 0, err);
	} else if (rc == 0) {
		have = json_string_value(json_object_get(doc, "key"));
		if (!have || vs_parse_hex(have, key, KEY) != 0)
			rc = vs_fail(err, VS_E_CORRUPT,
				     "the catalogue's key of NFS handles is damaged");
	}
	vs_secret_wipe(text, sizeof(text));
	json_decref(doc);
	return rc;
}

static void rpcbind_event(void *arg, bool well, const char *message)
{
	const struct mg_node *n = arg;

	mg_event(n->events, well ? MG_INFO : MG_WARNING,
		 well ? "rpcbind.registered" : "rpcbind.taken", "nfs", "%s", message);
}

static int start_server(struct mg_node *n, struct mg_datastores *d, struct vs_error *err)
{
	const struct mg_listens *l = &n->options->nfs, *portmap = &n->options->nfs_portmap;
	const char *addresses[MG_LISTEN_MAX], *mapped[MG_LISTEN_MAX];
	uint8_t key[KEY];
	struct nfs_server_options o = {.listen = addresses,
				       .nlisten = l->n,
				       .portmap = mapped,
				       .nportmap = portmap->n,
				       .rpcbind = {NFS_RPCBIND_SOCKET, rpcbind_event, n},
				       .max_connections = CONNECTIONS,
				       .threads = THREADS,
				       .key = key,
				       .key_len = sizeof(key),
				       .keeper = mg_nfs_keeper(n)};
	int rc = handle_key(n, key, err);

	for (unsigned i = 0; i < l->n; i++)
		addresses[i] = l->at[i].text;
	for (unsigned i = 0; i < portmap->n; i++)
		mapped[i] = portmap->at[i].text;
	if (rc == 0)
		rc = nfs_server_start(&o, &d->server, err);
	vs_secret_wipe(key, sizeof(key));
	d->naddresses = l->n;
	return rc;
}

int mg_datastores_open(struct mg_node *n, struct mg_datastores **out, struct vs_error *err)
{
	struct mg_datastores *d = calloc(1, sizeof(*d));
	int rc = 0;

	if (!d)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->idle, NULL);
	*out = d;
	if (n->options->nfs.n)
		rc = start_server(n, d, err);
	if (rc == 0)
		rc = take_all(n, d, err);
	if (rc == 0)
		rc = mg_parts_clean(n, err);
	if (rc != 0) {
		mg_datastores_close(d);
		*out = NULL;
		return rc;
	}
	if (d->server)
		nfs_server_serve(d->server);
	return 0;
}

void mg_datastores_close(struct mg_datastores *d)
{
	if (!d)
		return;
	if (d->server)
		nfs_server_stop(d->server);
	d->server = NULL;
	for (unsigned i = 0; i < MG_DATASTORES_MAX; i++)
		if (d->at[i].store)
			drop(d, &d->at[i]);
	pthread_cond_destroy(&d->idle);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* What was just made is known, open and shared with nobody; or gone. */
static int add(struct mg_node *n, const char *name, uint64_t quota, struct vs_error *err)
{
	struct mg_datastores *d = n->datastores;
	char key[VS_UUID_TEXT] = "";
	struct bs_volume_info info;
	json_t *doc;
	int i, rc = bs_volume_find(n->store, name, &info, err);

	if (rc == 0) {
		vs_uuid_format(&info.uuid, key);
		doc = json_pack("{s:s, s:I, s:[]}", "volume", key, "quota", (json_int_t)quota,
				"shares");
		rc = mg_catalogue_insert(n->catalogue, MG_DATASTORE, key, doc, &info.uuid, 1, err);
		json_decref(doc);
	}
	if (rc == 0)
		rc = take(n, d, name, err);
	if (rc == 0)
		return 0;
	i = find(d, name);
	if (i >= 0)
		drop(d, &d->at[i]);
	if (bs_volume_delete(n->store, name, BS_DELETE_PLAIN, NULL) == 0)
		(void)!mg_catalogue_delete(n->catalogue, MG_DATASTORE, key, NULL);
	else
		mg_event(n->events, MG_WARNING, "datastore.left", name, "could not be deleted");
	return rc;
}

int mg_datastore_create(struct mg_node *n, const char *name, uint64_t quota, struct vs_error *err)
{
	int rc;

	if (!vs_name_ok(name))
		return vs_fail(err, VS_E_INVAL,
			       "'%s' is not a name: letters, digits, '.', '_', '-', up to 63, the "
			       "first a letter or digit",
			       name);
	rc = ds_create(n->store, name, err);
	return rc == 0 ? add(n, name, quota, err) : rc;
}

int mg_datastore_delete(struct mg_node *n, const char *name, bool with_snapshots,
			struct vs_error *err)
{
	struct mg_datastore *s = mg_datastore_find(n, name, err);
	struct bs_volume_info info;
	char key[VS_UUID_TEXT];
	int rc;

	if (!s)
		return VS_E_NOENT;
	rc = bs_volume_find(n->store, name, &info, err);
	if (rc == 0 && info.snapshots && !with_snapshots)
		rc = vs_fail(err, VS_E_BUSY, "%s has %llu snapshots; add --with-snapshots", name,
			     (unsigned long long)info.snapshots);
	if (rc == 0 && in_use(n->datastores, s))
		rc = vs_fail(err, VS_E_BUSY, "a task works on %s; wait for it or cancel it", name);
	if (rc != 0)
		return rc;
	vs_uuid_format(&info.uuid, key);
	drop(n->datastores, s);
	rc = bs_volume_delete(n->store, name,
			      with_snapshots ? BS_DELETE_WITH_SNAPSHOTS : BS_DELETE_PLAIN, err);
	if (rc == 0)
		rc = mg_catalogue_delete(n->catalogue, MG_DATASTORE, key, NULL);
	else if (take(n, n->datastores, name, NULL) != 0)
		mg_event(n->events, MG_ERROR, "datastore.failed", name, "not served any more");
	return rc == VS_E_NOENT ? 0 : rc;
}

int mg_datastore_set_quota(struct mg_node *n, const char *name, uint64_t quota,
			   struct vs_error *err)
{
	struct mg_datastore *s = mg_datastore_find(n, name, err);
	json_t *doc = NULL;
	int rc = s ? mg_datastore_doc(n, s, &doc, err) : VS_E_NOENT;

	if (rc == 0) {
		json_object_set_new(doc, "quota", json_integer((json_int_t)quota));
		rc = mg_datastore_keep(n, s, doc, err);
	}
	if (rc == 0)
		ds_set_quota(s->store, quota);
	json_decref(doc);
	return rc;
}

int mg_datastore_snapshot(struct mg_node *n, const char *name, const char *snap,
			  struct vs_error *err)
{
	struct mg_datastore *s = mg_datastore_find(n, name, err);

	return s ? ds_snapshot_create(s->store, snap, err) : VS_E_NOENT;
}

int mg_datastore_snapshot_delete(struct mg_node *n, const char *name, const char *snap,
				 struct vs_error *err)
{
	struct mg_datastore *s = mg_datastore_find(n, name, err);

	return s ? ds_snapshot_delete(s->store, snap, err) : VS_E_NOENT;
}

int mg_datastore_rollback(struct mg_node *n, const char *name, const char *snap,
			  struct vs_error *err)
{
	struct mg_datastore *s = mg_datastore_find(n, name, err);

	return s ? ds_snapshot_rollback(s->store, snap, err) : VS_E_NOENT;
}

int mg_datastore_clone(struct mg_node *n, const char *name, const char *snap, const char *to,
		       struct vs_error *err)
{
	struct mg_datastore *s = mg_datastore_find(n, name, err);
	char full[BS_FULL_NAME_MAX];
	struct bs_volume_info info;
	int rc;

	if (!s)
		return VS_E_NOENT;
	if (!vs_name_ok(to))
		return vs_fail(err, VS_E_INVAL, "'%s' is not a name", to);
	(void)snprintf(full, sizeof(full), "%s@%s", name, snap);
	rc = bs_volume_clone(n->store, full, to, &info, err);
	return rc == 0 ? add(n, to, 0, err) : rc;
}

int mg_datastore_get(struct mg_node *n, const char *name, struct ds_store **out,
		     struct vs_error *err)
{
	struct mg_datastores *d = n->datastores;
	int i;

	pthread_mutex_lock(&n->config);
	pthread_mutex_lock(&d->lock);
	i = find(d, name);
	if (i >= 0) {
		d->at[i].users++;
		*out = d->at[i].store;
	}
	pthread_mutex_unlock(&d->lock);
	pthread_mutex_unlock(&n->config);
	return i >= 0 ? 0 : vs_fail(err, VS_E_NOENT, "no datastore named %s", name);
}

void mg_datastore_put(struct mg_node *n, struct ds_store *s)
{
	struct mg_datastores *d = n->datastores;

	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < MG_DATASTORES_MAX; i++)
		if (d->at[i].store == s)
			d->at[i].users--;
	pthread_cond_broadcast(&d->idle);
	pthread_mutex_unlock(&d->lock);
}
