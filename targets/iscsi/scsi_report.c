#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

enum scsi_result scsi_report_luns(struct iscsi_task *t)
{
	uint32_t allocation = vs_get_be32(t->cdb + 6);
	uint8_t *b = t->own.buf;
	size_t n = 0;

	if (t->cdb[2] > 2 || allocation < 16)
		return scsi_bad_cdb(t);
	memset(b, 0, 8);
	/* SELECT REPORT 01h is for well known logical units, of which there are none */
	for (unsigned i = 0; t->cdb[2] != 1 && i < t->map->n; i++) {
		if (t->lun)
			atomic_fetch_and(&t->map->luns[i].ua, ~(unsigned)ISCSI_UA_LUNS);
		vs_put_be64(b + 8 + 8 * n++, iscsi_lun_encode(t->map->luns[i].lun));
	}
	vs_put_be32(b, (uint32_t)(8 * n));
	return scsi_reply(t, 8 + 8 * n, allocation);
}

#define RCTD 0x80
#define TIMEOUTS 12

static size_t put_timeouts(uint8_t *b)
{
	memset(b, 0, TIMEOUTS);
	vs_put_be16(b, TIMEOUTS - 2);
	return TIMEOUTS;
}

static size_t all_opcodes(uint8_t *b, bool timeouts)
{
	size_t len = 4;

	for (size_t i = 0; i < scsi_ops_count; i++) {
		const struct scsi_op *op = &scsi_ops[i];
		uint8_t *d = b + len;

		memset(d, 0, 8);
		d[0] = op->opcode;
		if (op->service != SCSI_NO_SA) {
			vs_put_be16(d + 2, (uint16_t)op->service);
			d[5] |= 0x01; /* SERVACTV */
		}
		if (timeouts)
			d[5] |= 0x02; /* CTDP */
		vs_put_be16(d + 6, (uint16_t)scsi_cdb_len(op->opcode));
		len += 8;
		if (timeouts)
			len += put_timeouts(b + len);
	}
	vs_put_be32(b, (uint32_t)(len - 4));
	return len;
}

/* Reporting options 001b (by operation code), 010b (and service action), 011b (either). */
static enum scsi_result one_opcode(struct iscsi_task *t, uint8_t option, bool timeouts,
				   uint32_t allocation)
{
	uint8_t opcode = t->cdb[3], *b = t->own.buf;
	uint16_t service = vs_get_be16(t->cdb + 4);
	const struct scsi_op *found = NULL;
	bool has_services = false;
	size_t len = 4;

	for (size_t i = 0; i < scsi_ops_count; i++) {
		if (scsi_ops[i].opcode != opcode)
			continue;
		has_services = scsi_ops[i].service != SCSI_NO_SA;
		if (!has_services ? option != 3 || !service : scsi_ops[i].service == service)
			found = &scsi_ops[i];
	}
	if ((option == 1 && has_services) || (option == 2 && !has_services))
		return scsi_bad_cdb(t);
	memset(b, 0, 4);
	b[1] = found ? 0x03 : 0x01; /* supported as the standard says, not supported */
	if (found) {
		len += scsi_cdb_len(opcode);
		vs_put_be16(b + 2, (uint16_t)(len - 4));
		memcpy(b + 4, found->usage, len - 4);
		if (has_services)
			b[5] = (uint8_t)((b[5] & ~0x1f) | service);
		if (timeouts) {
			b[1] |= 0x80;
			len += put_timeouts(b + len);
		}
	}
	return scsi_reply(t, len, allocation);
}

enum scsi_result scsi_report_opcodes(struct iscsi_task *t)
{
	uint32_t allocation = vs_get_be32(t->cdb + 6);
	uint8_t option = t->cdb[2] & 0x07;
	bool timeouts = t->cdb[2] & RCTD;

	if (option > 3)
		return scsi_bad_cdb(t);
	if (option)
		return one_opcode(t, option, timeouts, allocation);
	return scsi_reply(t, all_opcodes(t->own.buf, timeouts), allocation);
}

enum scsi_result scsi_report_tmfs(struct iscsi_task *t)
{
	bool extended = t->cdb[2] & 0x80;
	uint8_t *b = t->own.buf;

	memset(b, 0, 16);
	b[0] = 0x80 | 0x40 | 0x10 | 0x08; /* ATS, ATSS, CTSS, LURS */
	if (extended)
		b[3] = 12;
	return scsi_reply(t, extended ? 16 : 4, vs_get_be32(t->cdb + 6));
}
