/*
 * What an initiator can make a node decode: PDU headers, login text through the whole login state
 * machine, text values, CDBs and parameter lists; and what was kept of reservations. The first byte
 * chooses; what a decoder accepts must lie in its bounds.
 */
#include "common/bytes.h"
#include "targets/iscsi/copy_format.h"
#include "targets/iscsi/crc32c.h"
#include "targets/iscsi/isns_format.h"
#include "targets/iscsi/login.h"
#include "targets/iscsi/pr_format.h"
#include "targets/iscsi/scsi_format.h"
#include "targets/iscsi/token_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum iscsi_login_status lookup(void *arg, const char *initiator, const char *target,
				      struct iscsi_login_target *out)
{
	const uint8_t *flags = arg;

	VS_ASSERT(iscsi_name_ok(initiator));
	VS_ASSERT(strlen(target) < ISCSI_NAME_MAX);
	out->chap = *flags & 1;
	out->mutual = *flags & 2;
	snprintf(out->user, sizeof(out->user), "user");
	snprintf(out->secret, sizeof(out->secret), "a secret of some bytes");
	snprintf(out->mutual_user, sizeof(out->mutual_user), "target");
	snprintf(out->mutual_secret, sizeof(out->mutual_secret), "another secret of some");
	return *flags & 4 ? ISCSI_LOGIN_FORBIDDEN : ISCSI_LOGIN_OK;
}

/* Requests of two bytes (stages and flags, length of text) and their text, until one fails. */
static void fuzz_login(const uint8_t *data, size_t size)
{
	static char answer[8192], text[256 * 32 + 1];
	uint8_t flags = size ? data[0] : 0;
	struct iscsi_login l;

	iscsi_login_init(&l, 1);
	l.lookup = lookup;
	l.arg = &flags;
	for (size_t at = 1; at + 2 <= size;) {
		struct iscsi_login_request req = {.transit = data[at] & 0x80,
						  .csg = data[at] >> 2 & 3,
						  .nsg = data[at] & 3,
						  .version_min = data[at] >> 6 & 1};
		struct iscsi_text_out out = {.buf = answer, .size = sizeof(answer)};
		size_t n = VS_MIN((size_t)data[at + 1] * 32, size - at - 2);
		struct iscsi_login_verdict v;

		memcpy(text, data + at + 2, n);
		text[n] = '\0';
		iscsi_login_step(&l, &req, text, n, &out, &v);
		VS_ASSERT(out.len <= sizeof(answer));
		VS_ASSERT(!v.transit || v.status == ISCSI_LOGIN_OK);
		VS_ASSERT(!v.transit || !(flags & 1) || l.discovery || l.authenticated);
		VS_ASSERT(l.params.max_burst >= 512 && l.params.first_burst >= 512);
		VS_ASSERT(l.params.send_dsl >= 512);
		if (v.status != ISCSI_LOGIN_OK || (v.transit && v.nsg == ISCSI_STAGE_FULL))
			break;
		at += 2 + n;
	}
	iscsi_login_wipe(&l);
}

static void fuzz_pdu(const uint8_t *data, size_t size)
{
	struct iscsi_login_request login;
	struct iscsi_task_request task;
	struct iscsi_data_out d;
	struct iscsi_bhs b;
	struct isns_response response;
	struct isns_header header;

	if (size >= ISNS_HEADER && isns_header_decode(data, &header) == 0)
		VS_ASSERT(header.length <= ISNS_PDU_MAX);
	(void)!isns_response_decode(data, size, &response);
	if (size < ISCSI_BHS_LEN)
		return;
	iscsi_bhs_decode(data, &b);
	VS_ASSERT(b.ahs_len <= ISCSI_AHS_MAX && b.data_len < 1u << 24 && b.opcode < 64);
	iscsi_login_request_decode(&b, &login);
	VS_ASSERT(login.csg < 4 && login.nsg < 4);
	iscsi_task_request_decode(&b, &task);
	iscsi_data_out_decode(&b, &d);
	VS_ASSERT(iscsi_lun_decode(b.lun) < 16384);
}

static void fuzz_values(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size), item[16];
	const char *rest = text;
	uint8_t out[64];
	uint64_t v;
	size_t n;

	if (!text)
		return;
	if (iscsi_text_binary(text, out, sizeof(out), &n) == 0)
		VS_ASSERT(n > 0 && n <= sizeof(out));
	(void)!iscsi_text_number(text, &v);
	while (iscsi_text_list_next(&rest, item, sizeof(item)))
		VS_ASSERT(strlen(item) < sizeof(item));
	free(text);
}

static void fuzz_scsi(const uint8_t *data, size_t size)
{
	int n = scsi_unmap_count(data, size);
	uint64_t lba, blocks;

	for (int i = 0; i < n; i++)
		scsi_unmap_descriptor(data, i, &lba, &blocks);
	if (size >= 16 && scsi_cdb_len(data[0]))
		scsi_cdb_range(data, &lba, &blocks);
	VS_ASSERT(iscsi_crc32c(0, data, size) == iscsi_crc32c_table(0, data, size));
}

static void fuzz_token(const uint8_t *data, size_t size)
{
	struct scsi_token_list list;
	enum scsi_token_kind kind;
	uint64_t id;

	if (scsi_token_decode_populate(data, size, &list) == 0)
		VS_ASSERT(list.nranges && list.nranges <= SCSI_TOKEN_RANGES);
	if (scsi_token_decode_use(data, size, &list))
		return;
	VS_ASSERT(list.nranges && list.nranges <= SCSI_TOKEN_RANGES);
	VS_ASSERT(list.token + SCSI_TOKEN_LEN <= data + size);
	(void)scsi_token_look(list.token, &kind, &id);
}

static void fuzz_copy(const uint8_t *data, size_t size)
{
	struct scsi_copy_segment segment;
	struct scsi_copy_list list;
	struct scsi_copy_cscd cscd;

	if (scsi_copy_decode(data, size, &list))
		return;
	VS_ASSERT(list.ncscds <= SCSI_COPY_MAX_CSCDS && list.nsegments <= SCSI_COPY_MAX_SEGMENTS);
	for (unsigned i = 0; i < list.ncscds; i++)
		scsi_copy_cscd(&list, i, &cscd);
	for (unsigned i = 0; i < list.nsegments; i++)
		scsi_copy_segment(&list, i, &segment);
	VS_ASSERT(list.segments + list.nsegments * SCSI_COPY_SEGMENT <= data + size);
}

static void fuzz_reservations(const uint8_t *data, size_t size)
{
	uint8_t flags = 0, again[ISCSI_PR_KEPT_MAX], id[ISCSI_PR_ID_MAX];
	char port[ISCSI_PR_PORT], same[ISCSI_PR_PORT];
	struct iscsi_pr pr = {0};
	size_t n = iscsi_pr_id_decode(data, size, port);

	VS_ASSERT(n <= size);
	if (n) {
		n = iscsi_pr_id_encode(port, id);
		VS_ASSERT(n <= sizeof(id) && iscsi_pr_id_decode(id, n, same) == n);
		VS_ASSERT(strcmp(port, same) == 0);
	}
	if (iscsi_pr_restore(&pr, &flags, data, size) == 0 && pr.n)
		VS_ASSERT(pr.n <= ISCSI_PR_MAX && pr.holder < pr.n &&
			  iscsi_pr_keep(&pr, flags, again) <= size);
	iscsi_pr_destroy(&pr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *data, size_t size) = {
	    fuzz_login, fuzz_pdu, fuzz_values, fuzz_scsi, fuzz_copy, fuzz_token, fuzz_reservations};

	if (size)
		targets[data[0] % VS_ARRAY_LEN(targets)](data + 1, size - 1);
	return 0;
}
