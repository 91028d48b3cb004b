#include "blockstore/checkpoint_int.h"
#include "blockstore/page.h"
#include "blockstore/plant.h"

/* The next free page of a stream, with room for its unit's header before the first. */
void bs_checkpoint_place(struct bs_engine *e, unsigned si, struct bs_ck_entry n, uint32_t *seg,
			 uint32_t *off)
{
	struct bs_checkpoint *c = e->checkpoint;
	struct bs_ck_stream *s = &c->stream[si];
	struct bs_log_meta *m = &e->log.meta[si];
	struct bs_ck_unit *u = s->nunits ? &s->units[s->nunits - 1] : NULL;

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
		*u = (struct bs_ck_unit){.seg = m->seg, .off = m->off, .first = s->nentries};
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

void bs_checkpoint_unplace(struct bs_engine *e, uint32_t seg)
{
	if (seg != BS_SEG_NONE)
		bs_seg_live(e, seg, -(int64_t)BS_PAGE);
}

static void cut_map_page(struct bs_engine *e, struct bs_frame *f)
{
	struct bs_mapent ent = bs_page_ent_now(e, f->cid);
	struct bs_ck_entry n = {.f = f, .id = f->cid, .tree = BS_TREES};

	bs_checkpoint_unplace(e, ent.place.seg);
	bs_checkpoint_place(e, 0, n, &ent.place.seg, &ent.place.off);
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
static void place_table(struct bs_engine *e, struct bs_ck_entry n, const uint8_t *data,
			struct bs_ptr *ptr)
{
	bool twice = bs_tree_twice(n.tree, n.level);

	bs_checkpoint_unplace(e, ptr->seg[0]);
	bs_checkpoint_unplace(e, ptr->seg[1]);
	ptr->check = bs_checksum(data, BS_PAGE);
	ptr->seg[1] = BS_SEG_NONE;
	ptr->off[1] = 0;
	if (twice) {
		n.f = NULL;
		n.buf = copy_of(e, data);
	}
	bs_checkpoint_place(e, 0, n, &ptr->seg[0], &ptr->off[0]);
	if (twice) {
		n.buf = copy_of(e, data);
		bs_checkpoint_place(e, 1, n, &ptr->seg[1], &ptr->off[1]);
	}
}

static void cut_table_page(struct bs_engine *e, struct bs_frame *f)
{
	struct bs_ck_entry n = {.f = f,
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

static void cut_super(struct bs_engine *e, bool clean)
{
	struct bs_super *sb = &e->checkpoint->sb;
	const struct bs_log *l = &e->log;

	*sb = e->sb;
	sb->incompat |= e->features;
	sb->checkpoint++;
	sb->segments = e->segs.count;
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
	for (unsigned i = 0; i < 2; i++)
		sb->drops[i] = e->drops.run[i].count;
	sb->drop_cursor = e->drops.cursor + bs_planted(DRAINED_AHEAD);
	sb->drop_side = (uint8_t)e->drops.side;
	sb->place_hint = e->places.hint;
	sb->map_hint = e->mappages.hint;
	sb->clean = clean;
	sb->index = e->index.saved;
	for (unsigned i = 0; i < BS_TREES; i++)
		sb->roots[i] = e->trees[i].root;
}

/* One uninterrupted step: nothing is open or in flight, everything needed is resident. */
int bs_checkpoint_cut(struct bs_engine *e, bool clean)
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
	rc = bs_checkpoint_cut_segments(e);
	if (rc == 0 && c->out_of_space)
		rc = VS_E_NOSPC;
	cut_super(e, clean);
	return e->failed ? VS_E_FAILED : rc; /* a page's old place cannot be */
}
