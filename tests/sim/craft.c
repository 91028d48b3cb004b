#include "tests/sim/craft.h"

#include "blockstore/super_format.h"
#include "tests/sim/report.h"
#include "tests/sim/simdisk.h"

#include <stdlib.h>

struct craft {
	struct sim_disk *d;
	struct sim_rng *rng;
	struct bs_super sb;
};

/* A page of a tree and, above it, those that its checksum is in. */
struct path {
	unsigned tree, height;
	uint64_t index[BS_TREE_HEIGHT_MAX + 1];
	struct bs_ptr ptr[BS_TREE_HEIGHT_MAX + 1]; /* to the page of each level */
};

static uint64_t where(const struct craft *c, uint32_t seg, uint32_t off)
{
	return BS_HEAD_AREA + (uint64_t)seg * c->sb.segment_size + off;
}

static bool inside(const struct craft *c, uint32_t seg, uint32_t off)
{
	return seg < c->sb.segments && off % BS_PAGE == 0 && off < c->sb.segment_size;
}

static bool read_super(struct craft *c)
{
	uint8_t b[BS_SUPER_SIZE];
	bool any = false;

	for (unsigned i = 0; i < 4; i++) {
		struct bs_super sb;

		sim_disk_peek(c->d, bs_super_offset(c->d->size, i & 1, i >> 1), b, sizeof(b));
		if (bs_super_decode(b, &sb) == 0 && (!any || sb.checkpoint > c->sb.checkpoint)) {
			c->sb = sb;
			any = true;
		}
	}
	return any;
}

static void put_super_bytes(struct craft *c, const uint8_t b[BS_SUPER_SIZE])
{
	for (unsigned copy = 0; copy < 2; copy++)
		sim_disk_put(c->d, bs_super_offset(c->d->size, c->sb.checkpoint % 2, copy), b,
			     BS_SUPER_SIZE);
}

static void put_super(struct craft *c)
{
	uint8_t b[BS_SUPER_SIZE];

	bs_super_encode(b, &c->sb);
	put_super_bytes(c, b);
}

static void get_page(const struct craft *c, const struct bs_ptr *ptr, uint8_t page[BS_PAGE])
{
	sim_disk_peek(c->d, where(c, ptr->seg[0], ptr->off[0]), page, BS_PAGE);
}

/* Writes the page of `level` in both its places, and the changed checksums above it. */
static void put_page(struct craft *c, struct path *p, unsigned level, const uint8_t page[BS_PAGE])
{
	struct bs_ptr *ptr = &p->ptr[level];
	uint8_t above[BS_PAGE];

	for (unsigned i = 0; i < 2; i++)
		if (inside(c, ptr->seg[i], ptr->off[i]))
			sim_disk_put(c->d, where(c, ptr->seg[i], ptr->off[i]), page, BS_PAGE);
	ptr->check = bs_checksum(page, BS_PAGE);
	if (level + 1 == p->height) {
		c->sb.roots[p->tree].ptr = *ptr;
		put_super(c);
		return;
	}
	get_page(c, &p->ptr[level + 1], above);
	bs_ptr_put(above + p->index[level] % BS_PTRS_PER_PAGE * BS_PTR_SIZE, ptr);
	put_page(c, p, level + 1, above);
}

/* Down to the page `index` of `level`; false where there is none. */
static bool find(struct craft *c, unsigned tree, unsigned level, uint64_t index, struct path *p)
{
	uint8_t page[BS_PAGE];

	*p = (struct path){.tree = tree, .height = c->sb.roots[tree].height};
	if (p->height <= level)
		return false;
	for (unsigned l = level; l < p->height; l++, index /= BS_PTRS_PER_PAGE)
		p->index[l] = index;
	p->ptr[p->height - 1] = c->sb.roots[tree].ptr;
	for (unsigned l = p->height - 1;; l--) {
		if (!inside(c, p->ptr[l].seg[0], p->ptr[l].off[0]))
			return false;
		if (l == level)
			return true;
		get_page(c, &p->ptr[l], page);
		bs_ptr_get(page + p->index[l - 1] % BS_PTRS_PER_PAGE * BS_PTR_SIZE, &p->ptr[l - 1]);
	}
}

static bool find_any(struct craft *c, unsigned tree, unsigned level, struct path *p)
{
	uint64_t pages = c->sb.roots[tree].leaves;

	for (unsigned l = 0; l < level; l++)
		pages = VS_DIV_UP(pages, BS_PTRS_PER_PAGE);
	return pages && find(c, tree, level, sim_below(c->rng, (uint32_t)pages), p);
}

static uint64_t odd_value(struct sim_rng *r, uint64_t v)
{
	switch (sim_below(r, 9)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return v + 1;
	case 3:
		return v - 1;
	case 4:
		return v ^ UINT64_C(1) << sim_below(r, 64);
	case 5:
		return sim_below(r, 256);
	case 6:
		return UINT64_C(1) << sim_below(r, 64);
	case 7:
		return v + BS_PAGE;
	default:
		return sim_u64(r);
	}
}

/* One field of some bytes: any that a format's field may be. */
static void change_field(struct sim_rng *r, uint8_t *b, uint32_t len)
{
	uint32_t width = 1u << sim_below(r, 4), at;
	uint8_t v[8] = {0};

	if (width > len)
		width = 1;
	at = sim_below(r, len / width) * width;
	memcpy(v, b + at, width);
	vs_put_le64(v, odd_value(r, vs_get_le64(v)));
	memcpy(b + at, v, width);
}

static bool is_zero(const uint8_t *b, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (b[i])
			return false;
	return true;
}

/* An entry of a page of entries, one that is used if a few tries find one. */
static void change_entry(struct sim_rng *r, uint8_t *page, uint32_t size)
{
	uint32_t n = BS_PAGE / size, i = sim_below(r, n);

	for (unsigned tries = 0; tries < 40 && is_zero(page + i * size, size); tries++)
		i = sim_below(r, n);
	if (sim_one_in(r, 4))
		memmove(page + i * size, page + sim_below(r, n) * size, size);
	else
		change_field(r, page + i * size, size);
}

static bool change_super(struct craft *c)
{
	uint8_t b[BS_SUPER_SIZE];

	bs_super_encode(b, &c->sb);
	if (sim_one_in(c->rng, 2))
		change_field(c->rng, b + 104, 136); /* log, counters, hints, drops */
	else
		change_field(c->rng, b + 256, BS_TREES * 64);
	vs_put_le64(b + 4088, bs_checksum(b, 4088));
	put_super_bytes(c, b);
	sim_trace("craft: superblock");
	return true;
}

static bool change_table(struct craft *c)
{
	static const uint32_t sizes[BS_TREES] = {
	    BS_PLACE_SIZE, 32, BS_MAPENT_SIZE, BS_VOLENT_SIZE, BS_WORK_SIZE, BS_SEGENT_SIZE, 8};
	unsigned tree = sim_below(c->rng, BS_TREES);
	unsigned height = c->sb.roots[tree].height;
	unsigned level =
	    height > 1 && sim_one_in(c->rng, 4) ? sim_between(c->rng, 1, height - 1) : 0;
	uint8_t page[BS_PAGE];
	struct path p;

	if (!find_any(c, tree, level, &p))
		return false;
	get_page(c, &p.ptr[level], page);
	change_entry(c->rng, page, level ? BS_PTR_SIZE : sizes[tree]);
	put_page(c, &p, level, page);
	sim_trace("craft: table %u level %u page %llu", tree, level,
		  (unsigned long long)p.index[level]);
	return true;
}

static bool change_map_page(struct craft *c)
{
	uint8_t leaf[BS_PAGE], page[BS_PAGE], *at;
	uint32_t i = sim_below(c->rng, BS_MAPENTS_PER_PAGE);
	struct bs_mapent ent = {0};
	struct path p;

	if (!find_any(c, BS_TREE_MAP, 0, &p))
		return false;
	get_page(c, &p.ptr[0], leaf);
	for (unsigned n = 0; n < BS_MAPENTS_PER_PAGE && !ent.live; n++) {
		i = (i + 1) % BS_MAPENTS_PER_PAGE;
		bs_mapent_get(leaf + i * BS_MAPENT_SIZE, &ent);
	}
	at = leaf + i * BS_MAPENT_SIZE;
	if (!ent.live || !inside(c, ent.place.seg, ent.place.off))
		return false;
	sim_disk_peek(c->d, where(c, ent.place.seg, ent.place.off), page, BS_PAGE);
	if (sim_one_in(c->rng, 4)) /* of its own kind, perhaps itself */
		bs_map_entry_put(page, sim_below(c->rng, 4), bs_cid(sim_below(c->rng, 64), 1));
	else
		change_entry(c->rng, page, 8);
	sim_disk_put(c->d, where(c, ent.place.seg, ent.place.off), page, BS_PAGE);
	ent.place.check = bs_checksum(page, BS_PAGE) & BS_CHECK56;
	bs_mapent_put(at, &ent);
	put_page(c, &p, 0, leaf);
	sim_trace("craft: map page %u of leaf %llu", i, (unsigned long long)p.index[0]);
	return true;
}

/* Where a content or a map page is that is at an origin. */
static bool change_absent(struct craft *c)
{
	unsigned tree = sim_one_in(c->rng, 2) ? BS_TREE_PLACE : BS_TREE_MAP;
	uint32_t size = tree == BS_TREE_PLACE ? BS_PLACE_SIZE : BS_MAPENT_SIZE, n = BS_PAGE / size;
	uint32_t i = sim_below(c->rng, n);
	uint8_t page[BS_PAGE];
	struct path p;

	if (!find_any(c, tree, 0, &p))
		return false;
	get_page(c, &p.ptr[0], page);
	for (uint32_t k = 0; k < n; k++, i = (i + 1) % n) {
		struct bs_place place;

		bs_place_get(page + i * size, &place);
		if (!bs_place_at_origin(&place))
			continue;
		change_field(c->rng, page + i * size, sim_one_in(c->rng, 4) ? size : 10);
		put_page(c, &p, 0, page);
		sim_trace("craft: what is at an origin, table %u", tree);
		return true;
	}
	return false;
}

/* The records of unit n behind the checkpoint; all later ones are chained to it again. */
static bool change_log(struct craft *c)
{
	uint8_t *unit = malloc(c->sb.segment_size);
	uint32_t seg = c->sb.log_seg, off = c->sb.log_off, nth = sim_below(c->rng, 8);
	uint64_t chain = 0, tag;
	struct bs_unit_head h;
	bool any = false;

	VS_ASSERT(unit);
	memcpy(&tag, c->sb.uuid.b, sizeof(tag));
	for (uint32_t n = 0; off < c->sb.segment_size; n++, off += h.unit_len) {
		uint32_t left = c->sb.segment_size - off;

		sim_disk_peek(c->d, where(c, seg, off), unit, left);
		if (bs_unit_decode(unit, left, c->sb.segment_size, tag, &h) ||
		    h.kind != BS_UNIT_LOG || h.epoch != c->sb.epoch || h.seq != c->sb.next_seq + n)
			break;
		if (n < nth)
			continue;
		if (n == nth && h.records_len)
			change_field(c->rng, unit + BS_UNIT_HEAD, h.records_len);
		else if (n > nth)
			h.chain = chain;
		bs_unit_encode(unit, &h);
		chain = h.check;
		sim_disk_put(c->d, where(c, seg, off), unit, h.head_len);
		any = true;
		sim_trace("craft: unit %llu", (unsigned long long)h.seq);
	}
	free(unit);
	return any;
}

static bool change(struct craft *c)
{
	switch (sim_below(c->rng, 10)) {
	case 0:
		return change_super(c);
	case 1:
	case 2:
	case 3:
		return change_map_page(c);
	case 4:
		return change_log(c);
	case 5:
	case 6:
		return change_absent(c);
	default:
		return change_table(c);
	}
}

void craft_something(struct sim_disk *d, struct sim_rng *rng)
{
	struct craft c = {.d = d, .rng = rng};

	for (unsigned tries = 0; read_super(&c) && tries < 20; tries++)
		if (change(&c))
			break;
	sim_disk_destage_to(d, d->completed);
}

bool craft_rot_leaf(struct sim_disk *d, unsigned tree, uint64_t leaf)
{
	struct craft c = {.d = d};
	struct path p;

	if (!read_super(&c) || !find(&c, tree, 0, leaf, &p))
		return false;
	for (unsigned i = 0; i < 2; i++)
		if (inside(&c, p.ptr[0].seg[i], p.ptr[0].off[i]))
			sim_disk_rot(d, where(&c, p.ptr[0].seg[i], p.ptr[0].off[i]), 3);
	return true;
}
