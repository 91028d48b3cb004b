#include "blockstore/lun_int.h"

#include "common/log.h"
#include "common/text.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define ATTEMPT_NS (10 * LUN_SECOND) /* to connect, log in and look */
#define SILENCE_NS (15 * LUN_SECOND) /* with nothing answered the path counts as broken */
#define STUCK_NS (60 * LUN_SECOND)   /* of one command */
#define ASK_NS (5 * LUN_SECOND)	     /* between looks at the capacity, which also show life */
#define MOVES 4u		     /* redirections of one attempt */
#define TICK_NS (LUN_SECOND / 4)

int lun_number(const struct bs_lun *l)
{
	/* flat space addressing from 256 on, SAM-5 section 4.7.7.4 */
	return (int)(l->url.lun > 255 ? l->url.lun | 0x4000 : l->url.lun);
}

void lun_session_fail(struct bs_lun *l, int code, const char *fmt, ...)
{
	char text[200];
	va_list args;

	if (l->broken) /* what comes after is only its consequence */
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	vs_clean_line(text);
	(void)vs_fail(&l->why, code, "%s: %s", l->name, text);
	l->broken = true;
}

static void login_failed(struct bs_lun *l)
{
	const char *text;
	int code = lun_login_cause(l->ctx, &text);

	lun_session_fail(l, code, "%s", text);
}

/* libiscsi keeps copies; it has no use for them once it is logged in. */
static void forget_secrets(struct iscsi_context *ctx)
{
	iscsi_set_initiator_username_pwd(ctx, "-", "-");
	iscsi_set_target_username_pwd(ctx, "-", "-");
}

static void follow(struct bs_lun *l)
{
	if (l->moves == MOVES)
		lun_session_fail(l, VS_E_IO, "the target has moved too often");
	else if (!lun_host_moved(l->ctx, l->moved))
		lun_session_fail(l, VS_E_NOTSUP,
				 "the target has moved to '%s', which is no address",
				 iscsi_get_target_address(l->ctx));
	else
		lun_session_fail(l, VS_E_IO, "the target has moved to %s", l->moved);
	l->moving = l->why.code == VS_E_IO && l->moves++ < MOVES;
}

static void logged_in(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct bs_lun *l = arg;

	(void)ctx, (void)data;
	if (l->dropping)
		return;
	if (status == SCSI_STATUS_REDIRECT) {
		follow(l);
		return;
	}
	if (status != SCSI_STATUS_GOOD) {
		login_failed(l);
		return;
	}
	forget_secrets(ctx);
	l->alive_ns = vs_now_ns();
	l->state = LUN_PROBE;
	lun_probe_start(l);
}

static void connected(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct bs_lun *l = arg;

	(void)data;
	if (l->dropping)
		return;
	if (status != SCSI_STATUS_GOOD)
		lun_session_fail(l, VS_E_IO, "cannot connect: %s", lun_cause(l->ctx));
	else if (iscsi_login_async(ctx, logged_in, l) != 0)
		lun_session_fail(l, VS_E_IO, "cannot log in: %s", lun_cause(l->ctx));
}

static uint32_t epoll_of(int events)
{
	return EPOLLRDHUP | (events & POLLIN ? EPOLLIN : 0u) | (events & POLLOUT ? EPOLLOUT : 0u);
}

static int poll_of(uint32_t events)
{
	return (events & EPOLLIN ? POLLIN : 0) | (events & EPOLLOUT ? POLLOUT : 0) |
	       (events & EPOLLERR ? POLLERR : 0) | (events & EPOLLHUP ? POLLHUP : 0);
}

static void serve(struct bs_lun *l, int events)
{
	l->inside = true;
	if (iscsi_service(l->ctx, events) < 0 && !l->broken) {
		if (l->state == LUN_LOGIN)
			login_failed(l);
		else
			lun_session_fail(l, VS_E_IO, "%s", lun_cause(l->ctx));
	}
	l->inside = false;
}

static void ready(struct vs_watch *w, uint32_t events)
{
	struct bs_lun *l = w->arg;

	serve(l, poll_of(events));
	if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP) && !l->broken)
		lun_session_fail(l, VS_E_IO, "the array closed the connection");
	lun_settle(l);
}

static int begin(struct bs_lun *l)
{
	char portal[BS_LUN_ADDR_TEXT];

	l->ctx = iscsi_create_context(l->initiator);
	if (!l->ctx)
		return -1;
	iscsi_set_noautoreconnect(l->ctx, 1);
	if (iscsi_set_isid_random(l->ctx, l->isid, l->isid_low) != 0 ||
	    iscsi_set_targetname(l->ctx, l->url.target) != 0 ||
	    iscsi_set_session_type(l->ctx, ISCSI_SESSION_NORMAL) != 0)
		return -1;
	if (l->user[0] && iscsi_set_initiator_username_pwd(l->ctx, l->user, l->secret) != 0)
		return -1;
	if (l->mutual_user[0] &&
	    iscsi_set_target_username_pwd(l->ctx, l->mutual_user, l->mutual_secret) != 0)
		return -1;
	iscsi_set_tcp_user_timeout(l->ctx, (int)(SILENCE_NS / 1000000));
	return iscsi_connect_async(l->ctx, lun_host_address(l, portal), connected, l);
}

static void attempt(struct bs_lun *l)
{
	l->broken = l->moving = false;
	l->state = LUN_LOGIN;
	l->attempt_ns = l->alive_ns = vs_now_ns();
	if (begin(l) != 0)
		lun_session_fail(l, VS_E_IO, "cannot connect: %s",
				 l->ctx ? lun_cause(l->ctx) : "out of memory");
}

/* From where the URL says: a redirection is for one login. */
void lun_session_start(struct bs_lun *l)
{
	l->moves = 0;
	l->moved[0] = '\0';
	attempt(l);
	l->next_addr++;
}

static void unwatch(struct bs_lun *l)
{
	if (l->watched)
		vs_loop_remove(l->loop, &l->watch);
	l->watched = 0;
}

static void watch(struct bs_lun *l)
{
	uint32_t events = epoll_of(iscsi_which_events(l->ctx));
	int rc;

	if (events == l->watched)
		return;
	l->watch.fd = iscsi_get_fd(l->ctx);
	rc = l->watched ? vs_loop_modify(l->loop, &l->watch, events)
			: vs_loop_add(l->loop, &l->watch, events);
	if (rc != 0)
		lun_session_fail(l, rc, "cannot watch the connection: %s", vs_err_text(rc));
	else
		l->watched = events;
}

static void leave(struct bs_lun *l)
{
	unwatch(l);
	if (!l->ctx)
		return;
	l->dropping = true;
	forget_secrets(l->ctx);
	(void)iscsi_destroy_context(l->ctx);
	l->dropping = false;
	l->ctx = NULL;
	if (l->ask)
		scsi_free_scsi_task(l->ask);
	l->ask = NULL;
	lun_cmd_down(l);
}

static void go_down(struct bs_lun *l)
{
	leave(l);
	if (l->moving) {
		attempt(l);
		return;
	}
	if (bs_far_path_broke(&l->path, l->state == LUN_UP, vs_now_ns()))
		vs_warn("%s; reconnecting", l->why.text);
	else if (l->path.opened)
		vs_debug("%s", l->why.text);
	l->broken = false;
	l->state = LUN_DOWN;
}

/* Next time something is due that no descriptor tells. */
static uint64_t due(const struct bs_lun *l, uint64_t now)
{
	if (l->finished || l->kicked)
		return 0;
	if (l->state == LUN_DOWN)
		return l->path.retry_ns > now ? VS_MIN(l->path.retry_ns - now, TICK_NS) : 0;
	return l->again.first || l->replay_again.first ? LUN_SECOND / 20 : TICK_NS;
}

static void arm(struct bs_lun *l)
{
	int rc = vs_loop_timer(l->loop, &l->tick, due(l, vs_now_ns()));

	if (rc != 0)
		vs_err("%s: no timer: %s", l->name, vs_err_text(rc));
}

void lun_kick(struct bs_lun *l)
{
	if (l->kicked)
		return;
	l->kicked = true;
	arm(l);
}

void lun_settle(struct bs_lun *l)
{
	if (l->state == LUN_UP && !l->broken)
		lun_io_pump(l);
	else if (l->state == LUN_REPLAY && !l->broken)
		lun_replay_pump(l);
	if (!l->broken && l->ctx && iscsi_which_events(l->ctx) & POLLOUT && l->state >= LUN_PROBE)
		serve(l, POLLOUT);
	if (l->broken)
		go_down(l);
	if (!l->broken && l->ctx)
		watch(l);
	if (l->broken)
		go_down(l);
	lun_io_deliver(l);
	arm(l);
}

static void look_for_life(struct bs_lun *l, uint64_t now)
{
	if (l->state < LUN_UP) {
		if (now - l->attempt_ns > ATTEMPT_NS && l->state != LUN_REPLAY)
			lun_session_fail(l, VS_E_TIMEDOUT, "no answer within %llu s",
					 (unsigned long long)(ATTEMPT_NS / LUN_SECOND));
		else if (now - l->alive_ns > SILENCE_NS)
			lun_session_fail(l, VS_E_TIMEDOUT, "no answer");
		return;
	}
	if (now - l->alive_ns > SILENCE_NS)
		lun_session_fail(l, VS_E_TIMEDOUT, "no answer within %llu s",
				 (unsigned long long)(SILENCE_NS / LUN_SECOND));
	else if (l->sent && now - lun_cmd_oldest(l) > STUCK_NS)
		lun_session_fail(l, VS_E_TIMEDOUT, "a command was not answered within %llu s",
				 (unsigned long long)(STUCK_NS / LUN_SECOND));
	else if (now - l->asked_ns > ASK_NS)
		lun_probe_capacity(l);
}

static void ticked(struct vs_timer *t)
{
	struct bs_lun *l = t->arg;
	uint64_t now = vs_now_ns();

	l->kicked = false;
	if (l->state == LUN_DOWN && l->path.opened && now >= l->path.retry_ns)
		lun_session_start(l);
	else if (l->state != LUN_DOWN)
		look_for_life(l, now);
	if (l->state < LUN_UP && bs_far_path_expires(&l->path, now)) {
		vs_err("%s; requests fail until the array is back", l->why.text);
		lun_io_expire(l);
	}
	lun_settle(l);
}

void lun_session_init(struct bs_lun *l)
{
	l->watch = (struct vs_watch){.fd = -1, .ready = ready, .arg = l};
	l->tick = (struct vs_timer){.fired = ticked, .arg = l};
}

static void logged_out(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	(void)ctx, (void)status, (void)data;
	((struct bs_lun *)arg)->logged_out = true;
}

/* A polite farewell, at most a second long. */
static void log_out(struct bs_lun *l)
{
	uint64_t until = vs_now_ns() + LUN_SECOND;

	unwatch(l);
	if (iscsi_logout_async(l->ctx, logged_out, l) != 0)
		return;
	while (!l->logged_out && vs_now_ns() < until) {
		struct pollfd p = {.fd = iscsi_get_fd(l->ctx),
				   .events = (short)iscsi_which_events(l->ctx)};

		if (poll(&p, 1, 100) > 0 && iscsi_service(l->ctx, p.revents) < 0)
			return;
	}
}

void lun_session_end(struct bs_lun *l)
{
	vs_loop_cancel(l->loop, &l->tick);
	if (l->ctx && l->state == LUN_UP)
		log_out(l);
	leave(l);
}
