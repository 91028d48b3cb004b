#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "targets/iscsi/scsi_format.h"

static struct iscsi_lun *find_lun(struct iscsi_conn *c, uint64_t raw)
{
	int lun = iscsi_lun_decode(raw);

	for (unsigned i = 0; lun >= 0 && i < c->map->n; i++)
		if (c->map->luns[i].lun == (unsigned)lun)
			return &c->map->luns[i];
	return NULL;
}

static void respond(struct iscsi_conn *c, uint32_t itt, uint8_t response, bool close_after)
{
	struct iscsi_msg *m = iscsi_conn_msg(c);

	if (!m) {
		iscsi_conn_close(c, "does not take its replies");
		return;
	}
	iscsi_task_response_encode(m->bhs, itt, response);
	iscsi_conn_send_msg(c, m);
	if (close_after)
		c->tx.close_after = true;
}

void iscsi_tmf_task_ended(struct iscsi_conn *c, struct iscsi_tmf_op *op)
{
	if (--op->waits)
		return;
	op->active = false;
	if (op->remote)
		iscsi_lu_abort_done(op->remote);
	else if (c->state != ISCSI_CONN_DEAD)
		respond(c, op->itt, op->response, op->close_after);
}

/* Another initiator ends it: with TAS, this one is told by a status (SAM-5, 5.6). Once: several
   resets may find the same task, as one of the whole target does by each LUN that shows its unit.
 */
static void answer_aborted(struct iscsi_task *t)
{
	if (t->aborted || !t->lun || !atomic_load(&t->lun->lu->tas))
		return;
	t->tell_aborted = t->failed = true;
	t->status = SCSI_TASK_ABORTED;
	t->sense_len = 0;
}

/* For another session also what copies from or to the unit, whichever unit got the command. */
static bool concerns(const struct iscsi_task *t, const struct iscsi_lu *lu, bool remote)
{
	return t->lun &&
	       (t->lun->lu == lu || (remote && (t->copies[0] == lu || t->copies[1] == lu)));
}

/* Ends the session's tasks on the LUN (NULL: on all); op waits for them. */
static void abort_tasks(struct iscsi_conn *c, const struct iscsi_lu *lu, struct iscsi_tmf_op *op)
{
	struct iscsi_task *t = c->used_first, *next;

	for (; t; t = next) {
		next = t->next;
		if (t->state != ISCSI_TASK_ACTIVE || (lu && !concerns(t, lu, op->remote)))
			continue;
		if (!t->tmf && !t->aborted) {
			t->tmf = op;
			op->waits++;
		}
		if (op->remote)
			answer_aborted(t);
		iscsi_flow_abort(t);
	}
}

/* Another session resets LUNs of this one's, or preempted it. */
void iscsi_tmf_remote_abort(struct iscsi_conn *c)
{
	for (unsigned i = 0; c->map && i < c->map->n; i++) {
		struct iscsi_lun *l = &c->map->luns[i];
		struct iscsi_tmf_op *op = &l->remote_op;

		if (!atomic_exchange(&l->abort, false))
			continue;
		if (!op->active)
			*op = (struct iscsi_tmf_op){.active = true, .remote = l};
		op->waits++;
		abort_tasks(c, l->lu, op);
		iscsi_tmf_task_ended(c, op);
	}
}

/* Other sessions have ended their tasks: the resets that waited for that go on. */
void iscsi_tmf_reset_done(struct iscsi_conn *c, bool all)
{
	for (unsigned i = 0; c->map && i < c->map->n; i++) {
		struct iscsi_lun *l = &c->map->luns[i];
		struct iscsi_tmf_op *op = l->reset_op;

		if (!op || (!all && iscsi_lu_aborting(l->lu)))
			continue;
		l->reset_op = NULL;
		iscsi_tmf_task_ended(c, op);
	}
}

static void abort_one(struct iscsi_conn *c, const struct iscsi_bhs *bhs,
		      const struct iscsi_task_request *req, struct iscsi_tmf_op *op)
{
	struct iscsi_task *t = iscsi_task_find(c, req->ref_itt);

	if (!t || t->state != ISCSI_TASK_ACTIVE || t->raw_lun != bhs->lun) {
		op->response = ISCSI_TMF_NO_TASK;
		return;
	}
	if (!t->tmf && !t->aborted) {
		t->tmf = op;
		op->waits++;
	}
	iscsi_flow_abort(t);
}

static void reset_lun(struct iscsi_conn *c, struct iscsi_lun *l, unsigned ua,
		      struct iscsi_tmf_op *op)
{
	if (l->reset_op) { /* one at a time; the initiator has not waited for its answer */
		op->response = ISCSI_TMF_REJECTED;
		return;
	}
	abort_tasks(c, l->lu, op);
	iscsi_lu_unreserve(l->lu, NULL);
	iscsi_lu_allow_removal(l->lu);
	atomic_fetch_or(&l->ua, ua);
	if (iscsi_lu_abort_others(l, ua)) {
		l->reset_op = op;
		op->waits++;
	}
}

static void reset_target(struct iscsi_conn *c, bool cold, struct iscsi_tmf_op *op)
{
	for (unsigned i = 0; i < c->map->n; i++)
		reset_lun(c, &c->map->luns[i], ISCSI_UA_BUS_RESET, op);
	if (!cold)
		return;
	iscsi_control_tell(c, ISCSI_TELL_COLD_RESET);
	op->close_after = true;
}

static void run(struct iscsi_conn *c, const struct iscsi_bhs *bhs,
		const struct iscsi_task_request *req, struct iscsi_tmf_op *op)
{
	struct iscsi_lun *l = find_lun(c, bhs->lun);
	bool cold = req->function == ISCSI_TMF_COLD_RESET;

	if (cold || req->function == ISCSI_TMF_WARM_RESET) {
		reset_target(c, cold, op);
		return;
	}
	if (!l) {
		op->response = ISCSI_TMF_NO_LUN;
		return;
	}
	switch (req->function) {
	case ISCSI_TMF_ABORT_TASK:
		abort_one(c, bhs, req, op);
		break;
	case ISCSI_TMF_ABORT_TASK_SET:
	case ISCSI_TMF_CLEAR_TASK_SET: /* TST 001b: each I_T nexus has a task set of its own */
		abort_tasks(c, l->lu, op);
		break;
	case ISCSI_TMF_LUN_RESET:
		reset_lun(c, l, ISCSI_UA_LUN_RESET, op);
		break;
	case ISCSI_TMF_REASSIGN:
		op->response = ISCSI_TMF_NO_REASSIGN;
		break;
	default:
		op->response = ISCSI_TMF_NOT_SUPPORTED;
	}
}

void iscsi_tmf_request(struct iscsi_conn *c, const struct iscsi_bhs *bhs)
{
	struct iscsi_task_request req;
	struct iscsi_tmf_op *op = c->tmfs;

	while (op < c->tmfs + ISCSI_TMFS && op->active)
		op++;
	if (op == c->tmfs + ISCSI_TMFS) {
		respond(c, bhs->itt, ISCSI_TMF_REJECTED, false);
		return;
	}
	iscsi_task_request_decode(bhs, &req);
	*op = (struct iscsi_tmf_op){.active = true, .itt = bhs->itt, .waits = 1};
	run(c, bhs, &req, op);
	iscsi_tmf_task_ended(c, op);
}
