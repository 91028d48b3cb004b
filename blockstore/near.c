#include "blockstore/near.h"

#include "blockstore/content.h"
#include "blockstore/feature.h"
#include "blockstore/op.h"

#include <stdlib.h>

int bs_near_init(struct bs_near *n, uint64_t bytes, uint32_t digests)
{
	int rc;

	if (!bytes)
		return 0;
	n->pages = VS_MAX(digests / BS_DIGESTS_PER_PAGE, 1u);
	rc = dd_index_new(&n->table, bytes, DD_KEEP_RECENT, NULL);
	if (rc)
		return rc;
	/* as many groups as fit into half the table (see holds) */
	n->nheld = (uint32_t)(bytes / 16 / ((uint64_t)n->pages * BS_DIGESTS_PER_PAGE)) + 1;
	n->held = calloc(n->nheld, sizeof(*n->held));
	return n->held ? 0 : VS_E_NOMEM;
}

void bs_near_destroy(struct bs_near *n)
{
	dd_index_free(n->table);
	free(n->held);
	n->table = NULL;
	n->held = NULL;
}

void bs_near_clear(struct bs_near *n)
{
	if (!n->table)
		return;
	dd_index_clear(n->table);
	memset(n->held, 0, n->nheld * sizeof(*n->held));
}

static uint64_t group_of(const struct bs_near *n, uint64_t slot)
{
	return slot / ((uint64_t)n->pages * BS_DIGESTS_PER_PAGE);
}

static bool queued(const struct bs_near *n, uint64_t group)
{
	for (uint64_t i = n->loaded; i < n->asked; i++)
		if (n->queue[i % BS_NEAR_QUEUE].group == group)
			return true;
	return false;
}

/* Half a table of later entries has hardly pushed a group out. */
static bool holds(const struct bs_near *n, uint64_t group)
{
	const struct bs_near_held *h = &n->held[group % n->nheld];

	return h->group == group + 1 && n->entered - h->at < dd_index_bytes(n->table) / 16;
}

void bs_near_enter(struct bs_near *n, const struct dd_digest *d, uint64_t slot)
{
	dd_index_insert(n->table, d, slot);
	n->entered++;
}

void bs_near_hit(struct bs_engine *e, const struct bs_iop *op, uint64_t slot)
{
	struct bs_near *n = &e->index.near;
	uint64_t group, last;

	if (!n->table || !e->index.all || dd_index_complete(e->index.all))
		return;
	group = group_of(n, slot);
	last = op->vol->near_group;
	op->vol->near_group = group;
	if (op->count == 1 && group != last && group != last + 1)
		return;
	if (holds(n, group) || n->asked - n->loaded == BS_NEAR_QUEUE || queued(n, group))
		return;
	n->queue[n->asked % BS_NEAR_QUEUE].group = group;
	n->queue[n->asked % BS_NEAR_QUEUE].volume = op->vol->ent.id;
	n->asked++;
}

int bs_near_missed(struct bs_engine *e, struct bs_iop *op)
{
	const struct bs_near *n = &e->index.near;

	if (op->near_waited)
		return 0;
	for (uint64_t i = n->asked; i > n->loaded; i--) {
		if (n->queue[(i - 1) % BS_NEAR_QUEUE].volume == op->vol->ent.id) {
			op->near_until = i;
			return VS_E_AGAIN;
		}
	}
	return 0;
}

void bs_near_wait(struct bs_engine *e, struct bs_iop *op)
{
	struct bs_near *n = &e->index.near;

	if (!op->near_until || !bs_fiber_here(e->fibers))
		return;
	while (n->loaded < op->near_until)
		bs_fiber_block(e->fibers, &n->wait);
	op->near_until = 0;
	op->near_waited = true;
}

bool bs_near_busy(const struct bs_engine *e)
{
	return e->index.near.asked != e->index.near.loaded;
}

/*
 * Private content is left out already here: a candidate that is refused later costs a look at its
 * place, and that takes time which others could measure.
 */
static bool is_private(struct bs_engine *e, uint64_t slot)
{
	struct bs_place place;

	return bs_feature_used(e, BS_INCOMPAT_PRIVATE) &&
	       (bs_content_look_slot(e, slot, &place) != 0 || place.private);
}

/* A page whose digests cannot be read is passed over: what it held is missed. */
static void load_page(struct bs_engine *e, uint64_t page)
{
	uint64_t slot = page * BS_DIGESTS_PER_PAGE;
	struct bs_frame *f;

	if (bs_tree_get(e, BS_TREE_DIGEST, 0, page, true, &f) || !f)
		return;
	for (unsigned i = 0; i < BS_DIGESTS_PER_PAGE; i++, slot++) {
		struct dd_digest d;

		memcpy(d.b, f->data + 32 * i, 32);
		if (slot && vs_get_le64(d.b) && !is_private(e, slot)) /* zeros: never used */
			bs_near_enter(&e->index.near, &d, slot);
	}
	bs_frames_unkeep(e);
}

void bs_near_load(struct bs_engine *e)
{
	struct bs_near *n = &e->index.near;
	uint64_t group = n->queue[n->loaded % BS_NEAR_QUEUE].group;

	for (uint32_t i = 0; i < n->pages; i++)
		load_page(e, group * n->pages + i);
	n->held[group % n->nheld] = (struct bs_near_held){group + 1, n->entered};
	n->loads++;
	n->loaded++;
	bs_fiber_wake_all(e->fibers, &n->wait);
}
