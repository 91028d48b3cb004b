#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "common/log.h"

#include <sys/epoll.h>

#define LOGIN_PDUS 64 /* the longest that initiators need are of some ten */

static void respond(struct iscsi_conn *c, struct iscsi_msg *m, bool transit, uint8_t nsg,
		    uint16_t tsih, uint16_t status)
{
	iscsi_login_response_encode(m->bhs, &c->login_req, c->login_itt, transit, nsg, tsih,
				    status);
	if (status != ISCSI_LOGIN_OK) {
		m->len = iscsi_login_moved(status) ? m->len : 0;
		c->tx.close_after = true;
	}
	iscsi_conn_send_msg(c, m);
}

static struct iscsi_throttle_who who(const struct iscsi_conn *c)
{
	return iscsi_throttle_who(c->srv->throttle, c->peer_key, c->login.initiator,
				  c->login.target);
}

/* Refused for who asked, not for how. */
static const struct {
	enum iscsi_login_status status;
	const char *reason;
} failures[] = {
    {ISCSI_LOGIN_AUTH_FAILED, "it did not authenticate"},
    {ISCSI_LOGIN_FORBIDDEN, "the target is not for it"},
    {ISCSI_LOGIN_NOT_FOUND, "there is no such target"},
};

static void count_failure(struct iscsi_conn *c, uint16_t status)
{
	struct iscsi_login_failure f = {
	    .target = c->login.target, .initiator = c->login.initiator, .address = c->peer};
	struct iscsi_throttle_who w = who(c);

	for (size_t i = 0; i < VS_ARRAY_LEN(failures); i++)
		if (failures[i].status == status)
			f.reason = failures[i].reason;
	if (!f.reason)
		return;
	f.failures = iscsi_throttle_failed(c->srv->throttle, &w, vs_now_ns());
	if (f.failures && c->srv->login_failed)
		c->srv->login_failed(c->srv->login_failed_arg, &f);
}

static void refuse(struct iscsi_conn *c, struct iscsi_msg *m, uint16_t status)
{
	count_failure(c, status);
	if (iscsi_conn_may_log(c->srv))
		vs_info("iscsi: %s: login of '%s' to '%s' refused (%04x)", c->peer,
			c->login.initiator, c->login.target, status);
	respond(c, m, false, 0, 0, status);
	iscsi_rx_pause(c);
}

enum iscsi_header iscsi_handshake_header(struct iscsi_conn *c, const struct iscsi_bhs *bhs)
{
	struct iscsi_rx *rx = &c->rx;

	if (bhs->opcode != ISCSI_OP_LOGIN_REQUEST) {
		iscsi_conn_close(c, "sends something else than a login request");
		return ISCSI_HEADER_CLOSED;
	}
	if (++c->login_pdus > LOGIN_PDUS) {
		iscsi_conn_close(c, "login does not end");
		return ISCSI_HEADER_CLOSED;
	}
	if (bhs->data_len > ISCSI_MSG_DATA - c->text_len) {
		iscsi_conn_close(c, "login text is too long");
		return ISCSI_HEADER_CLOSED;
	}
	rx->msg = iscsi_conn_msg(c);
	if (!rx->msg)
		return ISCSI_HEADER_PAUSE;
	rx->dst = (uint8_t *)c->text + c->text_len;
	rx->dst_left = bhs->data_len;
	return ISCSI_HEADER_OK;
}

static void attach(struct iscsi_conn *c, struct iscsi_msg *m)
{
	iscsi_rx_pause(c);
	if (c->state == ISCSI_CONN_DEAD)
		return;
	c->state = ISCSI_CONN_ATTACHING;
	c->login_msg = m;
	iscsi_control_tell(c, ISCSI_TELL_ATTACH);
}

static void answer(struct iscsi_conn *c, struct iscsi_msg *m, const struct iscsi_login_verdict *v)
{
	if (v->status != ISCSI_LOGIN_OK)
		refuse(c, m, v->status);
	else if (v->transit && v->nsg == ISCSI_STAGE_FULL)
		attach(c, m);
	else
		respond(c, m, v->transit, v->nsg, c->login_req.tsih, ISCSI_LOGIN_OK);
}

/* The first request of a login names who wants in where: from here on it may have to wait, and so
   may its challenge, without which no secret can be tried. */
static bool has_turn(struct iscsi_conn *c, struct iscsi_msg *m, const struct iscsi_login_verdict *v)
{
	struct iscsi_throttle_who w = who(c);
	uint64_t wait_ns;

	c->gated = true;
	if (!iscsi_throttle_enter(c->srv->throttle, &w, vs_now_ns(), &wait_ns)) {
		refuse(c, m, ISCSI_LOGIN_UNAVAILABLE);
		return false;
	}
	if (!wait_ns)
		return true;
	c->in_line = true;
	c->login_msg = m;
	c->verdict = *v;
	iscsi_rx_pause(c);
	if (c->state != ISCSI_CONN_DEAD && vs_loop_timer(c->thread->loop, &c->timer, wait_ns) < 0)
		iscsi_conn_close(c, "no timer");
	return false;
}

void iscsi_handshake_turn(struct iscsi_conn *c)
{
	c->in_line = false;
	answer(c, c->login_msg, &c->verdict);
	iscsi_conn_dirty(c); /* it is read from again */
}

void iscsi_handshake_pdu(struct iscsi_conn *c, const struct iscsi_bhs *bhs)
{
	struct iscsi_msg *m = c->rx.msg;
	struct iscsi_text_out out = {.buf = (char *)m->data, .size = ISCSI_MSG_DATA};
	struct iscsi_login_verdict v;
	uint32_t len;

	iscsi_login_request_decode(bhs, &c->login_req);
	c->login_itt = bhs->itt;
	c->text_len += bhs->data_len;
	if (!c->login.begun) {
		c->exp_cmd_sn = bhs->cmd_sn;
		c->stat_sn = bhs->exp_stat_sn;
	}
	if (c->login_req.cont) {
		if (c->login_req.transit)
			refuse(c, m, ISCSI_LOGIN_INITIATOR_ERROR);
		else
			respond(c, m, false, 0, c->login_req.tsih, ISCSI_LOGIN_OK);
		return;
	}
	len = c->text_len;
	c->text_len = 0;
	c->text[len] = '\0';
	iscsi_login_step(&c->login, &c->login_req, c->text, len, &out, &v);
	m->len = (uint32_t)out.len;
	if (v.status == ISCSI_LOGIN_INITIATOR_ERROR || c->login.discovery || c->gated ||
	    has_turn(c, m, &v))
		answer(c, m, &v);
}

/* The control thread registered the session, or says why not. */
void iscsi_handshake_attached(struct iscsi_conn *c)
{
	struct iscsi_msg *m = c->login_msg;
	enum iscsi_login_status status = c->attach_status;

	c->map = c->attach_map;
	c->ctl_wait = false;
	if (c->state == ISCSI_CONN_DEAD) {
		iscsi_conn_dirty(c);
		return;
	}
	if (status == ISCSI_LOGIN_OK && !c->login.discovery && iscsi_conn_open_pools(c) < 0)
		status = ISCSI_LOGIN_NO_RESOURCES;
	if (status != ISCSI_LOGIN_OK) {
		c->state = ISCSI_CONN_LOGIN;
		refuse(c, m, status);
		return;
	}
	if (!c->login.discovery) {
		struct iscsi_throttle_who w = who(c);

		iscsi_throttle_passed(c->srv->throttle, &w);
	}
	c->params = c->login.params;
	c->params.first_burst = VS_MIN(c->params.first_burst, c->params.max_burst);
	iscsi_login_wipe(&c->login);
	c->state = ISCSI_CONN_FULL;
	respond(c, m, true, ISCSI_STAGE_FULL, c->tsih, ISCSI_LOGIN_OK);
	iscsi_conn_dirty(c);
	iscsi_tmf_remote_abort(c); /* what came before the map was ours */
	vs_debug("iscsi: %s: %s logged in to '%s'", c->peer, c->login.initiator, c->login.target);
}
