/* PERSISTENT RESERVE IN and OUT (SPC-4, 6.15 and 6.16). */
#include "targets/iscsi/keep.h"
#include "targets/iscsi/pr_format.h"
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#include <stdio.h>

#define LIST_LEN 24
#define LIST_MAX 32768u /* of a slot's buffer; behind it: the nexuses of a REGISTER */
#define SPEC_I_PT 0x08
#define ALL_TG_PT 0x04
#define APTPL 0x01
#define MOVE_UNREG 0x02
#define STATUS_DESCRIPTOR 24

static void nexus_of(const struct iscsi_conn *c, struct iscsi_pr_nexus *n)
{
	memset(n, 0, sizeof(*n));
	iscsi_pr_port_name(n->port, c->login.initiator, c->login.isid);
	n->tag = c->portal->tag;
	snprintf(n->target, sizeof(n->target), "%s", c->login.target);
}

/* With lu->lock held. */
static bool blocks(const struct iscsi_conn *c, const struct iscsi_lu *lu, bool write)
{
	struct iscsi_pr_nexus me;

	nexus_of(c, &me);
	return !iscsi_pr_allows(&lu->pr, &me, write);
}

bool scsi_pr_keeps_out(const struct iscsi_conn *c, struct iscsi_lu *lu, bool write)
{
	bool out;

	if (!atomic_load_explicit(&lu->reserved, memory_order_acquire))
		return false;
	pthread_mutex_lock(&lu->lock);
	out = lu->reserved_by ? lu->reserved_by != c : blocks(c, lu, write);
	pthread_mutex_unlock(&lu->lock);
	return out;
}

bool scsi_pr_conflicts(const struct iscsi_task *t)
{
	const struct scsi_op *op = t->op;
	struct iscsi_lu *lu = t->lun->lu;
	bool conflict = false;

	if (!atomic_load_explicit(&lu->reserved, memory_order_acquire) ||
	    op->flags & SCSI_RESERVED_OK)
		return false;
	pthread_mutex_lock(&lu->lock);
	if (lu->reserved_by)
		conflict = lu->reserved_by != t->conn && op->run != scsi_unit_release;
	else if (op->flags & SCSI_SPC2_RESERVE) /* RESERVE(6), RELEASE(6): CRH is 0 */
		conflict = lu->pr.n > 0;
	else if (!(op->flags & SCSI_PR_OK))
		conflict = blocks(t->conn, lu, op->flags & (SCSI_CHANGES | SCSI_PR_WRITES));
	pthread_mutex_unlock(&lu->lock);
	return conflict;
}

struct telling {
	struct iscsi_lu *lu;
	bool abort;
};

/* With lu->lock held: finds the nexus' session, if it has one. */
static void tell(void *arg, const struct iscsi_pr_nexus *who, enum iscsi_pr_news what)
{
	static const struct {
		enum iscsi_pr_news news;
		enum iscsi_ua ua;
	} uas[] = {
	    {ISCSI_PR_RELEASED, ISCSI_UA_RESERVATIONS_RELEASED},
	    {ISCSI_PR_RESERVATION_PREEMPTED, ISCSI_UA_RESERVATIONS_PREEMPTED},
	    {ISCSI_PR_REGISTRATION_PREEMPTED, ISCSI_UA_REGISTRATIONS_PREEMPTED},
	};
	struct telling *telling = arg;

	for (struct iscsi_lun *l = telling->lu->sessions; l; l = l->next) {
		struct iscsi_pr_nexus n;

		nexus_of(l->conn, &n);
		if (!iscsi_pr_same(&n, who))
			continue;
		for (size_t i = 0; i < VS_ARRAY_LEN(uas); i++)
			if (uas[i].news == what)
				atomic_fetch_or(&l->ua, uas[i].ua);
		if (telling->abort && what == ISCSI_PR_REGISTRATION_PREEMPTED)
			iscsi_lu_abort_session(l);
	}
}

void scsi_pr_prepare_out(struct iscsi_task *t)
{
	uint8_t action = t->cdb[1] & 0x1f, scope = t->cdb[2] >> 4, type = t->cdb[2] & 0x0f;
	bool listed = action == ISCSI_PR_REGISTER || action == ISCSI_PR_REGISTER_MOVE;
	uint32_t length = vs_get_be32(t->cdb + 5);
	bool typed = action == ISCSI_PR_RESERVE || action == ISCSI_PR_RELEASE ||
		     action == ISCSI_PR_PREEMPT || action == ISCSI_PR_PREEMPT_ABORT;

	if (typed && (scope || !iscsi_pr_type_ok(type)))
		(void)scsi_bad_cdb(t);
	else if (length < LIST_LEN || (length > LIST_LEN && !listed) || length > LIST_MAX)
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_PARAMETER_LIST_LENGTH_ERROR);
	else
		t->dlen = length;
}

static void finish_out(struct iscsi_task *t, enum iscsi_pr_result result)
{
	switch (result) {
	case ISCSI_PR_OK:
		break;
	case ISCSI_PR_CONFLICT:
		t->failed = true;
		t->status = SCSI_RESERVATION_CONFLICT;
		break;
	case ISCSI_PR_BAD_RELEASE:
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_RELEASE);
		break;
	case ISCSI_PR_BAD_LIST:
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_FIELD_IN_LIST);
		break;
	case ISCSI_PR_NO_ROOM:
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_INSUFFICIENT_REGISTRATIONS);
		break;
	}
}

static bool known_tag(const struct iscsi_server *srv, uint16_t tag)
{
	for (size_t i = 0; i < srv->nportals; i++)
		if (srv->portals[i].tag == tag)
			return true;
	return false;
}

static bool add_nexus(struct iscsi_pr_nexus *list, unsigned *n, const char *port, uint16_t tag,
		      const char *target)
{
	struct iscsi_pr_nexus *x = &list[*n];

	if (*n == ISCSI_PR_MAX)
		return false;
	memset(x, 0, sizeof(*x));
	snprintf(x->port, sizeof(x->port), "%s", port);
	snprintf(x->target, sizeof(x->target), "%s", target);
	x->tag = tag;
	for (unsigned i = 0; i < *n; i++)
		if (iscsi_pr_same(&list[i], x))
			return true;
	++*n;
	return true;
}

/* The port by the target's ports: all of them, or that of the session. */
static bool add_ports(const struct iscsi_task *t, struct iscsi_pr_request *req,
		      struct iscsi_pr_nexus *list, const char *port,
		      const struct iscsi_pr_nexus *me)
{
	const struct iscsi_server *srv = t->conn->srv;
	bool all = t->own.buf[20] & ALL_TG_PT, ok = true;

	for (size_t i = 0; i < srv->nportals && ok; i++) {
		uint16_t tag = srv->portals[i].tag;

		if ((tag == me->tag && strcmp(port, me->port) == 0) || (tag != me->tag && !all))
			continue;
		ok = add_nexus(list, &req->nothers, port, tag, me->target);
	}
	return ok;
}

/* The nexuses that a REGISTER is for beside its own: SPEC_I_PT and ALL_TG_PT. */
static enum iscsi_pr_result take_others(struct iscsi_task *t, struct iscsi_pr_request *req,
					const struct iscsi_pr_nexus *me)
{
	struct iscsi_pr_nexus *list = (struct iscsi_pr_nexus *)(t->own.buf + LIST_MAX);
	const uint8_t *at = t->own.buf + LIST_LEN, *end;
	char port[ISCSI_PR_PORT];

	_Static_assert(ISCSI_PR_MAX * sizeof(*list) <= ISCSI_OWN_BUF - LIST_MAX,
		       "as many nexuses as a unit takes fit");
	req->others = list;
	req->others_are_new = t->own.buf[20] & SPEC_I_PT;
	if (t->own.buf[20] & ALL_TG_PT && !add_ports(t, req, list, me->port, me))
		return ISCSI_PR_NO_ROOM;
	if (!req->others_are_new)
		return t->dlen == LIST_LEN ? ISCSI_PR_OK : ISCSI_PR_BAD_LIST;
	if (req->action != ISCSI_PR_REGISTER || t->dlen < LIST_LEN + 4 ||
	    vs_get_be32(at) != t->dlen - LIST_LEN - 4)
		return ISCSI_PR_BAD_LIST;
	end = t->own.buf + t->dlen;
	for (at += 4; at < end;) {
		size_t n = iscsi_pr_id_decode(at, (size_t)(end - at), port);

		if (!n)
			return ISCSI_PR_BAD_LIST;
		if (!add_ports(t, req, list, port, me))
			return ISCSI_PR_NO_ROOM;
		at += n;
	}
	return ISCSI_PR_OK;
}

/* REGISTER AND MOVE has a list of its own (SPC-4, 6.16.4). */
static enum iscsi_pr_result take_move(struct iscsi_task *t, struct iscsi_pr_request *req,
				      struct iscsi_pr_nexus *to, const struct iscsi_pr_nexus *me)
{
	const uint8_t *b = t->own.buf;
	uint32_t length = vs_get_be32(b + 20);

	memset(to, 0, sizeof(*to));
	req->aptpl = b[17] & APTPL;
	req->unregister = b[17] & MOVE_UNREG;
	req->others = to;
	req->nothers = 1;
	to->tag = vs_get_be16(b + 18);
	snprintf(to->target, sizeof(to->target), "%s", me->target);
	if (length != t->dlen - LIST_LEN || !known_tag(t->conn->srv, to->tag) ||
	    iscsi_pr_id_decode(b + LIST_LEN, length, to->port) != length || !length)
		return ISCSI_PR_BAD_LIST;
	return ISCSI_PR_OK;
}

static enum iscsi_pr_result take_request(struct iscsi_task *t, struct iscsi_pr_request *req,
					 struct iscsi_pr_nexus *to, const struct iscsi_pr_nexus *me)
{
	const uint8_t *b = t->own.buf;
	enum iscsi_pr_result result;

	*req = (struct iscsi_pr_request){.action = t->cdb[1] & 0x1f,
					 .type = t->cdb[2] & 0x0f,
					 .key = vs_get_be64(b),
					 .sa_key = vs_get_be64(b + 8)};
	if (req->action == ISCSI_PR_REGISTER_MOVE) {
		result = take_move(t, req, to, me);
	} else if (req->action == ISCSI_PR_REGISTER || req->action == ISCSI_PR_REGISTER_IGNORE) {
		req->aptpl = b[20] & APTPL;
		result = take_others(t, req, me);
	} else {
		result = b[20] & SPEC_I_PT ? ISCSI_PR_BAD_LIST : ISCSI_PR_OK;
	}
	if (result == ISCSI_PR_OK && req->aptpl && !iscsi_keep_can(t->conn->srv))
		return ISCSI_PR_BAD_LIST;
	return result;
}

/* Answered when the tasks it aborts are over, and when what is to survive power loss does. */
static enum scsi_result wait_out(struct iscsi_task *t)
{
	struct iscsi_lu *lu = t->lun->lu;
	enum iscsi_keep_state kept;

	pthread_mutex_lock(&lu->lock);
	kept = iscsi_keep_look(lu, t->blocks);
	t->parked =
	    kept == ISCSI_KEEP_BUSY || (t->op->service == ISCSI_PR_PREEMPT_ABORT && lu->aborting);
	pthread_mutex_unlock(&lu->lock);
	if (t->parked)
		return SCSI_WAIT;
	if (kept == ISCSI_KEEP_FAILED)
		return scsi_fail(t, SCSI_HARDWARE_ERROR, SCSI_INTERNAL_TARGET_FAILURE);
	return SCSI_DONE;
}

/* step: 1 when it has taken effect. blocks: what iscsi_keep_look is asked for. */
enum scsi_result scsi_pr_out(struct iscsi_task *t)
{
	struct iscsi_lu *lu = t->lun->lu;
	struct telling telling = {lu, t->op->service == ISCSI_PR_PREEMPT_ABORT};
	const struct iscsi_pr_ops ops = {tell, &telling};
	struct iscsi_pr_nexus me, to;
	struct iscsi_pr_request req;
	enum iscsi_pr_result result;

	if (t->step)
		return wait_out(t);
	nexus_of(t->conn, &me);
	result = take_request(t, &req, &to, &me);
	if (result == ISCSI_PR_OK) {
		pthread_mutex_lock(&lu->lock);
		result = iscsi_pr_do(&lu->pr, &me, &req, &ops);
		atomic_store(&lu->reserved, lu->reserved_by || lu->pr.n > 0);
		if (result == ISCSI_PR_OK)
			t->blocks = iscsi_keep(t->conn->srv, lu);
		pthread_mutex_unlock(&lu->lock);
	}
	finish_out(t, result);
	t->step = 1;
	return t->failed ? SCSI_DONE : wait_out(t);
}

static size_t read_keys(const struct iscsi_pr *pr, uint8_t *b)
{
	for (unsigned i = 0; i < pr->n; i++)
		vs_put_be64(b + 8 * (size_t)i, pr->r[i].key);
	return 8 * (size_t)pr->n;
}

static size_t read_reservation(const struct iscsi_pr *pr, uint8_t *b)
{
	bool any = pr->type == ISCSI_PR_WRITE_ANY || pr->type == ISCSI_PR_ALL_ANY;

	if (!pr->type)
		return 0;
	memset(b, 0, 16);
	vs_put_be64(b, any ? 0 : pr->r[pr->holder].key);
	b[13] = pr->type;
	return 16;
}

static size_t full_status(const struct iscsi_pr *pr, uint8_t *b)
{
	size_t len = 0;

	for (unsigned i = 0; i < pr->n; i++) {
		const struct iscsi_pr_registrant *r = &pr->r[i];
		uint8_t *d = b + len;
		size_t id;

		memset(d, 0, STATUS_DESCRIPTOR);
		vs_put_be64(d, r->key);
		d[12] = iscsi_pr_holds(pr, i); /* R_HOLDER */
		d[13] = d[12] ? pr->type : 0;
		vs_put_be16(d + 18, r->nexus.tag);
		id = iscsi_pr_id_encode(r->nexus.port, d + STATUS_DESCRIPTOR);
		vs_put_be32(d + 20, (uint32_t)id);
		len += STATUS_DESCRIPTOR + id;
	}
	return len;
}

static size_t (*const readers[])(const struct iscsi_pr *pr, uint8_t *b) = {
    [0] = read_keys, [1] = read_reservation, [3] = full_status};

enum scsi_result scsi_pr_in(struct iscsi_task *t)
{
	struct iscsi_lu *lu = t->lun->lu;
	uint8_t *b = t->own.buf;
	size_t len;

	_Static_assert(8 + ISCSI_PR_MAX * (STATUS_DESCRIPTOR + ISCSI_PR_ID_MAX) <= ISCSI_OWN_BUF,
		       "the longest answer fits a slot's buffer");
	pthread_mutex_lock(&lu->lock);
	vs_put_be32(b, lu->pr.generation);
	len = readers[t->op->service](&lu->pr, b + 8);
	pthread_mutex_unlock(&lu->lock);
	vs_put_be32(b + 4, (uint32_t)len);
	return scsi_reply(t, 8 + len, vs_get_be16(t->cdb + 7));
}

enum scsi_result scsi_pr_capabilities(struct iscsi_task *t)
{
	struct iscsi_lu *lu = t->lun->lu;
	uint8_t *b = t->own.buf;

	memset(b, 0, 8);
	b[1] = 8;
	b[2] = 0x0c | (iscsi_keep_can(t->conn->srv) ? 0x01 : 0); /* SIP_C, ATP_C, PTPL_C */
	b[3] = 0x80;						 /* TMV */
	b[4] = 0xea;						 /* all types */
	b[5] = 0x01;
	pthread_mutex_lock(&lu->lock);
	b[3] |= lu->pr.aptpl; /* PTPL_A */
	pthread_mutex_unlock(&lu->lock);
	return scsi_reply(t, 8, vs_get_be16(t->cdb + 7));
}
