/* GET LBA STATUS (SBC-3, 5.6). */
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define HEADER 8
#define DESCRIPTOR 16
#define DEALLOCATED 1
#define ANSWER_AT (ISCSI_OWN_BUF - BS_STATUS_MAX) /* where the store's answers go */
#define ROOM_MAX ((ANSWER_AT - HEADER) / DESCRIPTOR)
#define LOOK_MAX (64u * BS_STATUS_MAX) /* blocks of the store that one command looks at */

/* How many descriptors the initiator has room for; it gets one in any case. */
static uint64_t room(const struct iscsi_task *t)
{
	uint32_t allocation = vs_get_be32(t->cdb + 10);
	uint64_t n = allocation > HEADER ? (allocation - HEADER) / DESCRIPTOR : 0;

	return VS_MAX(VS_MIN(n, (uint64_t)ROOM_MAX), UINT64_C(1));
}

/* Blocks [lba, lba + n) have this status. t->blocks: descriptors so far. False: no room. */
static bool add(struct iscsi_task *t, uint64_t lba, uint64_t n, uint8_t status)
{
	uint8_t *d = t->own.buf + HEADER + (size_t)t->blocks * DESCRIPTOR;

	if (t->blocks && d[12 - DESCRIPTOR] == status) {
		d -= DESCRIPTOR;
		vs_put_be32(d + 8, (uint32_t)(vs_get_be32(d + 8) + n));
		return true;
	}
	if (t->blocks == room(t))
		return false;
	memset(d, 0, DESCRIPTOR);
	vs_put_be64(d, lba);
	vs_put_be32(d + 8, (uint32_t)n);
	d[12] = status;
	t->blocks++;
	return true;
}

/* The store's answer on n of its blocks. False: there is no room for all. */
static bool add_all(struct iscsi_task *t, uint64_t block, uint64_t n)
{
	uint32_t per_block = BS_BLOCK / scsi_sector(t);
	const uint8_t *mapped = t->own.buf + ANSWER_AT;

	for (uint64_t i = 0, from = 0; i < n; from = i) {
		uint64_t lba = VS_MAX((block + from) * per_block, t->lba);

		while (i < n && mapped[i] == mapped[from])
			i++;
		if (!add(t, lba, (block + i) * per_block - lba, mapped[from] ? 0 : DEALLOCATED))
			return false;
	}
	return true;
}

/* Asks the store again and again, until there is no room or enough is said. step: blocks + 1. */
enum scsi_result scsi_status_get(struct iscsi_task *t)
{
	uint64_t first, looked, left, n = t->own.req.length / BS_BLOCK;
	bool more = true;

	if (t->step == 0) {
		t->lba = vs_get_be64(t->cdb + 2);
		if (t->lba >= scsi_capacity(t))
			return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_LBA_OUT_OF_RANGE);
		t->step = 1;
	}
	first = t->lba / (BS_BLOCK / scsi_sector(t));
	looked = t->step - 1;
	if (looked)
		more = add_all(t, first + looked - n, n);
	left = bs_volume_size(t->lun->vol) / BS_BLOCK - (first + looked);
	if (more && left && looked < LOOK_MAX) {
		n = VS_MIN(left, (uint64_t)BS_STATUS_MAX);
		t->own.req.mapped = t->own.buf + ANSWER_AT;
		t->step += n;
		iscsi_task_submit(t, &t->own, BS_STATUS, (first + looked) * BS_BLOCK, n * BS_BLOCK,
				  0);
		return SCSI_WAIT;
	}
	memset(t->own.buf, 0, HEADER);
	vs_put_be32(t->own.buf, (uint32_t)(4 + t->blocks * DESCRIPTOR));
	return scsi_reply(t, HEADER + (size_t)t->blocks * DESCRIPTOR, vs_get_be32(t->cdb + 10));
}
