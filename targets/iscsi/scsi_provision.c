#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define UNMAP_BIT 0x08
#define NDOB_BIT 0x01
#define SAME_IOVS 16

static bool no_data(const struct iscsi_task *t)
{
	return t->cdb[0] == 0x93 && t->cdb[1] & NDOB_BIT;
}

/* WSNZ is set: a number of blocks of zero is refused. */
void scsi_provision_prepare_same(struct iscsi_task *t)
{
	if (!t->blocks || t->blocks > SCSI_MAX_SAME / scsi_sector(t)) {
		(void)scsi_bad_cdb(t);
		return;
	}
	t->dlen = no_data(t) ? 0 : scsi_sector(t);
	t->fua = !atomic_load(&t->lun->lu->write_back);
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Fills the own buffer with the block that came, over and over. */
static void repeat_block(struct iscsi_task *t)
{
	uint32_t sector = scsi_sector(t);

	for (uint32_t at = sector; at < ISCSI_OWN_BUF; at += sector)
		memcpy(t->own.buf + at, t->own.buf, sector);
}

/* step: 0 to begin, then one more than the blocks written. */
enum scsi_result scsi_provision_same(struct iscsi_task *t)
{
	uint32_t sector = scsi_sector(t);
	uint64_t total = t->blocks * sector, at, n;
	int iovcnt = 0;

	if (t->step == 0 && (no_data(t) || all_zero(t->own.buf, sector))) {
		t->step = 1 + t->blocks;
		iscsi_task_submit(t, &t->own, BS_ZERO, t->lba * sector, total, 0);
		return SCSI_WAIT;
	}
	if (t->step == 0) {
		t->step = 1;
		repeat_block(t);
	}
	at = (t->step - 1) * sector;
	if (at == total)
		return SCSI_DONE;
	n = VS_MIN(total - at, (uint64_t)ISCSI_OWN_BUF * SAME_IOVS);
	for (uint64_t left = n; left; iovcnt++) {
		uint64_t len = VS_MIN(left, (uint64_t)ISCSI_OWN_BUF);

		t->own.iov[iovcnt] = (struct iovec){t->own.buf, len};
		left -= len;
	}
	t->step += n / sector;
	iscsi_task_submit(t, &t->own, BS_WRITE, t->lba * sector + at, n, iovcnt);
	return SCSI_WAIT;
}

void scsi_provision_prepare_unmap(struct iscsi_task *t)
{
	t->dlen = vs_get_be16(t->cdb + 7);
}

static bool unmap_list_ok(struct iscsi_task *t, int count)
{
	uint64_t total = 0, capacity = scsi_capacity(t);

	for (int i = 0; i < count; i++) {
		uint64_t lba, blocks;

		scsi_unmap_descriptor(t->own.buf, i, &lba, &blocks);
		if (!vs_range_ok(lba, blocks, capacity)) {
			iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_LBA_OUT_OF_RANGE);
			return false;
		}
		total += blocks;
	}
	if (count > SCSI_MAX_UNMAP_DESCRIPTORS || total > SCSI_MAX_UNMAP) {
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_FIELD_IN_LIST);
		return false;
	}
	return true;
}

/* One descriptor after the other. step: 0 to begin, then one more than those given to the store. */
enum scsi_result scsi_provision_unmap(struct iscsi_task *t)
{
	uint32_t sector = scsi_sector(t);
	int count;

	if (!t->dlen)
		return SCSI_DONE;
	count = scsi_unmap_count(t->own.buf, t->dlen);
	if (count < 0)
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_PARAMETER_LIST_LENGTH_ERROR);
	if (t->step == 0) {
		if (!unmap_list_ok(t, count))
			return SCSI_DONE;
		t->step = 1;
	}
	while (t->step - 1 < (uint64_t)count) {
		uint64_t lba, blocks;

		scsi_unmap_descriptor(t->own.buf, (int)(t->step++ - 1), &lba, &blocks);
		if (!blocks)
			continue;
		/* BS_ZERO also clears what the range cuts of a block of the store */
		iscsi_task_submit(t, &t->own, BS_ZERO, lba * sector, blocks * sector, 0);
		return SCSI_WAIT;
	}
	return SCSI_DONE;
}
