#include "dedup/digest.h"
#include "dedup/index.h"
#include "dedup/many.h"

#include "common/bytes.h"
#include "common/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static uint64_t rng_state = 0x9e3779b97f4a7c15u;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static void random_digest(struct dd_digest *d)
{
	for (int i = 0; i < 4; i++)
		vs_put_le64(d->b + 8 * i, rng());
}

static void expect_hex(const struct dd_digest *d, const char *hex)
{
	char text[65];

	vs_format_hex(d->b, 32, text);
	assert_string_equal(text, hex);
}

/* FIPS 180-4 examples and NIST's long message. */
static void digest_known_vectors(void **state)
{
	static const char abc448[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	struct dd_hasher *h;
	struct dd_digest d;
	char a[1000];

	(void)state;
	assert_int_equal(dd_hasher_new(&h, NULL), 0);
	dd_hash(h, "", 0, &d);
	expect_hex(&d, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	dd_hash(h, "abc", 3, &d);
	expect_hex(&d, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	dd_hash(h, abc448, sizeof(abc448) - 1, &d);
	expect_hex(&d, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	memset(a, 'a', sizeof(a));
	dd_hash_begin(h);
	for (int i = 0; i < 1000; i++)
		dd_hash_add(h, a, sizeof(a));
	dd_hash_end(h, &d);
	expect_hex(&d, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	dd_hasher_free(h);
}

#define PIECES 40u
#define PIECE_MAX 5000u

/* Whatever way is taken for a number of pieces, each digest is what OpenSSL says of its piece, also
 * of pieces that differ in a byte, and of lengths around the blocks that SHA-256 works on. */
static void digest_of_many(void **state)
{
	static const size_t lens[] = {0, 1, 55, 56, 63, 64, 65, 119, 4095, 4096, PIECE_MAX};
	uint8_t(*mem)[PIECE_MAX] = malloc(PIECES * sizeof(*mem));
	struct dd_digest got[PIECES], right, *out[PIECES];
	const uint8_t *data[PIECES];
	struct dd_hasher *one;
	struct dd_many *many;

	(void)state;
	assert_non_null(mem);
	assert_int_equal(dd_hasher_new(&one, NULL), 0);
	assert_int_equal(dd_many_new(&many, NULL), 0);
	for (unsigned i = 0; i < PIECES; i++) {
		for (unsigned k = 0; k < PIECE_MAX; k++)
			mem[i][k] = (uint8_t)(i < PIECES / 2 ? rng() : k == i * 7);
		data[i] = mem[i];
		out[i] = &got[i];
	}
	for (unsigned l = 0; l < VS_ARRAY_LEN(lens); l++) {
		for (unsigned n = 0; n <= PIECES; n++) {
			memset(got, 0xee, sizeof(got));
			dd_many_hash(many, n, data, lens[l], out);
			for (unsigned i = 0; i < n; i++) {
				dd_hash(one, data[i], lens[l], &right);
				assert_true(dd_digest_equal(&got[i], &right));
			}
			for (unsigned i = n; i < PIECES; i++) /* and no other is touched */
				assert_int_equal(got[i].b[0], 0xee);
		}
	}
	dd_many_free(many);
	dd_many_free(NULL);
	dd_hasher_free(one);
	free(mem);
}

static void digest_pieces_equal_whole(void **state)
{
	struct dd_hasher *h;
	struct dd_digest whole, pieces;
	uint8_t buf[4096];

	(void)state;
	assert_int_equal(dd_hasher_new(&h, NULL), 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)rng();
	dd_hash(h, buf, sizeof(buf), &whole);
	for (int round = 0; round < 100; round++) {
		size_t at = 0;

		dd_hash_begin(h);
		while (at < sizeof(buf)) {
			size_t n = rng() % 700 + 1;

			n = VS_MIN(n, sizeof(buf) - at);
			dd_hash_add(h, buf + at, n);
			at += n;
		}
		dd_hash_end(h, &pieces);
		assert_true(dd_digest_equal(&whole, &pieces));
	}
	buf[17] ^= 1;
	dd_hash(h, buf, sizeof(buf), &pieces);
	assert_false(dd_digest_equal(&whole, &pieces));
	dd_hasher_free(h);
}

static void budget_of(enum dd_keep keep)
{
	struct dd_index *ix;
	struct vs_error err;
	struct dd_digest d;

	assert_int_equal(dd_index_new(&ix, 4095, keep, &err), VS_E_INVAL);
	assert_int_equal(dd_index_new(&ix, UINT64_MAX, keep, &err), VS_E_INVAL);
	assert_int_equal(dd_index_new(&ix, 8191, keep, &err), 0);
	assert_int_equal(dd_index_bytes(ix), 127 * 64);
	for (int i = 0; i < 20000; i++) {
		random_digest(&d);
		dd_index_insert(ix, &d, (uint64_t)i + 1);
		assert_true(dd_index_count(ix) <= 127 * 8);
	}
	assert_int_equal(dd_index_count(ix), 127 * 8);
	assert_false(dd_index_complete(ix));
	dd_index_clear(ix);
	assert_int_equal(dd_index_count(ix), 0);
	assert_true(dd_index_complete(ix));
	dd_index_free(ix);
}

static void index_budget(void **state)
{
	(void)state;
	budget_of(DD_KEEP_SAMPLE);
	budget_of(DD_KEEP_RECENT);
}

static bool holds(const struct dd_index *ix, const struct dd_digest *d, uint64_t slot)
{
	uint64_t got[8];
	unsigned n = dd_index_lookup(ix, d, got, 8);

	while (n > 0)
		if (got[--n] == slot)
			return true;
	return false;
}

/* Buckets stay under eight entries here, so nothing may be lost. */
static void index_finds_all_when_roomy(void **state)
{
	enum { N = 5000 };
	struct dd_digest *d = calloc(N, sizeof(*d));
	struct dd_index *ix;

	(void)state;
	assert_non_null(d);
	assert_int_equal(dd_index_new(&ix, 8u << 20, DD_KEEP_SAMPLE, NULL), 0);
	for (uint64_t i = 0; i < N; i++) {
		random_digest(&d[i]);
		dd_index_insert(ix, &d[i], i + 1);
		dd_index_insert(ix, &d[i], i + 1); /* again: replaces */
	}
	assert_int_equal(dd_index_count(ix), N);
	assert_true(dd_index_complete(ix));
	for (uint64_t i = 0; i < N; i++)
		assert_true(holds(ix, &d[i], i + 1));
	for (uint64_t i = 0; i < N; i += 2)
		dd_index_remove(ix, &d[i], i + 1);
	assert_int_equal(dd_index_count(ix), N / 2);
	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(holds(ix, &d[i], i + 1), i % 2);
	dd_index_clear(ix);
	assert_false(holds(ix, &d[1], 2));
	dd_index_free(ix);
	free(d);
}

/* A bucket against a list that moves to the front and drops from the end. */
static void index_bucket_is_a_list_by_age(void **state)
{
	struct dd_index *ix;
	struct dd_digest d;
	uint64_t model[8] = {0}, got[8];
	unsigned n = 0;

	(void)state;
	assert_int_equal(dd_index_new(&ix, 1u << 16, DD_KEEP_RECENT, NULL), 0);
	random_digest(&d);
	for (int round = 0; round < 20000; round++) {
		uint64_t slot = (rng() % 12 + 1) << (rng() % 2 * 40);
		unsigned at, max = (unsigned)(rng() % 9);

		for (at = 0; at < n && model[at] != slot; at++)
			;
		if (rng() % 4) {
			if (at == n && n < 8)
				n++;
			else if (at == n)
				at--;
			memmove(&model[1], &model[0], at * sizeof(model[0]));
			model[0] = slot;
			dd_index_insert(ix, &d, slot);
		} else {
			if (at < n) {
				n--;
				memmove(&model[at], &model[at + 1], (n - at) * sizeof(model[0]));
			}
			dd_index_remove(ix, &d, slot);
		}
		assert_int_equal(dd_index_count(ix), n);
		assert_int_equal(dd_index_lookup(ix, &d, got, max), VS_MIN(n, max));
		assert_memory_equal(got, model, VS_MIN(n, max) * sizeof(got[0]));
	}
	dd_index_free(ix);
}

/* Walks ix with dd_index_next; returns how many entries that way leads to. */
static uint64_t walked(const struct dd_index *ix)
{
	uint64_t e[DD_BUCKET], entries = 0, passed = 0, b;

	for (b = dd_index_next(ix, 0); b < dd_index_buckets(ix); b = dd_index_next(ix, b + 1)) {
		for (; passed < b; passed++)
			assert_int_equal(dd_index_save(ix, passed, e), 0);
		entries += dd_index_save(ix, passed++, e);
	}
	assert_int_equal(b, dd_index_buckets(ix));
	return entries;
}

/* Nothing that is held is passed over, and what was never used is. */
static void index_walk_finds_all(void **state)
{
	static const uint64_t bytes[] = {4096, 8191, 1u << 20, (1u << 20) + 64};

	(void)state;
	for (unsigned i = 0; i < VS_ARRAY_LEN(bytes); i++) {
		struct dd_index *ix, *copy;
		uint64_t e[DD_BUCKET];

		assert_int_equal(dd_index_new(&ix, bytes[i], DD_KEEP_SAMPLE, NULL), 0);
		assert_int_equal(dd_index_new(&copy, bytes[i], DD_KEEP_SAMPLE, NULL), 0);
		assert_int_equal(dd_index_next(ix, 0), dd_index_buckets(ix));
		for (uint64_t n = 1; n < 60; n++) {
			struct dd_digest d;

			random_digest(&d);
			dd_index_insert(ix, &d, n);
			assert_int_equal(walked(ix), dd_index_count(ix));
		}
		for (uint64_t b = 0; b < dd_index_buckets(ix); b++)
			dd_index_restore(copy, b, e, dd_index_save(ix, b, e));
		assert_int_equal(walked(copy), dd_index_count(ix));
		dd_index_clear(ix);
		assert_int_equal(dd_index_next(ix, 0), dd_index_buckets(ix));
		dd_index_free(ix);
		dd_index_free(copy);
	}
}

/* Equal bucket, other tag: no candidate. */
static void index_tag_keeps_digests_apart(void **state)
{
	struct dd_digest a, b;
	struct dd_index *ix;
	uint64_t got[8];

	(void)state;
	assert_int_equal(dd_index_new(&ix, 4096, DD_KEEP_SAMPLE, NULL), 0);
	random_digest(&a);
	b = a;
	b.b[8] ^= 1;
	dd_index_insert(ix, &a, 7);
	assert_int_equal(dd_index_lookup(ix, &b, got, 8), 0);
	dd_index_remove(ix, &b, 7);
	dd_index_insert(ix, &b, 9);
	assert_int_equal(dd_index_lookup(ix, &a, got, 8), 1);
	assert_int_equal(got[0], 7);
	dd_index_free(ix);
}

static int by_tag(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* Whatever the order of insertion, a full bucket holds the eight lowest of all tags. */
static void index_sample_is_the_lowest_tags(void **state)
{
	enum { N = 300 };
	struct dd_index *ix;
	struct dd_digest d;
	uint16_t tags[N];

	(void)state;
	for (int round = 0; round < 50; round++) {
		assert_int_equal(dd_index_new(&ix, 4096, DD_KEEP_SAMPLE, NULL), 0);
		random_digest(&d);
		for (unsigned i = 0; i < N; i++) {
			tags[i] = (uint16_t)(rng() % 5000 * 13);
			vs_put_le16(d.b + 8, tags[i]);
			assert_int_equal(dd_index_complete(ix), i <= 8);
			dd_index_insert(ix, &d, i + 1);
		}
		assert_int_equal(dd_index_count(ix), 8);
		for (unsigned i = 0, n = 0; i < N; i++) {
			vs_put_le16(d.b + 8, tags[i]);
			n += holds(ix, &d, i + 1);
			if (i + 1 == N)
				assert_int_equal(n, 8);
		}
		qsort(tags, N, sizeof(tags[0]), by_tag);
		for (unsigned i = 0; i < 8; i++) {
			uint64_t got[8];

			vs_put_le16(d.b + 8, tags[i]);
			assert_true(dd_index_lookup(ix, &d, got, 8) > 0);
		}
		dd_index_free(ix);
	}
}

/* Equal tags: the newest stay, as what was written last is repeated soonest. */
static void index_sample_prefers_the_newest_of_equals(void **state)
{
	struct dd_index *ix;
	struct dd_digest d;
	uint64_t got[8];

	(void)state;
	assert_int_equal(dd_index_new(&ix, 4096, DD_KEEP_SAMPLE, NULL), 0);
	random_digest(&d);
	for (uint64_t slot = 1; slot <= 20; slot++)
		dd_index_insert(ix, &d, slot);
	assert_int_equal(dd_index_lookup(ix, &d, got, 8), 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(got[i], 20 - i);
	dd_index_free(ix);
}

/* An index of a share of the digests is full and holds that share, evenly over all digests. */
static void index_sample_fills_its_budget(void **state)
{
	enum { SLOTS = 8192, TIMES = 13 };
	struct dd_digest *d = calloc(SLOTS * TIMES, sizeof(*d));
	struct dd_index *ix;
	unsigned part[TIMES] = {0};

	(void)state;
	assert_non_null(d);
	assert_int_equal(dd_index_new(&ix, SLOTS * 8, DD_KEEP_SAMPLE, NULL), 0);
	for (uint64_t i = 0; i < SLOTS * TIMES; i++) {
		random_digest(&d[i]);
		dd_index_insert(ix, &d[i], i + 1);
	}
	assert_int_equal(dd_index_count(ix), SLOTS);
	for (uint64_t i = 0; i < SLOTS * TIMES; i++)
		part[i / SLOTS] += holds(ix, &d[i], i + 1);
	for (unsigned k = 0; k < TIMES; k++)
		assert_in_range(part[k], SLOTS / TIMES * 8 / 10, SLOTS / TIMES * 12 / 10);
	dd_index_free(ix);
	free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(digest_known_vectors),
	    cmocka_unit_test(digest_of_many),
	    cmocka_unit_test(digest_pieces_equal_whole),
	    cmocka_unit_test(index_budget),
	    cmocka_unit_test(index_finds_all_when_roomy),
	    cmocka_unit_test(index_bucket_is_a_list_by_age),
	    cmocka_unit_test(index_walk_finds_all),
	    cmocka_unit_test(index_tag_keeps_digests_apart),
	    cmocka_unit_test(index_sample_is_the_lowest_tags),
	    cmocka_unit_test(index_sample_prefers_the_newest_of_equals),
	    cmocka_unit_test(index_sample_fills_its_budget),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
