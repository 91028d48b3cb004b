#include "blockstore/checkpoint.h"

#include "blockstore/engine.h"
#include "blockstore/page.h"

#include <stdlib.h>

#define UNIT_PAGES 120u

/* A page of the running checkpoint. Its bytes are the frame's until either is set otherwise. */
struct entry {
	struct bs_frame *f;
	uint8_t *buf; /* kept bytes; given back once they are copied */
	uint64_t id;  /* tables: index; map pages: CID */
	uint8_t tree; /* BS_TREES: a map page */
	uint8_t level;
};

struct unit {
	uint32_t seg, off, first, count;
};

/* Stream 0 takes every page, stream 1 the second copies of those that have one. */
struct stream {
	struct entry *entries;
	struct unit *units;
	uint32_t nentries, nunits, max;
};

struct bs_checkpoint {
	struct stream stream[2];
	uint8_t *staging, *super;
	struct bs_super sb;
	uint32_t unit_pages;
	bool out_of_space;
};

static int stream_init(struct stream *s, uint32_t max)
{
	s->max = max;
	s->entries = calloc(max, sizeof(*s->entries));
	s->units = calloc(max, sizeof(*s->units));
	return s->entries && s->units ? 0 : VS_E_NOMEM;
}

static int ensure(struct bs_engine *e)
{
	uint32_t max =
	    e->frames.count + 2 * (uint32_t)VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE) + 64;
	struct bs_checkpoint *c;

	if (e->checkpoint)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return VS_E_NOMEM;
	e->checkpoint = c;
	c->unit_pages = VS_MIN(UNIT_PAGES, e->segs.size / BS_PAGE - 1);
	c->staging = aligned_alloc(BS_PAGE, (size_t)(c->unit_pages + 1) * BS_PAGE);
	c->super = aligned_alloc(BS_PAGE, BS_PAGE);
	if (!c->staging || !c->super)
		return VS_E_NOMEM;
	for (unsigned i = 0; i < 2; i++)
		if (stream_init(&c->stream[i], max))
			return VS_E_NOMEM;
	return 0;
}

void bs_checkpoint_destroy(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;

	if (!c)
		return;
	for (unsigned i = 0; i < 2; i++) {
		free(c->stream[i].entries);
		free(c->stream[i].units);
	}
	free(c->staging);
	free(c->super);
	free(c);
	e->checkpoint = NULL;
}

void bs_checkpoint_keep(struct bs_engine *e, uint32_t entry, uint8_t *buf)
{
	struct entry *n = &e->checkpoint->stream[0].entries[entry];

	n->buf = buf;
	n->f = NULL;
}

/* The next free page of a stream, with room for its unit's header before the first. */
static void take_place(struct bs_engine *e, unsigned si, struct entry n, uint32_t *seg,
		       uint32_t *off)
{
	struct bs_checkpoint *c = e->checkpoint;
	struct stream *s = &c->stream[si];
	struct bs_log_meta *m = &e->log.meta[si];
	struct unit *u = s->nunits ? &s->units[s->nunits - 1] : NULL;

	VS_ASSERT(s->nentries < s->max);
	if (!u || u->count == c->unit_pages || m->off + BS_PAGE > e->segs.size) {
		if (m->seg == BS_SEG_NONE || m->off + 2 * BS_PAGE > e->segs.size) {
			uint32_t fresh = bs_seg_take(e, BS_SEG_META, BS_NEED_SYSTEM);

			if (fresh == BS_SEG_NONE) { /* reported after the step */
				c->out_of_space = true;
				fresh = m->seg;
			}
			m->seg = fresh;
			m->off = 0;
		}
		u = &s->units[s->nunits++];
		*u = (struct unit){.seg = m->seg, .off = m->off, .first = s->nentries};
		m->off += BS_PAGE;
	}
	*seg = m->seg;
	*off = m->off;
	m->off += BS_PAGE;
	u->count++;
	s->entries[s->nentries++] = n;
	if (!c->out_of_space)
		bs_seg_live(e, *seg, BS_PAGE);
}

static void free_place(struct bs_engine *e, uint32_t seg)
{
	if (seg != BS_SEG_NONE)
		bs_seg_live(e, seg, -(int64_t)BS_PAGE);
}

static void cut_map_page(struct bs_engine *e, struct bs_frame *f)
{
	struct bs_mapent ent = bs_page_ent_now(e, f->cid);
	struct entry n = {.f = f, .id = f->cid, .tree = BS_TREES};

	free_place(e, ent.place.seg);
	take_place(e, 0, n, &ent.place.seg, &ent.place.off);
	ent.place.len = BS_PAGE;
	ent.place.coding = BS_CODING_PLAIN;
	ent.place.check = bs_checksum(f->data, BS_PAGE) & BS_CHECK56;
	bs_page_ent_put(e, f->cid, &ent);
	f->ckpt = e->checkpoint->stream[0].nentries;
	bs_frame_cleaned(e, f);
}

static struct bs_ptr ptr_of(struct bs_engine *e, const struct bs_frame *f)
{
	unsigned tree = bs_key_kind(f->key) - 1;
	struct bs_ptr ptr = e->trees[tree].root.ptr;

	if (f->parent)
		bs_ptr_get(f->parent->data + bs_key_index(f->key) % BS_PTRS_PER_PAGE * BS_PTR_SIZE,
			   &ptr);
	return ptr;
}

static void ptr_store(struct bs_engine *e, const struct bs_frame *f, const struct bs_ptr *ptr)
{
	unsigned tree = bs_key_kind(f->key) - 1;

	if (!f->parent) {
		e->trees[tree].root.ptr = *ptr;
		return;
	}
	bs_frame_touch(e, f->parent);
	bs_ptr_put(f->parent->data + bs_key_index(f->key) % BS_PTRS_PER_PAGE * BS_PTR_SIZE, ptr);
}

static uint8_t *copy_of(struct bs_engine *e, const uint8_t *data)
{
	uint8_t *buf = bs_buf_take(e);

	memcpy(buf, data, BS_PAGE);
	return buf;
}

/* New places for a table page whose bytes are final; the old ones are given up. */
static void place_table(struct bs_engine *e, struct entry n, const uint8_t *data,
			struct bs_ptr *ptr)
{
	bool twice = bs_tree_twice(n.tree, n.level);

	free_place(e, ptr->seg[0]);
	free_place(e, ptr->seg[1]);
	ptr->check = bs_checksum(data, BS_PAGE);
	ptr->seg[1] = BS_SEG_NONE;
	ptr->off[1] = 0;
	if (twice) {
		n.f = NULL;
		n.buf = copy_of(e, data);
	}
	take_place(e, 0, n, &ptr->seg[0], &ptr->off[0]);
	if (twice) {
		n.buf = copy_of(e, data);
		take_place(e, 1, n, &ptr->seg[1], &ptr->off[1]);
	}
}

static void cut_table_page(struct bs_engine *e, struct bs_frame *f)
{
	struct entry n = {.f = f,
			  .id = bs_key_index(f->key),
			  .tree = (uint8_t)(bs_key_kind(f->key) - 1),
			  .level = (uint8_t)bs_key_level(f->key)};
	struct bs_ptr ptr = ptr_of(e, f);

	place_table(e, n, f->data, &ptr);
	ptr.used = f->used;
	ptr_store(e, f, &ptr);
	if (!bs_tree_twice(n.tree, n.level))
		f->ckpt = e->checkpoint->stream[0].nentries;
	bs_frame_cleaned(e, f);
}

static bool is_map(const struct bs_frame *f)
{
	return bs_key_kind(f->key) == bs_key_kind(BS_KEY_MAP);
}

static void cut_pages(struct bs_engine *e)
{
	struct bs_frames *fs = &e->frames;

	/* cleaning a frame moves the list's last one into its place, so go down */
	for (unsigned i = fs->ndirty; i-- > 0;)
		if (is_map(fs->dirty[i]))
			cut_map_page(e, fs->dirty[i]);
	for (unsigned level = 0; fs->ndirty && level < 9; level++)
		for (unsigned i = fs->ndirty; i-- > 0;)
			if (bs_key_level(fs->dirty[i]->key) == level &&
			    bs_key_kind(fs->dirty[i]->key) != BS_TREE_SEGMENT + 1u)
				cut_table_page(e, fs->dirty[i]);
}

/*
 * The segment table describes also where its own pages go: first all places are taken, until no
 * further page of it changes by that, then the bytes are made.
 */
struct segtab {
	uint32_t leaves;
	bool *placed;
	struct bs_ptr *ptrs;
	uint32_t *entry[2]; /* first and second copy's entry of each leaf */
};

static void encode_leaf(struct bs_engine *e, uint32_t leaf, uint8_t *page)
{
	memset(page, 0, BS_PAGE);
	for (uint32_t i = 0; i < BS_SEGENTS_PER_PAGE; i++) {
		uint32_t seg = leaf * BS_SEGENTS_PER_PAGE + i;

		if (seg < e->segs.count)
			bs_segent_put(page + i * BS_SEGENT_SIZE, &e->segs.seg[seg].ent);
	}
}

static struct bs_frame *seg_parent(struct bs_engine *e, uint32_t leaf)
{
	return e->trees[BS_TREE_SEGMENT].root.height < 2
		   ? NULL
		   : bs_frame_find(e, bs_key_tree(BS_TREE_SEGMENT, 1, leaf / BS_PTRS_PER_PAGE));
}

static struct bs_ptr seg_ptr(struct bs_engine *e, uint32_t leaf)
{
	struct bs_frame *p = seg_parent(e, leaf);
	struct bs_ptr ptr = e->trees[BS_TREE_SEGMENT].root.ptr;

	if (p)
		bs_ptr_get(p->data + leaf % BS_PTRS_PER_PAGE * BS_PTR_SIZE, &ptr);
	return ptr;
}

static void seg_place_leaf(struct bs_engine *e, struct segtab *t, uint32_t leaf)
{
	struct entry n = {.id = leaf, .tree = BS_TREE_SEGMENT};
	struct bs_ptr *ptr = &t->ptrs[leaf];

	*ptr = seg_ptr(e, leaf);
	for (unsigned i = 0; i < 2; i++) {
		free_place(e, ptr->seg[i]);
		n.buf = bs_buf_take(e);
		take_place(e, i, n, &ptr->seg[i], &ptr->off[i]);
		t->entry[i][leaf] = e->checkpoint->stream[i].nentries - 1;
	}
	t->placed[leaf] = true;
}

/* The inner pages above (at most one level: 16,384 segments below each) go the same way. */
static void seg_place_inner(struct bs_engine *e, struct bs_frame *f, struct bs_ptr *ptr)
{
	struct entry n = {.id = bs_key_index(f->key),
			  .tree = BS_TREE_SEGMENT,
			  .level = (uint8_t)bs_key_level(f->key)};

	for (unsigned i = 0; i < 2; i++) {
		free_place(e, ptr->seg[i]);
		n.buf = bs_buf_take(e);
		take_place(e, i, n, &ptr->seg[i], &ptr->off[i]);
	}
}

static void seg_fill(struct bs_engine *e, const struct segtab *t, uint32_t leaf)
{
	struct bs_checkpoint *c = e->checkpoint;
	uint8_t *page = c->stream[0].entries[t->entry[0][leaf]].buf;
	struct bs_frame *p = seg_parent(e, leaf);

	encode_leaf(e, leaf, page);
	memcpy(c->stream[1].entries[t->entry[1][leaf]].buf, page, BS_PAGE);
	t->ptrs[leaf].check = bs_checksum(page, BS_PAGE);
	if (p)
		bs_ptr_put(p->data + leaf % BS_PTRS_PER_PAGE * BS_PTR_SIZE, &t->ptrs[leaf]);
	else
		e->trees[BS_TREE_SEGMENT].root.ptr = t->ptrs[leaf];
}

/* Inner pages of the segment table: their places, taken before the leaves are encoded. */
struct seginner {
	struct bs_frame *f;
	struct bs_ptr ptr;
	uint32_t entry[2];
};

static unsigned seg_inner_pages(struct bs_engine *e, struct seginner *in, unsigned max)
{
	unsigned height = e->trees[BS_TREE_SEGMENT].root.height, n = 0;
	uint64_t pages = VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE);

	for (unsigned level = 1; level < height; level++) {
		pages = VS_DIV_UP(pages, BS_PTRS_PER_PAGE);
		for (uint64_t i = 0; i < pages && n < max; i++)
			in[n++].f = bs_frame_find(e, bs_key_tree(BS_TREE_SEGMENT, level, i));
	}
	return n;
}

static struct bs_ptr inner_ptr(struct bs_engine *e, const struct bs_frame *f)
{
	unsigned level = bs_key_level(f->key);
	struct bs_ptr ptr = e->trees[BS_TREE_SEGMENT].root.ptr;

	if (level + 1u < e->trees[BS_TREE_SEGMENT].root.height) {
		struct bs_frame *p =
		    bs_frame_find(e, bs_key_tree(BS_TREE_SEGMENT, level + 1,
						 bs_key_index(f->key) / BS_PTRS_PER_PAGE));

		bs_ptr_get(p->data + bs_key_index(f->key) % BS_PTRS_PER_PAGE * BS_PTR_SIZE, &ptr);
	}
	return ptr;
}

static void inner_store(struct bs_engine *e, const struct seginner *in)
{
	unsigned level = bs_key_level(in->f->key);
	uint64_t index = bs_key_index(in->f->key);
	struct bs_frame *p;

	if (level + 1u == e->trees[BS_TREE_SEGMENT].root.height) {
		e->trees[BS_TREE_SEGMENT].root.ptr = in->ptr;
		return;
	}
	p = bs_frame_find(e, bs_key_tree(BS_TREE_SEGMENT, level + 1, index / BS_PTRS_PER_PAGE));
	bs_ptr_put(p->data + index % BS_PTRS_PER_PAGE * BS_PTR_SIZE, &in->ptr);
}

#define SEG_INNER_MAX 1100u /* 2^27 segments */

static int cut_segments(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;
	struct segtab t = {.leaves = (uint32_t)VS_DIV_UP(e->segs.count, BS_SEGENTS_PER_PAGE)};
	struct seginner *in = calloc(SEG_INNER_MAX, sizeof(*in));
	unsigned ninner;
	bool again = true;
	int rc = VS_E_NOMEM;

	t.placed = calloc(t.leaves, sizeof(*t.placed));
	t.ptrs = calloc(t.leaves, sizeof(*t.ptrs));
	t.entry[0] = calloc(t.leaves, sizeof(uint32_t));
	t.entry[1] = calloc(t.leaves, sizeof(uint32_t));
	if (!in || !t.placed || !t.ptrs || !t.entry[0] || !t.entry[1])
		goto out;
	rc = 0;
	ninner = seg_inner_pages(e, in, SEG_INNER_MAX);
	for (unsigned i = 0; i < ninner; i++) {
		in[i].ptr = inner_ptr(e, in[i].f);
		seg_place_inner(e, in[i].f, &in[i].ptr);
		in[i].entry[0] = c->stream[0].nentries - 1;
		in[i].entry[1] = c->stream[1].nentries - 1;
	}
	while (again) {
		again = false;
		for (uint32_t l = 0; l < t.leaves; l++) {
			if (!e->segs.dirty[l] || t.placed[l])
				continue;
			seg_place_leaf(e, &t, l);
			again = true;
		}
	}
	for (uint32_t l = 0; l < t.leaves; l++)
		if (t.placed[l])
			seg_fill(e, &t, l);
	memset(e->segs.dirty, 0, t.leaves);
	for (unsigned i = 0; i < ninner; i++) { /* lower levels come first */
		uint8_t *page = c->stream[0].entries[in[i].entry[0]].buf;

		memcpy(page, in[i].f->data, BS_PAGE);
		memcpy(c->stream[1].entries[in[i].entry[1]].buf, page, BS_PAGE);
		in[i].ptr.check = bs_checksum(page, BS_PAGE);
		inner_store(e, &in[i]);
	}
out:
	free(in);
	free(t.placed);
	free(t.ptrs);
	free(t.entry[0]);
	free(t.entry[1]);
	return rc;
}

static void cut_super(struct bs_engine *e, bool clean)
{
	struct bs_super *sb = &e->checkpoint->sb;
	const struct bs_log *l = &e->log;

	*sb = e->sb;
	sb->checkpoint++;
	sb->written = e->env.unix_ns(e->env.arg);
	sb->epoch = l->epoch;
	sb->next_seq = l->next_seq;
	sb->chain = l->chain;
	sb->log_seg = l->seg;
	sb->log_off = l->off;
	memcpy(sb->ahead, l->ahead, sizeof(sb->ahead));
	sb->durable_seq = l->durable_seq;
	sb->era = e->era;
	sb->next_volume = e->vols.next_id;
	sb->works = e->works;
	sb->contents = e->contents;
	sb->stored_bytes = e->stored_bytes;
	sb->references = e->references;
	sb->place_hint = e->places.hint;
	sb->map_hint = e->mappages.hint;
	sb->clean = clean;
	for (unsigned i = 0; i < BS_TREES; i++)
		sb->roots[i] = e->trees[i].root;
}

/* One uninterrupted step: nothing is open or in flight, everything needed is resident. */
static int cut(struct bs_engine *e, bool clean)
{
	struct bs_checkpoint *c = e->checkpoint;
	int rc;

	for (unsigned i = 0; i < 2; i++)
		c->stream[i].nentries = c->stream[i].nunits = 0;
	c->out_of_space = false;
	e->checkpoint_started_bytes = e->log.bytes;
	if (e->log.open) { /* empty: it would lie before the cut and be numbered after it */
		bs_log_drop_open(e);
	}
	cut_pages(e);
	bs_segs_retire(e, e->sb.checkpoint + 1);
	rc = cut_segments(e);
	if (rc == 0 && c->out_of_space)
		rc = VS_E_NOSPC;
	cut_super(e, clean);
	return rc;
}

static uint32_t put_records(const struct stream *s, const struct unit *u, uint8_t *buf)
{
	uint32_t len = 0;

	for (uint32_t i = 0; i < u->count; i++) {
		const struct entry *n = &s->entries[u->first + i];
		struct bs_rec r = {.type = n->tree == BS_TREES ? BS_REC_MAPPAGE : BS_REC_PAGE,
				   .cid = n->id,
				   .block = n->id,
				   .tree = n->tree,
				   .level = n->level};

		len += bs_rec_put(buf + len, &r);
	}
	return len;
}

static int write_unit(struct bs_engine *e, struct stream *s, const struct unit *u)
{
	struct bs_checkpoint *c = e->checkpoint;
	struct bs_unit_head h = {.kind = BS_UNIT_META,
				 .epoch = c->sb.epoch,
				 .seq = c->sb.checkpoint,
				 .head_len = BS_PAGE,
				 .payload_len = u->count * BS_PAGE,
				 .unit_len = (u->count + 1) * BS_PAGE,
				 .records = u->count,
				 .ahead = {BS_SEG_NONE, BS_SEG_NONE}};

	for (uint32_t i = 0; i < u->count; i++) {
		struct entry *n = &s->entries[u->first + i];
		uint8_t *to = c->staging + (size_t)(i + 1) * BS_PAGE;

		memcpy(to, n->buf ? n->buf : n->f->data, BS_PAGE);
		if (n->buf)
			bs_buf_give(e, n->buf);
		else
			n->f->ckpt = 0;
		n->buf = NULL;
		n->f = NULL;
		if (n->tree == BS_TREES)
			e->count.bytes_maps += BS_PAGE;
		else
			e->count.bytes_tables += BS_PAGE;
	}
	bs_unit_set_tag(c->staging, e->tag);
	h.records_len = put_records(s, u, c->staging + BS_UNIT_HEAD);
	bs_unit_encode(c->staging, &h);
	return bs_engine_dev(e, BS_DEV_WRITE, bs_engine_where(e, u->seg, u->off), c->staging,
			     h.unit_len);
}

static int write_super(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;
	int rc = 0;

	bs_super_encode(c->super, &c->sb);
	for (unsigned copy = 0; copy < 2 && rc == 0; copy++)
		rc = bs_engine_dev(e, BS_DEV_WRITE,
				   bs_super_offset(c->sb.device_size, c->sb.checkpoint % 2, copy),
				   c->super, BS_SUPER_SIZE);
	return rc;
}

static int write_out(struct bs_engine *e)
{
	struct bs_checkpoint *c = e->checkpoint;
	int rc = 0;

	for (unsigned i = 0; i < 2; i++)
		for (uint32_t u = 0; rc == 0 && u < c->stream[i].nunits; u++) {
			rc = write_unit(e, &c->stream[i], &c->stream[i].units[u]);
			bs_engine_room(e);
		}
	if (rc == 0)
		rc = bs_engine_dev(e, BS_DEV_FLUSH, 0, NULL, 0);
	if (rc == 0)
		rc = write_super(e);
	if (rc == 0)
		rc = bs_engine_dev(e, BS_DEV_FLUSH, 0, NULL, 0);
	return rc;
}

static int drain_and_cut(struct bs_engine *e, bool clean)
{
	int rc;

	e->cutting = e->log.drain = true;
	while (!bs_log_quiet(&e->log) && !e->failed)
		bs_fiber_block(e->fibers, &e->drained_wait);
	e->cutting = e->log.drain = false;
	if (e->failed)
		return VS_E_FAILED;
	rc = cut(e, clean);
	bs_engine_room(e);
	return rc;
}

int bs_checkpoint_run(struct bs_engine *e, bool clean)
{
	struct bs_checkpoint *c;
	int rc;

	while (e->checkpointing)
		bs_fiber_block(e->fibers, &e->checkpoint_wait);
	if (e->failed)
		return VS_E_FAILED;
	e->checkpointing = true;
	e->checkpoint_wanted = false;
	rc = ensure(e);
	if (rc == 0)
		rc = drain_and_cut(e, clean);
	if (rc == 0)
		rc = write_out(e);
	c = e->checkpoint;
	if (rc == 0) {
		e->sb = c->sb;
		if (e->log.durable_seq < c->sb.next_seq - 1)
			e->log.durable_seq = c->sb.next_seq - 1;
		bs_segs_reuse(e, c->sb.checkpoint);
		e->count.checkpoints++;
	} else if (rc != VS_E_FAILED) {
		bs_engine_fail(e, rc == VS_E_NOSPC ? "no segment is left for a checkpoint"
						   : "the device fails a checkpoint's writes");
	}
	e->checkpointing = false;
	bs_fiber_wake_all(e->fibers, &e->checkpoint_wait);
	bs_engine_room(e);
	return rc;
}

void bs_checkpoint_want(struct bs_engine *e)
{
	if (!e->checkpointing)
		e->checkpoint_wanted = true;
}

static bool due(const struct bs_engine *e)
{
	const struct bs_segs *s = &e->segs;

	if (e->checkpoint_wanted || e->frames.ndirty >= e->frames.dirty_limit)
		return true;
	if (e->log.bytes - e->checkpoint_started_bytes >= e->cfg.checkpoint_bytes)
		return true;
	return s->nfree <= s->reserve[BS_NEED_DATA] + s->count / 32 && (s->nfreeing || s->emptied);
}

static void checkpoint_fiber(void *arg)
{
	struct bs_engine *e = arg;

	if (bs_checkpoint_run(e, false))
		bs_engine_room(e); /* the store has failed, which has been said */
	bs_frames_unkeep(e);
}

void bs_checkpoint_start(struct bs_engine *e)
{
	if (e->checkpointing || e->read_only || e->failed || e->stopping || e->recovering ||
	    !due(e))
		return;
	(void)bs_fiber_start(e->fibers, checkpoint_fiber, e);
}
