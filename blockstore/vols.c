#include "blockstore/vols.h"

#include "blockstore/engine.h"

#include <stdlib.h>
#include <xxhash.h>

int bs_vols_init(struct bs_vols *vs)
{
	vs->mask = 1023;
	vs->by_id = calloc(vs->mask + 1, sizeof(struct bs_vol *));
	vs->by_name = calloc(vs->mask + 1, sizeof(struct bs_vol *));
	vs->next_id = 1;
	return vs->by_id && vs->by_name ? 0 : VS_E_NOMEM;
}

void bs_vols_destroy(struct bs_vols *vs)
{
	for (size_t i = 0; vs->by_id && i <= vs->mask; i++) {
		struct bs_vol *v = vs->by_id[i], *next;

		for (; v; v = next) {
			next = v->id_next;
			free(v);
		}
	}
	free(vs->by_id);
	free(vs->by_name);
}

static size_t id_hash(const struct bs_vols *vs, uint64_t id)
{
	return (size_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & vs->mask;
}

static size_t name_hash(const struct bs_vols *vs, uint64_t parent, const char *name)
{
	return (size_t)XXH3_64bits_withSeed(name, strlen(name), parent) & vs->mask;
}

static void link_in(struct bs_vols *vs, struct bs_vol *v)
{
	struct bs_vol **p = &vs->by_id[id_hash(vs, v->ent.id)];

	v->id_next = *p;
	*p = v;
	if (v->ent.kind == BS_VOL_ORIGIN) /* has no name */
		return;
	p = &vs->by_name[name_hash(vs, v->ent.parent, v->ent.name)];
	v->name_next = *p;
	*p = v;
}

static void unlink_name(struct bs_vols *vs, struct bs_vol *v)
{
	struct bs_vol **p = &vs->by_name[name_hash(vs, v->ent.parent, v->ent.name)];

	if (v->ent.kind == BS_VOL_ORIGIN)
		return;
	while (*p != v)
		p = &(*p)->name_next;
	*p = v->name_next;
}

static void unlink_id(struct bs_vols *vs, struct bs_vol *v)
{
	struct bs_vol **p = &vs->by_id[id_hash(vs, v->ent.id)];

	while (*p != v)
		p = &(*p)->id_next;
	*p = v->id_next;
}

/* Twice the buckets when there are more volumes than that; without memory it only gets slower. */
static void maybe_grow(struct bs_vols *vs)
{
	size_t mask = vs->mask * 2 + 1, old = vs->mask;
	struct bs_vol **by_id, **by_name, **prev = vs->by_id;

	if (vs->count <= vs->mask)
		return;
	by_id = calloc(mask + 1, sizeof(struct bs_vol *));
	by_name = calloc(mask + 1, sizeof(struct bs_vol *));
	if (!by_id || !by_name) {
		free(by_id);
		free(by_name);
		return;
	}
	free(vs->by_name);
	vs->by_id = by_id;
	vs->by_name = by_name;
	vs->mask = mask;
	for (size_t i = 0; i <= old; i++) {
		struct bs_vol *v = prev[i], *next;

		for (; v; v = next) {
			next = v->id_next;
			link_in(vs, v);
		}
	}
	free(prev);
}

struct bs_vol *bs_vol_by_id(struct bs_engine *e, uint64_t id)
{
	struct bs_vol *v = e->vols.by_id[id_hash(&e->vols, id)];

	while (v && v->ent.id != id)
		v = v->id_next;
	return v;
}

static struct bs_vol *by_parent(struct bs_engine *e, uint64_t parent, const char *name)
{
	struct bs_vol *v = e->vols.by_name[name_hash(&e->vols, parent, name)];

	while (v && (v->ent.parent != parent || strcmp(v->ent.name, name) != 0))
		v = v->name_next;
	return v;
}

struct bs_vol *bs_vol_by_name(struct bs_engine *e, const char *name, const char *snap)
{
	struct bs_vol *v = by_parent(e, 0, name);

	return v && snap[0] ? by_parent(e, v->ent.id, snap) : v;
}

static bool listed(const struct bs_vol *v)
{
	return v->ent.kind == BS_VOL_VOLUME || v->ent.kind == BS_VOL_SNAPSHOT;
}

struct bs_vol *bs_vol_origin(struct bs_engine *e, uint32_t id)
{
	struct bs_vol *v = bs_vol_by_id(e, id);

	return v && v->ent.kind == BS_VOL_ORIGIN ? v : NULL;
}

struct bs_vol *bs_vol_by_uuid(struct bs_engine *e, const struct vs_uuid *uuid)
{
	for (size_t i = 0; i <= e->vols.mask; i++)
		for (struct bs_vol *v = e->vols.by_id[i]; v; v = v->id_next)
			if (vs_uuid_equal(&v->ent.uuid, uuid) && listed(v))
				return v;
	return NULL;
}

struct bs_vol *bs_vol_next(struct bs_engine *e, uint64_t after)
{
	for (uint64_t id = after + 1; id < e->vols.next_id; id++) {
		struct bs_vol *v = bs_vol_by_id(e, id);

		if (v && listed(v))
			return v;
	}
	return NULL;
}

struct bs_vol *bs_vol_new(struct bs_engine *e, const struct bs_volent *ent)
{
	struct bs_vol *v = calloc(1, sizeof(*v));

	(void)e;
	if (v) {
		v->ent = *ent;
		atomic_init(&v->size, ent->size);
	}
	return v;
}

static void count(struct bs_vols *vs, const struct bs_vol *v, int by)
{
	if (v->ent.kind == BS_VOL_VOLUME && !bs_vol_hidden(&v->ent))
		vs->volumes += (uint64_t)(int64_t)by;
	if (v->ent.kind == BS_VOL_SNAPSHOT) {
		vs->snapshots += (uint64_t)(int64_t)by;
		v->parent->snapshots += (unsigned)by;
	}
}

static void enter(struct bs_engine *e, struct bs_vol *v)
{
	struct bs_vols *vs = &e->vols;

	if (v->ent.kind == BS_VOL_SNAPSHOT) {
		v->parent = bs_vol_by_id(e, v->ent.parent);
		VS_ASSERT(v->parent);
	}
	vs->count++;
	maybe_grow(vs);
	link_in(vs, v);
	count(vs, v, 1);
	if (v->ent.id >= vs->next_id)
		vs->next_id = v->ent.id + 1;
}

static bool fits(struct bs_engine *e, const struct bs_volent *ent, uint64_t id)
{
	const struct bs_vol *parent;

	if (ent->id != id || id == 0)
		return false;
	if (ent->kind != BS_VOL_SNAPSHOT)
		return ent->parent == 0;
	parent = bs_vol_by_id(e, ent->parent);
	return parent && parent->ent.kind != BS_VOL_SNAPSHOT && parent->ent.kind != BS_VOL_ORIGIN;
}

int bs_vols_load(struct bs_engine *e)
{
	for (uint64_t leaf = 0; leaf < e->trees[BS_TREE_VOLUME].root.leaves; leaf++) {
		struct bs_frame *f;
		int rc = bs_tree_get(e, BS_TREE_VOLUME, 0, leaf, true, &f);

		if (rc)
			return rc;
		for (unsigned i = 0; f && i < BS_VOLENTS_PER_PAGE; i++) {
			struct bs_volent ent;
			struct bs_vol *v;

			rc = bs_volent_get(f->data + i * BS_VOLENT_SIZE, &ent);
			if (rc)
				return rc;
			if (ent.kind == BS_VOL_FREE)
				continue;
			if (!fits(e, &ent, leaf * BS_VOLENTS_PER_PAGE + i))
				return VS_E_CORRUPT;
			v = bs_vol_new(e, &ent);
			if (!v)
				return VS_E_NOMEM;
			enter(e, v);
		}
		bs_frames_unkeep(e);
	}
	return 0;
}

int bs_vol_ready_id(struct bs_engine *e, uint64_t id)
{
	struct bs_frame *f;

	return bs_tree_get_w(e, BS_TREE_VOLUME, id / BS_VOLENTS_PER_PAGE, &f);
}

int bs_vol_ready(struct bs_engine *e, const struct bs_vol *v)
{
	return bs_vol_ready_id(e, v->ent.id);
}

static void put(struct bs_engine *e, const struct bs_volent *ent, uint64_t id)
{
	struct bs_frame *f = bs_tree_now(e, BS_TREE_VOLUME, id / BS_VOLENTS_PER_PAGE);
	uint8_t *p;

	bs_frame_touch(e, f);
	p = f->data + id % BS_VOLENTS_PER_PAGE * BS_VOLENT_SIZE;
	if (ent)
		bs_volent_put(p, ent);
	else
		memset(p, 0, BS_VOLENT_SIZE);
}

void bs_vol_changed(struct bs_engine *e, struct bs_vol *v)
{
	atomic_store(&v->size, v->ent.size);
	put(e, &v->ent, v->ent.id);
}

void bs_vol_enter(struct bs_engine *e, struct bs_vol *v)
{
	enter(e, v);
	put(e, &v->ent, v->ent.id);
}

void bs_vol_rename(struct bs_engine *e, struct bs_vol *v, const char *name)
{
	struct bs_vols *vs = &e->vols;

	unlink_name(vs, v);
	memset(v->ent.name, 0, sizeof(v->ent.name));
	memcpy(v->ent.name, name, strnlen(name, BS_NAME_MAX - 1));
	struct bs_vol **p = &vs->by_name[name_hash(vs, v->ent.parent, v->ent.name)];

	v->name_next = *p;
	*p = v;
	bs_vol_changed(e, v);
}

static void erase(struct bs_engine *e, struct bs_vol *v)
{
	put(e, NULL, v->ent.id);
	unlink_name(&e->vols, v);
	unlink_id(&e->vols, v);
	e->vols.count--;
	free(v);
}

void bs_vol_remove(struct bs_engine *e, struct bs_vol *v)
{
	struct bs_vol *parent = v->ent.kind == BS_VOL_SNAPSHOT ? v->parent : NULL;

	count(&e->vols, v, -1);
	if (v->snapshots) {
		v->ent.kind = BS_VOL_GONE;
		v->ent.root = 0;
		bs_vol_changed(e, v);
		return;
	}
	erase(e, v);
	if (parent && parent->ent.kind == BS_VOL_GONE && !parent->snapshots)
		erase(e, parent);
}
