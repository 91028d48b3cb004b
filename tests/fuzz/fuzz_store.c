/*
 * Everything of a store's device that the engine decodes. The first byte chooses the decoder;
 * checksums are made right in half of the inputs, so that what stands behind them is reached too.
 */
#include "blockstore/super_format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_super(uint8_t *b, size_t size)
{
	uint8_t page[BS_SUPER_SIZE] = {0};
	struct bs_super sb;
	struct bs_owner owner;

	memcpy(page, b, VS_MIN(size, sizeof(page)));
	if (size % 2)
		vs_put_le64(page + 4088, bs_checksum(page, 4088));
	if (bs_super_decode(page, &sb) == 0)
		VS_ASSERT(sb.log_seg < sb.segments && sb.segment_size >= BS_SEGMENT_MIN);
	if (bs_owner_decode(page, &owner) == 0)
		VS_ASSERT(memchr(owner.host, '\0', sizeof(owner.host)));
}

static void fuzz_records(const uint8_t *b, size_t size)
{
	uint32_t pos = 0, before;
	struct bs_rec r;

	do {
		before = pos;
		if (bs_rec_get(b, (uint32_t)size, &pos, &r))
			return;
		VS_ASSERT(pos > before && pos <= size);
		if (r.type == BS_REC_MAP || r.type == BS_REC_PAGES)
			VS_ASSERT(r.array >= b && r.array + r.count * 8 <= b + size);
	} while (pos < size);
}

static void fuzz_unit(uint8_t *b, size_t size)
{
	struct bs_unit_head h;

	if (size >= 8)
		vs_put_le32(b, 0x31555356);
	if (bs_unit_decode(b, size, 1u << 20, size >= 16 ? vs_get_le64(b + 8) : 0, &h) == 0) {
		VS_ASSERT(h.head_len <= h.unit_len && h.unit_len <= 1u << 20);
		VS_ASSERT(BS_UNIT_HEAD + h.records_len <= size);
		fuzz_records(b + BS_UNIT_HEAD, h.records_len);
	}
}

static void fuzz_entries(const uint8_t *b, size_t size)
{
	struct bs_volent vol;
	struct bs_place place;
	struct bs_mapent ent;
	struct bs_ptr ptr;
	struct bs_segent seg;

	if (size < BS_VOLENT_SIZE)
		return;
	if (bs_volent_get(b, &vol) == 0 && vol.kind != BS_VOL_FREE)
		VS_ASSERT(vol.size <= BS_VOLUME_MAX_SIZE && memchr(vol.name, '\0', BS_NAME_MAX));
	bs_place_get(b, &place);
	bs_mapent_get(b, &ent);
	bs_ptr_get(b, &ptr);
	bs_segent_get(b, &seg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *b;

	if (size < 2)
		return 0;
	b = malloc(size - 1); /* exact, so that a read behind the end is seen */
	if (!b)
		return 0;
	memcpy(b, data + 1, size - 1);
	switch (data[0] % 4) {
	case 0:
		fuzz_super(b, size - 1);
		break;
	case 1:
		fuzz_unit(b, size - 1);
		break;
	case 2:
		fuzz_records(b, size - 1);
		break;
	default:
		fuzz_entries(b, size - 1);
		break;
	}
	free(b);
	return 0;
}
