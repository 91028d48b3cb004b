#include "targets/nbd/server.h"

#include "common/bytes.h"
#include "common/listen.h"
#include "common/log.h"
#include "targets/nbd/conn.h"
#include "targets/nbd/listen.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_CONNECTIONS 32
#define MAX_CONNECTIONS 4096
#define DEFAULT_THREADS 2
#define MAX_THREADS 16
#define PORT_DEPTH 128
#define ACCEPTS 16 /* in one turn of the loop */
#define ACCEPT_PAUSE_NS (UINT64_C(200) * 1000000)

struct listener {
	struct vs_watch watch;
	struct vs_timer pause; /* runs while the process is out of descriptors */
	struct nbd_server *srv;
	char *path; /* of a Unix socket */
};

struct worker {
	struct nbd_worker w;
	struct nbd_server *srv;
	pthread_t thread;
	bool started;
	atomic_uint load; /* connections given to it */
	atomic_bool stopping;
	/* under srv->lock */
	struct vs_post post;
	bool posted;
	int *inbox; /* accepted sockets; room for max_connections */
	unsigned ninbox;
	enum { STARTING, RUNNING, FAILED } state;
	struct vs_error error;
};

struct nbd_server {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a worker's state */
	struct bs_store *store;
	struct nbd_opener *opener;
	struct nbd_exports exports;
	unsigned max_connections;
	atomic_uint connections;
	struct listener listeners[NBD_LISTEN_MAX]; /* watched by the acceptor */
	unsigned nlisteners, ntcp;
	struct worker *workers[MAX_THREADS];
	unsigned nworkers;
	struct worker *acceptor; /* the last one, so that it finds all others */
};

/* Makes the worker look at its inbox, at the exports that are gone and at stopping. */
static void poke_locked(struct worker *k)
{
	if (k->posted)
		return;
	k->posted = true;
	vs_loop_post(k->w.loop, &k->post);
}

static void give_to_worker(struct nbd_server *srv, int fd)
{
	struct worker *best = srv->workers[0];

	for (unsigned i = 1; i < srv->nworkers; i++)
		if (atomic_load(&srv->workers[i]->load) < atomic_load(&best->load))
			best = srv->workers[i];
	atomic_fetch_add(&best->load, 1);
	(void)pthread_mutex_lock(&srv->lock);
	/* Every socket counts in connections, so the inboxes cannot overflow. */
	best->inbox[best->ninbox++] = fd;
	poke_locked(best);
	(void)pthread_mutex_unlock(&srv->lock);
}

static void accept_some(struct vs_watch *w, uint32_t events)
{
	struct listener *l = w->arg;
	struct nbd_server *srv = l->srv;
	struct vs_loop *loop = srv->acceptor->w.loop;

	(void)events;
	for (int i = 0; i < ACCEPTS; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 &&
		    (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
			vs_warn("nbd: cannot accept a client: %s", strerror(errno));
			vs_loop_remove(loop, w);
			if (vs_loop_timer(loop, &l->pause, ACCEPT_PAUSE_NS))
				vs_err("nbd: a listener was given up: no timer is left");
			return;
		}
		if (fd < 0)
			return;
		if (atomic_fetch_add(&srv->connections, 1) >= srv->max_connections) {
			atomic_fetch_sub(&srv->connections, 1);
			vs_warn("nbd: a client was refused: all %u connections are in use",
				srv->max_connections);
			(void)close(fd);
			continue;
		}
		give_to_worker(srv, fd);
	}
}

static void accept_again(struct vs_timer *t)
{
	struct listener *l = t->arg;
	struct vs_loop *loop = l->srv->acceptor->w.loop;

	if (vs_loop_add(loop, &l->watch, EPOLLIN) &&
	    vs_loop_timer(loop, &l->pause, ACCEPT_PAUSE_NS))
		vs_err("nbd: a listener was given up: no timer is left");
}

static void forget_connection(struct worker *k)
{
	atomic_fetch_sub(&k->load, 1);
	atomic_fetch_sub(&k->srv->connections, 1);
}

static void stop_if_empty(struct worker *k)
{
	if (atomic_load(&k->stopping) && !k->w.conns)
		vs_loop_stop(k->w.loop);
}

static void conn_closed(struct nbd_worker *w)
{
	struct worker *k = w->arg;

	forget_connection(k);
	stop_if_empty(k);
}

static void close_listeners(struct nbd_server *srv, struct vs_loop *loop)
{
	for (unsigned i = 0; i < srv->nlisteners; i++) {
		vs_loop_cancel(loop, &srv->listeners[i].pause);
		vs_loop_remove(loop, &srv->listeners[i].watch);
	}
}

/* On the worker's thread. */
static void attend(struct vs_post *post)
{
	struct worker *k = post->arg;
	struct nbd_server *srv = k->srv;
	bool stopping = atomic_load(&k->stopping);
	unsigned n;
	int fds[32];

	do {
		(void)pthread_mutex_lock(&srv->lock);
		n = VS_MIN(k->ninbox, (unsigned)VS_ARRAY_LEN(fds));
		k->ninbox -= n;
		memcpy(fds, k->inbox + k->ninbox, n * sizeof(*fds));
		k->posted = k->ninbox > 0;
		(void)pthread_mutex_unlock(&srv->lock);
		for (unsigned i = 0; i < n; i++) {
			if (nbd_conn_open(&k->w, fds[i]) == 0)
				continue;
			vs_warn("nbd: a client was refused: out of memory");
			forget_connection(k);
		}
	} while (n == VS_ARRAY_LEN(fds));

	if (stopping && k == srv->acceptor)
		close_listeners(srv, k->w.loop);
	for (struct nbd_conn *c = k->w.conns; c; c = c->next)
		if (stopping || (c->export && atomic_load(&c->export->gone)))
			nbd_conn_drain(c);
	stop_if_empty(k);
}

static int watch_listeners(struct nbd_server *srv, struct vs_loop *loop, struct vs_error *err)
{
	for (unsigned i = 0; i < srv->nlisteners; i++)
		if (vs_loop_add(loop, &srv->listeners[i].watch, EPOLLIN))
			return vs_fail(err, VS_E_NOMEM, "cannot watch an NBD listener");
	return 0;
}

static void set_state(struct worker *k, int state)
{
	(void)pthread_mutex_lock(&k->srv->lock);
	k->state = state;
	(void)pthread_cond_broadcast(&k->srv->changed);
	(void)pthread_mutex_unlock(&k->srv->lock);
}

static void *worker_main(void *arg)
{
	struct worker *k = arg;
	struct nbd_server *srv = k->srv;

	(void)pthread_setname_np(pthread_self(), "nbd");
	k->w.idle = (struct vs_idle){.idle = nbd_conn_idle, .arg = &k->w};
	vs_loop_add_idle(k->w.loop, &k->w.idle);
	if (bs_port_open(srv->store, k->w.loop, PORT_DEPTH, &k->w.port, &k->error)) {
		set_state(k, FAILED);
		return NULL;
	}
	if (k == srv->acceptor && watch_listeners(srv, k->w.loop, &k->error)) {
		set_state(k, FAILED);
	} else {
		set_state(k, RUNNING);
		vs_loop_run(k->w.loop);
	}
	bs_port_close(k->w.port);
	return NULL;
}

static int worker_start(struct nbd_server *srv, bool last, struct vs_error *err)
{
	struct worker *k = calloc(1, sizeof(*k));
	sigset_t all, old;
	int status;

	if (!k)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NBD server: out of memory");
	srv->workers[srv->nworkers++] = k;
	if (last)
		srv->acceptor = k;
	k->srv = srv;
	k->w.opener = srv->opener;
	k->w.exports = &srv->exports;
	k->w.closed = conn_closed;
	k->w.arg = k;
	k->post = (struct vs_post){.call = attend, .arg = k};
	k->inbox = calloc(srv->max_connections, sizeof(*k->inbox));
	if (!k->inbox)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NBD server: out of memory");
	if (vs_arena_init(&k->w.shared, NBD_SHARED_UNITS))
		return vs_fail(err, VS_E_NOMEM, "cannot start the NBD server: out of memory");
	status = vs_loop_new(&k->w.loop, err);
	if (status)
		return status;
	vs_loop_look_on(k->w.loop);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	status = pthread_create(&k->thread, NULL, worker_main, k);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (status)
		return vs_fail(err, VS_E_LIMIT, "cannot start a thread of the NBD server: %s",
			       strerror(status));
	k->started = true;
	(void)pthread_mutex_lock(&srv->lock);
	while (k->state == STARTING)
		(void)pthread_cond_wait(&srv->changed, &srv->lock);
	(void)pthread_mutex_unlock(&srv->lock);
	if (k->state == FAILED && err)
		*err = k->error;
	return k->state == FAILED ? k->error.code : 0;
}

static void worker_free(struct worker *k)
{
	/* Accepted while the worker was stopping. */
	while (k->ninbox)
		(void)close(k->inbox[--k->ninbox]);
	vs_loop_free(k->w.loop);
	vs_arena_destroy(&k->w.shared);
	free(k->inbox);
	free(k);
}

static void listener_init(struct nbd_server *srv, int fd, const char *path)
{
	struct listener *l = &srv->listeners[srv->nlisteners++];

	l->watch = (struct vs_watch){.fd = fd, .ready = accept_some, .arg = l};
	l->pause = (struct vs_timer){.fired = accept_again, .arg = l};
	l->srv = srv;
	l->path = path ? strdup(path) : NULL;
}

static int listen_all(struct nbd_server *srv, const struct nbd_server_options *opts,
		      struct vs_error *err)
{
	int fd, status;

	if (opts->nlisten > NBD_LISTEN_MAX || opts->nunix > NBD_LISTEN_MAX - opts->nlisten)
		return vs_fail(err, VS_E_LIMIT, "NBD listens on at most %d addresses and sockets",
			       NBD_LISTEN_MAX);
	for (size_t i = 0; i < opts->nlisten; i++) {
		status = vs_listen_tcp("NBD", opts->listen[i], &fd, err);
		if (status)
			return status;
		listener_init(srv, fd, NULL);
	}
	srv->ntcp = srv->nlisteners;
	for (size_t i = 0; i < opts->nunix; i++) {
		status = nbd_listen_unix(opts->unix_paths[i], &fd, err);
		if (status)
			return status;
		listener_init(srv, fd, opts->unix_paths[i]);
	}
	return 0;
}

int nbd_server_start(const struct nbd_server_options *opts, struct nbd_server **out,
		     struct vs_error *err)
{
	unsigned threads = opts->threads ? opts->threads : DEFAULT_THREADS;
	struct nbd_server *srv = calloc(1, sizeof(*srv));
	int status;

	if (!srv)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NBD server: out of memory");
	(void)pthread_mutex_init(&srv->lock, NULL);
	(void)pthread_cond_init(&srv->changed, NULL);
	nbd_exports_init(&srv->exports);
	srv->store = opts->store;
	srv->max_connections = opts->max_connections ? opts->max_connections : DEFAULT_CONNECTIONS;
	if (threads > MAX_THREADS || srv->max_connections > MAX_CONNECTIONS)
		status = vs_fail(err, VS_E_INVAL,
				 "an NBD server has at most %d threads and %d connections",
				 MAX_THREADS, MAX_CONNECTIONS);
	else
		status = listen_all(srv, opts, err);
	if (status == 0)
		status = nbd_opener_start(srv->store, &srv->opener, err);
	while (status == 0 && srv->nworkers < threads)
		status = worker_start(srv, srv->nworkers + 1 == threads, err);
	if (status) {
		nbd_server_stop(srv);
		return status;
	}
	*out = srv;
	return 0;
}

void nbd_server_stop(struct nbd_server *srv)
{
	if (!srv)
		return;
	(void)pthread_mutex_lock(&srv->lock);
	for (unsigned i = 0; i < srv->nworkers; i++) {
		atomic_store(&srv->workers[i]->stopping, true);
		if (srv->workers[i]->state == RUNNING)
			poke_locked(srv->workers[i]);
	}
	(void)pthread_mutex_unlock(&srv->lock);
	for (unsigned i = 0; i < srv->nworkers; i++)
		if (srv->workers[i]->started)
			(void)pthread_join(srv->workers[i]->thread, NULL);
	nbd_opener_stop(srv->opener); /* before the loops that it posts to */
	for (unsigned i = 0; i < srv->nworkers; i++)
		worker_free(srv->workers[i]);
	for (unsigned i = 0; i < srv->nlisteners; i++) {
		(void)close(srv->listeners[i].watch.fd);
		if (srv->listeners[i].path)
			(void)unlink(srv->listeners[i].path);
		free(srv->listeners[i].path);
	}
	nbd_exports_destroy(&srv->exports);
	(void)pthread_cond_destroy(&srv->changed);
	(void)pthread_mutex_destroy(&srv->lock);
	free(srv);
}

int nbd_server_export(struct nbd_server *srv, const char *full, bool read_only,
		      struct vs_error *err)
{
	struct bs_volume_info info;
	int status = bs_volume_find(srv->store, full, &info, err);

	return status ? status : nbd_exports_add(&srv->exports, full, &info.uuid, read_only, err);
}

int nbd_server_unexport(struct nbd_server *srv, const char *full, struct vs_error *err)
{
	struct nbd_export *e;

	if (nbd_exports_remove(&srv->exports, full, &e))
		return vs_fail(err, VS_E_NOENT, "%s is not exported over NBD", full);
	(void)pthread_mutex_lock(&srv->lock);
	for (unsigned i = 0; i < srv->nworkers; i++)
		poke_locked(srv->workers[i]);
	(void)pthread_mutex_unlock(&srv->lock);
	nbd_exports_wait(&srv->exports, e);
	return 0;
}

size_t nbd_server_list(struct nbd_server *srv, struct nbd_server_entry *out, size_t max)
{
	return nbd_exports_list(&srv->exports, out, max);
}

int nbd_server_address(struct nbd_server *srv, size_t i, char text[NBD_ADDRESS_MAX])
{
	if (i >= srv->ntcp)
		return VS_E_NOENT;
	return vs_listen_name(srv->listeners[i].watch.fd, text, NBD_ADDRESS_MAX);
}
