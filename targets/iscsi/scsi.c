#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

uint32_t scsi_sector(const struct iscsi_task *t)
{
	return bs_volume_sector(t->lun->vol);
}

uint64_t scsi_capacity(const struct iscsi_task *t)
{
	return bs_volume_size(t->lun->vol) / bs_volume_sector(t->lun->vol);
}

bool scsi_lun_read_only(const struct iscsi_lun *l)
{
	return l->read_only || (l->vol && bs_volume_read_only(l->vol)) ||
	       atomic_load_explicit(&l->lu->swp, memory_order_relaxed);
}

enum scsi_result scsi_fail(struct iscsi_task *t, uint8_t key, uint16_t asc)
{
	iscsi_task_fail(t, key, asc);
	return SCSI_DONE;
}

enum scsi_result scsi_bad_cdb(struct iscsi_task *t)
{
	return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_FIELD_IN_CDB);
}

enum scsi_result scsi_reply(struct iscsi_task *t, size_t len, size_t allocation)
{
	t->dlen = (uint32_t)VS_MIN(len, allocation);
	return SCSI_DONE;
}

/* What a store's error is to an initiator. */
static const struct {
	int err;
	uint8_t key;
	uint16_t asc;
	bool at_lba; /* INFORMATION holds the LBA */
} io_errors[] = {
    {VS_E_NOSPC, SCSI_DATA_PROTECT, SCSI_SPACE_ALLOCATION_FAILED, false},
    {VS_E_ROFS, SCSI_DATA_PROTECT, SCSI_WRITE_PROTECTED, false},
    {VS_E_RANGE, SCSI_ILLEGAL_REQUEST, SCSI_LBA_OUT_OF_RANGE, false},
    {VS_E_INVAL, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_FIELD_IN_CDB, false},
    {VS_E_CHECKSUM, SCSI_MEDIUM_ERROR, SCSI_UNRECOVERED_READ_ERROR, true},
    {VS_E_CORRUPT, SCSI_MEDIUM_ERROR, SCSI_UNRECOVERED_READ_ERROR, true},
    {VS_E_FAILED, SCSI_HARDWARE_ERROR, SCSI_INTERNAL_TARGET_FAILURE, false},
    {VS_E_CLOSED, SCSI_NOT_READY, SCSI_NOT_READY_MANUAL, false},
    {VS_E_MISMATCH, SCSI_MISCOMPARE, SCSI_MISCOMPARE_DURING_VERIFY, false},
};

/* SPC-4, 5.16.7.4: what ends a copy in the midst of it says so by its sense key. */
static void copy_failed(struct iscsi_task *t, const struct bs_req *req)
{
	uint16_t asc = SCSI_THIRD_PARTY_DEVICE_FAILURE;

	for (size_t i = 0; i < VS_ARRAY_LEN(io_errors); i++)
		if (io_errors[i].err == req->status)
			asc = io_errors[i].asc;
	iscsi_task_fail(t, SCSI_COPY_ABORTED, asc);
	scsi_copy_failed(t);
}

void scsi_io_failed(struct iscsi_task *t, const struct bs_req *req)
{
	bool write = req->op != BS_READ && req->op != BS_STATUS;
	bool first = !t->failed;

	if (t->copied) {
		copy_failed(t, req);
		return;
	}

	for (size_t i = 0; i < VS_ARRAY_LEN(io_errors); i++) {
		if (io_errors[i].err != req->status)
			continue;
		iscsi_task_fail(t, io_errors[i].key, io_errors[i].asc);
		if (first && io_errors[i].at_lba)
			scsi_sense_information(t->sense + 2, req->offset / scsi_sector(t));
		if (first && req->status == VS_E_MISMATCH)
			scsi_sense_information(t->sense + 2, req->mismatch_at);
		return;
	}
	iscsi_task_fail(t, SCSI_MEDIUM_ERROR,
			write ? SCSI_WRITE_ERROR : SCSI_UNRECOVERED_READ_ERROR);
}

static const struct {
	enum iscsi_ua bit;
	uint16_t asc;
} attentions[] = {
    {ISCSI_UA_POWER_ON, SCSI_POWER_ON},
    {ISCSI_UA_BUS_RESET, SCSI_BUS_RESET},
    {ISCSI_UA_LUN_RESET, SCSI_BUS_DEVICE_RESET},
    {ISCSI_UA_CLEARED, SCSI_COMMANDS_CLEARED},
    {ISCSI_UA_MEDIUM, SCSI_MEDIUM_MAY_HAVE_CHANGED},
    {ISCSI_UA_CAPACITY, SCSI_CAPACITY_CHANGED},
    {ISCSI_UA_MODE, SCSI_MODE_CHANGED},
    {ISCSI_UA_RESERVATIONS_PREEMPTED, SCSI_RESERVATIONS_PREEMPTED},
    {ISCSI_UA_RESERVATIONS_RELEASED, SCSI_RESERVATIONS_RELEASED},
    {ISCSI_UA_REGISTRATIONS_PREEMPTED, SCSI_REGISTRATIONS_PREEMPTED},
    {ISCSI_UA_LUNS, SCSI_REPORTED_LUNS_CHANGED},
    {ISCSI_UA_THRESHOLD, SCSI_THRESHOLD_REACHED},
};

/* Changes that the session sees for itself. */
static void look_for_changes(struct iscsi_lun *l)
{
	unsigned modes = atomic_load_explicit(&l->lu->mode_changes, memory_order_relaxed);
	uint64_t size = l->vol ? bs_volume_size(l->vol) : l->seen_size;

	if (size != l->seen_size) {
		l->seen_size = size;
		atomic_fetch_or(&l->ua, ISCSI_UA_CAPACITY);
	}
	if (modes != l->seen_modes) {
		l->seen_modes = modes;
		atomic_fetch_or(&l->ua, ISCSI_UA_MODE);
	}
}

uint16_t scsi_take_ua(struct iscsi_lun *l)
{
	unsigned ua;

	look_for_changes(l);
	ua = atomic_load_explicit(&l->ua, memory_order_relaxed);
	for (size_t i = 0; ua && i < VS_ARRAY_LEN(attentions); i++) {
		if (!(ua & attentions[i].bit))
			continue;
		atomic_fetch_and(&l->ua, ~(unsigned)attentions[i].bit);
		return attentions[i].asc;
	}
	return 0;
}

struct iscsi_lun *scsi_find_lun(const struct iscsi_task *t)
{
	int lun = iscsi_lun_decode(t->raw_lun);
	struct iscsi_lun_map *map = t->map;

	if (lun >= 0 && (unsigned)lun < map->n && map->luns[lun].lun == (unsigned)lun)
		return &map->luns[lun];
	for (unsigned i = 0; lun >= 0 && i < map->n; i++)
		if (map->luns[i].lun == (unsigned)lun)
			return &map->luns[i];
	return NULL;
}

/* Sets the task's op; SCSI_NO_ADDITIONAL_SENSE or why there is none. */
static uint16_t find_op(struct iscsi_task *t)
{
	uint16_t why = SCSI_INVALID_OPCODE;

	for (size_t i = 0; i < scsi_ops_count; i++) {
		const struct scsi_op *op = &scsi_ops[i];

		if (op->opcode != t->cdb[0])
			continue;
		if (op->service == SCSI_NO_SA || op->service == (t->cdb[1] & 0x1f)) {
			t->op = op;
			return SCSI_NO_ADDITIONAL_SENSE;
		}
		why = SCSI_INVALID_FIELD_IN_CDB;
	}
	return why;
}

bool scsi_uses_medium(const uint8_t cdb[16])
{
	for (size_t i = 0; i < scsi_ops_count; i++)
		if (scsi_ops[i].opcode == cdb[0] &&
		    scsi_ops[i].flags & (SCSI_RANGE | SCSI_CHANGES | SCSI_COPIES))
			return true;
	return false;
}

static bool cdb_within_usage(const struct iscsi_task *t)
{
	unsigned len = scsi_cdb_len(t->cdb[0]);

	for (unsigned i = 1; i < len; i++)
		if (t->cdb[i] & ~t->op->usage[i])
			return false;
	return true;
}

static void prepare_on_lun(struct iscsi_task *t)
{
	const struct scsi_op *op = t->op;
	uint16_t asc = op->flags & SCSI_UA_OK ? 0 : scsi_take_ua(t->lun);

	if (asc) {
		iscsi_task_fail(t, SCSI_UNIT_ATTENTION, asc);
	} else if (scsi_pr_conflicts(t)) {
		t->failed = true;
		t->status = SCSI_RESERVATION_CONFLICT;
	} else if (!t->lun->vol && !(op->flags & SCSI_NO_MEDIUM)) {
		iscsi_task_fail(t, SCSI_NOT_READY, SCSI_NOT_READY_MANUAL);
	} else if (scsi_state_refuses(t)) {
		return;
	} else if (!cdb_within_usage(t)) {
		(void)scsi_bad_cdb(t);
	} else {
		if (op->flags & SCSI_RANGE) {
			scsi_cdb_range(t->cdb, &t->lba, &t->blocks);
			if (!vs_range_ok(t->lba, t->blocks, scsi_capacity(t)))
				iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_LBA_OUT_OF_RANGE);
		}
		if (!t->failed && op->prepare)
			op->prepare(t);
		if (!t->failed && op->flags & SCSI_CHANGES && scsi_lun_read_only(t->lun))
			iscsi_task_fail(t, SCSI_DATA_PROTECT, SCSI_WRITE_PROTECTED);
	}
}

/* Whether the initiator means to send what the CDB asks for. */
static void check_data_length(struct iscsi_task *t)
{
	uint32_t edtl = t->flag_write ? t->edtl : 0;

	if (t->op->flags & SCSI_EXACT && edtl != t->dlen)
		(void)scsi_bad_cdb(t);
	if (t->op->flags & SCSI_WHOLE_LIST && edtl < t->dlen)
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_PARAMETER_LIST_LENGTH_ERROR);
}

void scsi_prepare(struct iscsi_task *t)
{
	uint16_t why = find_op(t);

	if (!t->lun && !(t->op && t->op->flags & SCSI_ANY_LUN))
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_LUN_NOT_SUPPORTED);
	else if (!t->op)
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, why);
	else if (t->lun)
		prepare_on_lun(t);
	else if (!cdb_within_usage(t))
		(void)scsi_bad_cdb(t);
	if (!t->failed)
		check_data_length(t);
}
