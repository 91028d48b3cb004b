#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define BYTCHK 0x06

static bool is_six(const struct iscsi_task *t)
{
	return t->cdb[0] >> 5 == 0;
}

void scsi_block_prepare(struct iscsi_task *t)
{
	bool write = scsi_op_writes(t->op), verify = t->op->run != NULL;

	if (t->blocks > SCSI_MAX_TRANSFER / scsi_sector(t)) {
		(void)scsi_bad_cdb(t);
		return;
	}
	t->dlen = (uint32_t)t->blocks * scsi_sector(t);
	t->fua = write && ((!is_six(t) && !verify && t->cdb[1] & 0x08) ||
			   !atomic_load_explicit(&t->lun->lu->write_back, memory_order_relaxed));
	if (verify && (t->cdb[1] & BYTCHK) > 2)
		(void)scsi_bad_cdb(t);
}

/* BYTCHK 00b: the medium only; 01b: with data; 11b: with one block of data for all. */
void scsi_block_prepare_verify(struct iscsi_task *t)
{
	unsigned bytchk = (t->cdb[1] & BYTCHK) >> 1;

	if (bytchk == 2 || (bytchk && t->blocks > SCSI_MAX_TRANSFER / scsi_sector(t))) {
		(void)scsi_bad_cdb(t);
		return;
	}
	t->dlen = bytchk == 0 || !t->blocks ? 0
		  : bytchk == 1		    ? (uint32_t)t->blocks * scsi_sector(t)
					    : scsi_sector(t);
}

bool scsi_scratch_read(struct iscsi_task *t, uint64_t offset, uint64_t length)
{
	if (!t->scratch)
		t->scratch = iscsi_task_chunk(t);
	if (!t->scratch)
		return false;
	iscsi_task_submit(t, t->scratch, BS_READ, t->lba * scsi_sector(t) + offset, length, 0);
	return true;
}

void scsi_scratch_put(struct iscsi_task *t)
{
	if (t->scratch)
		iscsi_task_chunk_put(t, t->scratch);
	t->scratch = NULL;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t n)
{
	size_t i = 0;

	while (i < n && a[i] == b[i])
		i++;
	return i;
}

static void compare_own(struct iscsi_task *t, const uint8_t *with, size_t n)
{
	if (memcmp(t->own.buf, with, n) == 0)
		return;
	iscsi_task_fail(t, SCSI_MISCOMPARE, SCSI_MISCOMPARE_DURING_VERIFY);
	scsi_sense_information(t->sense + 2, t->own.offset + first_difference(t->own.buf, with, n));
}

/* BYTCHK 00b and 11b: walks the range in pieces of one chunk. step: bytes read. */
static enum scsi_result verify_range(struct iscsi_task *t, bool against_block)
{
	uint32_t sector = scsi_sector(t);
	uint64_t total = t->blocks * sector;

	if (t->scratch && against_block)
		for (uint32_t at = 0; at < t->scratch->length && !t->failed; at += sector)
			compare_own(t, t->scratch->buf + at, sector);
	if (t->failed || t->step == total) {
		scsi_scratch_put(t);
		return SCSI_DONE;
	}
	if (!t->scratch) {
		t->scratch = iscsi_task_chunk(t);
		if (!t->scratch)
			return SCSI_WAIT;
	}
	t->scratch->length = (uint32_t)VS_MIN(total - t->step, (uint64_t)ISCSI_CHUNK);
	t->step += t->scratch->length;
	(void)scsi_scratch_read(t, t->step - t->scratch->length, t->scratch->length);
	return SCSI_WAIT;
}

enum scsi_result scsi_block_verify(struct iscsi_task *t)
{
	unsigned bytchk = (t->cdb[1] & BYTCHK) >> 1;
	uint32_t length = VS_ALIGN_DOWN(t->own.length, scsi_sector(t));

	if (bytchk != 1)
		return verify_range(t, bytchk == 3);
	if (!length)
		return SCSI_DONE;
	if (!t->scratch || t->scratch->length == 0) {
		if (scsi_scratch_read(t, t->own.offset, length))
			t->scratch->length = length;
		return SCSI_WAIT;
	}
	compare_own(t, t->scratch->buf, length);
	scsi_scratch_put(t);
	return SCSI_DONE;
}

/* Writes a buffer, makes it durable, reads it back. */
enum scsi_result scsi_block_write_verify(struct iscsi_task *t)
{
	uint32_t length = VS_ALIGN_DOWN(t->own.length, scsi_sector(t));

	if (!length)
		return SCSI_DONE;
	switch (t->step++) {
	case 0:
		t->fua = true;
		iscsi_task_submit(t, &t->own, BS_WRITE, t->lba * scsi_sector(t) + t->own.offset,
				  length, 0);
		return SCSI_WAIT;
	case 1:
		if (!scsi_scratch_read(t, t->own.offset, length))
			t->step = 1;
		return SCSI_WAIT;
	default:
		compare_own(t, t->scratch->buf, length);
		scsi_scratch_put(t);
		return SCSI_DONE;
	}
}

void scsi_block_prepare_compare(struct iscsi_task *t)
{
	t->lba = vs_get_be64(t->cdb + 2);
	t->blocks = t->cdb[13];
	if (!vs_range_ok(t->lba, t->blocks, scsi_capacity(t))) {
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_LBA_OUT_OF_RANGE);
		return;
	}
	if (t->blocks > SCSI_MAX_COMPARE / scsi_sector(t)) {
		(void)scsi_bad_cdb(t);
		return;
	}
	t->dlen = 2 * (uint32_t)t->blocks * scsi_sector(t);
	t->fua = t->cdb[1] & 0x08 || !atomic_load(&t->lun->lu->write_back);
}

enum scsi_result scsi_block_compare_write(struct iscsi_task *t)
{
	if (!t->dlen || t->step++)
		return SCSI_DONE;
	t->own.iov[0] = (struct iovec){t->own.buf, t->dlen};
	iscsi_task_submit(t, &t->own, BS_COMPARE_WRITE, t->lba * scsi_sector(t), t->dlen / 2, 1);
	return SCSI_WAIT;
}

/* IMMED is honoured by waiting: later is allowed, and errors reach the initiator. */
enum scsi_result scsi_block_sync(struct iscsi_task *t)
{
	if (t->step++)
		return SCSI_DONE;
	iscsi_task_submit(t, &t->own, BS_FLUSH, 0, 0, 0);
	return SCSI_WAIT;
}

/* A hint; the cache decides. GOOD says that not all of it is in the cache (SBC-3, 5.10). */
enum scsi_result scsi_block_prefetch(struct iscsi_task *t)
{
	(void)t;
	return SCSI_DONE;
}
