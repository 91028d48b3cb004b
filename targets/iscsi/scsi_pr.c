/* PERSISTENT RESERVE IN and OUT (SPC-4, 6.15 and 6.16). */
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"
#include "common/text.h"

#include <stdio.h>

#define LIST_LEN 24
#define SPEC_I_PT 0x08
#define ALL_TG_PT 0x04
#define APTPL 0x01
#define STATUS_DESCRIPTOR 24
#define TRANSPORT_ID_MAX VS_ALIGN_UP(4 + ISCSI_PR_PORT, 4)

static void nexus_of(const struct iscsi_conn *c, struct iscsi_pr_nexus *n)
{
	char isid[13];

	memset(n, 0, sizeof(*n));
	vs_format_hex(c->login.isid, sizeof(c->login.isid), isid);
	snprintf(n->port, sizeof(n->port), "%s,i,0x%s", c->login.initiator, isid);
	n->tag = c->portal->tag;
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
		if (n.tag != who->tag || strcmp(n.port, who->port) != 0)
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
	bool typed = action == ISCSI_PR_RESERVE || action == ISCSI_PR_RELEASE ||
		     action == ISCSI_PR_PREEMPT || action == ISCSI_PR_PREEMPT_ABORT;

	if (typed && (scope || !iscsi_pr_type_ok(type)))
		(void)scsi_bad_cdb(t);
	else if (vs_get_be32(t->cdb + 5) != LIST_LEN)
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_PARAMETER_LIST_LENGTH_ERROR);
	else
		t->dlen = LIST_LEN;
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

enum scsi_result scsi_pr_out(struct iscsi_task *t)
{
	const uint8_t *b = t->own.buf;
	struct iscsi_lu *lu = t->lun->lu;
	struct iscsi_pr_request req = {.action = t->cdb[1] & 0x1f,
				       .type = t->cdb[2] & 0x0f,
				       .key = vs_get_be64(b),
				       .sa_key = vs_get_be64(b + 8)};
	struct telling telling = {lu, req.action == ISCSI_PR_PREEMPT_ABORT};
	const struct iscsi_pr_ops ops = {tell, &telling};
	enum iscsi_pr_result result;
	struct iscsi_pr_nexus me;

	if (b[20] & (SPEC_I_PT | ALL_TG_PT | APTPL))
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_FIELD_IN_LIST);
	nexus_of(t->conn, &me);
	pthread_mutex_lock(&lu->lock);
	result = iscsi_pr_do(&lu->pr, &me, &req, &ops);
	atomic_store(&lu->reserved, lu->reserved_by || lu->pr.n > 0);
	pthread_mutex_unlock(&lu->lock);
	finish_out(t, result);
	return SCSI_DONE;
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
		size_t id = VS_ALIGN_UP(strlen(r->nexus.port) + 1, 4);
		uint8_t *d = b + len;

		memset(d, 0, STATUS_DESCRIPTOR + 4 + id);
		vs_put_be64(d, r->key);
		d[12] = iscsi_pr_holds(pr, i); /* R_HOLDER */
		d[13] = d[12] ? pr->type : 0;
		vs_put_be16(d + 18, r->nexus.tag);
		vs_put_be32(d + 20, (uint32_t)(4 + id));
		d[24] = 0x45; /* TransportID of an iSCSI initiator port with its ISID */
		vs_put_be16(d + 26, (uint16_t)id);
		memcpy(d + 28, r->nexus.port, strlen(r->nexus.port));
		len += STATUS_DESCRIPTOR + 4 + id;
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

	_Static_assert(8 + ISCSI_PR_MAX * (STATUS_DESCRIPTOR + TRANSPORT_ID_MAX) <= ISCSI_OWN_BUF,
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
	static const uint8_t capabilities[8] = {0, 8, 0, 0x80 /* TMV */, 0xea, 0x01 /* all types */,
						0, 0};

	memcpy(t->own.buf, capabilities, sizeof(capabilities));
	return scsi_reply(t, sizeof(capabilities), vs_get_be16(t->cdb + 7));
}
