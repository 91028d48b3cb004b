/* File handles: only what a key has made opens under it, whatever bit of it changes. */
#include "targets/nfs/handle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t key[32] = "a key of thirty-two bytes.......";
static const struct vs_uuid uuid = {{1, 2, 3, 4, 5, 6, 7, 8, 9}};
static const struct ds_handle file = {.object = 1, .generation = 0x01020304, .snapshot = 9};

static struct nfs_seal *seal_new(const uint8_t *k, size_t n)
{
	struct nfs_seal *s;

	assert_int_equal(nfs_seal_new(k, n, &s, NULL), 0);
	return s;
}

static void opens(void **state)
{
	struct nfs_seal *one = seal_new(key, sizeof(key)), *two = seal_new(key, sizeof(key));
	struct nfs_store_id id = nfs_store_id(&uuid), got;
	struct nfs_handle h, again;
	struct ds_handle f;

	(void)state;
	nfs_handle_make(one, &id, file, &h);
	nfs_handle_make(two, &id, file, &again);
	assert_memory_equal(h.b, again.b, sizeof(h.b)); /* over restarts, on all threads */
	assert_int_equal(nfs_handle_open(two, h.b, sizeof(h.b), &got, &f), 0);
	assert_memory_equal(got.b, uuid.b, sizeof(got.b));
	assert_int_equal(f.object, file.object);
	assert_int_equal(f.generation, file.generation);
	assert_int_equal(f.snapshot, file.snapshot);
	nfs_seal_free(one);
	nfs_seal_free(two);
}

static void forged(void **state)
{
	uint8_t other_key[32];
	struct nfs_seal *s = seal_new(key, sizeof(key)), *other, *shorter;
	struct nfs_store_id id = nfs_store_id(&uuid);
	uint8_t longer[NFS_HANDLE_MAX] = {0};
	struct nfs_handle h;
	struct ds_handle f;

	(void)state;
	memcpy(other_key, key, sizeof(key));
	other_key[31] ^= 1;
	other = seal_new(other_key, sizeof(other_key));
	shorter = seal_new(key, 16);
	nfs_handle_make(s, &id, file, &h);
	for (size_t bit = 0; bit < 8 * sizeof(h.b); bit++) {
		struct nfs_handle bad = h;

		bad.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(nfs_handle_open(s, bad.b, sizeof(bad.b), &id, &f), VS_E_INVAL);
	}
	memcpy(longer, h.b, sizeof(h.b));
	for (size_t n = 0; n <= sizeof(longer); n++)
		assert_int_equal(nfs_handle_open(s, longer, n, &id, &f),
				 n == sizeof(h.b) ? 0 : VS_E_INVAL);
	assert_int_equal(nfs_handle_open(other, h.b, sizeof(h.b), &id, &f), VS_E_INVAL);
	assert_int_equal(nfs_handle_open(shorter, h.b, sizeof(h.b), &id, &f), VS_E_INVAL);
	nfs_seal_free(s);
	nfs_seal_free(other);
	nfs_seal_free(shorter);
}

static void keys(void **state)
{
	struct vs_error err;
	struct nfs_seal *s;

	(void)state;
	assert_int_equal(nfs_seal_new(key, 15, &s, &err), VS_E_INVAL);
	assert_int_equal(nfs_seal_new(key, 33, &s, &err), VS_E_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(opens), cmocka_unit_test(forged),
					   cmocka_unit_test(keys)};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
