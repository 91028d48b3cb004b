/* SANITIZE (SBC-3, 5.24): block erase, overwrite, exit failure mode. */
#include "targets/iscsi/keep.h"
#include "targets/iscsi/sanitize.h"
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define IMMED 0x80
#define AUSE 0x20
#define HEADER 4 /* of the overwrite parameters */
#define INVERT 0x80
#define COUNT 0x1f

static uint32_t list_length(const struct iscsi_task *t)
{
	return vs_get_be16(t->cdb + 7);
}

void scsi_sanitize_prepare_overwrite(struct iscsi_task *t)
{
	t->dlen = list_length(t);
	if (t->dlen <= HEADER || t->dlen > HEADER + scsi_sector(t))
		(void)scsi_bad_cdb(t);
}

void scsi_sanitize_prepare(struct iscsi_task *t)
{
	if (list_length(t))
		(void)scsi_bad_cdb(t);
}

/* Fills one block with the pattern that came. */
static bool make_block(const struct iscsi_task *t, uint8_t *block, uint32_t sector)
{
	const uint8_t *list = t->own.buf;
	uint32_t n = vs_get_be16(list + 2);

	if (!(list[0] & COUNT) || list[0] & 0x60 || list[1] || !n || n != t->dlen - HEADER)
		return false;
	for (uint32_t i = 0; i < sector; i++)
		block[i] = list[HEADER + i % n];
	return true;
}

/* With IMMED for the beginning only: that it goes on must survive the daemon. */
static enum scsi_result wait_for_it(struct iscsi_task *t)
{
	struct iscsi_lu *lu = t->lun->lu;
	bool begun = atomic_load(&lu->sanitize_kept); /* before the state: it may end meanwhile */
	unsigned state = atomic_load(&lu->state);

	t->parked = state & ISCSI_LU_SANITIZING && !(t->cdb[1] & IMMED && begun);
	if (t->parked)
		return SCSI_WAIT;
	if (state & ISCSI_LU_SANITIZE_FAILED)
		return scsi_fail(t, SCSI_MEDIUM_ERROR, SCSI_SANITIZE_FAILED);
	return SCSI_DONE;
}

static enum scsi_result start(struct iscsi_task *t, const struct iscsi_sanitize_order *order)
{
	bool failed = atomic_load(&t->lun->lu->state) & ISCSI_LU_SANITIZE_FAILED;

	/* what failed restricted may not be tried again unrestricted */
	if (failed && order->may_exit && !atomic_load(&t->lun->lu->may_exit))
		return scsi_bad_cdb(t);
	t->step = 1;
	switch (iscsi_sanitize_start(t->lun, order)) {
	case 0:
		t->parked = true;
		return SCSI_WAIT;
	case VS_E_BUSY:
		return scsi_fail(t, SCSI_NOT_READY, SCSI_SANITIZE_IN_PROGRESS);
	default:
		t->failed = true;
		t->status = SCSI_BUSY;
		return SCSI_DONE;
	}
}

enum scsi_result scsi_sanitize_overwrite(struct iscsi_task *t)
{
	uint8_t block[BS_BLOCK];
	const struct iscsi_sanitize_order order = {.how = ISCSI_SANITIZE_OVERWRITE,
						   .may_exit = t->cdb[1] & AUSE,
						   .count = t->own.buf[0] & COUNT,
						   .invert = t->own.buf[0] & INVERT,
						   .block = block,
						   .sector = scsi_sector(t)};

	if (t->step)
		return wait_for_it(t);
	if (!make_block(t, block, order.sector))
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_FIELD_IN_LIST);
	return start(t, &order);
}

enum scsi_result scsi_sanitize_erase(struct iscsi_task *t)
{
	const struct iscsi_sanitize_order order = {
	    .how = ISCSI_SANITIZE_ERASE, .may_exit = t->cdb[1] & AUSE, .count = 1};

	return t->step ? wait_for_it(t) : start(t, &order);
}

enum scsi_result scsi_sanitize_exit(struct iscsi_task *t)
{
	struct iscsi_lu *lu = t->lun->lu;

	if (atomic_load(&lu->state) & ISCSI_LU_SANITIZE_FAILED && !atomic_load(&lu->may_exit))
		return scsi_bad_cdb(t);
	pthread_mutex_lock(&lu->lock);
	if (atomic_fetch_and(&lu->state, ~(unsigned)ISCSI_LU_SANITIZE_FAILED) &
	    ISCSI_LU_SANITIZE_FAILED)
		(void)iscsi_keep(t->conn->srv, lu);
	pthread_mutex_unlock(&lu->lock);
	return SCSI_DONE;
}
