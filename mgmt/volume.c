/* Volumes and snapshots as the API shows them. */
#include "mgmt/volume_impl.h"

#include "blockstore/exact.h"
#include "common/bytes.h"
#include "common/text.h"
#include "mgmt/origin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 128 /* volumes asked for at once */

static const char *const coding_names[] = {
    [BS_CODING_PLAIN] = "none", [BS_CODING_LZ4] = "lz4", [BS_CODING_ZSTD] = "zstd"};

const char *mg_coding_name(int coding)
{
	return coding >= 0 && (size_t)coding < VS_ARRAY_LEN(coding_names) ? coding_names[coding]
									  : "unknown";
}

int mg_coding_parse(const char *name, int *coding, struct vs_error *err)
{
	for (size_t i = 0; i < VS_ARRAY_LEN(coding_names); i++) {
		if (strcmp(name, coding_names[i]) == 0) {
			*coding = (int)i;
			return 0;
		}
	}
	return vs_fail(err, VS_E_INVAL, "compression '%s' is none of lz4, zstd, none", name);
}

const char *mg_full_name(const struct bs_volume_info *v, char *text)
{
	(void)snprintf(text, BS_FULL_NAME_MAX, "%s%s%s", v->name, v->snap[0] ? "@" : "", v->snap);
	return text;
}

json_t *mg_time_json(int64_t unix_ns)
{
	char text[32];

	return json_string(vs_format_time(unix_ns, text, sizeof(text)));
}

void mg_volume_name(struct mg_node *n, const struct vs_uuid *uuid, char name[BS_FULL_NAME_MAX])
{
	struct bs_volume_info info;

	if (bs_volume_find_uuid(n->store, uuid, &info, NULL) == 0)
		mg_full_name(&info, name);
	else
		vs_uuid_format(uuid, name);
}

/* Adds the exact figures: null while they are not known, with their time when they are stale. */
static json_t *add_exact(json_t *json, bool snapshot, const struct bs_exact_info *x)
{
	static const char *const keys[] = {"unique_bytes", "frees_if_deleted_bytes"};

	for (size_t i = 0; json && i < (snapshot ? 2 : 1); i++)
		json_object_set_new(json, keys[i],
				    x->known ? json_integer((json_int_t)x->frees) : json_null());
	if (json && x->known && x->stale) {
		json_object_set_new(json, "stale", json_true());
		json_object_set_new(json, "as_of", mg_time_json(x->as_of_ns));
	}
	return json;
}

static struct bs_exact_info exact_of(struct mg_node *n, const struct bs_volume_info *v,
				     unsigned wait_ms)
{
	struct bs_exact_info x;

	if (bs_exact_get(n->store, &v->id, 1, wait_ms, &x, NULL) != 0)
		x.known = false;
	return x;
}

json_t *mg_snapshot_json(struct mg_node *n, const struct bs_volume_info *v, unsigned wait_ms)
{
	char full[BS_FULL_NAME_MAX], uuid[VS_UUID_TEXT];
	struct bs_exact_info x = exact_of(n, v, wait_ms);
	json_t *json;

	vs_uuid_format(&v->uuid, uuid);
	json = json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:I, s:b}", "name", mg_full_name(v, full),
			 "volume", v->name, "snapshot", v->snap, "uuid", uuid, "size",
			 (json_int_t)v->size, "created", mg_time_json(v->created_ns),
			 "logical_bytes", (json_int_t)v->logical_bytes, "kept", v->kept);
	return add_exact(json, true, &x);
}

/* {name, created, logical_bytes, the exact figures}, as a volume lists its snapshots. */
static json_t *brief_snapshot(struct mg_node *n, const struct bs_volume_info *v)
{
	struct bs_exact_info x = exact_of(n, v, 0);
	char full[BS_FULL_NAME_MAX];

	return add_exact(json_pack("{s:s, s:o, s:I}", "name", mg_full_name(v, full), "created",
				   mg_time_json(v->created_ns), "logical_bytes",
				   (json_int_t)v->logical_bytes),
			 true, &x);
}

static json_t *volume_json(struct mg_node *n, const struct bs_volume_info *v, json_t *snapshots)
{
	char full[BS_FULL_NAME_MAX], uuid[VS_UUID_TEXT], origin[BS_FULL_NAME_MAX];
	struct bs_exact_info x = exact_of(n, v, 0);
	json_t *exports = NULL, *live = mg_origin_json(n, v), *json;

	if (mg_volume_users(n, &v->uuid, mg_full_name(v, full), &exports, NULL) != 0)
		exports = json_array();
	vs_uuid_format(&v->uuid, uuid);
	if (v->has_origin && !live)
		mg_volume_name(n, &v->origin, origin);
	json = json_pack("{s:s, s:s, s:I, s:s, s:i, s:s, s:b, s:o, s:I, s:o, s:s?, s:o}", "name",
			 full, "uuid", uuid, "size", (json_int_t)v->size, "provisioning",
			 v->thick ? "thick" : "thin", "sector", (int)v->sector, "compression",
			 mg_coding_name(v->compression), "dedup", v->dedup, "created",
			 mg_time_json(v->created_ns), "logical_bytes", (json_int_t)v->logical_bytes,
			 "snapshots", snapshots, "origin", v->has_origin && !live ? origin : NULL,
			 "exports", exports);
	if (live)
		json_object_set_new(json, "origin", live);
	if (json && v->snapshot)
		json_object_set_new(json, "kept", json_boolean(v->kept));
	if (json && v->thick)
		json_object_set_new(json, "reserved_bytes",
				    json_integer((json_int_t)v->reserved_bytes));
	return add_exact(json, v->snapshot, &x);
}

static int walk(struct mg_node *n, bool objects,
		int (*each)(void *arg, const struct bs_volume_info *v), void *arg,
		struct vs_error *err)
{
	struct bs_volume_info *page = calloc(PAGE, sizeof(*page));
	uint64_t after = 0;
	size_t got = 1;
	int rc = 0;

	if (!page)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	while (rc == 0 && got > 0) {
		rc = bs_volume_list(n->store, after, page, PAGE, &got, err);
		for (size_t i = 0; i < got && rc == 0; i++) {
			after = page[i].id;
			if (page[i].objects == objects && each(arg, &page[i]) != 0)
				rc = vs_fail(err, VS_E_NOMEM, "out of memory");
		}
	}
	free(page);
	return rc;
}

int mg_volume_walk(struct mg_node *n, int (*each)(void *arg, const struct bs_volume_info *v),
		   void *arg, struct vs_error *err)
{
	return walk(n, false, each, arg, err);
}

int mg_objects_walk(struct mg_node *n, int (*each)(void *arg, const struct bs_volume_info *v),
		    void *arg, struct vs_error *err)
{
	return walk(n, true, each, arg, err);
}

/* Volumes in the order of ids, and the snapshots of each by its UUID. */
struct listing {
	struct mg_node *node;
	const struct vs_uuid *only; /* snapshots of this volume; NULL: all */
	json_t *volumes;	    /* NULL: only snapshots are wanted */
	json_t *snapshots;	    /* {volume UUID: [...]} */
};

static json_t *snapshots_of(struct listing *l, const struct vs_uuid *volume)
{
	char key[VS_UUID_TEXT];
	json_t *list;

	vs_uuid_format(volume, key);
	list = json_object_get(l->snapshots, key);
	if (!list) {
		list = json_array();
		json_object_set_new(l->snapshots, key, list);
	}
	return list;
}

static int list_one(void *arg, const struct bs_volume_info *v)
{
	struct listing *l = arg;

	if (!v->snapshot)
		return l->volumes
			   ? json_array_append_new(
				 l->volumes,
				 volume_json(l->node, v, json_incref(snapshots_of(l, &v->uuid))))
			   : 0;
	if (l->only && !vs_uuid_equal(&v->origin, l->only))
		return 0;
	return json_array_append_new(snapshots_of(l, &v->origin), brief_snapshot(l->node, v));
}

int mg_volume_list(struct mg_node *n, json_t **out, struct vs_error *err)
{
	struct listing l = {.node = n, .volumes = json_array(), .snapshots = json_object()};
	int rc = mg_volume_walk(n, list_one, &l, err);

	json_decref(l.snapshots);
	if (rc != 0)
		json_decref(l.volumes);
	else
		*out = l.volumes;
	return rc;
}

/* The ids of some snapshots, for their exact figures. */
struct ids {
	const struct vs_uuid *volume; /* of this one; NULL: by name, and without one all */
	const char *name;
	uint64_t *id;
	size_t n, room;
};

static int add_id(void *arg, const struct bs_volume_info *v)
{
	struct ids *ids = arg;
	uint64_t *more;

	if (!v->snapshot || (ids->volume && !vs_uuid_equal(&v->origin, ids->volume)) ||
	    (ids->name && strcmp(ids->name, v->name) != 0))
		return 0;
	if (ids->n == ids->room) {
		ids->room = ids->room ? 2 * ids->room : PAGE;
		more = realloc(ids->id, ids->room * sizeof(*more));
		if (!more)
			return VS_E_NOMEM;
		ids->id = more;
	}
	ids->id[ids->n++] = v->id;
	return 0;
}

/* Waits for the figures of the snapshots that ids describes, and of volume `id` (0: none). */
static int await_exact(struct mg_node *n, struct ids *ids, uint64_t id, unsigned wait_ms,
		       struct vs_error *err)
{
	struct bs_exact_info *x;
	int rc = mg_volume_walk(n, add_id, ids, err);

	x = calloc(ids->n + 1, sizeof(*x));
	if (rc == 0 && (!x || ids->n == SIZE_MAX))
		rc = vs_fail(err, VS_E_NOMEM, "out of memory");
	if (rc == 0 && id)
		rc = bs_exact_get(n->store, &id, 1, wait_ms, x, err);
	if (rc == 0)
		rc = bs_exact_get(n->store, ids->id, ids->n, wait_ms, x, err);
	free(x);
	free(ids->id);
	return rc;
}

int mg_volume_show(struct mg_node *n, const char *full, unsigned wait_ms, json_t **out,
		   struct vs_error *err)
{
	struct ids ids = {0};
	struct bs_volume_info info;
	struct listing l = {.node = n, .only = &info.uuid};
	int rc = bs_volume_find(n->store, full, &info, err);

	if (rc == 0 && info.objects)
		rc = vs_fail(err, VS_E_NOTSUP, "%s is a datastore: see \"vstore datastore show\"",
			     full);

	if (rc == 0 && wait_ms) {
		ids.volume = &info.uuid;
		rc = await_exact(n, &ids, info.id, wait_ms, err);
	}
	if (rc != 0)
		return rc;
	l.snapshots = json_object();
	if (!info.snapshot && info.snapshots > 0)
		rc = mg_volume_walk(n, list_one, &l, err);
	if (rc == 0)
		*out = volume_json(n, &info, json_incref(snapshots_of(&l, &info.uuid)));
	json_decref(l.snapshots);
	return rc;
}

struct snapshot_listing {
	struct mg_node *node;
	const char *volume;
	json_t *list;
};

static int list_snapshot(void *arg, const struct bs_volume_info *v)
{
	struct snapshot_listing *l = arg;

	if (!v->snapshot || (l->volume && strcmp(l->volume, v->name) != 0))
		return 0;
	return json_array_append_new(l->list, mg_snapshot_json(l->node, v, 0));
}

int mg_snapshot_list(struct mg_node *n, const char *volume, unsigned wait_ms, json_t **out,
		     struct vs_error *err)
{
	struct snapshot_listing l = {.node = n, .volume = volume, .list = json_array()};
	struct ids ids = {.name = volume};
	int rc = wait_ms ? await_exact(n, &ids, 0, wait_ms, err) : 0;

	if (rc == 0)
		rc = mg_volume_walk(n, list_snapshot, &l, err);
	if (rc == 0 && volume && json_array_size(l.list) == 0)
		rc = bs_volume_find(n->store, volume, NULL, err);
	if (rc != 0)
		json_decref(l.list);
	else
		*out = l.list;
	return rc;
}
