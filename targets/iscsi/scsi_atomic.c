/* ORWRITE(16) (SBC-3, 5.8) and WRITE ATOMIC(16) (SBC-4, 5.48). */
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define FUA_BIT 0x08
#define OR_TRIES 100

static bool must_be_durable(const struct iscsi_task *t)
{
	return t->cdb[1] & FUA_BIT ||
	       !atomic_load_explicit(&t->lun->lu->write_back, memory_order_relaxed);
}

void scsi_atomic_prepare_or(struct iscsi_task *t)
{
	if (t->blocks > SCSI_MAX_TRANSFER / scsi_sector(t)) {
		(void)scsi_bad_cdb(t);
		return;
	}
	t->dlen = (uint32_t)t->blocks * scsi_sector(t);
	t->fua = must_be_durable(t);
}

/* The chunk holds what was there and, behind it, what is to be there. */
static void write_or(struct iscsi_task *t, uint32_t length)
{
	struct iscsi_piece *p = t->scratch;
	uint8_t *to = p->buf + ISCSI_OWN_BUF;

	for (uint32_t i = 0; i < length; i++)
		to[i] = p->buf[i] | t->own.buf[i];
	p->iov[0] = (struct iovec){p->buf, length};
	p->iov[1] = (struct iovec){to, length};
	iscsi_task_submit(t, p, BS_COMPARE_WRITE, t->lba * scsi_sector(t) + t->own.offset, length,
			  2);
}

/*
 * One own buffer after the other: reads, then writes if nobody else wrote meanwhile, else again.
 * So each buffer's worth is atomic. step: two for each try.
 */
enum scsi_result scsi_atomic_or(struct iscsi_task *t)
{
	uint32_t length = VS_ALIGN_DOWN(t->own.length, scsi_sector(t));

	_Static_assert(2 * ISCSI_OWN_BUF <= ISCSI_CHUNK && ISCSI_OWN_BUF <= BS_COMPARE_MAX,
		       "a chunk holds both, and the store takes it at once");
	if (!length)
		return SCSI_DONE;
	if (t->step % 2 == 0) {
		bool first = t->step == 0;

		if (!first && !t->mismatched) {
			scsi_scratch_put(t);
			return SCSI_DONE;
		}
		t->mismatched = false;
		if (t->step == 2 * OR_TRIES) { /* others write all the time */
			t->failed = true;
			t->status = SCSI_BUSY;
			return SCSI_DONE;
		}
		t->step += scsi_scratch_read(t, t->own.offset, length);
		return SCSI_WAIT;
	}
	t->step++;
	write_or(t, length);
	return SCSI_WAIT;
}

/* Whole blocks of the store, so that one operation of it does (ATOMIC ALIGNMENT, GRANULARITY). */
void scsi_atomic_prepare_write(struct iscsi_task *t)
{
	uint32_t sector = scsi_sector(t), per_block = BS_BLOCK / sector;

	t->lba = vs_get_be64(t->cdb + 2);
	t->blocks = vs_get_be16(t->cdb + 12);
	if (!vs_range_ok(t->lba, t->blocks, scsi_capacity(t)))
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_LBA_OUT_OF_RANGE);
	else if (t->lba % per_block || t->blocks % per_block ||
		 t->blocks > SCSI_MAX_ATOMIC / sector)
		(void)scsi_bad_cdb(t);
	t->dlen = (uint32_t)t->blocks * sector;
	t->fua = must_be_durable(t);
	t->atomic = true;
}

/* All of the data is here: in the own buffer and, beyond it, in the scratch piece. */
enum scsi_result scsi_atomic_write(struct iscsi_task *t)
{
	struct iscsi_piece *p = t->scratch ? t->scratch : &t->own;
	int n = 1;

	if (!t->want || t->step++) {
		scsi_scratch_put(t);
		return SCSI_DONE;
	}
	p->iov[0] = (struct iovec){t->own.buf, t->own.length};
	if (t->scratch)
		p->iov[n++] = (struct iovec){p->buf, p->length};
	iscsi_task_submit(t, p, BS_WRITE, t->lba * scsi_sector(t), t->want, n);
	return SCSI_WAIT;
}
