#include "blockstore/lun_int.h"

#include "common/log.h"

#define TRIES 16u /* unit attentions that a probe takes */

static void answered(struct iscsi_context *ctx, int status, void *data, void *arg);

static struct scsi_task *send_ready(struct bs_lun *l)
{
	return iscsi_testunitready_task(l->ctx, lun_number(l), answered, l);
}

static struct scsi_task *send_inquiry(struct bs_lun *l)
{
	return iscsi_inquiry_task(l->ctx, lun_number(l), 0, 0, 255, answered, l);
}

static struct scsi_task *send_identity(struct bs_lun *l)
{
	return iscsi_inquiry_task(l->ctx, lun_number(l), 1, 0x83, 252, answered, l);
}

static struct scsi_task *send_capacity(struct bs_lun *l)
{
	return iscsi_readcapacity16_task(l->ctx, lun_number(l), answered, l);
}

static struct scsi_task *send_limits(struct bs_lun *l)
{
	return iscsi_inquiry_task(l->ctx, lun_number(l), 1, 0xb0, 255, answered, l);
}

static struct scsi_task *send_provisioning(struct bs_lun *l)
{
	return iscsi_inquiry_task(l->ctx, lun_number(l), 1, 0xb2, 255, answered, l);
}

/* DBD: no block descriptor; page 3fh: all, as some know no single one. */
static struct scsi_task *send_mode(struct bs_lun *l)
{
	return iscsi_modesense6_task(l->ctx, lun_number(l), 1, 0, 0x3f, 0, 255, answered, l);
}

static int take_nothing(const uint8_t *p, size_t n, struct bs_lun_caps *c)
{
	(void)p, (void)n, (void)c;
	return 0;
}

/* In this order: unit attentions first, then what makes the LUN ours, then what it can do. */
static const struct {
	const char *what;
	struct scsi_task *(*send)(struct bs_lun *l);
	int (*take)(const uint8_t *p, size_t n, struct bs_lun_caps *c);
	bool needed;
} steps[] = {
    {"TEST UNIT READY", send_ready, take_nothing, true},
    {"INQUIRY", send_inquiry, bs_lun_decode_inquiry, true},
    {"READ CAPACITY", send_capacity, bs_lun_decode_capacity, true},
    {"device identification", send_identity, bs_lun_decode_identity, false},
    {"block limits", send_limits, bs_lun_decode_limits, false},
    {"provisioning", send_provisioning, bs_lun_decode_provisioning, false},
    {"MODE SENSE", send_mode, bs_lun_decode_mode, false},
};

static void ask(struct bs_lun *l)
{
	l->ask = steps[l->step].send(l);
	if (!l->ask)
		lun_session_fail(l, VS_E_IO, "%s cannot be sent: %s", steps[l->step].what,
				 iscsi_get_error(l->ctx));
}

static void ask_from_the_first(struct bs_lun *l)
{
	l->found = (struct bs_lun_caps){0};
	l->step = 0;
	ask(l);
}

/* A path that leads to another LUN than before must not be written to. */
static bool same_lun(struct bs_lun *l)
{
	const struct bs_lun_caps *was = &l->caps, *is = &l->found;

	if (!l->path.opened)
		return true;
	if (was->identity != is->identity || was->sector != is->sector) {
		lun_session_fail(l, VS_E_IO, "another LUN is there now");
		return false;
	}
	if (is->blocks < was->blocks) {
		lun_session_fail(l, VS_E_IO, "the LUN has become smaller");
		return false;
	}
	return true;
}

static void found_all(struct bs_lun *l)
{
	if (!same_lun(l))
		return;
	/* a durable write that has begun without FUA ends so */
	l->found.fua = l->found.fua && (l->caps.fua || !l->path.opened);
	l->caps = l->found;
	l->asked_ns = vs_now_ns();
	lun_replay_start(l);
}

static void next_step(struct bs_lun *l)
{
	if (++l->step == VS_ARRAY_LEN(steps))
		found_all(l);
	else
		ask(l);
}

static const char *failure(int code)
{
	return code == VS_E_NOENT  ? "the target has no such LUN"
	       : code == VS_E_BUSY ? "the LUN is reserved by another initiator"
	       : code == VS_E_NOTSUP || code == VS_E_INVAL
		   ? "the LUN is no disk with sectors of 512 or 4096 bytes"
	       : code == VS_E_PROTO ? "the answer makes no sense"
				    : "the LUN is not ready or has no medium";
}

static void step_done(struct bs_lun *l, enum bs_lun_verdict v, int code, const uint8_t *p, size_t n)
{
	bool needed = steps[l->step].needed;

	if (v != BS_LUN_DONE && v != BS_LUN_FAILED) {
		/* a unit attention: anything may have changed, also what was asked already */
		if (v == BS_LUN_LATER || l->probe_tries++ == TRIES)
			lun_session_fail(l, VS_E_IO, "%s: the LUN is not ready",
					 steps[l->step].what);
		else
			ask_from_the_first(l);
		return;
	}
	if (v == BS_LUN_DONE) {
		struct bs_lun_caps before = l->found;

		code = steps[l->step].take(p, n, &l->found);
		if (code != 0 && !needed)
			l->found = before;
	}
	if (code != 0 && needed)
		lun_session_fail(l, code, "%s: %s", steps[l->step].what, failure(code));
	else
		next_step(l);
}

static void grown(struct bs_lun *l, const uint8_t *p, size_t n)
{
	struct bs_lun_caps c = l->caps;

	l->path.steady = true;
	if (bs_lun_decode_capacity(p, n, &c) != 0 || c.sector != l->caps.sector)
		return;
	if (c.blocks < l->caps.blocks)
		vs_warn("%s: the LUN has become smaller; what is behind its end fails", l->name);
	else
		l->caps.blocks = c.blocks;
}

static void answered(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct bs_lun *l = arg;
	struct scsi_task *task = data;
	enum bs_lun_verdict v;
	int code;

	(void)ctx;
	if (l->dropping)
		return;
	l->ask = NULL;
	l->alive_ns = vs_now_ns();
	v = lun_judge(task, status, &code);
	if (status >= SCSI_STATUS_CANCELLED)
		lun_session_fail(l, VS_E_IO, "the connection broke");
	else if (l->state == LUN_PROBE)
		step_done(l, v, code, task->datain.data, (size_t)VS_MAX(task->datain.size, 0));
	else if (v == BS_LUN_DONE)
		grown(l, task->datain.data, (size_t)VS_MAX(task->datain.size, 0));
	else if (v == BS_LUN_RESTART)
		lun_session_fail(l, VS_E_IO,
				 "the LUN was reset, has lost writes or may be another");
	scsi_free_scsi_task(task);
}

void lun_probe_start(struct bs_lun *l)
{
	l->probe_tries = 0;
	ask_from_the_first(l);
}

void lun_probe_capacity(struct bs_lun *l)
{
	l->asked_ns = vs_now_ns();
	if (l->ask)
		return;
	l->ask = send_capacity(l);
	if (!l->ask)
		lun_session_fail(l, VS_E_IO, "READ CAPACITY cannot be sent");
}
