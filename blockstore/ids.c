#include "blockstore/engine.h"
#include "blockstore/tree.h"

static bool entry_free(const struct bs_idalloc *a, uint64_t leaf, const uint8_t *data, unsigned i)
{
	if (leaf == 0 && i == 0)
		return false; /* slot 0 is never given out */
	if (a->tree == BS_TREE_MAP) {
		struct bs_mapent ent;

		bs_mapent_get(data + i * BS_MAPENT_SIZE, &ent);
		return !ent.live;
	}
	struct bs_place place;

	bs_place_get(data + i * BS_PLACE_SIZE, &place);
	return place.refs == 0;
}

static bool in_runs(const struct bs_idalloc *a, uint64_t leaf)
{
	for (unsigned i = 0; i < a->nruns; i++)
		if (a->runs[i].leaf == leaf)
			return true;
	return false;
}

/* Entries in use of a leaf, from its frame or else from the pointer to it. */
static int leaf_used(struct bs_engine *e, const struct bs_idalloc *a, uint64_t leaf, unsigned *used)
{
	struct bs_tree *t = &e->trees[a->tree];
	struct bs_frame *f = bs_frame_find(e, bs_key_tree(a->tree, 0, leaf));
	struct bs_ptr ptr;
	int rc;

	if (f && f->state == BS_FRAME_VALID) {
		*used = f->used;
		return 0;
	}
	if (t->root.height == 1) {
		*used = t->root.ptr.used;
		return 0;
	}
	rc = bs_tree_get(e, a->tree, 1, leaf / BS_PTRS_PER_PAGE, true, &f);
	if (rc)
		return rc;
	*used = 0;
	if (f) {
		bs_ptr_get(f->data + (leaf % BS_PTRS_PER_PAGE) * BS_PTR_SIZE, &ptr);
		*used = ptr.used;
	}
	return 0;
}

/*
 * The next leaf to take ids from: one that is at least half empty among the next few, else a new
 * one, else any with a free entry.
 */
static int pick_leaf(struct bs_engine *e, struct bs_idalloc *a, uint64_t *leaf)
{
	uint64_t leaves = e->trees[a->tree].root.leaves, look = 16;
	bool grow = leaves < a->max_leaves;
	unsigned used;
	int rc;

	if (!grow)
		look = leaves;
	for (uint64_t n = 0; n < look && n < leaves; n++) {
		uint64_t i = a->hint;

		if (i >= leaves)
			i = a->hint = 0;
		rc = leaf_used(e, a, i, &used);
		if (rc)
			return rc;
		a->hint = i + 1;
		if (!in_runs(a, i) && used + (grow ? a->per_page / 2 : 1) <= a->per_page) {
			*leaf = i;
			return 0;
		}
	}
	if (!grow)
		return VS_E_NOSPC;
	*leaf = leaves;
	return 0;
}

static int hold(struct bs_engine *e, struct bs_idrun *run, unsigned tree, uint64_t leaf)
{
	struct bs_frame *f;
	int rc = bs_tree_get_w(e, tree, leaf, &f);

	if (rc)
		return rc;
	f->pins++;
	run->frames[run->nframes++] = f;
	return 0;
}

static void unhold(struct bs_idrun *run)
{
	for (unsigned i = 0; i < run->nframes; i++)
		run->frames[i]->pins--;
	run->nframes = 0;
}

static int hold_all(struct bs_engine *e, struct bs_idalloc *a, struct bs_idrun *run)
{
	uint64_t first = run->leaf * a->per_page, last = first + a->per_page - 1;
	int rc = hold(e, run, a->tree, run->leaf);

	if (a->tree == BS_TREE_PLACE)
		for (uint64_t d = first / BS_DIGESTS_PER_PAGE;
		     rc == 0 && d <= last / BS_DIGESTS_PER_PAGE; d++)
			rc = hold(e, run, BS_TREE_DIGEST, d);
	return rc;
}

static void seek_free(const struct bs_idalloc *a, struct bs_idrun *run)
{
	while (!entry_free(a, run->leaf, run->frames[0]->data, run->next)) {
		run->next++;
		VS_ASSERT(run->next < a->per_page);
	}
}

static int add_run(struct bs_engine *e, struct bs_idalloc *a)
{
	struct bs_idrun run = {0};
	int rc = pick_leaf(e, a, &run.leaf);

	if (rc)
		return rc;
	rc = hold_all(e, a, &run);
	if (rc) {
		unhold(&run);
		return rc;
	}
	for (unsigned i = 0; i < a->per_page; i++)
		run.free += entry_free(a, run.leaf, run.frames[0]->data, i);
	if (run.free == 0 || in_runs(a, run.leaf) || a->nruns == BS_RUNS) {
		unhold(&run);
		return a->nruns == BS_RUNS ? VS_E_NOSPC : 0;
	}
	seek_free(a, &run);
	a->runs[a->nruns++] = run;
	return 0;
}

/* A run's pages are pinned, the pages above them only while they are dirty. */
static int ready_run(struct bs_engine *e, const struct bs_idrun *run)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < run->nframes; i++) {
		uint64_t key = run->frames[i]->key;
		struct bs_frame *f;

		if (!bs_frame_dirty(&e->frames, run->frames[i]))
			rc = bs_tree_get_w(e, bs_key_kind(key) - 1, bs_key_index(key), &f);
	}
	return rc;
}

int bs_ids_prepare(struct bs_engine *e, struct bs_idalloc *a, unsigned n)
{
	uint64_t bound = e->trees[a->tree].root.leaves + BS_RUNS + n;

	for (uint64_t tries = 0;; tries++) {
		unsigned free = 0;
		int rc = 0;

		for (unsigned i = 0; rc == 0 && i < a->nruns && free < n; i++) {
			rc = ready_run(e, &a->runs[i]);
			free += a->runs[i].free;
		}
		if (rc || free >= n)
			return rc;
		if (tries > bound)
			return VS_E_NOSPC;
		rc = add_run(e, a);
		if (rc)
			return rc;
	}
}

static void drop_run(struct bs_idalloc *a)
{
	unhold(&a->runs[0]);
	a->nruns--;
	memmove(&a->runs[0], &a->runs[1], a->nruns * sizeof(a->runs[0]));
}

uint64_t bs_ids_take(struct bs_engine *e, struct bs_idalloc *a)
{
	struct bs_idrun *run = &a->runs[0];
	const uint8_t *data;
	uint16_t gen;
	unsigned i;

	VS_ASSERT(a->nruns && run->free);
	data = run->frames[0]->data;
	i = run->next;
	VS_ASSERT(entry_free(a, run->leaf, data, i));
	if (a->tree == BS_TREE_MAP) {
		struct bs_mapent ent;

		bs_mapent_get(data + i * BS_MAPENT_SIZE, &ent);
		gen = ent.place.gen;
	} else {
		struct bs_place place;

		bs_place_get(data + i * BS_PLACE_SIZE, &place);
		gen = place.gen;
	}
	uint64_t slot = run->leaf * a->per_page + i;

	if (--run->free == 0) {
		drop_run(a);
	} else {
		run->next++;
		seek_free(a, run);
	}
	return bs_cid(slot, (uint16_t)((gen + 1) & e->cfg.gen_mask));
}

uint64_t bs_ids_next(const struct bs_idalloc *a)
{
	return a->nruns ? a->runs[0].leaf * a->per_page + a->runs[0].next : 0;
}

void bs_ids_release_runs(struct bs_engine *e, struct bs_idalloc *a)
{
	(void)e;
	while (a->nruns)
		drop_run(a);
}
