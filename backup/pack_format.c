#include "backup/format.h"

#include "common/bytes.h"

#include <string.h>
#include <xxhash.h>
#include <zstd.h>

/* Frame table entry. */
enum { F_OFFSET = 0, F_STORED = 4, F_RAW = 8, F_CODING = 11, F_PACK = 12 };

/* Footer, the object's last 32 bytes. */
enum { T_FRAMES = 0, T_ITEMS = 4, T_KIND = 8, T_TAIL_AT = 16, T_SUM = 24 };

uint64_t bk_pack_tail_size(uint32_t frames, uint32_t items)
{
	return (uint64_t)frames * BK_FRAME_ENTRY + (uint64_t)items * 32 + BK_FOOTER_SIZE;
}

/* raw takes 24 bits, as frames have at most 256 KiB; coding the byte above it. */
void bk_frame_put(uint8_t *rec, const struct bk_frame *f)
{
	vs_put_le32(rec + F_OFFSET, f->offset);
	vs_put_le32(rec + F_STORED, f->stored);
	vs_put_le32(rec + F_RAW, f->raw);
	rec[F_CODING] = (uint8_t)f->coding;
	vs_put_le32(rec + F_PACK, f->pack);
}

void bk_frame_get(const uint8_t *rec, struct bk_frame *f)
{
	f->offset = vs_get_le32(rec + F_OFFSET);
	f->stored = vs_get_le32(rec + F_STORED);
	f->raw = vs_get_le32(rec + F_RAW) & 0xffffff;
	f->coding = rec[F_CODING];
	f->pack = vs_get_le32(rec + F_PACK);
}

bool bk_frame_ok(const struct bk_frame *f, enum bk_kind kind, uint64_t end)
{
	return f->raw > 0 && f->raw <= BK_FRAME_RAW_MAX && f->raw % bk_kind_bytes(kind) == 0 &&
	       f->stored > 0 && f->stored <= BK_FRAME_STORED_MAX && f->offset >= BK_HEADER_SIZE &&
	       vs_range_ok(f->offset, f->stored, end) &&
	       (f->coding == BK_CODING_ZSTD ||
		(f->coding == BK_CODING_PLAIN && f->stored == f->raw));
}

void bk_pack_finish(uint8_t *obj, uint64_t at, enum bk_kind kind, const struct bk_frame *frames,
		    uint32_t nframes, const struct dd_digest *items, uint32_t nitems)
{
	uint8_t *p = obj + at;
	uint32_t i;

	for (i = 0; i < nframes; i++, p += BK_FRAME_ENTRY)
		bk_frame_put(p, &frames[i]);
	memcpy(p, items, (size_t)nitems * sizeof(*items));
	p += (size_t)nitems * sizeof(*items);
	memset(p, 0, BK_FOOTER_SIZE);
	vs_put_le32(p + T_FRAMES, nframes);
	vs_put_le32(p + T_ITEMS, nitems);
	p[T_KIND] = (uint8_t)kind;
	vs_put_le64(p + T_TAIL_AT, at);
	vs_put_le64(p + T_SUM, XXH64(obj + at, (size_t)(p + T_SUM - (obj + at)), 0));
	bk_header_encode(obj, BK_OBJ_PACK, (uint64_t)(p + BK_FOOTER_SIZE - obj) - BK_HEADER_SIZE);
}

int bk_pack_decode(const uint8_t *obj, uint64_t size, struct bk_pack *p, const char *what,
		   struct vs_error *err)
{
	int rc = bk_header_decode(obj, size, BK_OBJ_PACK, false, what, err);
	const uint8_t *foot;
	uint64_t at, items = 0;
	uint32_t i;

	if (rc)
		return rc;
	if (size < BK_HEADER_SIZE + BK_FOOTER_SIZE || size > BK_PACK_BYTES_MAX)
		return vs_fail(err, VS_E_CORRUPT, "%s: has the wrong length", what);
	foot = obj + size - BK_FOOTER_SIZE;
	at = vs_get_le64(foot + T_TAIL_AT);
	p->frames = vs_get_le32(foot + T_FRAMES);
	p->items = vs_get_le32(foot + T_ITEMS);
	p->kind = foot[T_KIND];
	if (p->frames > BK_PACK_FRAMES_MAX || p->items > BK_PACK_ITEMS_MAX || at > size ||
	    at < BK_HEADER_SIZE || size - at != bk_pack_tail_size(p->frames, p->items) ||
	    vs_get_le64(foot + T_SUM) != XXH64(obj + at, (size_t)(foot + T_SUM - (obj + at)), 0) ||
	    (p->kind != BK_KIND_BLOCK && p->kind != BK_KIND_PAGE))
		return vs_fail(err, VS_E_CORRUPT, "%s: its table of frames is damaged", what);
	p->table = obj + at;
	p->digests = p->table + (size_t)p->frames * BK_FRAME_ENTRY;
	for (i = 0; i < p->frames; i++) {
		struct bk_frame f;

		bk_pack_frame(p, i, &f);
		if (!bk_frame_ok(&f, p->kind, at))
			return vs_fail(err, VS_E_CORRUPT, "%s: frame %u is out of range", what, i);
		items += f.raw / bk_kind_bytes(p->kind);
	}
	if (items != p->items)
		return vs_fail(err, VS_E_CORRUPT, "%s: its frames hold %llu items, not %u", what,
			       (unsigned long long)items, p->items);
	return 0;
}

void bk_pack_frame(const struct bk_pack *p, uint32_t i, struct bk_frame *f)
{
	bk_frame_get(p->table + (size_t)i * BK_FRAME_ENTRY, f);
}

int bk_frame_decode(struct ZSTD_DCtx_s *ctx, const struct bk_frame *f, const uint8_t *stored,
		    uint8_t *out, const char *what, struct vs_error *err)
{
	size_t n;

	if (f->raw > BK_FRAME_RAW_MAX || f->stored > BK_FRAME_STORED_MAX)
		return vs_fail(err, VS_E_CORRUPT, "%s: a frame is out of range", what);
	if (f->coding == BK_CODING_PLAIN) {
		if (f->stored != f->raw)
			return vs_fail(err, VS_E_CORRUPT, "%s: a frame is out of range", what);
		memcpy(out, stored, f->raw);
		return 0;
	}
	if (f->coding != BK_CODING_ZSTD)
		return vs_fail(err, VS_E_FEATURE, "%s: a frame has an unknown coding (%u)", what,
			       f->coding);
	n = ZSTD_decompressDCtx(ctx, out, f->raw, stored, f->stored);
	if (ZSTD_isError(n) || n != f->raw)
		return vs_fail(err, VS_E_CORRUPT,
			       "%s: the frame at byte %u does not decode: the object is damaged",
			       what, f->offset);
	return 0;
}
