#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "common/log.h"

#include <stdio.h>

#define ADDRESS_MAX 80

/* From elsewhere nobody reaches a loopback or, as one link may be another's, a link-local address.
 */
static bool reachable(const struct iscsi_portal_state *p, const struct iscsi_conn *c)
{
	bool loopback = strncmp(p->address, "127.", 4) == 0 || strcmp(p->address, "::1") == 0;
	bool came_by_loopback =
	    strncmp(c->local, "127.", 4) == 0 || strncmp(c->local, "[::1]", 5) == 0;

	return (!loopback || came_by_loopback) && strncasecmp(p->address, "fe80:", 5) != 0;
}

/* A portal's address as this initiator has to name it; false when it cannot. */
static bool portal_text(const struct iscsi_portal_state *p, const struct iscsi_conn *c,
			char text[ADDRESS_MAX])
{
	bool v6 = strchr(p->address, ':') != NULL;
	const char *port = strrchr(c->local, ':');

	if (!p->any) {
		snprintf(text, ADDRESS_MAX, v6 ? "[%s]:%u,%u" : "%s:%u,%u", p->address, p->port,
			 p->tag);
		return reachable(p, c);
	}
	if (!port || v6 != (c->local[0] == '[')) /* none of its addresses is known */
		return false;
	snprintf(text, ADDRESS_MAX, "%.*s:%u,%u", (int)(port - c->local), c->local, p->port,
		 p->tag);
	return true;
}

/* All portals of the target's groups, the one that the initiator came in by first. */
static void add_addresses(const struct iscsi_conn *c, const struct iscsi_target *t,
			  struct iscsi_text_out *out)
{
	uint16_t group = t->cfg.portal_group;
	char here[ADDRESS_MAX], text[ADDRESS_MAX];

	snprintf(here, sizeof(here), "%s,%u", c->local, c->portal->tag);
	if (!group || group == c->portal->tag)
		iscsi_text_add(out, "TargetAddress", "%s", here);
	for (size_t i = 0; i < c->srv->nportals; i++) {
		const struct iscsi_portal_state *p = &c->srv->portals[i];

		if ((!group || p->tag == group) && portal_text(p, c, text) &&
		    strcmp(text, here) != 0)
			iscsi_text_add(out, "TargetAddress", "%s", text);
	}
}

/* SendTargets (RFC 7143, appendix C): All, a name, or nothing for the session's own target. */
static int send_targets(struct iscsi_conn *c, const char *which, struct iscsi_text_out *out)
{
	bool all = strcmp(which, "All") == 0;

	if (all && !c->login.discovery)
		return VS_E_PROTO;
	if (!*which) {
		if (c->login.discovery)
			return VS_E_PROTO;
		which = c->login.target;
	}
	pthread_mutex_lock(&c->srv->lock);
	for (struct iscsi_target *t = c->srv->targets; t; t = t->next) {
		if ((!all && strcmp(which, t->cfg.iqn) != 0) ||
		    !iscsi_target_allows(t, c->login.initiator, 0))
			continue;
		iscsi_text_add(out, "TargetName", "%s", t->cfg.iqn);
		add_addresses(c, t, out);
	}
	pthread_mutex_unlock(&c->srv->lock);
	if (out->overflow && iscsi_conn_may_log(c->srv))
		vs_warn("iscsi: %s: more targets than one answer holds; the last are left out",
			c->peer);
	return 0;
}

static void reject(struct iscsi_conn *c, struct iscsi_msg *m)
{
	c->text_len = 0;
	c->answer_len = c->answer_at = 0;
	c->text_ttt = ISCSI_NO_TAG;
	iscsi_conn_put_msg(c, m);
	iscsi_session_reject(c, ISCSI_REJECT_PROTOCOL);
}

/* The next part of the answer; what does not fit goes with the initiator's next empty request. */
static void send_part(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_msg *m)
{
	uint32_t left = c->answer_len - c->answer_at;
	uint32_t n = VS_MIN(VS_MIN(left, c->params.send_dsl), ISCSI_MSG_DATA);
	bool more = n < left, final = !more && bhs->final;

	memcpy(m->data, c->answer + c->answer_at, n);
	m->len = n;
	c->answer_at += n;
	if (final)
		c->text_ttt = ISCSI_NO_TAG;
	else if (c->text_ttt == ISCSI_NO_TAG)
		c->text_ttt = c->next_ttt++ & 0x7fffffff;
	iscsi_text_response_encode(m->bhs, bhs->itt, c->text_ttt, final, more);
	iscsi_conn_send_msg(c, m);
}

static int answer(struct iscsi_conn *c, struct iscsi_text_out *out)
{
	struct iscsi_text_cursor cur;
	char *key, *value;
	int more, rc = 0;

	iscsi_text_start(&cur, c->text, c->text_len);
	while (rc == 0 && (more = iscsi_text_next(&cur, &key, &value)) != 0) {
		if (more < 0)
			return more;
		if (strcmp(key, "SendTargets") == 0)
			rc = send_targets(c, value, out);
		else
			rc = iscsi_negotiate(&c->params, ISCSI_PHASE_FULL, c->login.discovery, key,
					     value, out);
	}
	return rc;
}

void iscsi_text_request(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_msg *m)
{
	struct iscsi_text_out out = {.buf = c->answer, .size = ISCSI_ANSWER_MAX};

	if (bhs->ttt != ISCSI_NO_TAG && bhs->ttt == c->text_ttt && c->answer_at < c->answer_len) {
		send_part(c, bhs, m);
		return;
	}
	if (bhs->data_len > ISCSI_MSG_DATA - c->text_len ||
	    (bhs->ttt != ISCSI_NO_TAG && bhs->ttt != c->text_ttt)) {
		reject(c, m);
		return;
	}
	memcpy(c->text + c->text_len, m->data, bhs->data_len);
	c->text_len += bhs->data_len;
	c->answer_len = c->answer_at = 0;
	if (bhs->flags & ISCSI_TEXT_CONTINUE) {
		if (c->text_ttt == ISCSI_NO_TAG)
			c->text_ttt = c->next_ttt++ & 0x7fffffff;
		iscsi_text_response_encode(m->bhs, bhs->itt, c->text_ttt, false, false);
		m->len = 0;
		iscsi_conn_send_msg(c, m);
		return;
	}
	c->text_ttt = ISCSI_NO_TAG;
	if (answer(c, &out) < 0) {
		reject(c, m);
		return;
	}
	c->text_len = 0;
	c->answer_len = (uint32_t)out.len;
	send_part(c, bhs, m);
}
