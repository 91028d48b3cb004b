#include "blockstore/nfs_file_int.h"

#include "common/log.h"
#include "common/secret.h"
#include "common/text.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>

#define ATTEMPT_NS (10 * NF_SECOND) /* to connect and find */
#define PORTS_NS (3 * NF_SECOND)    /* for the portmapper to answer: it may be behind a wall */
#define GONE_NS (15 * NF_SECOND)    /* without a sign of its machine, TCP ends the connection */
#define STUCK_NS (60 * NF_SECOND)   /* of one call */
#define ASK_NS (5 * NF_SECOND)	    /* between looks at the size, which also show life */
#define TICK_NS (NF_SECOND / 4)

void nf_path_fail(struct bs_nfs_file *f, int code, const char *fmt, ...)
{
	char text[200];
	va_list args;

	if (f->broken) /* what comes after is only its consequence */
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	vs_clean_line(text);
	(void)vs_fail(&f->why, code, "%.160s: %s", f->name, text);
	f->broken = true;
}

/* libnfs has error numbers in its texts only, "...(111)." */
const char *nf_cause(struct rpc_context *rpc)
{
	const char *text = rpc_get_error(rpc), *words = NULL;
	unsigned number = text ? bs_far_number_in(text) : 0;

	if (number)
		words = strerrordesc_np((int)number);
	if (words)
		return words;
	return !text || !*text || strstr(text, "POLLHUP") || strstr(text, "errno:") ||
		       strstr(text, "reconnect")
		   ? "the server closed the connection"
		   : text;
}

void nf_path_alive(struct bs_nfs_file *f)
{
	f->alive_ns = vs_now_ns();
	f->path.steady |= f->state == NF_UP;
	if (!f->silent)
		return;
	f->silent = f->path.expired = false;
	vs_info("%s: the server answers again", f->name);
}

static void connected(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;

	(void)data;
	if (f->dropping || f->broken || f->turning)
		return;
	if (status == RPC_STATUS_SUCCESS)
		nf_find_connected(f);
	else
		nf_find_refused(f, nf_cause(rpc));
}

static uint32_t epoll_of(int events)
{
	return (events & POLLIN ? EPOLLIN : 0u) | (events & POLLOUT ? EPOLLOUT : 0u);
}

/* An error alone: with both libnfs tells of the end and not of its cause. */
static int poll_of(uint32_t events)
{
	if (events & EPOLLERR)
		return POLLERR;
	return (events & EPOLLIN ? POLLIN : 0) | (events & EPOLLOUT ? POLLOUT : 0) |
	       (events & EPOLLHUP ? POLLHUP : 0);
}

static void serve(struct bs_nfs_file *f, int events)
{
	if (rpc_service(f->rpc, events) < 0 && !f->broken && !f->turning)
		nf_path_fail(f, VS_E_IO, "%s", nf_cause(f->rpc));
}

static void ready(struct vs_watch *w, uint32_t events)
{
	struct bs_nfs_file *f = w->arg;

	/* answers that came before the end are still taken */
	if (events & EPOLLIN && events & (EPOLLERR | EPOLLHUP) && f->state >= NF_REPLAY)
		serve(f, POLLIN);
	if (!f->broken && !f->turning)
		serve(f, poll_of(events));
	nf_settle(f);
}

static void unwatch(struct bs_nfs_file *f)
{
	if (f->watched)
		vs_loop_remove(f->loop, &f->watch);
	f->watched = 0;
}

static void watch(struct bs_nfs_file *f)
{
	uint32_t events = epoll_of(rpc_which_events(f->rpc));
	int rc;

	if (events == f->watched)
		return;
	f->watch.fd = rpc_get_fd(f->rpc);
	rc = f->watched ? vs_loop_modify(f->loop, &f->watch, events)
			: vs_loop_add(f->loop, &f->watch, events);
	if (rc != 0)
		nf_path_fail(f, rc, "cannot watch the connection: %s", vs_err_text(rc));
	else
		f->watched = events;
}

/* Closing it resets it: what the server has not read yet is lost, as it is to be. */
static void drop(struct bs_nfs_file *f)
{
	unwatch(f);
	if (!f->rpc)
		return;
	f->dropping = true;
	rpc_destroy_context(f->rpc);
	f->dropping = false;
	f->rpc = NULL;
	f->asking = false;
}

/* A peer that is gone is noticed by TCP; one that only is slow keeps its connection. */
static void set_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
	    {IPPROTO_TCP, TCP_NODELAY, 1},
	    {IPPROTO_TCP, TCP_USER_TIMEOUT, (int)(GONE_NS / 1000000)},
	    {SOL_SOCKET, SO_KEEPALIVE, 1},
	    {IPPROTO_TCP, TCP_KEEPIDLE, 5},
	    {IPPROTO_TCP, TCP_KEEPINTVL, 5},
	    {IPPROTO_TCP, TCP_KEEPCNT, 3},
	};

	for (size_t i = 0; i < VS_ARRAY_LEN(options); i++)
		if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			       sizeof(int)) != 0)
			vs_debug("cannot set option %d of a socket", options[i].name);
}

/* Calls of an earlier connection must not be taken for repeated ones: another xid. */
static int begin(struct bs_nfs_file *f)
{
	const struct sockaddr_storage *a = &f->addrs.at[f->next_addr % f->addrs.n];
	char host[BS_FAR_HOST_TEXT];
	uint32_t xid;

	f->rpc = rpc_init_context();
	if (!f->rpc || vs_random(&xid, sizeof(xid)) != 0)
		return -1;
	rpc_set_next_xid(f->rpc, xid);
	if (rpc_connect_async(f->rpc, bs_far_numeric(a, f->url.host, host), nf_find_port(f),
			      connected, f) != 0)
		return -1;
	set_options(rpc_get_fd(f->rpc));
	return 0;
}

/* For the step at hand. */
static void connect_to(struct bs_nfs_file *f)
{
	drop(f);
	f->turning = false;
	if (begin(f) != 0)
		nf_find_refused(f, f->rpc ? nf_cause(f->rpc) : "out of memory");
}

void nf_path_start(struct bs_nfs_file *f)
{
	f->broken = f->silent = false;
	f->state = NF_FIND;
	f->attempt_ns = f->alive_ns = vs_now_ns();
	nf_find_start(f);
	connect_to(f);
}

static void go_down(struct bs_nfs_file *f)
{
	drop(f);
	nf_call_down(f);
	if (bs_far_path_broke(&f->path, f->state == NF_UP && !f->silent, vs_now_ns()))
		vs_warn("%s; reconnecting", f->why.text);
	else if (f->path.opened)
		vs_debug("%s", f->why.text);
	f->broken = f->turning = f->silent = false;
	f->state = NF_DOWN;
	f->next_addr++;
}

/* Next time something is due that no descriptor tells. */
static uint64_t due(const struct bs_nfs_file *f, uint64_t now)
{
	if (f->finished || f->kicked)
		return 0;
	if (f->state == NF_DOWN)
		return f->path.retry_ns > now ? VS_MIN(f->path.retry_ns - now, TICK_NS) : 0;
	return f->again.first || f->replay_again.first ? NF_SECOND / 20 : TICK_NS;
}

static void arm(struct bs_nfs_file *f)
{
	int rc = vs_loop_timer(f->loop, &f->tick, due(f, vs_now_ns()));

	if (rc != 0)
		vs_err("%s: no timer: %s", f->name, vs_err_text(rc));
}

void nf_kick(struct bs_nfs_file *f)
{
	if (f->kicked)
		return;
	f->kicked = true;
	arm(f);
}

void nf_settle(struct bs_nfs_file *f)
{
	if (f->state == NF_UP && !f->broken)
		nf_io_pump(f);
	else if (f->state == NF_REPLAY && !f->broken)
		nf_replay_pump(f);
	if (!f->broken && f->rpc && !f->turning && f->state >= NF_REPLAY &&
	    rpc_which_events(f->rpc) & POLLOUT)
		serve(f, POLLOUT);
	while (f->turning && !f->broken)
		connect_to(f);
	if (!f->broken && f->rpc)
		watch(f);
	if (f->broken)
		go_down(f);
	nf_io_deliver(f);
	arm(f);
}

static void look_for_life(struct bs_nfs_file *f, uint64_t now)
{
	if (f->state < NF_UP) {
		bool ports = f->state == NF_FIND && nf_find_port(f) == NF_PORTMAPPER;
		bool waits = f->look_ns && f->look_ns != UINT64_MAX;
		uint64_t since = f->state == NF_FIND ? f->attempt_ns : f->sent ? f->alive_ns : now;

		if (now - since > (f->state == NF_REPLAY ? f->silence_ns : ATTEMPT_NS))
			nf_path_fail(f, waits ? VS_E_BUSY : VS_E_TIMEDOUT, "%s",
				     waits ? "somebody else writes to the file" : "no answer");
		else if (ports && now - f->attempt_ns > PORTS_NS)
			nf_find_refused(f, "no answer");
		else if (f->look_ns && now >= f->look_ns)
			nf_find_look(f);
		return;
	}
	if (f->sent && now - nf_call_oldest(f) > STUCK_NS) {
		f->cut = true;
		nf_path_fail(f, VS_E_TIMEDOUT, "a call was not answered within %llu s",
			     (unsigned long long)(STUCK_NS / NF_SECOND));
	} else if (!f->silent && (f->sent || f->asking) && now - f->alive_ns > f->silence_ns) {
		f->silent = true;
		f->path.down_ns = now;
		vs_warn("%s: no answer for %llu s; requests wait", f->name,
			(unsigned long long)(f->silence_ns / NF_SECOND));
	} else if (!f->asking && now - f->asked_ns > ASK_NS) {
		nf_find_ask(f);
	}
}

static void ticked(struct vs_timer *t)
{
	struct bs_nfs_file *f = t->arg;
	uint64_t now = vs_now_ns();

	f->kicked = false;
	if (f->state == NF_DOWN && f->path.opened && now >= f->path.retry_ns)
		nf_path_start(f);
	else if (f->state != NF_DOWN)
		look_for_life(f, now);
	if ((f->state < NF_UP || f->silent) && bs_far_path_expires(&f->path, now)) {
		vs_err("%s; requests fail until the server is back",
		       f->silent ? f->name : f->why.text);
		nf_io_expire(f);
	}
	nf_settle(f);
}

void nf_path_init(struct bs_nfs_file *f)
{
	f->watch = (struct vs_watch){.fd = -1, .ready = ready, .arg = f};
	f->tick = (struct vs_timer){.fired = ticked, .arg = f};
}

void nf_path_end(struct bs_nfs_file *f)
{
	vs_loop_cancel(f->loop, &f->tick);
	drop(f);
}
