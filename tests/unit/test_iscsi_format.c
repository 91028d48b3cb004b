/* iSCSI and SCSI bytes: PDUs, text, digests, sense, CDBs. */
#include "targets/iscsi/crc32c.h"
#include "targets/iscsi/pdu_format.h"
#include "targets/iscsi/scsi_format.h"
#include "targets/iscsi/server.h"
#include "targets/iscsi/text_format.h"

#include "common/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void request_header_is_decoded(void **state)
{
	uint8_t raw[ISCSI_BHS_LEN] = {0x41, 0xa1, 0, 0, 2, 0, 0x10, 0x01, 0, 5, 0,
				      0,    0,	  0, 0, 0, 1, 2,    3,	  4, 5, 6,
				      7,    8,	  9, 8, 7, 6, 1,    1,	  1, 2, 0x2a};
	struct iscsi_bhs b;

	(void)state;
	iscsi_bhs_decode(raw, &b);
	assert_int_equal(b.opcode, ISCSI_OP_SCSI_COMMAND);
	assert_true(b.immediate);
	assert_true(b.final);
	assert_true(b.flags & ISCSI_CMD_WRITE);
	assert_false(b.flags & ISCSI_CMD_READ);
	assert_int_equal(b.ahs_len, 8);
	assert_int_equal(b.data_len, 0x1001);
	assert_int_equal(iscsi_lun_decode(b.lun), 5);
	assert_int_equal(b.itt, 0x01020304);
	assert_int_equal(b.ttt, 0x05060708);
	assert_int_equal(b.cmd_sn, 0x09080706);
	assert_int_equal(b.exp_stat_sn, 0x01010102);
}

static void login_and_data_fields_are_decoded(void **state)
{
	uint8_t raw[ISCSI_BHS_LEN] = {0x43, 0x87, 0, 0, 0, 0, 0, 0, 0x40, 1, 2, 3, 4, 5, 0, 9};
	struct iscsi_login_request r;
	struct iscsi_task_request t;
	struct iscsi_data_out d;
	struct iscsi_bhs b;

	(void)state;
	vs_put_be16(raw + 20, 77);
	iscsi_bhs_decode(raw, &b);
	iscsi_login_request_decode(&b, &r);
	assert_true(r.transit);
	assert_false(r.cont);
	assert_int_equal(r.csg, 1);
	assert_int_equal(r.nsg, 3);
	assert_memory_equal(r.isid, "\x40\1\2\3\4\5", 6);
	assert_int_equal(r.tsih, 9);
	assert_int_equal(r.cid, 77);
	vs_put_be32(raw + 36, 3);
	vs_put_be32(raw + 40, 65536);
	iscsi_data_out_decode(&b, &d);
	assert_int_equal(d.data_sn, 3);
	assert_int_equal(d.offset, 65536);
	raw[1] = 0x80 | ISCSI_TMF_LUN_RESET;
	vs_put_be32(raw + 20, 0xabcdef01);
	iscsi_bhs_decode(raw, &b);
	iscsi_task_request_decode(&b, &t);
	assert_int_equal(t.function, ISCSI_TMF_LUN_RESET);
	assert_int_equal(t.ref_itt, 0xabcdef01);
}

static void responses_are_encoded(void **state)
{
	const struct iscsi_residual under = {false, true, 512}, none = {0};
	uint8_t raw[ISCSI_BHS_LEN];

	(void)state;
	memset(raw, 0xee, sizeof(raw));
	iscsi_scsi_response_encode(raw, 0x11223344, SCSI_CHECK_CONDITION, &under, 4);
	iscsi_pdu_stamp(raw, 10, 20, 30);
	iscsi_data_len_encode(raw, 20);
	assert_memory_equal(raw,
			    "\x21\x82\0\2\0\0\0\x14\0\0\0\0\0\0\0\0\x11\x22\x33\x44\0\0\0\0"
			    "\0\0\0\x0a\0\0\0\x14\0\0\0\x1e\0\0\0\4\0\0\0\0\0\0\2\0",
			    ISCSI_BHS_LEN);
	iscsi_data_in_encode(raw, 7, true, SCSI_GOOD, &none, 2, 4096);
	assert_int_equal(raw[0], ISCSI_OP_DATA_IN);
	assert_int_equal(raw[1], 0x81);
	assert_int_equal(vs_get_be32(raw + 20), ISCSI_NO_TAG);
	assert_int_equal(vs_get_be32(raw + 36), 2);
	assert_int_equal(vs_get_be32(raw + 40), 4096);
	iscsi_data_in_encode(raw, 7, false, -1, &under, 0, 0);
	assert_int_equal(raw[1], 0);
	assert_int_equal(vs_get_be32(raw + 44), 0);
	iscsi_r2t_encode(raw, iscsi_lun_encode(1), 7, 8, 1, 65536, 262144);
	assert_memory_equal(raw, "\x31\x80\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\7\0\0\0\x8", 24);
	assert_int_equal(vs_get_be32(raw + 44), 262144);
	iscsi_reject_encode(raw, ISCSI_REJECT_SNACK);
	assert_int_equal(raw[2], 3);
	assert_int_equal(vs_get_be32(raw + 16), ISCSI_NO_TAG);
}

static void luns_have_two_forms(void **state)
{
	(void)state;
	for (unsigned lun = 0; lun < 300; lun++)
		assert_int_equal(iscsi_lun_decode(iscsi_lun_encode(lun)), lun);
	assert_int_equal(iscsi_lun_decode(0x4005ull << 48), 5);
	assert_int_equal(iscsi_lun_decode(0x0105ull << 48), -1);     /* another bus */
	assert_int_equal(iscsi_lun_decode(0xc101ull << 48), -1);     /* well known */
	assert_int_equal(iscsi_lun_decode(0x0005ull << 48 | 1), -1); /* a second level */
}

static void text_is_walked_pair_by_pair(void **state)
{
	char text[] = "A=1\0Key.2=x=y\0Empty=\0\0\0";
	struct iscsi_text_cursor c;
	char *key, *value;

	(void)state;
	iscsi_text_start(&c, text, sizeof(text) - 1);
	assert_int_equal(iscsi_text_next(&c, &key, &value), 1);
	assert_string_equal(key, "A");
	assert_string_equal(value, "1");
	assert_int_equal(iscsi_text_next(&c, &key, &value), 1);
	assert_string_equal(key, "Key.2");
	assert_string_equal(value, "x=y");
	assert_int_equal(iscsi_text_next(&c, &key, &value), 1);
	assert_string_equal(value, "");
	assert_int_equal(iscsi_text_next(&c, &key, &value), 0);
}

static void malformed_text_is_refused(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} bad[] = {
	    {"A=1", 3}, /* no NUL */
	    {"A", 2},
	    {"=1", 3},
	    {"a b=1", 6},
	    {"A\n=1", 5},
	    {"KeyOfMoreThanSixtyThreeCharactersKeyOfMoreThanSixtyThreeCharacters=1", 69},
	};

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(bad); i++) {
		struct iscsi_text_cursor c;
		char copy[80], *key, *value;

		memcpy(copy, bad[i].text, bad[i].len);
		iscsi_text_start(&c, copy, bad[i].len);
		assert_int_equal(iscsi_text_next(&c, &key, &value), VS_E_PROTO);
	}
}

static void text_that_does_not_fit_is_left_out(void **state)
{
	char buf[12];
	struct iscsi_text_out out = {.buf = buf, .size = sizeof(buf)};

	(void)state;
	iscsi_text_add(&out, "Key", "%d", 12);
	assert_int_equal(out.len, 7);
	assert_memory_equal(buf, "Key=12\0", 7);
	iscsi_text_add(&out, "Key", "%d", 1);
	assert_true(out.overflow);
	assert_int_equal(out.len, 7);
}

static void numbers_and_binaries(void **state)
{
	uint8_t b[4];
	uint64_t v;
	size_t n;

	(void)state;
	assert_int_equal(iscsi_text_number("262144", &v), 0);
	assert_int_equal(v, 262144);
	assert_int_equal(iscsi_text_number("0x1fF", &v), 0);
	assert_int_equal(v, 0x1ff);
	assert_int_equal(iscsi_text_number("", &v), VS_E_PROTO);
	assert_int_equal(iscsi_text_number("0x", &v), VS_E_PROTO);
	assert_int_equal(iscsi_text_number("12a", &v), VS_E_PROTO);
	assert_int_equal(iscsi_text_number("18446744073709551616", &v), VS_E_PROTO);
	assert_int_equal(iscsi_text_binary("0x0a0B0c", b, sizeof(b), &n), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(b, "\x0a\x0b\x0c", 3);
	assert_int_equal(iscsi_text_binary("0xabc", b, sizeof(b), &n), 0);
	assert_memory_equal(b, "\x0a\xbc", 2);
	assert_int_equal(iscsi_text_binary("0bAQIDBA==", b, sizeof(b), &n), 0);
	assert_int_equal(n, 4);
	assert_memory_equal(b, "\1\2\3\4", 4);
	assert_int_equal(iscsi_text_binary("0x0102030405", b, sizeof(b), &n), VS_E_TOOBIG);
	assert_int_equal(iscsi_text_binary("0bAQIDBAUG", b, sizeof(b), &n), VS_E_TOOBIG);
	assert_int_equal(iscsi_text_binary("0bA===", b, sizeof(b), &n), VS_E_PROTO);
	assert_int_equal(iscsi_text_binary("0102", b, sizeof(b), &n), VS_E_PROTO);
	assert_int_equal(iscsi_text_binary("0xzz", b, sizeof(b), &n), VS_E_PROTO);
}

static void lists_are_searched_item_by_item(void **state)
{
	(void)state;
	assert_true(iscsi_text_list_has("CHAP,None", "None"));
	assert_true(iscsi_text_list_has("None", "None"));
	assert_false(iscsi_text_list_has("NoneSuch,CHAP", "None"));
	assert_false(iscsi_text_list_has("", "None"));
}

/* RFC 7143, appendix A.4 */
static void digests_are_those_of_the_standard(void **state)
{
	uint8_t data[32], up[32], down[32], odd[1000];

	(void)state;
	memset(data, 0, sizeof(data));
	assert_int_equal(iscsi_crc32c(0, data, 32), 0x8a9136aa);
	memset(data, 0xff, sizeof(data));
	assert_int_equal(iscsi_crc32c(0, data, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++) {
		up[i] = (uint8_t)i;
		down[i] = (uint8_t)(31 - i);
	}
	assert_int_equal(iscsi_crc32c(0, up, 32), 0x46dd794e);
	assert_int_equal(iscsi_crc32c(0, down, 32), 0x113fdb5c);
	for (size_t i = 0; i < sizeof(odd); i++)
		odd[i] = (uint8_t)(i * 7 + i / 3);
	for (size_t cut = 0; cut < sizeof(odd); cut += 13) {
		uint32_t crc =
		    iscsi_crc32c(iscsi_crc32c(0, odd, cut), odd + cut, sizeof(odd) - cut);

		assert_int_equal(crc, iscsi_crc32c_table(0, odd, sizeof(odd)));
		assert_int_equal(iscsi_crc32c(0, odd, cut), iscsi_crc32c_table(0, odd, cut));
	}
}

static void sense_data_has_both_formats(void **state)
{
	uint8_t s[SCSI_SENSE_LEN], d[SCSI_SENSE_DESCRIPTOR_MAX];

	(void)state;
	scsi_sense_encode(s, SCSI_DATA_PROTECT, SCSI_SPACE_ALLOCATION_FAILED);
	assert_memory_equal(s, "\x70\0\7\0\0\0\0\x0a\0\0\0\0\x27\7\0\0\0\0", SCSI_SENSE_LEN);
	scsi_sense_information(s, 0x12345678);
	assert_memory_equal(s, "\xf0\0\7\x12\x34\x56\x78", 7);
	scsi_sense_encode(s, SCSI_MEDIUM_ERROR, SCSI_UNRECOVERED_READ_ERROR);
	scsi_sense_information(s, UINT64_C(1) << 32); /* has no room */
	assert_int_equal(s[0], 0x70);
	scsi_sense_encode(s, SCSI_UNIT_ATTENTION, SCSI_CAPACITY_CHANGED);
	assert_int_equal(scsi_sense_to_descriptor(s, d), 8);
	assert_memory_equal(d, "\x72\6\x2a\x09\0\0\0\0", 8);
	scsi_sense_encode(s, SCSI_MISCOMPARE, SCSI_MISCOMPARE_DURING_VERIFY);
	scsi_sense_information(s, 0x1234);
	assert_int_equal(scsi_sense_to_descriptor(s, d), 20);
	assert_memory_equal(d, "\x72\xe\x1d\0\0\0\0\x0c\0\x0a\x80\0\0\0\0\0\0\0\x12\x34", 20);
	scsi_sense_encode(s, SCSI_NOT_READY, SCSI_SANITIZE_IN_PROGRESS);
	scsi_sense_progress(s, 0x8001);
	assert_memory_equal(s + 15, "\x80\x80\1", 3);
	assert_int_equal(scsi_sense_to_descriptor(s, d), 16);
	assert_memory_equal(d, "\x72\2\4\x1b\0\0\0\x08\2\6\0\0\x80\x80\1\0", 16);
}

static void ranges_of_all_cdb_lengths(void **state)
{
	static const struct {
		uint8_t cdb[16];
		uint64_t lba, blocks;
	} t[] = {
	    {{0x08, 0x1f, 0xff, 0xff, 0}, 0x1fffff, 256},
	    {{0x0a, 0, 0, 5, 7}, 5, 7},
	    {{0x28, 0, 1, 2, 3, 4, 0, 0, 9}, 0x01020304, 9},
	    {{0xa8, 0, 0xff, 0, 0, 0, 0, 1, 0, 0}, 0xff000000, 65536},
	    {{0x88, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 2}, 0x0102030405060708, 2},
	};

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(t); i++) {
		uint64_t lba, blocks;

		scsi_cdb_range(t[i].cdb, &lba, &blocks);
		assert_int_equal(lba, t[i].lba);
		assert_int_equal(blocks, t[i].blocks);
	}
	assert_int_equal(scsi_cdb_len(0x12), 6);
	assert_int_equal(scsi_cdb_len(0x42), 10);
	assert_int_equal(scsi_cdb_len(0xa0), 12);
	assert_int_equal(scsi_cdb_len(0x9e), 16);
	assert_int_equal(scsi_cdb_len(0x7f), 0);
}

static void unmap_lists_are_bounded_by_what_came(void **state)
{
	uint8_t list[8 + 32] = {0, 38, 0, 32};
	uint64_t lba, blocks;

	(void)state;
	vs_put_be64(list + 24, 1000);
	vs_put_be32(list + 32, 8);
	assert_int_equal(scsi_unmap_count(list, sizeof(list)), 2);
	scsi_unmap_descriptor(list, 1, &lba, &blocks);
	assert_int_equal(lba, 1000);
	assert_int_equal(blocks, 8);
	assert_int_equal(scsi_unmap_count(list, sizeof(list) - 1), -1);
	assert_int_equal(scsi_unmap_count(list, 7), -1);
	vs_put_be16(list + 2, 20);
	assert_int_equal(scsi_unmap_count(list, sizeof(list)), 1);
}

static void names_and_identifiers(void **state)
{
	const struct vs_uuid u = {{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4d, 0xef, 0x80}};
	char naa[ISCSI_NAA_TEXT];

	(void)state;
	iscsi_naa_text(&u, naa);
	assert_string_equal(naa, "naa.30123456789abdef");
	assert_true(iscsi_name_ok("iqn.2026-11.org.example:disk-1"));
	assert_true(iscsi_name_ok("eui.02004567A425678D"));
	assert_false(iscsi_name_ok("iqn."));
	assert_false(iscsi_name_ok("disk"));
	assert_false(iscsi_name_ok("iqn.2026-11.org.example:a b"));
	assert_false(iscsi_name_ok("iqn.2026-11.org.example:a,b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_header_is_decoded),
	    cmocka_unit_test(login_and_data_fields_are_decoded),
	    cmocka_unit_test(responses_are_encoded),
	    cmocka_unit_test(luns_have_two_forms),
	    cmocka_unit_test(text_is_walked_pair_by_pair),
	    cmocka_unit_test(malformed_text_is_refused),
	    cmocka_unit_test(text_that_does_not_fit_is_left_out),
	    cmocka_unit_test(numbers_and_binaries),
	    cmocka_unit_test(lists_are_searched_item_by_item),
	    cmocka_unit_test(digests_are_those_of_the_standard),
	    cmocka_unit_test(sense_data_has_both_formats),
	    cmocka_unit_test(ranges_of_all_cdb_lengths),
	    cmocka_unit_test(unmap_lists_are_bounded_by_what_came),
	    cmocka_unit_test(names_and_identifiers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
