/*
 * Everything of a store's device that the engine decodes. The first byte chooses the decoder;
 * checksums are made right in half of the inputs, so that what stands behind them is reached too.
 */
#include "blockstore/index_format.h"
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
	if (bs_super_decode(page, &sb) == 0) {
		VS_ASSERT(sb.log_seg < sb.segments && sb.segment_size >= BS_SEGMENT_MIN);
		VS_ASSERT(sb.durable_seq < sb.next_seq);
		for (unsigned i = 0; i < BS_TREES; i++)
			VS_ASSERT(sb.roots[i].leaves <=
				  (uint64_t)sb.segments * (sb.segment_size / BS_PAGE));
	}
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

/* What an entry means is written back as the same bytes, and these mean the same. */
#define ROUND_TRIP(type, get, put, size)                           \
	static void trip_##type(const uint8_t *b)                  \
	{                                                          \
		uint8_t once[size] = {0}, twice[size] = {0};       \
		struct bs_##type ent;                              \
                                                                   \
		get(b, &ent);                                      \
		put(once, &ent);                                   \
		get(once, &ent);                                   \
		put(twice, &ent);                                  \
		VS_ASSERT(memcmp(once, twice, sizeof(once)) == 0); \
	}
ROUND_TRIP(place, bs_place_get, bs_place_put, BS_PLACE_SIZE)
ROUND_TRIP(mapent, bs_mapent_get, bs_mapent_put, BS_MAPENT_SIZE)
ROUND_TRIP(ptr, bs_ptr_get, bs_ptr_put, BS_PTR_SIZE)
ROUND_TRIP(segent, bs_segent_get, bs_segent_put, BS_SEGENT_SIZE)
ROUND_TRIP(work, bs_work_get, bs_work_put, BS_WORK_SIZE)

static void fuzz_volume(const uint8_t *b)
{
	uint8_t once[BS_VOLENT_SIZE], twice[BS_VOLENT_SIZE];
	struct bs_volent vol;

	if (bs_volent_get(b, &vol) || vol.kind == BS_VOL_FREE)
		return;
	VS_ASSERT(vol.size <= BS_VOLUME_MAX_SIZE && memchr(vol.name, '\0', BS_NAME_MAX));
	if (vol.flags & BS_VOL_OBJECTS && vol.kind != BS_VOL_ORIGIN)
		VS_ASSERT(vol.height == BS_OBJECTS_HEIGHT && !vol.size);
	else if (vol.kind != BS_VOL_ORIGIN) /* which has no map */
		VS_ASSERT(vol.height >= 1 && vol.size >> 12 <= UINT64_C(1) << 9 * vol.height);
	bs_volent_put(once, &vol);
	VS_ASSERT(bs_volent_get(once, &vol) == 0);
	bs_volent_put(twice, &vol);
	VS_ASSERT(memcmp(once, twice, sizeof(once)) == 0);
}

static void fuzz_entries(const uint8_t *b, size_t size)
{
	if (size < BS_VOLENT_SIZE)
		return;
	fuzz_volume(b);
	trip_place(b);
	trip_mapent(b);
	trip_ptr(b);
	trip_segent(b);
	trip_work(b);
}

/* A device table that is taken gives every segment a place on a device that it names. */
static void fuzz_devices(const uint8_t *b, size_t size)
{
	uint8_t once[BS_DEVTAB_SIZE] = {0}, twice[BS_DEVTAB_SIZE];
	struct bs_devtab t;
	uint64_t segments = 0;

	memcpy(once, b, VS_MIN(size, sizeof(once)));
	if (bs_devtab_get(once, 200, 256 << 10, &t) || !t.ndevs)
		return;
	VS_ASSERT(t.ndevs <= BS_POOL_DEVICES && t.nranges <= BS_POOL_RANGES);
	for (unsigned i = 0; i < t.nranges; i++) {
		const struct bs_range *r = &t.range[i];

		VS_ASSERT(r->first == segments);
		segments += r->count;
		for (unsigned k = 0; k < t.ndevs; k++)
			VS_ASSERT(t.dev[k].group != r->group ||
				  BS_HEAD_AREA + BS_TAIL_AREA +
					  ((uint64_t)r->slot + r->count) * (256 << 10) <=
				      t.dev[k].size);
	}
	VS_ASSERT(segments >= 200); /* the table may know of segments that a checkpoint does not */
	bs_devtab_put(once, &t);
	VS_ASSERT(bs_devtab_get(once, 200, 256 << 10, &t) == 0);
	bs_devtab_put(twice, &t);
	VS_ASSERT(memcmp(once, twice, sizeof(once)) == 0);
}

/* A segment of a saved index that is as long as the input. */
static void fuzz_index(uint8_t *b, size_t size)
{
	struct bs_ixseg h;
	uint32_t at = 0, before;

	if (size < BS_PAGE)
		return;
	if (size % 2)
		vs_put_le64(b + 4088, bs_checksum(b, 4088));
	if (bs_ixseg_decode(b, (uint32_t)size, &h))
		return;
	VS_ASSERT(BS_PAGE + (uint64_t)h.words * 8 <= size);
	(void)bs_ixseg_whole(b, &h);
	do {
		uint64_t bucket, e[DD_BUCKET];
		unsigned n;

		before = at;
		if (bs_ixbucket_get(b, &h, &at, &bucket, e, &n))
			return;
		VS_ASSERT(at > before && at <= h.words && n <= DD_BUCKET && bucket < h.buckets);
	} while (at < h.words);
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
	switch (data[0] % 6) {
	case 0:
		fuzz_super(b, size - 1);
		break;
	case 1:
		fuzz_unit(b, size - 1);
		break;
	case 2:
		fuzz_records(b, size - 1);
		break;
	case 4:
		fuzz_index(b, size - 1);
		break;
	case 5:
		fuzz_devices(b, size - 1);
		break;
	default:
		fuzz_entries(b, size - 1);
		break;
	}
	free(b);
	return 0;
}
