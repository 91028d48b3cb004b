/* URLs of LUNs, what LUNs say about themselves, and what is kept until it is flushed. */
#include "blockstore/lun_format.h"
#include "blockstore/lun_redo.h"
#include "blockstore/lun_sense.h"
#include "blockstore/lun_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include <cmocka.h>

static void test_urls(void **state)
{
	struct bs_lun_url u;
	char text[BS_LUN_URL_TEXT];

	(void)state;
	assert_int_equal(
	    bs_lun_url_parse("iscsi://array.example/iqn.2026-11.org.example:x/7", &u, NULL), 0);
	assert_string_equal(u.host, "array.example");
	assert_int_equal(u.port, 3260);
	assert_string_equal(u.target, "iqn.2026-11.org.example:x");
	assert_int_equal(u.lun, 7);
	assert_string_equal(u.user, "");
	assert_int_equal(
	    bs_lun_url_parse("iscsi://joe@[fe80::1]:860/IQN.2026-11.Org.example/16383", &u, NULL),
	    0);
	assert_string_equal(u.host, "fe80::1");
	assert_string_equal(u.user, "joe");
	assert_int_equal(u.port, 860);
	assert_string_equal(bs_lun_url_text(&u, text),
			    "iscsi://[fe80::1]:860/iqn.2026-11.org.example/16383");
	assert_int_equal(bs_lun_url_parse_portal("iscsi://10.0.0.1", &u, NULL), 0);
	assert_int_equal(bs_lun_url_parse_portal("iscsi://10.0.0.1:3261/", &u, NULL), 0);
	assert_int_equal(u.port, 3261);
}

static void test_bad_urls(void **state)
{
	static const char *const bad[] = {
	    "",
	    "iscsi://",
	    "iscsi:///iqn.a/0",
	    "http://h/iqn.2026-11.a/0",
	    "iscsi://h",
	    "iscsi://h/iqn.2026-11.a",
	    "iscsi://h/iqn.2026-11.a/",
	    "iscsi://h/iqn.2026-11.a/x",
	    "iscsi://h/iqn.2026-11.a/-1",
	    "iscsi://h/iqn.2026-11.a/16384",
	    "iscsi://h/iqn.2026-11.a/1/2",
	    "iscsi://h/iqn.2026-11.a/1 ",
	    "iscsi://h/disk/0",
	    "iscsi://h/iqn.2026 11/0",
	    "iscsi://h:/iqn.2026-11.a/0",
	    "iscsi://h:0/iqn.2026-11.a/0",
	    "iscsi://h:65536/iqn.2026-11.a/0",
	    "iscsi://[::1/iqn.2026-11.a/0",
	    "iscsi://[10.0.0.1]/iqn.2026-11.a/0",
	    "iscsi://[::1]x/iqn.2026-11.a/0",
	    "iscsi://::1/iqn.2026-11.a/0",
	    "iscsi://@h/iqn.2026-11.a/0",
	    "iscsi://-h/iqn.2026-11.a/0",
	    "iscsi://h,1/iqn.2026-11.a/0",
	};
	struct bs_lun_url u;
	struct vs_error err = {0};

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(bad); i++)
		if (bs_lun_url_parse(bad[i], &u, NULL) != VS_E_INVAL)
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(bs_lun_url_parse("iscsi://joe%s3cret@h/iqn.2026-11.a/0", &u, &err),
			 VS_E_INVAL);
	assert_null(strstr(err.text, "s3cret"));
	assert_non_null(strstr(err.text, "in a file"));
	assert_int_equal(bs_lun_url_parse("iscsi://joe:s3cret@h/iqn.2026-11.a/0", &u, &err),
			 VS_E_INVAL);
	assert_null(strstr(err.text, "s3cret"));
}

static void test_capacity(void **state)
{
	uint8_t p[32] = {0};
	struct bs_lun_caps c = {0};

	(void)state;
	vs_put_be64(p, 2047);
	vs_put_be32(p + 8, 512);
	p[14] = 0xc0;
	assert_int_equal(bs_lun_decode_capacity(p, sizeof(p), &c), 0);
	assert_int_equal(c.blocks, 2048);
	assert_true(c.thin && c.zeros);
	assert_int_equal(bs_lun_decode_capacity(p, 15, &c), VS_E_PROTO);
	vs_put_be32(p + 8, 520);
	assert_int_equal(bs_lun_decode_capacity(p, sizeof(p), &c), VS_E_NOTSUP);
	vs_put_be32(p + 8, 4096);
	vs_put_be64(p, UINT64_MAX);
	assert_int_equal(bs_lun_decode_capacity(p, sizeof(p), &c), VS_E_PROTO);
}

static void test_pages(void **state)
{
	uint8_t b0[64] = {0, 0xb0, 0, 0x3c}, b2[8] = {0, 0xb2, 0, 4, 0, 0xc0};
	uint8_t id[40] = {0, 0x83, 0, 32};
	struct bs_lun_caps c = {0}, d = {0};

	(void)state;
	vs_put_be32(b0 + 8, 2048);
	vs_put_be32(b0 + 20, 77);
	vs_put_be64(b0 + 36, 99);
	assert_int_equal(bs_lun_decode_limits(b0, sizeof(b0), &c), 0);
	assert_int_equal(c.max_transfer, 2048);
	assert_int_equal(c.max_unmap, 77);
	assert_int_equal(c.max_same, 99);
	assert_int_equal(bs_lun_decode_limits(b0, 16, &c), 0); /* SBC-2 has no more */
	assert_int_equal(c.max_unmap, 0);
	assert_int_equal(bs_lun_decode_limits(b0, 15, &c), VS_E_PROTO);
	assert_int_equal(bs_lun_decode_limits(b2, sizeof(b2), &c), VS_E_PROTO);
	assert_int_equal(bs_lun_decode_provisioning(b2, sizeof(b2), &c), 0);
	assert_true(c.unmap && c.same_unmap);

	/* a port's designator is not part of the identity; the unit's is; a cut one is not read */
	memcpy(id + 4, "\x01\x03\0\x08unit---1\x01\x14\0\x04\0\0\0\x01\x01\x03\0\xff", 24);
	assert_int_equal(bs_lun_decode_identity(id, sizeof(id), &c), 0);
	id[4 + 12 + 7] = 2;
	assert_int_equal(bs_lun_decode_identity(id, sizeof(id), &d), 0);
	assert_int_equal(c.identity, d.identity);
	id[4 + 11] = '2';
	assert_int_equal(bs_lun_decode_identity(id, sizeof(id), &d), 0);
	assert_int_not_equal(c.identity, d.identity);
}

static void test_status(void **state)
{
	uint8_t p[8 + 32] = {0, 0, 0, 36};
	struct bs_lba_status s;

	(void)state;
	vs_put_be64(p + 8, 100);
	vs_put_be32(p + 16, 28);
	p[20] = 1;
	assert_int_equal(bs_lun_decode_status(p, sizeof(p), 0, &s), 1);
	assert_int_equal(s.lba, 100);
	assert_int_equal(s.blocks, 28);
	assert_false(s.mapped);
	for (unsigned i = 0; i < 16; i++) { /* deallocated, anchored */
		p[20] = (uint8_t)(0xf0 | i);
		assert_int_equal(bs_lun_decode_status(p, sizeof(p), 0, &s), 1);
		assert_int_equal(s.mapped, i != 1 && i != 2);
	}
	assert_int_equal(bs_lun_decode_status(p, sizeof(p), 1, &s), 1);
	assert_true(s.mapped);
	assert_int_equal(bs_lun_decode_status(p, sizeof(p), 2, &s), 0);
	assert_int_equal(bs_lun_decode_status(p, sizeof(p) - 1, 1, &s), 0);
	p[3] = 20;
	assert_int_equal(bs_lun_decode_status(p, sizeof(p), 1, &s), 0);
	vs_put_be32(p, UINT32_MAX);
	assert_int_equal(bs_lun_decode_status(p, sizeof(p), 2, &s), 0);
	assert_int_equal(bs_lun_decode_status(p, 7, 0, &s), VS_E_PROTO);
}

static void test_luns(void **state)
{
	uint8_t p[8 + 24] = {0, 0, 0, 24};
	uint32_t lun;

	(void)state;
	p[8 + 1] = 5;
	p[16] = 0x40 | 0x3f;
	p[17] = 0xff;
	p[24] = 0xc1; /* extended */
	assert_int_equal(bs_lun_decode_luns(p, sizeof(p), 0, &lun), 1);
	assert_int_equal(lun, 5);
	assert_int_equal(bs_lun_decode_luns(p, sizeof(p), 1, &lun), 1);
	assert_int_equal(lun, BS_LUN_MAX);
	assert_int_equal(bs_lun_decode_luns(p, sizeof(p), 2, &lun), VS_E_NOTSUP);
	assert_int_equal(bs_lun_decode_luns(p, sizeof(p), 3, &lun), 0);
	assert_int_equal(bs_lun_decode_luns(p, 20, 1, &lun), 0);
}

static void test_inquiry(void **state)
{
	uint8_t p[36] = {0};
	struct bs_lun_caps c;

	(void)state;
	memcpy(p + 8, "VENDOR  A disk\t        ", 24);
	assert_int_equal(bs_lun_decode_inquiry(p, sizeof(p), &c), 0);
	assert_string_equal(c.vendor, "VENDOR");
	assert_string_equal(c.product, "A disk?");
	p[0] = 0x7f;
	assert_int_equal(bs_lun_decode_inquiry(p, sizeof(p), &c), VS_E_NOENT);
	p[0] = 0x05;
	assert_int_equal(bs_lun_decode_inquiry(p, sizeof(p), &c), VS_E_NOTSUP);
	assert_int_equal(bs_lun_decode_inquiry(p, 35, &c), VS_E_PROTO);
}

static void test_sense(void **state)
{
	static const struct {
		int status;
		uint8_t key;
		uint16_t ascq;
		enum bs_lun_verdict verdict;
		int code;
	} rows[] = {
	    {SCSI_STATUS_GOOD, 0, 0, BS_LUN_DONE, 0},
	    {SCSI_STATUS_BUSY, 0, 0, BS_LUN_LATER, 0},
	    {SCSI_STATUS_RESERVATION_CONFLICT, 0, 0, BS_LUN_FAILED, VS_E_BUSY},
	    {SCSI_STATUS_CANCELLED, 0, 0, BS_LUN_RESTART, 0},
	    {0x77, 0, 0, BS_LUN_RESTART, 0},
	    {SCSI_STATUS_CHECK_CONDITION, 7, 0x2707, BS_LUN_FAILED, VS_E_NOSPC},
	    {SCSI_STATUS_CHECK_CONDITION, 7, 0x2700, BS_LUN_FAILED, VS_E_ROFS},
	    {SCSI_STATUS_CHECK_CONDITION, 6, 0x2900, BS_LUN_RESTART, 0},
	    {SCSI_STATUS_CHECK_CONDITION, 6, 0x2a09, BS_LUN_CAPACITY, 0},
	    {SCSI_STATUS_CHECK_CONDITION, 6, 0x3f0e, BS_LUN_RESTART, 0},
	    {SCSI_STATUS_CHECK_CONDITION, 6, 0x2a01, BS_LUN_AGAIN, 0},
	    {SCSI_STATUS_CHECK_CONDITION, 2, 0x0401, BS_LUN_LATER, 0},
	    {SCSI_STATUS_CHECK_CONDITION, 2, 0x3a00, BS_LUN_FAILED, VS_E_IO},
	    {SCSI_STATUS_CHECK_CONDITION, 5, 0x2000, BS_LUN_FAILED, VS_E_NOTSUP},
	    {SCSI_STATUS_CHECK_CONDITION, 5, 0x2400, BS_LUN_FAILED, VS_E_INVAL},
	    {SCSI_STATUS_CHECK_CONDITION, 5, 0x2100, BS_LUN_FAILED, VS_E_RANGE},
	    {SCSI_STATUS_CHECK_CONDITION, 9, 0x8000, BS_LUN_FAILED, VS_E_IO},
	};

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(rows); i++) {
		int code = 1;

		assert_int_equal(bs_lun_judge(rows[i].status, rows[i].key, rows[i].ascq, &code),
				 rows[i].verdict);
		assert_int_equal(code, rows[i].code);
	}
}

#define ROOM (2 * BS_REDO_CHUNKS)

/* Many rounds of reserving, keeping and forgetting at random lose no chunk and no byte. */
static void test_redo(void **state)
{
	static uint8_t data[BS_REDO_CHUNK * BS_REDO_CHUNKS], got[sizeof(data)];
	struct bs_redo r;
	unsigned seed = 7, kept = 0;

	(void)state;
	assert_int_equal(bs_redo_init(&r, 1), 0);
	assert_int_equal(r.cap, ROOM);
	for (unsigned round = 0; round < 3000; round++) {
		uint64_t length = 512 * (1 + (uint64_t)rand_r(&seed) % (sizeof(data) / 512));
		enum bs_redo_kind kind = rand_r(&seed) % 4 ? BS_REDO_WRITE : BS_REDO_UNMAP;
		size_t cut = length / 3;
		struct iovec iov[] = {{data, cut}, {NULL, 0}, {data + cut, length - cut}},
			     out[BS_REDO_CHUNKS];
		const struct bs_redo_entry *e;
		size_t at = 0;

		if (!bs_redo_reserve(&r, kind, length)) {
			assert_true(bs_redo_filling(&r));
			bs_redo_forget(&r,
				       r.head + 1 + (uint64_t)rand_r(&seed) % (r.tail - r.head));
			continue;
		}
		if (rand_r(&seed) % 5 == 0) {
			bs_redo_unreserve(&r, kind, length);
			continue;
		}
		memset(data, (int)round, length);
		data[length - 1] = (uint8_t)~round;
		bs_redo_keep(&r, kind, round * 512, length, iov);
		kept++;
		e = bs_redo_at(&r, r.tail - 1);
		assert_int_equal(e->offset, round * 512);
		if (kind != BS_REDO_WRITE)
			continue;
		for (int i = 0, n = bs_redo_iov(&r, e, out); i < n; at += out[i++].iov_len)
			memcpy(got + at, out[i].iov_base, out[i].iov_len);
		assert_int_equal(at, length);
		assert_memory_equal(got, data, length);
	}
	assert_true(kept > 1000);
	bs_redo_forget(&r, r.tail);
	assert_int_equal(r.nfree, ROOM);
	assert_int_equal(r.slots, ROOM);
	bs_redo_free(&r);
	assert_int_equal(bs_redo_init(&r, 0), 0);
	assert_false(bs_redo_reserve(&r, BS_REDO_WRITE, 512));
	bs_redo_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_urls),     cmocka_unit_test(test_bad_urls),
	    cmocka_unit_test(test_capacity), cmocka_unit_test(test_pages),
	    cmocka_unit_test(test_status),   cmocka_unit_test(test_luns),
	    cmocka_unit_test(test_inquiry),  cmocka_unit_test(test_sense),
	    cmocka_unit_test(test_redo),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
