#include "backup/format.h"

#include "common/bytes.h"

#include <string.h>

/* Pack table entry, counts and entry of an index object. */
enum { P_NAME = 0, P_SIZE = 32, P_KIND = 40 };
enum { I_PACKS = 0, I_FRAMES = 4, I_ENTRIES = 8, I_SIZE = 32 };
enum { E_DIGEST = 0, E_FRAME = 32, E_PACK = 36, E_POS = 38, E_KIND = 39 };

void bk_index_layout(uint32_t packs, uint32_t frames, uint32_t entries, struct bk_index_layout *l)
{
	l->packs = packs;
	l->frames = frames;
	l->entries = entries;
	l->packs_at = BK_HEADER_SIZE + I_SIZE;
	l->frames_at = l->packs_at + (uint64_t)packs * BK_INDEX_PACK_SIZE;
	l->entries_at = l->frames_at + (uint64_t)frames * BK_FRAME_ENTRY;
	l->size = l->entries_at + (uint64_t)entries * BK_INDEX_ENTRY_SIZE;
}

void bk_index_encode(uint8_t *obj, const struct bk_index_layout *l,
		     const struct bk_index_pack *packs, const struct bk_frame *frames,
		     const struct bk_index_entry *entries)
{
	uint8_t *p = obj + BK_HEADER_SIZE;
	uint32_t i;

	memset(p, 0, I_SIZE);
	vs_put_le32(p + I_PACKS, l->packs);
	vs_put_le32(p + I_FRAMES, l->frames);
	vs_put_le32(p + I_ENTRIES, l->entries);
	p = obj + l->packs_at;
	for (i = 0; i < l->packs; i++, p += BK_INDEX_PACK_SIZE) {
		memset(p, 0, BK_INDEX_PACK_SIZE);
		memcpy(p + P_NAME, packs[i].name.b, 32);
		vs_put_le64(p + P_SIZE, packs[i].size);
		p[P_KIND] = (uint8_t)packs[i].kind;
	}
	for (i = 0; i < l->frames; i++, p += BK_FRAME_ENTRY)
		bk_frame_put(p, &frames[i]);
	for (i = 0; i < l->entries; i++, p += BK_INDEX_ENTRY_SIZE) {
		memcpy(p + E_DIGEST, entries[i].digest.b, 32);
		vs_put_le32(p + E_FRAME, entries[i].frame);
		vs_put_le16(p + E_PACK, entries[i].pack);
		p[E_POS] = entries[i].pos;
		p[E_KIND] = entries[i].kind;
	}
	bk_header_encode(obj, BK_OBJ_INDEX, l->size - BK_HEADER_SIZE);
}

void bk_index_get_pack(const uint8_t *rec, struct bk_index_pack *p)
{
	memcpy(p->name.b, rec + P_NAME, 32);
	p->size = vs_get_le64(rec + P_SIZE);
	p->kind = rec[P_KIND];
}

void bk_index_get_entry(const uint8_t *rec, struct bk_index_entry *e)
{
	memcpy(e->digest.b, rec + E_DIGEST, 32);
	e->frame = vs_get_le32(rec + E_FRAME);
	e->pack = vs_get_le16(rec + E_PACK);
	e->pos = rec[E_POS];
	e->kind = rec[E_KIND];
}

static bool tables_ok(const uint8_t *obj, const struct bk_index_layout *l)
{
	struct bk_index_pack p;
	struct bk_frame f;
	uint32_t i;

	for (i = 0; i < l->packs; i++) {
		bk_index_get_pack(obj + l->packs_at + (uint64_t)i * BK_INDEX_PACK_SIZE, &p);
		if (p.size < BK_HEADER_SIZE || p.size > BK_PACK_BYTES_MAX ||
		    (p.kind != BK_KIND_BLOCK && p.kind != BK_KIND_PAGE))
			return false;
	}
	for (i = 0; i < l->frames; i++) {
		bk_frame_get(obj + l->frames_at + (uint64_t)i * BK_FRAME_ENTRY, &f);
		if (f.pack >= l->packs)
			return false;
		bk_index_get_pack(obj + l->packs_at + (uint64_t)f.pack * BK_INDEX_PACK_SIZE, &p);
		if (!bk_frame_ok(&f, p.kind, p.size))
			return false;
	}
	return true;
}

static bool entries_ok(const uint8_t *obj, const struct bk_index_layout *l)
{
	const uint8_t *rec = obj + l->entries_at;
	uint32_t i;

	for (i = 0; i < l->entries; i++, rec += BK_INDEX_ENTRY_SIZE) {
		struct bk_index_entry e;
		struct bk_index_pack p;
		struct bk_frame f;

		bk_index_get_entry(rec, &e);
		if (e.frame >= l->frames || e.pack >= l->packs)
			return false;
		bk_frame_get(obj + l->frames_at + (uint64_t)e.frame * BK_FRAME_ENTRY, &f);
		bk_index_get_pack(obj + l->packs_at + (uint64_t)e.pack * BK_INDEX_PACK_SIZE, &p);
		if (f.pack != e.pack || e.kind != p.kind ||
		    e.pos >= f.raw / bk_kind_bytes(e.kind) ||
		    (i > 0 && memcmp(rec - BK_INDEX_ENTRY_SIZE, rec, 32) >= 0))
			return false;
	}
	return true;
}

int bk_index_decode(const uint8_t *obj, uint64_t size, struct bk_index_layout *l, const char *what,
		    struct vs_error *err)
{
	const uint8_t *p = obj + BK_HEADER_SIZE;
	int rc = bk_header_decode(obj, size, BK_OBJ_INDEX, true, what, err);

	if (rc)
		return rc;
	if (size < BK_HEADER_SIZE + I_SIZE || vs_get_le32(p + I_PACKS) > BK_INDEX_PACKS_MAX)
		return vs_fail(err, VS_E_CORRUPT, "%s: has the wrong length", what);
	bk_index_layout(vs_get_le32(p + I_PACKS), vs_get_le32(p + I_FRAMES),
			vs_get_le32(p + I_ENTRIES), l);
	if (l->size != size)
		return vs_fail(err, VS_E_CORRUPT, "%s: has the wrong length", what);
	if (!tables_ok(obj, l) || !entries_ok(obj, l))
		return vs_fail(err, VS_E_CORRUPT, "%s: an entry in it is out of range", what);
	return 0;
}
