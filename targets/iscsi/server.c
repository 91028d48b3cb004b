/* The server starts and stops: its threads, and calls that wait for its control thread. */
#include "targets/iscsi/server.h"

#include "targets/iscsi/control.h"
#include "targets/iscsi/listener.h"
#include "targets/iscsi/threshold.h"

#include "common/log.h"

#include <errno.h>
#include <stdlib.h>

#define DEFAULT_THREADS 2
#define DEFAULT_CONNECTIONS 64
#define MAX_CONNECTIONS 4096
#define PORT_DEPTH 256

static void called(struct vs_post *p)
{
	struct iscsi_ctl_call *call = p->arg;

	if (call->run(call)) {
		sem_post(&call->done);
		return;
	}
	call->next = call->srv->waiting;
	call->srv->waiting = call;
}

int iscsi_control_call(struct iscsi_ctl_call *call)
{
	call->post = (struct vs_post){.call = called, .arg = call};
	sem_init(&call->done, 0, 0);
	vs_loop_post(call->srv->loop, &call->post);
	while (sem_wait(&call->done) < 0 && errno == EINTR)
		;
	sem_destroy(&call->done);
	return call->rc;
}

void iscsi_control_retry_waiting(struct iscsi_server *srv)
{
	struct iscsi_ctl_call *call = srv->waiting, *next;

	srv->waiting = NULL;
	for (; call; call = next) {
		next = call->next;
		called(&call->post);
	}
}

/* ---- threads ---- */

static void *io_thread(void *arg)
{
	struct iscsi_thread *t = arg;

	vs_loop_run(t->loop);
	/* posts that free the last connections, and what is not theirs */
	while (atomic_load(&t->nconns) || atomic_load(&t->jobs))
		vs_loop_turn(t->loop, 10);
	iscsi_share_stop(t);
	if (t->index == 0)
		iscsi_tokens_stop(t->srv->tokens);
	bs_port_close(t->port);
	t->port = NULL;
	return NULL;
}

static void *control_thread(void *arg)
{
	struct iscsi_server *srv = arg;

	vs_loop_run(srv->loop);
	return NULL;
}

static int start_thread(struct iscsi_thread *t, struct vs_error *err)
{
	int rc = vs_loop_new(&t->loop, err);

	if (rc < 0)
		return rc;
	vs_loop_look_on(t->loop);
	rc = bs_port_open(t->srv->store, t->loop, PORT_DEPTH, &t->port, err);
	if (rc < 0)
		return rc;
	if (t->index == 0 && t->srv->tokens) {
		rc = iscsi_tokens_start(t->srv->tokens, t->loop, t->port);
		if (rc < 0)
			return vs_fail(err, rc, "cannot start an iSCSI thread: %s",
				       vs_err_text(rc));
	}
	t->idle = (struct vs_idle){.idle = iscsi_conn_flush_dirty, .arg = t};
	vs_loop_add_idle(t->loop, &t->idle);
	iscsi_share_start(t);
	errno = pthread_create(&t->tid, NULL, io_thread, t);
	if (errno)
		return vs_fail_errno(err, "cannot start an iSCSI thread");
	t->started = true;
	return 0;
}

static void stop_thread(struct iscsi_thread *t)
{
	if (t->started) {
		vs_loop_stop(t->loop);
		pthread_join(t->tid, NULL);
	} else if (t->port) {
		if (t->index == 0)
			iscsi_tokens_stop(t->srv->tokens);
		bs_port_close(t->port);
	}
	vs_loop_free(t->loop);
}

/* ---- start and stop ---- */

static int check_options(const struct iscsi_server_options *o, struct vs_error *err)
{
	if (!o->store || !o->portals || o->nportals < 1 || o->nportals > ISCSI_PORTALS)
		return vs_fail(err, VS_E_INVAL,
			       "the iSCSI target needs a store and 1 to %d portals", ISCSI_PORTALS);
	if (o->threads > ISCSI_THREADS || o->max_connections > MAX_CONNECTIONS)
		return vs_fail(err, VS_E_INVAL,
			       "the iSCSI target runs at most %d threads and %d connections",
			       ISCSI_THREADS, MAX_CONNECTIONS);
	return 0;
}

static int start(struct iscsi_server *srv, const struct iscsi_server_options *o,
		 struct vs_error *err)
{
	int rc = vs_loop_new(&srv->loop, err);
	struct vs_error why;

	srv->tokens = iscsi_tokens_new(o->store, &why);
	if (!srv->tokens) /* all else works without */
		vs_warn("iscsi: no copies by token: %s", why.text);
	for (size_t i = 0; i < o->nportals && rc == 0; i++) {
		srv->portals[i].srv = srv;
		srv->nportals = i + 1;
		rc = iscsi_listener_open(&srv->portals[i], &o->portals[i], err);
	}
	for (unsigned i = 0; i < srv->nthreads && rc == 0; i++) {
		srv->threads[i].srv = srv;
		srv->threads[i].index = i;
		rc = start_thread(&srv->threads[i], err);
	}
	if (rc < 0)
		return rc;
	rc = iscsi_threshold_watch(srv);
	if (rc < 0)
		return vs_fail(err, rc, "cannot start the iSCSI target: no timer");
	errno = pthread_create(&srv->tid, NULL, control_thread, srv);
	if (errno)
		return vs_fail_errno(err, "cannot start the iSCSI control thread");
	srv->started = true;
	return 0;
}

int iscsi_server_start(const struct iscsi_server_options *opts, struct iscsi_server **out,
		       struct vs_error *err)
{
	struct iscsi_server *srv;
	int rc = check_options(opts, err);

	if (rc < 0)
		return rc;
	srv = calloc(1, sizeof(*srv));
	if (!srv)
		return vs_fail(err, VS_E_NOMEM, "cannot start the iSCSI target: out of memory");
	pthread_mutex_init(&srv->lock, NULL);
	srv->store = opts->store;
	srv->keeper = opts->keeper;
	srv->max_connections = opts->max_connections ? opts->max_connections : DEFAULT_CONNECTIONS;
	srv->nthreads = opts->threads ? opts->threads : DEFAULT_THREADS;
	srv->login_failed = opts->login_failed;
	srv->login_failed_arg = opts->login_failed_arg;
	srv->throttle = iscsi_throttle_new();
	rc = srv->throttle
		 ? start(srv, opts, err)
		 : vs_fail(err, VS_E_NOMEM, "cannot start the iSCSI target: out of memory");
	if (rc < 0) {
		iscsi_server_stop(srv);
		return rc;
	}
	*out = srv;
	return 0;
}

static bool run_stop(struct iscsi_ctl_call *call)
{
	struct iscsi_server *srv = call->srv;

	if (!srv->stopping) {
		srv->stopping = true;
		atomic_store(&srv->ending, true);
		for (size_t i = 0; i < srv->nportals; i++)
			iscsi_listener_close(&srv->portals[i]);
		iscsi_control_begin_stop(srv);
	}
	if (srv->nconns == 0)
		vs_loop_cancel(srv->loop, &srv->stop_timer);
	return srv->nconns == 0;
}

static void drop_targets(struct iscsi_server *srv)
{
	while (srv->targets) {
		struct iscsi_target *t = srv->targets;

		srv->targets = t->next;
		iscsi_target_drop_lus(srv, t);
		iscsi_target_put(t);
	}
}

static bool run_drop_targets(struct iscsi_ctl_call *call)
{
	drop_targets(call->srv);
	return true;
}

void iscsi_server_stop(struct iscsi_server *srv)
{
	struct iscsi_ctl_call stop = {.srv = srv, .run = run_stop};
	struct iscsi_ctl_call drop = {.srv = srv, .run = run_drop_targets};

	if (srv->started)
		(void)iscsi_control_call(&stop);
	for (unsigned i = 0; i < srv->nthreads; i++)
		stop_thread(&srv->threads[i]);
	if (srv->started) {
		/* behind the I/O threads' last posts: they release sessions' volumes */
		(void)iscsi_control_call(&drop);
		vs_loop_stop(srv->loop);
		pthread_join(srv->tid, NULL);
	} else if (srv->loop) {
		for (size_t i = 0; i < srv->nportals; i++)
			iscsi_listener_close(&srv->portals[i]);
	}
	vs_loop_free(srv->loop);
	iscsi_tokens_free(srv->tokens);
	iscsi_throttle_free(srv->throttle);
	pthread_mutex_destroy(&srv->lock);
	free(srv);
}

uint16_t iscsi_server_port(const struct iscsi_server *srv, size_t i)
{
	return i < srv->nportals ? srv->portals[i].port : 0;
}
