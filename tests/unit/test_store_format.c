/* What is encoded is decoded again, and every other byte string is refused without harm. */
#include "blockstore/index_format.h"
#include "blockstore/super_format.h"
#include "common/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <xxhash.h>

#define TAG UINT64_C(0x1122334455667788)
#define SEG (1u << 20)

static void test_place(void **state)
{
	const struct bs_place in = {.seg = 0x12345678,
				    .off = 0xabcdef,
				    .len = 0xfedcba,
				    .coding = 2,
				    .private = true,
				    .gen = 0xbeef,
				    .refs = 0xdeadbeef,
				    .check = BS_CHECK56 - 5};
	uint8_t b[BS_PLACE_SIZE];
	struct bs_place out;

	(void)state;
	bs_place_put(b, &in);
	bs_place_get(b, &out);
	assert_int_equal(out.seg, in.seg);
	assert_int_equal(out.off, in.off);
	assert_int_equal(out.len, in.len);
	assert_int_equal(out.coding, in.coding);
	assert_true(out.private);
	assert_int_equal(out.gen, in.gen);
	assert_int_equal(out.refs, in.refs);
	assert_int_equal(out.check, in.check);
}

static void test_alias(void **state)
{
	const struct bs_place in = {
	    .alias = UINT64_C(0xbeef123456789abc), .aliased = true, .gen = 7, .refs = 9};
	uint8_t b[BS_PLACE_SIZE];
	struct bs_place out;

	(void)state;
	bs_place_put(b, &in);
	bs_place_get(b, &out);
	assert_int_equal(out.alias, in.alias);
	assert_true(out.aliased);
	assert_int_equal(out.seg, BS_SEG_NONE);
	assert_int_equal(out.gen, 7);
	assert_int_equal(out.refs, 9);
}

static void test_not_here(void **state)
{
	const struct bs_place in = {.seg = BS_SEG_NONE,
				    .coding = BS_CODING_ORIGIN,
				    .origin = 0xfedcba98,
				    .block = UINT64_C(0x89abcdef0123),
				    .gen = 7,
				    .refs = 9},
			      zeros = {.seg = BS_SEG_NONE, .coding = BS_CODING_ZEROS, .refs = 1};
	struct bs_volent origin = {.kind = BS_VOL_ORIGIN,
				   .id = UINT32_MAX,
				   .size = BS_BLOCK,
				   .contents_left = UINT64_C(1) << 40,
				   .pages_left = 3},
			 back;
	uint8_t b[BS_VOLENT_SIZE];
	struct bs_place out;

	(void)state;
	bs_place_put(b, &in);
	bs_place_get(b, &out);
	assert_true(bs_place_at_origin(&out) && !bs_place_stored(&out));
	assert_true(out.origin == in.origin && out.block == in.block && out.refs == 9);
	assert_true(out.seg == BS_SEG_NONE && out.len == 0 && out.alias == 0);
	bs_place_put(b, &zeros);
	bs_place_get(b, &out);
	assert_true(out.coding == BS_CODING_ZEROS && !bs_place_stored(&out));
	bs_volent_put(b, &origin);
	assert_int_equal(bs_volent_get(b, &back), 0);
	assert_true(back.contents_left == origin.contents_left && back.pages_left == 3);
	origin.id++; /* places hold 32 bits of it */
	bs_volent_put(b, &origin);
	assert_int_equal(bs_volent_get(b, &back), VS_E_CORRUPT);
	origin.id = 5;
	origin.root = 1;
	bs_volent_put(b, &origin);
	assert_int_equal(bs_volent_get(b, &back), VS_E_CORRUPT);
}

static void test_zero_page_is_empty(void **state)
{
	uint8_t zeros[256] = {0};
	struct bs_ptr ptr;
	struct bs_mapent ent;
	struct bs_volent vol;
	struct bs_segent seg;

	(void)state;
	bs_ptr_get(zeros, &ptr);
	assert_int_equal(ptr.seg[0], BS_SEG_NONE);
	assert_int_equal(ptr.seg[1], BS_SEG_NONE);
	bs_mapent_get(zeros, &ent);
	assert_false(ent.live);
	assert_int_equal(bs_volent_get(zeros, &vol), 0);
	assert_int_equal(vol.kind, BS_VOL_FREE);
	bs_segent_get(zeros, &seg);
	assert_int_equal(seg.state, BS_SEG_FREE);
}

static uint32_t put_all_records(uint8_t *b)
{
	uint32_t n = 0;

	for (unsigned type = BS_REC_CONTENT; type < BS_REC_END; type++) {
		struct bs_rec r = {.type = (enum bs_rec_type)type,
				   .cid = 7,
				   .other = 8,
				   .volume = 9,
				   .block = 10,
				   .count = 2,
				   .len = 4096,
				   .check = 12,
				   .vol = {.kind = BS_VOL_VOLUME,
					   .height = 2,
					   .sector = 512,
					   .size = 8192,
					   .name = "x"}};

		n += bs_rec_put(b + n, &r);
		if (type == BS_REC_MAP || type == BS_REC_PAGES || type == BS_REC_EXPAND ||
		    type == BS_REC_WORDS) {
			uint32_t each = type == BS_REC_MAP ? BS_REC_MAP_EACH : 8;
			uint32_t all = type == BS_REC_WORDS ? each : 2 * each; /* 2: word 1 */

			memset(b + n, 3, all);
			n += all;
		}
	}
	return n;
}

static void test_records(void **state)
{
	uint8_t b[4096];
	uint32_t len = put_all_records(b), pos = 0;

	(void)state;
	for (unsigned type = BS_REC_CONTENT; type < BS_REC_END; type++) {
		struct bs_rec r;

		assert_int_equal(bs_rec_get(b, len, &pos, &r), 0);
		assert_int_equal(r.type, type);
		if (type == BS_REC_MAP)
			assert_int_equal(r.count, 2);
		if (type == BS_REC_CONTENT)
			assert_int_equal(r.len, 4096);
	}
	assert_int_equal(pos, len);
	/* cut anywhere, the last record is refused and nothing behind the cut is read */
	for (uint32_t cut = 0; cut < len; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);
		struct bs_rec r;
		int rc = 0;

		memcpy(exact, b, cut);
		for (pos = 0; rc == 0 && pos < cut;)
			rc = bs_rec_get(exact, cut, &pos, &r);
		assert_true(rc == 0 || rc == VS_E_CORRUPT);
		free(exact);
	}
}

static void make_unit(uint8_t *b, struct bs_unit_head *h)
{
	bs_unit_set_tag(b, TAG);
	*h = (struct bs_unit_head){.kind = BS_UNIT_LOG,
				   .first = true,
				   .epoch = 1,
				   .seq = 2,
				   .durable_seq = 1,
				   .chain = 3,
				   .unit_len = 8192,
				   .head_len = 4096,
				   .payload_len = 4000,
				   .ahead = {5, 6}};
	h->records_len = put_all_records(b + BS_UNIT_HEAD);
	h->records = BS_REC_END - 1;
	bs_unit_encode(b, h);
}

static void test_unit(void **state)
{
	uint8_t *b = malloc(8192);
	struct bs_unit_head in, out;

	(void)state;
	make_unit(b, &in);
	assert_int_equal(bs_unit_decode(b, 4096, SEG, TAG, &out), 0);
	assert_int_equal(out.seq, 2);
	assert_int_equal(out.check, in.check);
	assert_int_equal(out.ahead[1], 6);
	assert_int_equal(bs_unit_decode(b, 4096, SEG, TAG + 1, &out), VS_E_NOENT);
	assert_int_equal(bs_unit_decode(b, 200, SEG, TAG, &out), VS_E_RANGE);
	for (uint32_t bit = 0; bit < 8 * (BS_UNIT_HEAD + in.records_len); bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(bs_unit_decode(b, 4096, SEG, TAG, &out), 0);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(b);
}

static void test_super(void **state)
{
	struct bs_super in = {.version = BS_FORMAT_VERSION,
			      .device_size = 64 << 20,
			      .segment_size = 256 << 10,
			      .segments = 200,
			      .checkpoint = 9,
			      .next_seq = 5,
			      .log_seg = 3,
			      .ahead = {4, 5},
			      .era = 6,
			      .works = 7},
			out;
	uint8_t *b = malloc(BS_SUPER_SIZE);

	(void)state;
	in.roots[BS_TREE_DROP].height = 2;
	in.roots[BS_TREE_DROP].leaves = 2;
	in.drops[1] = 12;
	in.drop_cursor = 13;
	in.drop_side = 1;
	in.roots[BS_TREE_MAP].height = 3;
	in.roots[BS_TREE_MAP].leaves = 12;
	in.roots[BS_TREE_WORK].height = in.roots[BS_TREE_WORK].leaves = 1;
	bs_super_encode(b, &in);
	assert_int_equal(bs_super_decode(b, &out), 0);
	assert_int_equal(out.checkpoint, 9);
	assert_int_equal(out.works, 7);
	assert_int_equal(out.drops[0], 0);
	assert_int_equal(out.drops[1], 12);
	assert_int_equal(out.drop_cursor, 13);
	assert_int_equal(out.drop_side, 1);
	assert_int_equal(out.roots[BS_TREE_MAP].leaves, 12);
	for (uint32_t bit = 0; bit < 8 * BS_SUPER_SIZE; bit += 7) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(bs_super_decode(b, &out), 0);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(b);
}

/* What goes into a segment of a saved index comes out of it, up to where it is full. */
static void test_saved_index(void **state)
{
	enum { SIZE = 16384, BUCKETS = 1000 };
	uint8_t *b = calloc(1, SIZE);
	struct bs_ixseg h = {.nonce = 7,
			     .number = 3,
			     .next = 9,
			     .buckets = BUCKETS,
			     .leaf = 11,
			     .complete = true},
			out;
	uint64_t e[DD_BUCKET] = {1, 2, 3, 4, 5, 6, 7, 8}, bucket, got[DD_BUCKET], put = 0;
	uint32_t at = 0;
	unsigned n;

	(void)state;
	while (bs_ixbucket_put(b, SIZE, &h.words, put, e, (unsigned)(put % 9)))
		put++;
	assert_in_range(h.words, (SIZE - 4096) / 8 - BS_IXBUCKET_WORDS, (SIZE - 4096) / 8);
	bs_ixseg_encode(b, &h);
	assert_int_equal(bs_ixseg_decode(b, SIZE, &out), 0);
	assert_true(bs_ixseg_whole(b, &out));
	assert_memory_equal(&out.nonce, &h.nonce, sizeof(h.nonce));
	assert_int_equal(out.number, 3);
	assert_int_equal(out.next, 9);
	assert_int_equal(out.leaf, 11);
	assert_true(out.complete);
	for (uint64_t i = 0; i < put; i++) {
		assert_int_equal(bs_ixbucket_get(b, &out, &at, &bucket, got, &n), 0);
		assert_int_equal(bucket, i);
		assert_int_equal(n, i % 9);
		assert_memory_equal(got, e, n * sizeof(e[0]));
	}
	assert_int_equal(bs_ixbucket_get(b, &out, &at, &bucket, got, &n), VS_E_NOENT);
	assert_int_equal(bs_ixseg_decode(b, SIZE / 2, &out), VS_E_CORRUPT); /* too long for it */
	b[4096 + 8] ^= 1;
	assert_false(bs_ixseg_whole(b, &h));
	b[20] ^= 1;
	assert_int_equal(bs_ixseg_decode(b, SIZE, &out), VS_E_CORRUPT);
	free(b);
}

/* Numbers that no writer would write are refused although all checksums fit. */
static void test_saved_index_lies(void **state)
{
	static const uint64_t heads[] = {
	    UINT64_C(9) << 56,	     /* more entries than a bucket has */
	    UINT64_C(8) << 56,	     /* more than there are words */
	    UINT64_C(1) << 56 | 100, /* bucket out of range */
	    UINT64_MAX,
	};
	uint8_t *b = calloc(1, 8192);

	(void)state;
	for (unsigned i = 0; i < VS_ARRAY_LEN(heads); i++) {
		struct bs_ixseg h = {.buckets = 100, .words = 3};
		uint64_t bucket, e[DD_BUCKET];
		uint32_t at = 0;
		unsigned n;

		vs_put_le64(b + 4096, heads[i]);
		bs_ixseg_encode(b, &h);
		assert_int_equal(bs_ixbucket_get(b, &h, &at, &bucket, e, &n), VS_E_CORRUPT);
	}
	free(b);
}

/* Whatever computes it, it is what the format says: the library's XXH3-64. */
static void test_checksum(void **state)
{
	enum { LEN = 9000 };
	uint8_t *b = malloc(LEN + 3);

	(void)state;
	for (unsigned i = 0; i < LEN + 3; i++)
		b[i] = (uint8_t)(i * 2654435761u >> 13);
	for (unsigned len = 0; len <= LEN; len += len < 600 ? 1 : 97)
		assert_true(bs_checksum(b + len % 4, len) == XXH3_64bits(b + len % 4, len));
	assert_true(bs_checksum("", 0) == UINT64_C(0x2d06800538d394c2));
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_checksum),
	    cmocka_unit_test(test_saved_index),
	    cmocka_unit_test(test_saved_index_lies),
	    cmocka_unit_test(test_place),
	    cmocka_unit_test(test_alias),
	    cmocka_unit_test(test_not_here),
	    cmocka_unit_test(test_zero_page_is_empty),
	    cmocka_unit_test(test_records),
	    cmocka_unit_test(test_unit),
	    cmocka_unit_test(test_super),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
