#include "blockstore/scrub_view.h"

#include "blockstore/mend.h"
#include "blockstore/store_int.h"

#include <stdlib.h>

#define NODES 256u /* pages of trees that are kept, by their number */
#define LEASE_NS UINT64_C(60000000000)

struct node {
	uint64_t key; /* bs_key_tree; 0: empty */
	uint8_t *data;
};

struct bs_view {
	struct bs_store *store;
	struct bs_super sb;
	uint8_t *mem; /* of nodes */
	struct node nodes[NODES];
	struct bs_view_page *pages; /* of the call under way */
	unsigned npages;
};

static int hold(struct bs_engine *e, struct bs_call *c)
{
	struct bs_view *v = c->arg;

	v->sb = e->sb;
	e->segs.held = e->sb.checkpoint;
	e->segs.held_until = e->env.now_ns(e->env.arg) + LEASE_NS;
	return 0;
}

static int let_go(struct bs_engine *e, struct bs_call *c)
{
	struct bs_view *v = c->arg;

	if (e->segs.held == v->sb.checkpoint)
		e->segs.held = 0;
	return 0;
}

static int read_copy(struct bs_engine *e, const struct bs_view_page *p, unsigned i)
{
	const struct bs_mend m = {.seg = p->ptr.seg[i],
				  .off = p->ptr.off[i],
				  .len = BS_PAGE,
				  .check = p->ptr.check,
				  .mask = p->mask};

	if (m.seg >= e->segs.count || m.off % BS_PAGE || !vs_range_ok(m.off, BS_PAGE, e->segs.size))
		return VS_E_CORRUPT;
	return bs_mend_read(e, &m, p->data);
}

/* What was read counts only if the segments were held until the end. */
static int read_pages(struct bs_engine *e, struct bs_call *c)
{
	struct bs_view *v = c->arg;

	for (unsigned i = 0; i < v->npages && !e->stopping; i++) {
		struct bs_view_page *p = &v->pages[i];

		p->status = read_copy(e, p, 0);
		if (p->status && p->ptr.seg[1] != BS_SEG_NONE)
			p->status = read_copy(e, p, 1);
	}
	if (e->segs.held != v->sb.checkpoint || e->stopping)
		return VS_E_BUSY;
	e->segs.held_until = e->env.now_ns(e->env.arg) + LEASE_NS;
	return 0;
}

int bs_view_new(struct bs_store *s, struct bs_view **out, struct vs_error *err)
{
	struct bs_view *v = calloc(1, sizeof(*v));
	int rc;

	if (v)
		v->mem = aligned_alloc(BS_PAGE, (size_t)NODES * BS_PAGE);
	if (!v || !v->mem) {
		free(v);
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	v->store = s;
	for (unsigned i = 0; i < NODES; i++)
		v->nodes[i].data = v->mem + (size_t)i * BS_PAGE;
	rc = bs_store_call(s, false, hold, v, err);
	if (rc)
		bs_view_free(v);
	else
		*out = v;
	return rc;
}

void bs_view_free(struct bs_view *v)
{
	if (!v)
		return;
	free(v->mem);
	free(v);
}

int bs_view_done(struct bs_view *v, struct vs_error *err)
{
	return bs_store_call(v->store, false, let_go, v, err);
}

const struct bs_super *bs_view_super(const struct bs_view *v)
{
	return &v->sb;
}

int bs_view_read(struct bs_view *v, struct bs_view_page *pages, unsigned n, struct vs_error *err)
{
	VS_ASSERT(n <= BS_VIEW_PAGES);
	v->pages = pages;
	v->npages = n;
	return bs_store_call(v->store, false, read_pages, v, err);
}

static int find_ptr(struct bs_view *v, unsigned tree, unsigned level, uint64_t index,
		    struct bs_ptr *ptr, struct vs_error *err)
{
	const struct bs_tree_root *root = &v->sb.roots[tree];
	const uint8_t *above;
	int rc;

	*ptr = (struct bs_ptr){.seg = {BS_SEG_NONE, BS_SEG_NONE}};
	if (level >= root->height)
		return 0;
	if (level + 1u == root->height) {
		if (index == 0)
			*ptr = root->ptr;
		return 0;
	}
	rc = bs_view_node(v, tree, level + 1, index / BS_PTRS_PER_PAGE, &above, err);
	if (rc == 0 && above)
		bs_ptr_get(above + index % BS_PTRS_PER_PAGE * BS_PTR_SIZE, ptr);
	return rc;
}

int bs_view_node(struct bs_view *v, unsigned tree, unsigned level, uint64_t index,
		 const uint8_t **data, struct vs_error *err)
{
	uint64_t key = bs_key_tree(tree, level, index);
	struct node *n = &v->nodes[(index * 31 + tree * 7 + level) % NODES];
	struct bs_view_page page = {.mask = UINT64_MAX, .data = n->data};
	int rc;

	*data = NULL;
	if (n->key == key) {
		*data = n->data;
		return 0;
	}
	rc = find_ptr(v, tree, level, index, &page.ptr, err);
	if (rc || (page.ptr.seg[0] == BS_SEG_NONE && page.ptr.seg[1] == BS_SEG_NONE))
		return rc;
	n->key = 0;
	rc = bs_view_read(v, &page, 1, err);
	if (rc == 0 && page.status)
		rc = vs_fail(err, page.status, "page %llu of table %u: %s",
			     (unsigned long long)index, tree, vs_err_text(page.status));
	if (rc)
		return rc;
	n->key = key;
	*data = n->data;
	return 0;
}
