/*
 * Everything that a repository can make a node decode: config, descriptor, lock, pack and index
 * objects, frames, names. The first byte chooses the decoder, and whether header and checksums are
 * made right first, so that the fields behind them are reached; what a decoder accepts must lie in
 * its bounds.
 */
#include "backup/format.h"
#include "common/bytes.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t raw[BK_FRAME_RAW_MAX];

static void fuzz_pack(const uint8_t *obj, size_t size)
{
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	struct bk_pack p;
	struct bk_frame f;

	if (bk_pack_decode(obj, size, &p, "pack", NULL) == 0) {
		VS_ASSERT(p.digests + (size_t)p.items * 32 + BK_FOOTER_SIZE == obj + size);
		for (uint32_t i = 0; i < p.frames && i < 64; i++) {
			bk_pack_frame(&p, i, &f);
			VS_ASSERT(vs_range_ok(f.offset, f.stored, size));
			(void)!bk_frame_decode(ctx, &f, obj + f.offset, raw, "pack", NULL);
		}
	}
	ZSTD_freeDCtx(ctx);
}

static void fuzz_index(const uint8_t *obj, size_t size)
{
	struct bk_index_layout l;
	struct bk_index_entry e;
	struct bk_index_pack p;
	struct bk_frame f;

	if (bk_index_decode(obj, size, &l, "index", NULL))
		return;
	for (uint32_t i = 0; i < l.entries; i++) {
		bk_index_get_entry(obj + l.entries_at + (uint64_t)i * BK_INDEX_ENTRY_SIZE, &e);
		VS_ASSERT(e.frame < l.frames && e.pack < l.packs);
		bk_frame_get(obj + l.frames_at + (uint64_t)e.frame * BK_FRAME_ENTRY, &f);
		bk_index_get_pack(obj + l.packs_at + (uint64_t)e.pack * BK_INDEX_PACK_SIZE, &p);
		VS_ASSERT(vs_range_ok(f.offset, f.stored, p.size));
		VS_ASSERT((uint64_t)(e.pos + 1) * bk_kind_bytes(e.kind) <= f.raw);
	}
}

static void fuzz_frame(const uint8_t *data, size_t size)
{
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	struct bk_frame f;

	if (size > BK_FRAME_ENTRY) {
		bk_frame_get(data, &f);
		f.stored = VS_MIN(f.stored, size - BK_FRAME_ENTRY);
		(void)!bk_frame_decode(ctx, &f, data + BK_FRAME_ENTRY, raw, "frame", NULL);
	}
	ZSTD_freeDCtx(ctx);
}

static void fuzz_name(const uint8_t *data, size_t size)
{
	char name[BK_NAME_MAX], again[BK_NAME_MAX];
	struct dd_digest d;

	size = VS_MIN(size, sizeof(name) - 1);
	memcpy(name, data, size);
	name[size] = 0;
	if (bk_pack_name_parse(name, &d) == 0) {
		bk_pack_name(&d, again);
		VS_ASSERT(strcmp(name, again) == 0);
	}
	(void)!bk_index_name_parse(name, &d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bk_backup_info b;
	struct bk_lock_info l;
	struct bk_config c;
	uint8_t which, *obj;

	if (size < 2)
		return 0;
	which = *data++;
	size--;
	obj = malloc(size + BK_HEADER_SIZE);
	VS_ASSERT(obj);
	memcpy(obj, data, size);
	if (which & 0x80) { /* the input is a payload */
		memcpy(obj + BK_HEADER_SIZE, data, size);
		bk_header_encode(obj, which % 7 == 5 ? BK_OBJ_LOCK : which % 7 + 1, size);
		size += BK_HEADER_SIZE;
	}
	switch (which % 7) {
	case 0:
		(void)!bk_config_decode(obj, size, &c, "config", NULL);
		break;
	case 1: {
		uint64_t at = size < BK_FOOTER_SIZE ? 0 : vs_get_le64(obj + size - 16);

		if (size >= BK_FOOTER_SIZE && at <= size - 8) /* the tail's checksum too */
			vs_put_le64(obj + size - 8, XXH64(obj + at, size - 8 - at, 0));
		fuzz_pack(obj, size);
		break;
	}
	case 2:
		fuzz_index(obj, size);
		break;
	case 3:
		if (bk_backup_decode(obj, size, &b, "backup", NULL) == 0)
			VS_ASSERT(b.size && b.size % 4096 == 0 && memchr(b.id, 0, sizeof(b.id)));
		break;
	case 4:
		fuzz_frame(obj, size);
		break;
	case 5:
		if (bk_lock_decode(obj, size, &l, "lock", NULL) == 0)
			VS_ASSERT(memchr(l.host, 0, sizeof(l.host)) &&
				  memchr(l.where, 0, sizeof(l.where)));
		break;
	default:
		fuzz_name(obj, size);
	}
	free(obj);
	return 0;
}
