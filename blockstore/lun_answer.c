#include "blockstore/lun_int.h"

#include "common/log.h"

#define TRIES 20u		   /* of one command that the array asks to send again */
#define LATER_NS (LUN_SECOND / 10) /* before that */

/* One run of all of it. */
static void all_mapped(struct bs_far_req *req)
{
	req->runs[0] = (struct bs_far_run){.length = req->length, .mapped = true};
	req->nruns = 1;
}

/*
 * Runs of the descriptors, which may begin before the range and end behind it, in whole 4096 bytes:
 * where a block is mapped in part it counts as mapped. Descriptors out of order end the answer.
 */
static void take_status(struct bs_lun *l, struct bs_far_req *req, const uint8_t *p, size_t n)
{
	uint64_t at = req->offset, end = req->offset + req->length, sector = l->caps.sector;
	struct bs_lba_status d;

	req->nruns = 0;
	for (unsigned i = 0; at < end && bs_lun_decode_status(p, n, i, &d) == 1; i++) {
		uint64_t from, to;

		if (!vs_range_ok(d.lba, d.blocks, l->caps.blocks))
			break;
		from = d.lba * sector;
		to = from + d.blocks * sector;
		to = d.mapped ? VS_ALIGN_UP(to, UINT64_C(4096)) : VS_ALIGN_DOWN(to, UINT64_C(4096));
		to = VS_MIN(to, end);
		if (d.mapped)
			from = VS_ALIGN_DOWN(from, UINT64_C(4096));
		if (from > at)
			break;
		if (to <= at)
			continue;
		if (req->nruns && req->runs[req->nruns - 1].mapped == d.mapped) {
			req->runs[req->nruns - 1].length += to - at;
		} else {
			if (req->nruns == req->max_runs)
				return;
			req->runs[req->nruns++] =
			    (struct bs_far_run){.length = to - at, .mapped = d.mapped};
		}
		at = to;
	}
	if (req->nruns == 0)
		all_mapped(req);
}

/* The LUN does not know the command: what that means. 0: done all the same. */
static int unknown(struct lun_cmd *c)
{
	struct bs_lun *l = c->l;

	switch (c->kind) {
	case LUN_CMD_SYNC: /* it is optional, and who lacks it has no cache: SBC-3 section 4.15 */
		return 0;
	case LUN_CMD_STATUS:
		l->no_status = true;
		all_mapped(c->req);
		return 0;
	default:
		return VS_E_NOTSUP;
	}
}

/* Zeros are written instead; the request starts over from where this piece began. */
static void without_same(struct lun_cmd *c)
{
	struct bs_lun *l = c->l;
	struct bs_far_req *rest = c->req;

	l->no_same = true;
	if (c->reserved)
		bs_redo_unreserve(&l->redo, BS_REDO_ZERO, c->length);
	lun_cmd_free(c);
	rest->out--;
	if (rest->issued >= rest->length) /* no longer in line */
		lun_io_line_up(l, rest);
	rest->issued = 0;
}

static int sync_ended(struct lun_cmd *c, int status)
{
	struct bs_lun *l = c->l;

	if (status == 0 && !l->lost) {
		bs_redo_forget(&l->redo, c->mark);
	} else if (status != 0 && !l->lost) {
		vs_err("%s: a flush failed (%s); none is believed any more until it is opened anew",
		       l->name, vs_err_text(status));
		l->lost = true;
		bs_redo_forget(&l->redo, l->redo.tail);
	}
	return l->lost && status == 0 ? VS_E_IO : status;
}

/* What is durable is kept all the same where it must not be undone by what is sent again. */
static void keep(struct lun_cmd *c, int status)
{
	struct bs_lun *l = c->l;
	bool durable = c->req && c->req->durable && l->caps.fua &&
		       !bs_redo_overlaps(&l->redo, c->offset, c->length);

	if (!c->reserved)
		return;
	if (status == 0 && !durable && !l->lost)
		bs_redo_keep(&l->redo, lun_redo_kind(c->kind), c->offset, c->length,
			     (const struct iovec *)c->iov);
	else
		bs_redo_unreserve(&l->redo, lun_redo_kind(c->kind), c->length);
	c->reserved = false;
}

static void outcome(struct lun_cmd *c, int status)
{
	struct bs_lun *l = c->l;

	if (status == VS_E_INVAL) /* a flush that it knows and does not do has failed */
		status = c->kind == LUN_CMD_SYNC ? VS_E_IO : VS_E_NOTSUP;
	if (c->kind == LUN_CMD_SAME && status == VS_E_NOTSUP && c->req) {
		without_same(c);
		return;
	}
	if (status == VS_E_NOTSUP)
		status = unknown(c);
	keep(c, status);
	if (c->kind == LUN_CMD_SYNC)
		status = sync_ended(c, status);
	if (c->req) {
		lun_io_piece_ended(c, status);
	} else if (c->kind == LUN_CMD_SYNC) {
		l->cleaning = false;
		lun_cmd_free(c);
	} else {
		lun_replay_ended(c, status);
	}
}

/*
 * A deferred error is not of this command, which was not executed, but of an earlier one that had
 * been acknowledged (SPC-4 section 4.5.7): what was not flushed is sent again.
 */
enum bs_lun_verdict lun_judge(const struct scsi_task *task, int status, int *code)
{
	unsigned char type = task->sense.error_type;

	if (status == SCSI_STATUS_CHECK_CONDITION &&
	    (type == SCSI_SENSE_FIXED_DEFERRED_ERRORS ||
	     type == SCSI_SENSE_DESCRIPTOR_DEFERRED_ERRORS)) {
		*code = 0;
		return BS_LUN_RESTART;
	}
	return bs_lun_judge(status, (uint8_t)task->sense.key, (uint16_t)task->sense.ascq, code);
}

void lun_answered(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct lun_cmd *c = arg;
	struct bs_lun *l = c->l;
	struct scsi_task *task = data;
	enum bs_lun_verdict v;
	int code;

	(void)ctx;
	/*
	 * What comes behind a break counts as not answered: a flush that was done after a reset
	 * does not cover what the reset may have lost.
	 */
	if (l->dropping || l->broken || !c->task)
		return;
	v = lun_judge(task, status, &code);
	if (v ==
	    BS_LUN_RESTART) { /* sent again when the path is back; its task goes with the path */
		lun_session_fail(l, VS_E_IO, "%s",
				 status == SCSI_STATUS_CHECK_CONDITION
				     ? "the LUN was reset, has lost writes or may be another"
				     : "the connection broke");
		return;
	}
	l->alive_ns = vs_now_ns();
	l->path.steady = true;
	if (v == BS_LUN_DONE && c->kind == LUN_CMD_READ &&
	    task->residual_status == SCSI_RESIDUAL_UNDERFLOW && task->residual) {
		v = BS_LUN_FAILED; /* less than was asked for */
		code = VS_E_IO;
	}
	if (v == BS_LUN_DONE && c->kind == LUN_CMD_STATUS)
		take_status(l, c->req, task->datain.data, (size_t)VS_MAX(task->datain.size, 0));
	lun_cmd_release(c, task);
	if (v == BS_LUN_CAPACITY)
		lun_probe_capacity(l);
	if (v == BS_LUN_DONE || v == BS_LUN_FAILED)
		outcome(c, code);
	else if (v == BS_LUN_LATER ? l->alive_ns - c->since_ns < l->path.hold_ns
				   : c->tries++ < TRIES)
		lun_cmd_again(c, v == BS_LUN_LATER ? LATER_NS : 0);
	else
		outcome(c, VS_E_IO);
}
