#include "blockstore/lun_discover.h"

#include "blockstore/lun_int.h"
#include "common/text.h"

#include <poll.h>
#include <stdio.h>

#define PATIENCE_NS (10 * LUN_SECOND)
#define LIST_BYTES (8 + 8 * BS_LUN_LIST_MAX)

/* One conversation: connect, log in, ask. */
struct talk {
	struct iscsi_context *ctx;
	char portal[BS_LUN_ADDR_TEXT], name[BS_LUN_URL_TEXT];
	int (*ask)(struct talk *t); /* once logged in; negative: it cannot be sent */
	bool done;
	struct vs_error *err;
	int rc;

	void (*found)(void *arg, const char *target, const char *portal);
	void *arg;

	uint32_t *luns;
	unsigned max, n;
	struct scsi_task *task; /* under way */
};

static void fail(struct talk *t, int code, const char *text)
{
	char line[200];

	if (t->done)
		return;
	(void)snprintf(line, sizeof(line), "%s", text);
	vs_clean_line(line);
	t->done = true;
	t->rc = vs_fail(t->err, code, "%s: %s", t->name, line);
}

static void logged_in(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct talk *t = arg;
	const char *text;
	int code;

	(void)data;
	if (status != SCSI_STATUS_GOOD) {
		code = lun_login_cause(ctx, &text);
		fail(t, code, text);
	} else if (t->ask(t) < 0) {
		fail(t, VS_E_IO, lun_cause(ctx));
	}
}

static void connected(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	(void)data;
	if (status != SCSI_STATUS_GOOD || iscsi_login_async(ctx, logged_in, arg) != 0)
		fail(arg, VS_E_IO, lun_cause(ctx));
}

static void converse(struct talk *t)
{
	uint64_t until = vs_now_ns() + PATIENCE_NS;

	while (!t->done) {
		struct pollfd p = {.fd = iscsi_get_fd(t->ctx),
				   .events = (short)iscsi_which_events(t->ctx)};

		if (vs_now_ns() > until)
			fail(t, VS_E_TIMEDOUT, "no answer within 10 s");
		else if (poll(&p, 1, 100) > 0 && iscsi_service(t->ctx, p.revents) < 0)
			fail(t, VS_E_IO, lun_cause(t->ctx));
	}
}

static int log_in_as(struct talk *t, const struct bs_lun_url *url, const struct bs_lun_login *login)
{
	const char *user = login->user ? login->user : url->user;

	if (!login->secret)
		return 0;
	if (iscsi_set_initiator_username_pwd(t->ctx, user, login->secret) != 0)
		return -1;
	return login->mutual_user
		   ? iscsi_set_target_username_pwd(t->ctx, login->mutual_user, login->mutual_secret)
		   : 0;
}

static int talk(struct talk *t, const struct bs_lun_url *url, const struct bs_lun_login *login,
		enum iscsi_session_type type, struct vs_error *err)
{
	char initiator[BS_LUN_NAME_MAX + 1];

	t->err = err;
	(void)bs_lun_url_portal(url, t->portal);
	(void)snprintf(t->name, sizeof(t->name), "%s%s%s%s", BS_LUN_SCHEME, t->portal,
		       url->target[0] ? "/" : "", url->target);
	lun_host_initiator(initiator);
	t->ctx = iscsi_create_context(initiator);
	if (!t->ctx)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	iscsi_set_noautoreconnect(t->ctx, 1);
	if (iscsi_set_session_type(t->ctx, type) != 0 || log_in_as(t, url, login) != 0 ||
	    (url->target[0] && iscsi_set_targetname(t->ctx, url->target) != 0) ||
	    iscsi_connect_async(t->ctx, t->portal, connected, t) != 0)
		fail(t, VS_E_IO, lun_cause(t->ctx));
	converse(t);
	iscsi_set_initiator_username_pwd(t->ctx, "-", "-");
	iscsi_set_target_username_pwd(t->ctx, "-", "-");
	(void)iscsi_destroy_context(t->ctx);
	if (t->task)
		scsi_free_scsi_task(t->task);
	return t->rc;
}

static void tell(struct talk *t, const char *target, const char *portal)
{
	char name[BS_LUN_NAME_MAX + 1], where[BS_LUN_ADDR_TEXT];

	(void)snprintf(name, sizeof(name), "%s", target);
	(void)snprintf(where, sizeof(where), "%s", portal ? portal : t->portal);
	vs_clean_line(name);
	vs_clean_line(where);
	t->found(t->arg, name, where);
}

static void told(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	const struct iscsi_discovery_address *a = data;
	struct talk *t = arg;

	if (status != SCSI_STATUS_GOOD) {
		fail(t, VS_E_IO, lun_cause(ctx));
		return;
	}
	for (; a; a = a->next) {
		if (a->target_name && !a->portals)
			tell(t, a->target_name, NULL);
		for (const struct iscsi_target_portal *p = a->portals; a->target_name && p;
		     p = p->next)
			tell(t, a->target_name, p->portal);
	}
	t->done = true;
}

static int ask_targets(struct talk *t)
{
	return iscsi_discovery_async(t->ctx, told, t);
}

int bs_lun_discover(const struct bs_lun_url *portal, const struct bs_lun_login *login,
		    void (*found)(void *arg, const char *target, const char *portal), void *arg,
		    struct vs_error *err)
{
	struct talk t = {.ask = ask_targets, .found = found, .arg = arg};

	return talk(&t, portal, login, ISCSI_SESSION_DISCOVERY, err);
}

static void listed(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct scsi_task *task = data;
	struct talk *t = arg;
	int rc = 1;

	if (status != SCSI_STATUS_GOOD) { /* its task goes with the conversation */
		fail(t, VS_E_IO, lun_cause(ctx));
		return;
	}
	for (unsigned i = 0; i < BS_LUN_LIST_MAX && t->n < t->max && rc != 0; i++) {
		rc = bs_lun_decode_luns(task->datain.data, (size_t)VS_MAX(task->datain.size, 0), i,
					&t->luns[t->n]);
		t->n += rc == 1;
		if (rc == VS_E_PROTO) {
			fail(t, rc, "REPORT LUNS: the answer makes no sense");
			return;
		}
	}
	t->done = true;
}

static int ask_luns(struct talk *t)
{
	t->task = iscsi_reportluns_task(t->ctx, 0, LIST_BYTES, listed, t);
	return t->task ? 0 : -1;
}

int bs_lun_list(const struct bs_lun_url *url, const struct bs_lun_login *login, uint32_t *luns,
		unsigned max, unsigned *n, struct vs_error *err)
{
	struct talk t = {.ask = ask_luns, .luns = luns, .max = max};
	int rc = talk(&t, url, login, ISCSI_SESSION_NORMAL, err);

	*n = t.n;
	return rc;
}
