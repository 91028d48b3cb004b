#include "blockstore/table_format.h"

static uint32_t get_le24(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

static void put_le24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
}

static uint64_t get_le48(const uint8_t *p)
{
	return vs_get_le32(p) | (uint64_t)vs_get_le16(p + 4) << 32;
}

static void put_le48(uint8_t *p, uint64_t v)
{
	vs_put_le32(p, (uint32_t)v);
	vs_put_le16(p + 4, (uint16_t)(v >> 32));
}

/* What is stored by another content, at an origin, or nowhere. */
static void get_elsewhere(const uint8_t *p, struct bs_place *out)
{
	out->seg = BS_SEG_NONE;
	out->off = out->len = 0;
	if (out->coding == BS_CODING_ALIAS) {
		out->alias = vs_get_le64(p);
	} else if (out->coding == BS_CODING_ORIGIN) {
		out->origin = vs_get_le32(p);
		out->block = get_le48(p + 4);
	} else {
		out->check = 0;
	}
}

/* seg 0..3, off 4..6, len 7..9, coding 10, gen 11..12, refs 13..16, check 17..23 */
void bs_place_get(const uint8_t *p, struct bs_place *out)
{
	out->coding = p[10] & (uint8_t) ~(BS_CODING_PRIVATE | BS_CODING_ALIASED);
	out->private = (p[10] & BS_CODING_PRIVATE) != 0;
	out->aliased = (p[10] & BS_CODING_ALIASED) != 0;
	out->gen = vs_get_le16(p + 11);
	out->refs = vs_get_le32(p + 13);
	out->check = (uint64_t)get_le24(p + 17) | (uint64_t)vs_get_le32(p + 20) << 24;
	out->alias = 0;
	if (out->coding >= BS_CODING_ORIGIN) {
		get_elsewhere(p, out);
		return;
	}
	out->seg = vs_get_le32(p);
	out->off = get_le24(p + 4);
	out->len = get_le24(p + 7);
}

void bs_place_put(uint8_t *p, const struct bs_place *in)
{
	uint8_t coding = in->alias ? BS_CODING_ALIAS : in->coding;
	uint64_t check = in->check;

	vs_put_le32(p, in->seg);
	put_le24(p + 4, in->off);
	put_le24(p + 7, in->len);
	if (in->alias) { /* over place and length */
		vs_put_le64(p, in->alias);
		p[8] = p[9] = 0;
	} else if (coding == BS_CODING_ORIGIN) {
		vs_put_le32(p, in->origin);
		put_le48(p + 4, in->block);
		check = 0;
	}
	p[10] =
	    coding | (in->private ? BS_CODING_PRIVATE : 0) | (in->aliased ? BS_CODING_ALIASED : 0);
	vs_put_le16(p + 11, in->gen);
	vs_put_le32(p + 13, in->refs);
	put_le24(p + 17, (uint32_t)check);
	vs_put_le32(p + 20, (uint32_t)(check >> 24));
}

void bs_mapent_get(const uint8_t *p, struct bs_mapent *out)
{
	bs_place_get(p, &out->place);
	out->base = vs_get_le64(p + 24);
	out->xors = vs_get_le64(p + 32);
	out->era = vs_get_le64(p + 40);
	out->count = vs_get_le64(p + 48);
	out->live = p[56] != 0;
	out->level = p[57] & 127;
	out->records = p[57] >> 7;
	out->blank = get_le48(p + 58);
}

void bs_mapent_put(uint8_t *p, const struct bs_mapent *in)
{
	bs_place_put(p, &in->place);
	vs_put_le64(p + 24, in->base);
	vs_put_le64(p + 32, in->xors);
	vs_put_le64(p + 40, in->era);
	vs_put_le64(p + 48, in->count);
	p[56] = in->live;
	p[57] = (uint8_t)(in->level | (in->records ? 128 : 0));
	put_le48(p + 58, in->blank);
}

/* The segment is stored plus one, so that a page of zeros holds only absent pointers. */
void bs_ptr_get(const uint8_t *p, struct bs_ptr *out)
{
	for (unsigned i = 0; i < 2; i++) {
		out->seg[i] = vs_get_le32(p + 8 * i) - 1;
		out->off[i] = vs_get_le32(p + 8 * i + 4);
	}
	out->check = vs_get_le64(p + 16);
	out->used = vs_get_le32(p + 24);
}

void bs_ptr_put(uint8_t *p, const struct bs_ptr *in)
{
	for (unsigned i = 0; i < 2; i++) {
		vs_put_le32(p + 8 * i, in->seg[i] + 1);
		vs_put_le32(p + 8 * i + 4, in->off[i]);
	}
	vs_put_le64(p + 16, in->check);
	vs_put_le32(p + 24, in->used);
	vs_put_le32(p + 28, 0);
}

void bs_segent_get(const uint8_t *p, struct bs_segent *out)
{
	out->state = p[0];
	out->copies = p[1];
	out->dev[0] = vs_get_le16(p + 2);
	out->dev[1] = vs_get_le16(p + 4);
	out->slot[0] = vs_get_le32(p + 8);
	out->slot[1] = vs_get_le32(p + 12);
	out->live = vs_get_le32(p + 16);
	out->stamp = vs_get_le64(p + 24);
}

void bs_segent_put(uint8_t *p, const struct bs_segent *in)
{
	memset(p, 0, BS_SEGENT_SIZE);
	p[0] = in->state;
	p[1] = in->copies;
	vs_put_le16(p + 2, in->dev[0]);
	vs_put_le16(p + 4, in->dev[1]);
	vs_put_le32(p + 8, in->slot[0]);
	vs_put_le32(p + 12, in->slot[1]);
	vs_put_le32(p + 16, in->live);
	vs_put_le64(p + 24, in->stamp);
}

static bool origin_ok(const struct bs_volent *ent)
{
	return ent->id <= UINT32_MAX && ent->size && ent->size <= BS_VOLUME_MAX_SIZE &&
	       ent->size % BS_BLOCK == 0 && !ent->root && !ent->parent &&
	       ent->compression <= BS_CODING_ZSTD;
}

static bool shape_ok(const struct bs_volent *ent)
{
	if (ent->flags & BS_VOL_OBJECTS)
		return ent->height == BS_OBJECTS_HEIGHT && !ent->size &&
		       !(ent->flags & (BS_VOL_THICK | BS_VOL_TEMPORARY));
	return ent->height >= 1 && ent->height <= BS_VOLUME_HEIGHT &&
	       ent->size <= BS_VOLUME_MAX_SIZE && ent->size % BS_BLOCK == 0 &&
	       ent->size / BS_BLOCK <= UINT64_C(1) << 9 * ent->height;
}

int bs_volent_get(const uint8_t *p, struct bs_volent *out)
{
	out->kind = p[0];
	out->height = p[1];
	out->compression = p[2];
	out->origin_set = p[3];
	out->sector = vs_get_le32(p + 4);
	out->flags = vs_get_le32(p + 8);
	out->origin_id = vs_get_le32(p + 12);
	out->id = vs_get_le64(p + 16);
	out->parent = vs_get_le64(p + 24);
	out->size = vs_get_le64(p + 32);
	out->root = vs_get_le64(p + 40);
	out->frozen = vs_get_le64(p + 48);
	out->created = (int64_t)vs_get_le64(p + 56);
	memcpy(out->uuid.b, p + 64, 16);
	memcpy(out->origin.b, p + 80, 16);
	memcpy(out->name, p + 96, BS_NAME_MAX);
	out->contents_left = vs_get_le64(p + 160);
	out->pages_left = vs_get_le64(p + 168);
	if (out->kind == BS_VOL_FREE)
		return 0;
	if (out->kind == BS_VOL_ORIGIN) {
		memset(out->name, 0, sizeof(out->name)); /* it has none, nor a map */
		out->height = 0;
		return origin_ok(out) ? 0 : VS_E_CORRUPT;
	}
	if (out->kind > BS_VOL_GONE || !shape_ok(out) || out->compression > BS_CODING_ZSTD ||
	    (out->sector != 512 && out->sector != 4096) || !memchr(out->name, '\0', BS_NAME_MAX))
		return VS_E_CORRUPT;
	return 0;
}

void bs_volent_put(uint8_t *p, const struct bs_volent *in)
{
	memset(p, 0, BS_VOLENT_SIZE);
	p[0] = in->kind;
	p[1] = in->height;
	p[2] = in->compression;
	p[3] = in->origin_set;
	vs_put_le32(p + 4, in->sector);
	vs_put_le32(p + 8, in->flags);
	vs_put_le32(p + 12, in->origin_id);
	vs_put_le64(p + 16, in->id);
	vs_put_le64(p + 24, in->parent);
	vs_put_le64(p + 32, in->size);
	vs_put_le64(p + 40, in->root);
	vs_put_le64(p + 48, in->frozen);
	vs_put_le64(p + 56, (uint64_t)in->created);
	memcpy(p + 64, in->uuid.b, 16);
	memcpy(p + 80, in->origin.b, 16);
	memcpy(p + 96, in->name, BS_NAME_MAX);
	vs_put_le64(p + 160, in->contents_left);
	vs_put_le64(p + 168, in->pages_left);
}

void bs_work_get(const uint8_t *p, struct bs_work *out)
{
	out->cid = vs_get_le64(p);
	out->kind = p[8];
}

void bs_work_put(uint8_t *p, const struct bs_work *in)
{
	memset(p, 0, BS_WORK_SIZE);
	vs_put_le64(p, in->cid);
	p[8] = in->kind;
}
