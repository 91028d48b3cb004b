/* The control thread's work on the registry of connections. See internal.h for who owns what. */
#include "targets/iscsi/control.h"

#include "common/bytes.h"
#include "common/log.h"
#include "common/text.h"
#include "targets/iscsi/listener.h"

#include <stdlib.h>

void iscsi_control_want(struct iscsi_conn *c, unsigned bits)
{
	if (atomic_fetch_or(&c->want, bits) == 0)
		vs_loop_post(c->thread->loop, &c->to_io);
}

void iscsi_control_tell(struct iscsi_conn *c, unsigned bits)
{
	if (atomic_fetch_or(&c->tell, bits) == 0)
		vs_loop_post(c->srv->loop, &c->to_ctl);
}

void iscsi_control_add(struct iscsi_conn *c)
{
	struct iscsi_server *srv = c->srv;

	c->ctl_next = srv->conns;
	srv->conns = c;
	srv->nconns++;
	atomic_fetch_add(&c->thread->load, 1);
	iscsi_control_want(c, ISCSI_WANT_START);
}

void iscsi_control_close(struct iscsi_conn *c)
{
	if (c->ctl_closing)
		return;
	c->ctl_closing = true;
	iscsi_control_want(c, ISCSI_WANT_CLOSE);
}

static void attach_result(struct iscsi_conn *c, enum iscsi_login_status status)
{
	c->ctl_attaching = false;
	c->attach_status = status;
	iscsi_control_want(c, ISCSI_WANT_ATTACHED);
}

/* The session that this login takes the place of (RFC 7143, 6.3.5). */
static struct iscsi_conn *same_nexus(struct iscsi_server *srv, const struct iscsi_conn *c)
{
	for (struct iscsi_conn *o = srv->conns; o; o = o->ctl_next)
		if (o != c && o->ctl_attached && !o->ctl_closed && !o->login.discovery &&
		    strcmp(o->login.initiator, c->login.initiator) == 0 &&
		    strcmp(o->login.target, c->login.target) == 0 &&
		    memcmp(o->login.isid, c->login.isid, sizeof(c->login.isid)) == 0)
			return o;
	return NULL;
}

static struct iscsi_conn *with_tsih(struct iscsi_server *srv, uint16_t tsih)
{
	struct iscsi_conn *c = srv->conns;

	while (c && !(c->ctl_attached && c->tsih == tsih))
		c = c->ctl_next;
	return c;
}

static uint16_t new_tsih(struct iscsi_server *srv)
{
	do {
		srv->last_tsih++;
	} while (!srv->last_tsih || with_tsih(srv, srv->last_tsih));
	return srv->last_tsih;
}

static void attached(struct iscsi_conn *c)
{
	c->tsih = new_tsih(c->srv);
	c->since_ns = vs_unix_ns();
	c->ctl_attached = true;
	attach_result(c, ISCSI_LOGIN_OK);
}

/* The target may be another than the one that the login began with. */
static enum iscsi_login_status check_target(const struct iscsi_conn *c,
					    const struct iscsi_target *t)
{
	if (!t || !iscsi_target_allows(t, c->login.initiator, c->portal->tag))
		return ISCSI_LOGIN_NOT_FOUND;
	if (t->cfg.chap_user && !c->login.authenticated)
		return ISCSI_LOGIN_AUTH_FAILED;
	/* where to, the next login is told */
	return t->cfg.redirect ? ISCSI_LOGIN_UNAVAILABLE : ISCSI_LOGIN_OK;
}

static void attach(struct iscsi_conn *c)
{
	enum iscsi_login_status status;
	struct iscsi_server *srv = c->srv;
	struct iscsi_conn *old;
	struct iscsi_target *t;

	if (srv->stopping || c->ctl_closing || c->ctl_closed) {
		attach_result(c, ISCSI_LOGIN_UNAVAILABLE);
		return;
	}
	if (c->login.tsih) { /* a second connection of a session: MaxConnections is 1 */
		old = same_nexus(srv, c);
		attach_result(c, old && old->tsih == c->login.tsih ? ISCSI_LOGIN_TOO_MANY
								   : ISCSI_LOGIN_NO_SESSION);
		return;
	}
	if (c->login.discovery) {
		attached(c);
		return;
	}
	old = same_nexus(srv, c);
	if (old) { /* goes on when that one is gone */
		iscsi_control_close(old);
		return;
	}
	t = iscsi_target_find(srv, c->login.target);
	status = check_target(c, t);
	if (status != ISCSI_LOGIN_OK) {
		iscsi_target_put(t);
		attach_result(c, status);
		return;
	}
	c->attach_map = iscsi_lu_map_new(c, t);
	if (!c->attach_map) {
		iscsi_target_put(t);
		attach_result(c, ISCSI_LOGIN_NO_RESOURCES);
		return;
	}
	c->ctl_map = c->attach_map;
	c->ctl_target = t;
	for (unsigned i = 0; i < c->ctl_map->n; i++)
		atomic_store(&c->ctl_map->luns[i].ua, ISCSI_UA_POWER_ON);
	attached(c);
}

static void retry_attaching(struct iscsi_server *srv)
{
	for (struct iscsi_conn *o = srv->conns; o; o = o->ctl_next)
		if (o->ctl_attaching)
			attach(o);
}

static void closed(struct iscsi_conn *c)
{
	c->ctl_closed = true;
	retry_attaching(c->srv);
}

static void gone(struct iscsi_conn *c)
{
	struct iscsi_server *srv = c->srv;
	struct iscsi_conn **p = &srv->conns;

	while (*p != c) {
		VS_ASSERT(*p);
		p = &(*p)->ctl_next;
	}
	*p = c->ctl_next;
	srv->nconns--;
	atomic_fetch_sub(&c->thread->load, 1);
	iscsi_target_put(c->ctl_target);
	iscsi_control_want(c, ISCSI_WANT_FREE);
	retry_attaching(srv);
	iscsi_control_retry_waiting(srv);
	iscsi_listener_resume(srv);
}

/* One session resets the target cold: the others end as well (RFC 7143, 11.5.1). */
static void cold_reset(struct iscsi_conn *c)
{
	for (struct iscsi_conn *o = c->srv->conns; o; o = o->ctl_next)
		if (o != c && o->ctl_attached && o->ctl_target == c->ctl_target)
			iscsi_control_close(o);
}

void iscsi_control_told(struct vs_post *p)
{
	struct iscsi_conn *c = p->arg;
	unsigned bits = atomic_exchange(&c->tell, 0);

	if (bits & ISCSI_TELL_ATTACH) {
		c->ctl_attaching = true;
		attach(c);
	}
	if (bits & ISCSI_TELL_COLD_RESET && c->ctl_target)
		cold_reset(c);
	if (bits & ISCSI_TELL_CLOSED)
		closed(c);
	if (bits & ISCSI_TELL_GONE)
		c->ctl_gone = true;
	if (c->ctl_gone && !c->maps) /* what it told may overtake the release of a map */
		gone(c);
}

void iscsi_control_map_released(struct iscsi_conn *c)
{
	if (--c->maps == 0 && c->ctl_gone)
		gone(c);
}

/* What the initiator has not been told yet stays to be told; what changed for it is new. */
static void inherit(struct iscsi_lun_map *map, const struct iscsi_lun_map *from)
{
	unsigned changed = iscsi_lu_map_same(map, from, false) ? 0 : ISCSI_UA_LUNS;

	for (unsigned i = 0; i < map->n; i++) {
		struct iscsi_lun *l = &map->luns[i];
		unsigned ua = ISCSI_UA_POWER_ON;

		for (unsigned k = 0; k < from->n; k++) {
			const struct iscsi_lun *o = &from->luns[k];

			if (o->lu != l->lu || o->lun != l->lun)
				continue;
			ua = atomic_load(&o->ua);
			iscsi_lu_inherit(l, o);
			if (o->read_only != l->read_only) /* WP of the mode parameter header */
				ua |= ISCSI_UA_MODE;
		}
		atomic_store(&l->ua, ua | changed);
	}
}

static void give_map(struct iscsi_conn *c, struct iscsi_lun_map *map)
{
	struct iscsi_lun_map *unseen;

	if (iscsi_lu_map_same(map, c->ctl_map, true)) {
		iscsi_lu_map_put(map);
		return;
	}
	inherit(map, c->ctl_map);
	c->ctl_map = map;
	unseen = atomic_exchange(&c->new_map, map);
	if (unseen)
		iscsi_lu_map_put(unseen);
	iscsi_control_want(c, ISCSI_WANT_MAP);
}

/* Gives each session of the target its new LUNs, or ends it. */
void iscsi_control_retarget(struct iscsi_server *srv, struct iscsi_target *old,
			    struct iscsi_target *t)
{
	for (struct iscsi_conn *c = srv->conns; c; c = c->ctl_next) {
		struct iscsi_lun_map *map;

		if (!c->ctl_map || c->ctl_target != old || c->ctl_closing)
			continue;
		map = iscsi_target_allows(t, c->login.initiator, c->portal->tag)
			  ? iscsi_lu_map_new(c, t)
			  : NULL;
		if (!map) {
			iscsi_control_close(c);
			continue;
		}
		iscsi_target_put(c->ctl_target);
		atomic_fetch_add(&t->refs, 1);
		c->ctl_target = t;
		give_map(c, map);
	}
}

void iscsi_control_ask_logout(struct iscsi_server *srv, const struct iscsi_target *t)
{
	for (struct iscsi_conn *c = srv->conns; c; c = c->ctl_next)
		if (c->ctl_attached && c->ctl_target == t)
			iscsi_control_want(c, ISCSI_WANT_LOGOUT);
}

static void drop_rest(struct vs_timer *timer)
{
	struct iscsi_server *srv = timer->arg;

	for (struct iscsi_conn *c = srv->conns; c; c = c->ctl_next) {
		if (c->ctl_closing)
			continue;
		c->ctl_closing = true;
		iscsi_control_want(c, ISCSI_WANT_DROP);
	}
}

void iscsi_control_begin_stop(struct iscsi_server *srv)
{
	srv->stop_timer = (struct vs_timer){.fired = drop_rest, .arg = srv};
	for (struct iscsi_conn *c = srv->conns; c; c = c->ctl_next) {
		if (c->ctl_attaching)
			attach_result(c, ISCSI_LOGIN_UNAVAILABLE);
		if (c->ctl_attached && !c->login.discovery)
			iscsi_control_want(c, ISCSI_WANT_LOGOUT);
		else
			iscsi_control_close(c);
	}
	if (vs_loop_timer(srv->loop, &srv->stop_timer,
			  ISCSI_LOGOUT_SECONDS * UINT64_C(1000000000)) < 0)
		drop_rest(&srv->stop_timer);
}
