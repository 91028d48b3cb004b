#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

enum scsi_result scsi_unit_ready(struct iscsi_task *t)
{
	(void)t;
	return SCSI_DONE;
}

#define DESC 1

/* Sense is sent with each status: what can wait here is a unit attention, and the unit's state. */
enum scsi_result scsi_unit_request_sense(struct iscsi_task *t)
{
	uint8_t *b = t->own.buf, sense[SCSI_SENSE_LEN];
	uint16_t ua = t->lun ? scsi_take_ua(t->lun) : 0;

	if (!t->lun)
		scsi_sense_encode(sense, SCSI_ILLEGAL_REQUEST, SCSI_LUN_NOT_SUPPORTED);
	else if (ua)
		scsi_sense_encode(sense, SCSI_UNIT_ATTENTION, ua);
	else
		scsi_state_sense(t->lun->lu, sense);
	if (t->cdb[1] & DESC)
		return scsi_reply(t, scsi_sense_to_descriptor(sense, b), t->cdb[4]);
	memcpy(b, sense, sizeof(sense));
	return scsi_reply(t, SCSI_SENSE_LEN, t->cdb[4]);
}

enum scsi_result scsi_unit_capacity10(struct iscsi_task *t)
{
	uint64_t last = scsi_capacity(t) - 1;

	if (!(t->cdb[8] & 1) && vs_get_be32(t->cdb + 2))
		return scsi_bad_cdb(t);
	vs_put_be32(t->own.buf, last > UINT32_MAX ? UINT32_MAX : (uint32_t)last);
	vs_put_be32(t->own.buf + 4, scsi_sector(t));
	return scsi_reply(t, 8, 8);
}

enum scsi_result scsi_unit_capacity16(struct iscsi_task *t)
{
	uint8_t *b = t->own.buf, exponent = 0;

	if (!(t->cdb[14] & 1) && vs_get_be64(t->cdb + 2))
		return scsi_bad_cdb(t);
	while (scsi_sector(t) << exponent < BS_BLOCK)
		exponent++;
	memset(b, 0, 32);
	vs_put_be64(b, scsi_capacity(t) - 1);
	vs_put_be32(b + 8, scsi_sector(t));
	b[13] = exponent;
	b[14] = 0xc0; /* LBPME, LBPRZ */
	return scsi_reply(t, 32, vs_get_be32(t->cdb + 10));
}

/* RESERVE(6) of the whole unit (SPC-2, 7.21); another's reservation was refused before. */
enum scsi_result scsi_unit_reserve(struct iscsi_task *t)
{
	struct iscsi_lu *lu = t->lun->lu;
	bool ours;

	pthread_mutex_lock(&lu->lock);
	ours = !lu->reserved_by || lu->reserved_by == t->conn;
	if (ours) {
		lu->reserved_by = t->conn;
		atomic_store(&lu->reserved, true);
	}
	pthread_mutex_unlock(&lu->lock);
	if (!ours) {
		t->failed = true;
		t->status = SCSI_RESERVATION_CONFLICT;
	}
	return SCSI_DONE;
}

enum scsi_result scsi_unit_release(struct iscsi_task *t)
{
	iscsi_lu_unreserve(t->lun->lu, t->conn);
	return SCSI_DONE;
}
