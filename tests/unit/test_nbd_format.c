/* The codec of NBD against bytes written down from the protocol, and its refusal of bad input. */
#include "common/arena.h"
#include "common/bytes.h"
#include "targets/nbd/nbd_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void hello_and_flags(void **state)
{
	static const uint8_t want[] = "NBDMAGICIHAVEOPT\0\3";
	uint8_t buf[NBD_HELLO_BYTES];
	uint32_t flags;

	(void)state;
	assert_int_equal(nbd_hello_encode(buf), sizeof(buf));
	assert_memory_equal(buf, want, sizeof(buf));
	assert_int_equal(nbd_client_flags_decode((const uint8_t *)"\0\0\0\3", &flags), 0);
	assert_int_equal(flags, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	assert_int_equal(nbd_client_flags_decode((const uint8_t *)"\0\0\0\4", &flags), VS_E_PROTO);
	assert_int_equal(nbd_client_flags_decode((const uint8_t *)"\x80\0\0\1", &flags),
			 VS_E_PROTO);
}

static void option_header(void **state)
{
	struct nbd_option o;

	(void)state;
	assert_int_equal(nbd_option_decode((const uint8_t *)"IHAVEOPT\0\0\0\7\0\0\1\2", &o), 0);
	assert_int_equal(o.option, NBD_OPT_GO);
	assert_int_equal(o.length, 0x102);
	assert_int_equal(nbd_option_decode((const uint8_t *)"IHAVEOPS\0\0\0\7\0\0\0\0", &o),
			 VS_E_PROTO);
}

static void go_data(void **state)
{
	static const uint8_t ok[] = "\0\0\0\3vol\0\3\0\1\0\3\0\x63";
	struct nbd_go go;

	(void)state;
	assert_int_equal(nbd_go_decode(ok, sizeof(ok) - 1, &go), 0);
	assert_int_equal(go.name.len, 3);
	assert_memory_equal(go.name.s, "vol", 3);
	assert_true(go.want_name);
	assert_true(go.want_block_size);
	/* Every shorter piece of it, and anything behind it, is malformed. */
	for (size_t n = 0; n < sizeof(ok) - 1; n++)
		assert_int_equal(nbd_go_decode(ok, n, &go), VS_E_PROTO);
	assert_int_equal(nbd_go_decode(ok, sizeof(ok), &go), VS_E_PROTO);
	assert_int_equal(nbd_go_decode((const uint8_t *)"\xff\xff\xff\xffvol\0\0", 9, &go),
			 VS_E_PROTO);
	assert_int_equal(nbd_go_decode((const uint8_t *)"\0\0\0\0\0\0", 6, &go), 0);
	assert_int_equal(go.name.len, 0);
	assert_false(go.want_block_size);
}

static void meta_data(void **state)
{
	static const uint8_t two[] = "\0\0\0\1v\0\0\0\2\0\0\0\7x-a:foo\0\0\0\xf"
				     "base:allocation";
	static const uint8_t space[] = "\0\0\0\1v\0\0\0\1\0\0\0\5base:";
	static const uint8_t many[] = "\0\0\0\1v\xff\xff\xff\xff";
	struct nbd_meta m;

	(void)state;
	assert_int_equal(nbd_meta_decode(two, sizeof(two) - 1, false, &m), 0);
	assert_int_equal(m.queries, 2);
	assert_true(m.allocation);
	for (size_t n = 0; n < sizeof(two) - 1; n++)
		assert_int_equal(nbd_meta_decode(two, n, false, &m), VS_E_PROTO);
	assert_int_equal(nbd_meta_decode(two, sizeof(two), false, &m), VS_E_PROTO);
	assert_int_equal(nbd_meta_decode(space, sizeof(space) - 1, false, &m), 0);
	assert_false(m.allocation);
	assert_int_equal(nbd_meta_decode(space, sizeof(space) - 1, true, &m), 0);
	assert_true(m.allocation);
	assert_int_equal(nbd_meta_decode(many, sizeof(many) - 1, true, &m), VS_E_PROTO);
}

static void option_replies(void **state)
{
	static const uint8_t magic[] = "\0\3\xe8\x89\4\x55\x65\xa9";
	static const uint8_t info[] = "\0\0\0\7\0\0\0\3\0\0\0\xc\0\0\0\0\0\0\1\0\0\0\5\xed";
	static const uint8_t sizes[] = "\0\0\0\6\0\0\0\3\0\0\0\xe\0\3\0\0\2\0\0\0\x10\0\2\0\0\0";
	static const uint8_t server[] = "\0\0\0\3\0\0\0\2\0\0\0\6\0\0\0\2ab";
	static const uint8_t meta[] = "\0\0\0\xa\0\0\0\4\0\0\0\5\0\0\0\1x";
	static const uint8_t error[] = "\0\0\0\x63\x80\0\0\1\0\0\0\2no";
	uint8_t buf[64];

	(void)state;
	assert_int_equal(nbd_info_export_encode(buf, NBD_OPT_GO, 1u << 24, 0x5ed), 32);
	assert_memory_equal(buf, magic, 8);
	assert_memory_equal(buf + 8, info, 24);
	assert_int_equal(nbd_info_block_size_encode(buf, NBD_OPT_INFO, 512, 4096, 32u << 20), 34);
	assert_memory_equal(buf + 8, sizes, 26);
	assert_int_equal(nbd_server_encode(buf, "ab"), 26);
	assert_memory_equal(buf + 8, server, 18);
	assert_int_equal(nbd_meta_context_encode(buf, NBD_OPT_SET_META_CONTEXT, 1, "x"), 25);
	assert_memory_equal(buf + 8, meta, 17);
	assert_int_equal(nbd_option_error_encode(buf, 99, NBD_REP_ERR_UNSUP, "no"), 22);
	assert_memory_equal(buf + 8, error, 14);
}

static void export_name_reply(void **state)
{
	uint8_t buf[134], zeroes[124] = {0};

	(void)state;
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(nbd_export_name_encode(buf, 4096, 3, true), 10);
	assert_memory_equal(buf, "\0\0\0\0\0\0\x10\0\0\3", 10);
	assert_int_equal(nbd_export_name_encode(buf, 4096, 3, false), 134);
	assert_memory_equal(buf + 10, zeroes, 124);
}

static void request_header(void **state)
{
	static const uint8_t ok[] = "\x25\x60\x95\x13\0\1\0\1\1\2\3\4\5\6\7\x8\0\0\0\1\0\0\2\0"
				    "\0\0\x10\0";
	uint8_t bad[NBD_REQUEST_BYTES];
	struct nbd_cmd_header h;

	(void)state;
	assert_int_equal(nbd_request_decode(ok, &h), 0);
	assert_int_equal(h.flags, NBD_CMD_FLAG_FUA);
	assert_int_equal(h.type, NBD_CMD_WRITE);
	assert_true(h.cookie == UINT64_C(0x0102030405060708));
	assert_true(h.offset == UINT64_C(0x100000200));
	assert_int_equal(h.length, 4096);
	memcpy(bad, ok, sizeof(bad));
	bad[0] = 0x26;
	assert_int_equal(nbd_request_decode(bad, &h), VS_E_PROTO);
}

static const struct nbd_limits writable = {
    .size = 1 << 20,
    .align = 512,
    .max_length = 64 << 10,
    .flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
	     NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_DF | NBD_FLAG_CAN_MULTI_CONN,
    .status = true,
};

static void request_check(void **state)
{
	static const struct {
		uint16_t type, flags;
		uint64_t offset;
		uint32_t length;
		enum nbd_error rw, ro;
	} cases[] = {
	    {NBD_CMD_READ, 0, 0, 512, NBD_OK, NBD_OK},
	    {NBD_CMD_READ, NBD_CMD_FLAG_DF | NBD_CMD_FLAG_FUA, 0, 512, NBD_OK, NBD_OK},
	    {NBD_CMD_READ, NBD_CMD_FLAG_REQ_ONE, 0, 512, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_READ, 1u << 15, 0, 512, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_READ, 0, 0, 0, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_READ, 0, 1, 512, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_READ, 0, 0, 511, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_READ, 0, 0, (64 << 10) + 512, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_READ, 0, (1 << 20) - 512, 512, NBD_OK, NBD_OK},
	    {NBD_CMD_READ, 0, (1 << 20) - 512, 1024, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_READ, 0, UINT64_MAX - 511, 512, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 512, NBD_OK, NBD_EPERM},
	    {NBD_CMD_WRITE, 0, 1 << 20, 512, NBD_ENOSPC, NBD_EPERM},
	    {NBD_CMD_WRITE, 0, UINT64_MAX - 511, 1024, NBD_ENOSPC, NBD_EPERM},
	    {NBD_CMD_WRITE, NBD_CMD_FLAG_NO_HOLE, 0, 512, NBD_EINVAL, NBD_EPERM},
	    {NBD_CMD_FLUSH, 0, 0, 0, NBD_OK, NBD_OK},
	    {NBD_CMD_FLUSH, 0, 0, 512, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_FLUSH, 0, 512, 0, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_TRIM, 0, 0, 1 << 20, NBD_OK, NBD_EPERM},
	    {NBD_CMD_TRIM, 0, 512, 1 << 20, NBD_EINVAL, NBD_EPERM},
	    {NBD_CMD_CACHE, 0, 0, 512, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO, 0, 1 << 20,
	     NBD_OK, NBD_EPERM},
	    {NBD_CMD_WRITE_ZEROES, 0, 512, 1 << 20, NBD_ENOSPC, NBD_EPERM},
	    {NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 0, 1 << 20, NBD_OK, NBD_OK},
	    {NBD_CMD_BLOCK_STATUS, 0, 0, (1 << 20) + 512, NBD_EINVAL, NBD_EINVAL},
	    {NBD_CMD_DISC, 0, 0, 0, NBD_EINVAL, NBD_EINVAL},
	    {8, 0, 0, 512, NBD_EINVAL, NBD_EINVAL},
	    {UINT16_MAX, 0, 0, 512, NBD_EINVAL, NBD_EINVAL},
	};
	struct nbd_limits ro = writable, plain = writable;

	(void)state;
	ro.flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_DF;
	for (size_t i = 0; i < VS_ARRAY_LEN(cases); i++) {
		const struct nbd_cmd_header h = {
		    .type = cases[i].type,
		    .flags = cases[i].flags,
		    .offset = cases[i].offset,
		    .length = cases[i].length,
		};

		assert_int_equal(nbd_request_check(&writable, &h), cases[i].rw);
		assert_int_equal(nbd_request_check(&ro, &h), cases[i].ro);
	}
	/* Without structured replies neither DF nor BLOCK_STATUS may be used. */
	plain.flags &= (uint16_t)~NBD_FLAG_SEND_DF;
	plain.status = false;
	assert_int_equal(
	    nbd_request_check(&plain, &(struct nbd_cmd_header){.type = NBD_CMD_READ,
							       .flags = NBD_CMD_FLAG_DF,
							       .length = 512}),
	    NBD_EINVAL);
	assert_int_equal(
	    nbd_request_check(
		&plain, &(struct nbd_cmd_header){.type = NBD_CMD_BLOCK_STATUS, .length = 512}),
	    NBD_EINVAL);
}

static void errors(void **state)
{
	(void)state;
	assert_int_equal(nbd_error_from(0), NBD_OK);
	assert_int_equal(nbd_error_from(VS_E_NOSPC), NBD_ENOSPC);
	assert_int_equal(nbd_error_from(VS_E_ROFS), NBD_EPERM);
	assert_int_equal(nbd_error_from(VS_E_CHECKSUM), NBD_EIO);
	/* Whatever the engine may say becomes one of the protocol's errors, never success. */
	for (int code = VS_E_FIRST_ + 1; code < VS_E_LAST_; code++)
		assert_int_not_equal(nbd_error_from(code), NBD_OK);
	assert_int_equal(nbd_error_from(-1), NBD_EIO);
}

static void replies(void **state)
{
	static const uint8_t simple[] = "\x67\x44\x66\x98\0\0\0\x1c\0\0\0\0\0\0\0\x9";
	static const uint8_t data[] = "\x66\x8e\x33\xef\0\1\0\1\0\0\0\0\0\0\0\x9\0\0\2\x8"
				      "\0\0\0\0\0\0\x10\0";
	static const uint8_t none[] = "\x66\x8e\x33\xef\0\1\0\0\0\0\0\0\0\0\0\x9\0\0\0\0";
	static const uint8_t error[] = "\x66\x8e\x33\xef\0\1\x80\1\0\0\0\0\0\0\0\x9\0\0\0\x9"
				       "\0\0\0\5\0\3";
	static const uint8_t status[] = "\x66\x8e\x33\xef\0\1\0\5\0\0\0\0\0\0\0\x9\0\0\0\x14"
					"\0\0\0\1";
	uint8_t buf[32];

	(void)state;
	assert_int_equal(nbd_simple_encode(buf, 9, NBD_ENOSPC), 16);
	assert_memory_equal(buf, simple, 16);
	assert_int_equal(nbd_data_encode(buf, 9, 4096, 512, true), 28);
	assert_memory_equal(buf, data, 28);
	assert_int_equal(nbd_data_encode(buf, 9, 4096, 512, false), 28);
	assert_memory_equal(buf + 4, "\0\0", 2);
	assert_int_equal(nbd_done_encode(buf, 9), 20);
	assert_memory_equal(buf, none, 20);
	assert_int_equal(nbd_error_encode(buf, 9, NBD_EIO, 3), 26);
	assert_memory_equal(buf, error, 26);
	assert_int_equal(nbd_status_encode(buf, 9, 2), 24);
	assert_memory_equal(buf, status, 24);
	assert_int_equal(nbd_extent_encode(buf, 4096, NBD_STATE_HOLE | NBD_STATE_ZERO), 8);
	assert_memory_equal(buf, "\0\0\x10\0\0\0\0\3", 8);
}

static void arena(void **state)
{
	enum { UNITS = 256 };
	struct vs_arena a;
	uint8_t *p[UNITS], *big;

	(void)state;
	assert_int_equal(vs_arena_init(&a, UNITS), 0);
	for (unsigned i = 0; i < UNITS; i++) {
		p[i] = vs_arena_take(&a, 1);
		assert_ptr_equal(p[i], a.base + (size_t)i * VS_ARENA_UNIT);
	}
	assert_null(vs_arena_take(&a, 1));
	for (unsigned i = 0; i < UNITS; i += 2)
		vs_arena_give(&a, p[i], 1);
	assert_null(vs_arena_take(&a, VS_ARENA_UNIT + 1)); /* half is free, no two neighbours */
	vs_arena_give(&a, p[65], VS_ARENA_UNIT);
	big = vs_arena_take(&a, 3 * VS_ARENA_UNIT);
	assert_ptr_equal(big, p[64]);
	vs_arena_give(&a, big, 3 * VS_ARENA_UNIT);
	p[65] = NULL;
	for (unsigned i = 1; i < UNITS; i += 2)
		if (p[i])
			vs_arena_give(&a, p[i], VS_ARENA_UNIT);
	big = vs_arena_take(&a, UNITS * VS_ARENA_UNIT);
	assert_ptr_equal(big, a.base);
	memset(big, 1, UNITS * VS_ARENA_UNIT);
	vs_arena_give(&a, big, UNITS * VS_ARENA_UNIT);
	vs_arena_destroy(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hello_and_flags), cmocka_unit_test(option_header),
	    cmocka_unit_test(go_data),	       cmocka_unit_test(meta_data),
	    cmocka_unit_test(option_replies),  cmocka_unit_test(export_name_reply),
	    cmocka_unit_test(request_header),  cmocka_unit_test(request_check),
	    cmocka_unit_test(errors),	       cmocka_unit_test(replies),
	    cmocka_unit_test(arena),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
