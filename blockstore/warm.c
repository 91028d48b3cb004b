#include "blockstore/warm.h"

#include "blockstore/map.h"

/* A page that is wanted, and the byte in it. */
struct way {
	struct bs_frame *const *slot; /* where its chain begins in the frames' hash; NULL: none */
	uint64_t key;
	unsigned at;
};

static struct way way_to(const struct bs_engine *e, uint64_t key, unsigned at)
{
	struct way w = {.slot = bs_frame_slot(&e->frames, key), .key = key, .at = at};

	__builtin_prefetch(w.slot);
	return w;
}

/* Slot, frame, bytes: each step for all before the next. */
static void follow(struct bs_engine *e, const struct way *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (w[i].slot)
			__builtin_prefetch(*w[i].slot);
	for (unsigned i = 0; i < n; i++) {
		const struct bs_frame *f = w[i].slot ? bs_frame_find(e, w[i].key) : NULL;

		if (f)
			__builtin_prefetch(f->data + w[i].at);
	}
}

static struct way to_map(struct bs_engine *e, const struct bs_iop *op)
{
	uint64_t cid;

	if (op->stage == BS_OP_WRITE)
		for (unsigned i = 0; i < op->count; i++)
			bs_index_warm(e, &op->to[i].digest);
	else if (op->stage != BS_OP_READ)
		return (struct way){0};
	cid = bs_map_leaf_hint(e, op->vol, op->block);
	return cid ? way_to(e, bs_key_map(cid), op->block % BS_MAP_FAN * 8) : (struct way){0};
}

static struct way to_place(struct bs_engine *e, const struct bs_iop *op, const struct way *map)
{
	const struct bs_frame *f;
	uint64_t slot;

	if (op->stage != BS_OP_READ || !map->slot || !(f = bs_frame_find(e, map->key)) ||
	    f->state != BS_FRAME_VALID)
		return (struct way){0};
	slot = bs_cid_slot(bs_map_entry(f->data, map->at / 8));
	return way_to(e, bs_key_tree(BS_TREE_PLACE, 0, slot / BS_PLACES_PER_PAGE),
		      slot % BS_PLACES_PER_PAGE * BS_PLACE_SIZE);
}

void bs_warm(struct bs_engine *e, struct bs_iop *const *ops, unsigned n)
{
	struct way w[BS_WARM] = {0};

	for (unsigned i = 0; i < n; i++) {
		__builtin_prefetch(ops[i]);
		__builtin_prefetch(&ops[i]->seq);
		__builtin_prefetch(ops[i]->to);
	}
	for (unsigned i = 0; i < n; i++)
		w[i] = to_map(e, ops[i]);
	follow(e, w, n);
	for (unsigned i = 0; i < n; i++)
		w[i] = to_place(e, ops[i], &w[i]);
	follow(e, w, n);
}
