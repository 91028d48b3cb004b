/* What is asked of a running server: targets set and removed, sessions listed. */
#include "targets/iscsi/server.h"

#include "targets/iscsi/control.h"

#include <stdio.h>
#include <string.h>

static bool same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

/* RFC 7143, 9.2.1: no secret of an initiator may be one of any target, or answers can be reflected.
   The configuration that cfg replaces does not count. */
static int check_secrets(const struct iscsi_server *srv, const struct iscsi_target_config *cfg,
			 struct vs_error *err)
{
	for (const struct iscsi_target *t = srv->targets; t; t = t->next)
		if (strcmp(t->cfg.iqn, cfg->iqn) != 0 &&
		    (same(t->cfg.chap_secret, cfg->mutual_secret) ||
		     same(t->cfg.mutual_secret, cfg->chap_secret)))
			return vs_fail(err, VS_E_INVAL,
				       "target %s: what initiators prove to one target must not be "
				       "what a target proves to them; %s has that secret",
				       cfg->iqn, t->cfg.iqn);
	return 0;
}

static bool run_set(struct iscsi_ctl_call *call)
{
	const struct iscsi_target_config *cfg = call->arg;
	struct iscsi_server *srv = call->srv;
	struct iscsi_target *t, *old, **p;

	call->rc = check_secrets(srv, cfg, call->err);
	if (call->rc < 0)
		return true;
	call->rc = iscsi_target_new(srv, cfg, &t, call->err);
	if (call->rc < 0)
		return true;
	pthread_mutex_lock(&srv->lock);
	p = &srv->targets;
	while (*p && strcmp((*p)->cfg.iqn, cfg->iqn) != 0)
		p = &(*p)->next;
	old = *p;
	t->next = old ? old->next : NULL;
	*p = t;
	pthread_mutex_unlock(&srv->lock);
	if (!old)
		return true;
	iscsi_control_retarget(srv, old, t);
	if (t->cfg.redirect)
		iscsi_control_ask_logout(srv, t);
	iscsi_target_drop_lus(srv, old);
	iscsi_target_put(old);
	return true;
}

int iscsi_server_set_target(struct iscsi_server *srv, const struct iscsi_target_config *cfg,
			    struct vs_error *err)
{
	struct iscsi_ctl_call call = {.srv = srv, .run = run_set, .arg = (void *)cfg, .err = err};

	return iscsi_control_call(&call);
}

static bool in_use(const struct iscsi_server *srv, const char *iqn)
{
	for (const struct iscsi_conn *c = srv->conns; c; c = c->ctl_next)
		if (c->ctl_attached && strcmp(c->login.target, iqn) == 0)
			return true;
	return false;
}

static struct iscsi_target *unlink_target(struct iscsi_server *srv, const char *iqn)
{
	struct iscsi_target *t, **p;

	pthread_mutex_lock(&srv->lock);
	p = &srv->targets;
	while (*p && strcmp((*p)->cfg.iqn, iqn) != 0)
		p = &(*p)->next;
	t = *p;
	if (t)
		*p = t->next;
	pthread_mutex_unlock(&srv->lock);
	return t;
}

static bool run_remove(struct iscsi_ctl_call *call)
{
	struct iscsi_server *srv = call->srv;
	struct iscsi_target *t;

	if (call->rc == 0) /* removed before, waits for sessions */
		return !in_use(srv, call->arg);
	t = unlink_target(srv, call->arg);
	if (!t)
		return true;
	call->rc = 0;
	for (struct iscsi_conn *c = srv->conns; c; c = c->ctl_next)
		if (c->ctl_attached && c->ctl_target == t)
			iscsi_control_close(c);
	iscsi_target_drop_lus(srv, t);
	iscsi_target_put(t);
	return !in_use(srv, call->arg);
}

int iscsi_server_remove_target(struct iscsi_server *srv, const char *iqn, struct vs_error *err)
{
	struct iscsi_ctl_call call = {
	    .srv = srv, .run = run_remove, .arg = (void *)iqn, .rc = VS_E_NOENT};
	int rc = iscsi_control_call(&call);

	return rc < 0 ? vs_fail(err, rc, "there is no target %s", iqn) : 0;
}

/* ---- sessions ---- */

struct list {
	const char *iqn;
	struct iscsi_session_info *out;
	size_t max, n;
};

static void fill_info(const struct iscsi_conn *c, struct iscsi_session_info *i)
{
	memset(i, 0, sizeof(*i));
	snprintf(i->target, sizeof(i->target), "%s", c->login.target);
	snprintf(i->initiator, sizeof(i->initiator), "%s", c->login.initiator);
	snprintf(i->initiator_alias, sizeof(i->initiator_alias), "%s", c->login.initiator_alias);
	snprintf(i->address, sizeof(i->address), "%s", c->peer);
	memcpy(i->isid, c->login.isid, sizeof(i->isid));
	i->tsih = c->tsih;
	i->portal_group = c->portal->tag;
	i->authenticated = c->login.authenticated;
	i->header_digest = c->login.params.header_digest;
	i->data_digest = c->login.params.data_digest;
	i->since_ns = c->since_ns;
	i->commands = atomic_load(&c->commands);
	i->read_bytes = atomic_load(&c->read_bytes);
	i->written_bytes = atomic_load(&c->written_bytes);
}

static bool run_sessions(struct iscsi_ctl_call *call)
{
	struct list *l = call->arg;

	for (const struct iscsi_conn *c = call->srv->conns; c; c = c->ctl_next) {
		if (!c->ctl_attached || c->ctl_closed ||
		    (l->iqn && strcmp(l->iqn, c->login.target) != 0))
			continue;
		if (l->n < l->max)
			fill_info(c, &l->out[l->n]);
		l->n++;
	}
	return true;
}

size_t iscsi_server_sessions(struct iscsi_server *srv, const char *iqn,
			     struct iscsi_session_info *out, size_t max)
{
	struct list l = {.iqn = iqn, .out = out, .max = max};
	struct iscsi_ctl_call call = {.srv = srv, .run = run_sessions, .arg = &l};

	(void)iscsi_control_call(&call);
	return l.n;
}
