#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "targets/iscsi/scsi_format.h"

/* What the full feature phase does with each opcode. */
struct handler {
	/* Decides where data goes. NULL: a reply's buffer takes up to ISCSI_MSG_DATA bytes. */
	enum iscsi_header (*header)(struct iscsi_conn *c, const struct iscsi_bhs *bhs);
	/* All of the PDU is here; m is NULL where header is set. Owns m. */
	void (*pdu)(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_msg *m);
};

static void reject(struct iscsi_conn *c, struct iscsi_msg *m, uint8_t reason)
{
	iscsi_reject_encode(m->bhs, reason);
	memcpy(m->data, c->rx.hdr, ISCSI_BHS_LEN);
	m->len = ISCSI_BHS_LEN;
	iscsi_conn_send_msg(c, m);
}

/* Without a free reply there is nothing to say it with: rx made sure of one where it matters. */
void iscsi_session_reject(struct iscsi_conn *c, uint8_t reason)
{
	struct iscsi_msg *m = iscsi_conn_msg(c);

	if (m)
		reject(c, m, reason);
	else
		iscsi_conn_close(c, "sends too many PDUs that are wrong");
}

static void nop_out(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_msg *m)
{
	uint32_t len = VS_MIN(VS_MIN(bhs->data_len, ISCSI_MSG_DATA), c->params.send_dsl);

	if (bhs->ttt != ISCSI_NO_TAG)
		c->nop_out = false;
	if (bhs->itt == ISCSI_NO_TAG) {
		iscsi_conn_put_msg(c, m);
		return;
	}
	iscsi_nop_in_encode(m->bhs, bhs->lun, bhs->itt, ISCSI_NO_TAG);
	m->len = len;
	iscsi_conn_send_msg(c, m);
}

void iscsi_session_ping(struct iscsi_conn *c)
{
	struct iscsi_msg *m = iscsi_conn_msg(c);

	c->nop_out = true;
	if (!m)
		return; /* replies are stuck: the next tick ends the session */
	iscsi_nop_in_encode(m->bhs, 0, ISCSI_NO_TAG, 1);
	m->takes_stat_sn = false;
	iscsi_conn_send_msg(c, m);
}

/*
 * Commands that others' resets end get no answer, so nothing tells an initiator that had filled the
 * window that there is room again. A NOP-In without tags does (RFC 7143, 11.19).
 */
void iscsi_session_tell_window(struct iscsi_conn *c)
{
	bool shut = c->max_told + 1 == c->exp_cmd_sn && c->open_cmds < ISCSI_WINDOW;
	struct iscsi_msg *m =
	    shut && c->state == ISCSI_CONN_FULL && !c->tx.head ? iscsi_conn_msg(c) : NULL;

	if (!m)
		return;
	iscsi_nop_in_encode(m->bhs, 0, ISCSI_NO_TAG, ISCSI_NO_TAG);
	m->takes_stat_sn = false;
	iscsi_conn_send_msg(c, m);
}

static void async(struct iscsi_conn *c, enum iscsi_async event, uint16_t p2, uint16_t p3)
{
	struct iscsi_msg *m = c->state == ISCSI_CONN_FULL ? iscsi_conn_msg(c) : NULL;

	if (!m)
		return; /* it does not take what it is told */
	iscsi_async_encode(m->bhs, event, 0, p2, p3);
	iscsi_conn_send_msg(c, m);
}

void iscsi_session_ask_logout(struct iscsi_conn *c)
{
	if (!c->tx.close_after) /* it is on its way */
		async(c, ISCSI_ASYNC_LOGOUT, 0, ISCSI_LOGOUT_SECONDS);
}

void iscsi_session_drop(struct iscsi_conn *c)
{
	async(c, ISCSI_ASYNC_DROP, ISCSI_TIME2WAIT, 0);
	iscsi_tx_flush(c);
	iscsi_conn_close(c, NULL);
}

static void logout(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_msg *m)
{
	uint8_t reason = bhs->flags & 0x7f;
	uint8_t response = 0;

	if (reason == 2)
		response = 2; /* recovery is not supported */
	else if (reason == 1 && vs_get_be16(bhs->raw + 20) != c->login.cid)
		response = 1; /* CID not found */
	iscsi_logout_response_encode(m->bhs, bhs->itt, response);
	m->len = 0;
	if (response == 0) {
		iscsi_conn_unreserve(c); /* before the initiator learns that it is out */
		c->tx.close_after = true;
		iscsi_rx_pause(c);
	}
	iscsi_conn_send_msg(c, m);
}

static void text(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_msg *m)
{
	if (bhs->data_len > ISCSI_MSG_DATA)
		reject(c, m, ISCSI_REJECT_PROTOCOL);
	else
		iscsi_text_request(c, bhs, m);
}

static void task_request(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_msg *m)
{
	iscsi_conn_put_msg(c, m);
	iscsi_tmf_request(c, bhs);
}

static void snack(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_msg *m)
{
	(void)bhs;
	reject(c, m, ISCSI_REJECT_SNACK);
}

static void login_again(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_msg *m)
{
	(void)bhs;
	reject(c, m, ISCSI_REJECT_PROTOCOL);
}

static enum iscsi_header command_header(struct iscsi_conn *c, const struct iscsi_bhs *bhs)
{
	struct iscsi_rx *rx = &c->rx;

	if (bhs->data_len > c->params.first_burst) {
		iscsi_conn_close(c, "immediate data exceeds FirstBurstLength");
		return ISCSI_HEADER_CLOSED;
	}
	if (iscsi_task_find(c, bhs->itt) || bhs->itt == ISCSI_NO_TAG) {
		rx->refuse = ISCSI_REJECT_IN_PROGRESS;
		return ISCSI_HEADER_OK;
	}
	if (bhs->immediate && c->immediates >= ISCSI_IMMEDIATE_MAX) {
		rx->refuse = ISCSI_REJECT_IMMEDIATE;
		return ISCSI_HEADER_OK;
	}
	rx->task = iscsi_task_new(c, bhs);
	if (!rx->task)
		return ISCSI_HEADER_PAUSE;
	rx->dst = rx->task->own.buf;
	rx->dst_left = bhs->data_len;
	return ISCSI_HEADER_OK;
}

static const struct handler handlers[64] = {
    [ISCSI_OP_NOP_OUT] = {NULL, nop_out},
    [ISCSI_OP_SCSI_COMMAND] = {command_header, NULL},
    [ISCSI_OP_TASK_REQUEST] = {NULL, task_request},
    [ISCSI_OP_LOGIN_REQUEST] = {NULL, login_again},
    [ISCSI_OP_TEXT_REQUEST] = {NULL, text},
    [ISCSI_OP_DATA_OUT] = {iscsi_data_out_header, NULL},
    [ISCSI_OP_LOGOUT_REQUEST] = {NULL, logout},
    [ISCSI_OP_SNACK_REQUEST] = {NULL, snack},
};

/* What a discovery session may send (RFC 7143, 4.3). */
static bool discovery_allows(uint8_t opcode)
{
	return opcode == ISCSI_OP_TEXT_REQUEST || opcode == ISCSI_OP_LOGOUT_REQUEST ||
	       opcode == ISCSI_OP_NOP_OUT;
}

enum order { ORDER_OK, ORDER_OUTSIDE, ORDER_GAP };

static enum order command_order(const struct iscsi_conn *c, const struct iscsi_bhs *bhs)
{
	uint32_t room = ISCSI_WINDOW - VS_MIN(c->open_cmds, ISCSI_WINDOW);
	uint32_t ahead = bhs->cmd_sn - c->exp_cmd_sn;

	if (bhs->immediate || !iscsi_opcode_has_cmd_sn(bhs->opcode))
		return ORDER_OK;
	if (ahead >= room)
		return ORDER_OUTSIDE;
	return ahead ? ORDER_GAP : ORDER_OK;
}

/* RFC 7143, 4.2.2.2: nobody can acknowledge what was not sent. One more is let pass: libiscsi takes
   the StatSN of an R2T, which is that of the next status, for one that it received. */
static bool acknowledges_too_much(const struct iscsi_conn *c, const struct iscsi_bhs *bhs)
{
	uint32_t ahead = bhs->exp_stat_sn - c->stat_sn;

	return ahead > 1 && ahead < UINT32_C(1) << 31;
}

enum iscsi_header iscsi_session_header(struct iscsi_conn *c, const struct iscsi_bhs *bhs)
{
	const struct handler *h = &handlers[bhs->opcode];
	struct iscsi_rx *rx = &c->rx;
	enum iscsi_header verdict = ISCSI_HEADER_OK;

	rx->refuse = 0;
	if ((h->header || h->pdu) && acknowledges_too_much(c, bhs)) {
		iscsi_conn_close(c, "acknowledges replies that were not sent");
		return ISCSI_HEADER_CLOSED;
	}
	switch (command_order(c, bhs)) {
	case ORDER_OUTSIDE: /* silently ignored, RFC 7143 4.2.2.1 */
		rx->ignore = true;
		return ISCSI_HEADER_OK;
	case ORDER_GAP: /* one connection, in order: the gap can never be filled */
		iscsi_conn_close(c, "skips command numbers");
		return ISCSI_HEADER_CLOSED;
	case ORDER_OK:
		break;
	}
	if (!h->header && !h->pdu)
		rx->refuse = ISCSI_REJECT_NOT_SUPPORTED;
	else if (c->login.discovery && !discovery_allows(bhs->opcode))
		rx->refuse = ISCSI_REJECT_PROTOCOL;
	else if (h->header)
		verdict = h->header(c, bhs);
	if (!h->header || rx->refuse) {
		rx->msg = iscsi_conn_msg(c);
		if (!rx->msg)
			return ISCSI_HEADER_PAUSE;
		rx->dst = rx->msg->data;
		rx->dst_left = VS_MIN(bhs->data_len, ISCSI_MSG_DATA);
	}
	if (verdict == ISCSI_HEADER_OK && !bhs->immediate && iscsi_opcode_has_cmd_sn(bhs->opcode))
		c->exp_cmd_sn++;
	return verdict;
}

static void command_pdu(struct iscsi_conn *c, struct iscsi_task *t, bool digest_ok)
{
	atomic_fetch_add_explicit(&c->commands, 1, memory_order_relaxed);
	if (!digest_ok) {
		iscsi_session_reject(c, ISCSI_REJECT_DATA_DIGEST);
		iscsi_task_fail(t, SCSI_ABORTED_COMMAND, SCSI_PROTOCOL_SERVICE_CRC_ERROR);
	}
	iscsi_flow_start(t);
}

void iscsi_session_pdu(struct iscsi_conn *c, const struct iscsi_bhs *bhs, bool digest_ok)
{
	struct iscsi_rx *rx = &c->rx;
	struct iscsi_task *t = rx->task;
	struct iscsi_msg *m = rx->msg;

	rx->task = NULL;
	rx->msg = NULL;
	if (rx->ignore)
		return;
	if (rx->refuse)
		reject(c, m, rx->refuse);
	else if (bhs->opcode == ISCSI_OP_SCSI_COMMAND)
		command_pdu(c, t, digest_ok);
	else if (bhs->opcode == ISCSI_OP_DATA_OUT)
		iscsi_data_out_pdu(c, bhs, t, digest_ok);
	else if (!digest_ok)
		reject(c, m, ISCSI_REJECT_DATA_DIGEST);
	else
		handlers[bhs->opcode].pdu(c, bhs, m);
}
