#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

enum scsi_result scsi_unit_ready(struct iscsi_task *t)
{
	(void)t;
	return SCSI_DONE;
}

/* Sense is sent with each status, so all that can wait here is a unit attention. */
enum scsi_result scsi_unit_request_sense(struct iscsi_task *t)
{
	uint8_t key = SCSI_NO_SENSE, *b = t->own.buf;
	uint16_t asc = SCSI_NO_ADDITIONAL_SENSE;
	bool descriptor = t->cdb[1] & 1;

	if (!t->lun) {
		key = SCSI_ILLEGAL_REQUEST;
		asc = SCSI_LUN_NOT_SUPPORTED;
	} else {
		asc = scsi_take_ua(t->lun);
		key = asc ? SCSI_UNIT_ATTENTION : SCSI_NO_SENSE;
	}
	if (descriptor)
		scsi_sense_encode_descriptor(b, key, asc);
	else
		scsi_sense_encode(b, key, asc);
	return scsi_reply(t, descriptor ? 8 : SCSI_SENSE_LEN, t->cdb[4]);
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

/* There is nothing to start or stop; a stop flushes, as a disk's would (SBC-3, 5.25). */
enum scsi_result scsi_unit_start_stop(struct iscsi_task *t)
{
	bool no_flush = t->cdb[4] & 0x04, start = t->cdb[4] & 0x01, eject = t->cdb[4] & 0x02;

	if (eject)
		return scsi_bad_cdb(t);
	if (start || no_flush || t->step++)
		return SCSI_DONE;
	iscsi_task_submit(t, &t->own, BS_FLUSH, 0, 0, 0);
	return SCSI_WAIT;
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
