#include "targets/nfs/worker.h"

#include "common/log.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define CLIENT_DEPTH 128 /* requests of a thread under way in one datastore */

void nfs_thread_poke(struct nfs_thread *t)
{
	if (t->posted)
		return;
	t->posted = true;
	vs_loop_post(t->w.loop, &t->post);
}

static void stop_if_empty(struct nfs_thread *t)
{
	if (atomic_load(&t->stopping) && !t->w.conns)
		vs_loop_stop(t->w.loop);
}

static void conn_closed(struct nfs_worker *w)
{
	struct nfs_thread *t = w->arg;

	atomic_fetch_sub(&t->load, 1);
	stop_if_empty(t);
}

/* Called from inside the client that is to be closed: later. */
static void share_unused(struct nfs_worker *w)
{
	struct nfs_thread *t = w->arg;

	(void)pthread_mutex_lock(&t->shares->lock);
	nfs_thread_poke(t);
	(void)pthread_mutex_unlock(&t->shares->lock);
}

/* ---- connections ---- */

/* Whether any client list holds the address. */
static bool listed(const struct nfs_worker *w, const struct nfs_address *a)
{
	for (const struct nfs_served *s = w->served; s; s = s->next)
		if (nfs_rule_find(s->rules, s->nrules, a))
			return true;
	return false;
}

/*
 * Who makes room for a client: the longest silent one of those that are on no list; without any,
 * of all, or of the client's own when these have half of the places. Nobody who is on a list makes
 * room for one who is not.
 */
static struct nfs_conn *who_leaves(struct nfs_thread *t, const struct nfs_address *for_whom)
{
	struct nfs_conn *stranger = NULL, *own = NULL, *any = NULL;
	unsigned nown = 0;

	for (struct nfs_conn *c = t->w.conns; c; c = c->next) {
		bool same = nfs_address_equal(&c->address, for_whom);

		nown += same;
		if (c->phase != NFS_OPEN || c->inflight || c->out_head)
			continue;
		if (!listed(&t->w, &c->address) &&
		    (!stranger || c->active_ns < stranger->active_ns))
			stranger = c;
		if (same && (!own || c->active_ns < own->active_ns))
			own = c;
		if (!any || c->active_ns < any->active_ns)
			any = c;
	}
	if (stranger || !listed(&t->w, for_whom))
		return stranger;
	return nown >= t->limit / 2 ? own : any;
}

/* Makes room for one that has come; false: there is none. */
static bool make_room(struct nfs_thread *t, const struct sockaddr_storage *peer)
{
	struct nfs_address address;
	struct nfs_conn *c;

	if (!nfs_address_from(peer, &address))
		return false;
	c = who_leaves(t, &address);
	if (!c)
		return false;
	vs_debug("nfs: %s was disconnected: another client needs its place", c->peer);
	nfs_conn_kill(c);
	return true;
}

static void open_connection(struct nfs_thread *t, struct nfs_accepted from)
{
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);

	if (getpeername(from.fd, (struct sockaddr *)&peer, &len) == 0 &&
	    (atomic_load(&t->load) <= t->limit || make_room(t, &peer))) {
		if (nfs_conn_open(&t->w, from, &peer) == 0)
			return;
	} else {
		vs_debug("nfs: a client was refused: all connections are in use");
		(void)close(from.fd);
	}
	atomic_fetch_sub(&t->load, 1);
}

static void take_inbox(struct nfs_thread *t)
{
	unsigned n;
	struct nfs_accepted some[32];

	do {
		(void)pthread_mutex_lock(&t->shares->lock);
		n = VS_MIN(t->ninbox, (unsigned)VS_ARRAY_LEN(some));
		t->ninbox -= n;
		memcpy(some, t->inbox + t->ninbox, n * sizeof(*some));
		(void)pthread_mutex_unlock(&t->shares->lock);
		for (unsigned i = 0; i < n; i++)
			open_connection(t, some[i]);
	} while (n == VS_ARRAY_LEN(some));
}

/* ---- shares ---- */

static struct nfs_served *find_served(struct nfs_worker *w, uint64_t id)
{
	for (struct nfs_served *s = w->served; s; s = s->next)
		if (s->id == id)
			return s;
	return NULL;
}

static struct nfs_served *served_new(const struct nfs_share *share)
{
	struct nfs_served *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->id = share->id;
	memcpy(s->name, share->name, sizeof(s->name));
	s->store_id = nfs_store_id(ds_uuid(share->store));
	s->fsid = vs_get_be64(s->store_id.b);
	s->store = share->store;
	return s;
}

/*
 * Takes over the lists of what is served already, marks what is not shared any more. Returns the
 * first share that is new here; the lock is held.
 */
static const struct nfs_share *adopt_locked(struct nfs_thread *t)
{
	const struct nfs_share *fresh = NULL;

	for (struct nfs_served *s = t->w.served; s; s = s->next)
		s->leaving = true;
	for (const struct nfs_share *share = t->shares->list; share; share = share->next) {
		struct nfs_served *s = find_served(&t->w, share->id);

		if (!s) {
			fresh = fresh ? fresh : share;
			continue;
		}
		s->leaving = false;
		s->nrules = share->nrules;
		memcpy(s->rules, share->rules, share->nrules * sizeof(*s->rules));
	}
	return fresh;
}

/* The caller of nfs_server_share waits, so that the share and its datastore stay. */
static void serve_one(struct nfs_thread *t, const struct nfs_share *share)
{
	struct vs_error err = {0};
	struct nfs_served *s = served_new(share), **end = &t->w.served;

	if (!s)
		(void)vs_fail(&err, VS_E_NOMEM, "cannot share %s: out of memory", share->name);
	else
		(void)!ds_client_open(share->store, t->w.loop, CLIENT_DEPTH, &s->client, &err);
	(void)pthread_mutex_lock(&t->shares->lock);
	if (err.code && !t->error.code)
		t->error = err;
	if (err.code == 0) {
		s->nrules = share->nrules;
		memcpy(s->rules, share->rules, share->nrules * sizeof(*s->rules));
	}
	(void)pthread_mutex_unlock(&t->shares->lock);
	if (err.code) {
		free(s);
		return;
	}
	while (*end)
		end = &(*end)->next;
	*end = s;
}

/* Whether nothing that leaves is still in use. */
static bool drop_leaving(struct nfs_worker *w)
{
	struct nfs_served **link = &w->served, *s;
	bool all = true;

	while ((s = *link)) {
		if (!s->leaving || s->inflight) {
			all = all && !s->leaving;
			link = &s->next;
			continue;
		}
		*link = s->next;
		ds_client_close(s->client);
		free(s);
	}
	return all;
}

static void adopt(struct nfs_thread *t)
{
	const struct nfs_share *fresh = NULL;

	(void)pthread_mutex_lock(&t->shares->lock);
	if (t->adopted != t->shares->version) {
		t->adopted = t->w.version = t->shares->version;
		t->error.code = 0;
		fresh = adopt_locked(t);
	}
	(void)pthread_mutex_unlock(&t->shares->lock);
	if (fresh)
		serve_one(t, fresh);
	if (!drop_leaving(&t->w))
		return;
	(void)pthread_mutex_lock(&t->shares->lock);
	t->seen = t->adopted;
	(void)pthread_cond_broadcast(&t->shares->changed);
	(void)pthread_mutex_unlock(&t->shares->lock);
}

/* ---- the thread ---- */

static void attend(struct vs_post *post)
{
	struct nfs_thread *t = post->arg;
	bool stopping = atomic_load(&t->stopping), open;

	(void)pthread_mutex_lock(&t->shares->lock);
	t->posted = false;
	open = t->acceptor && t->acceptor->open;
	(void)pthread_mutex_unlock(&t->shares->lock);
	take_inbox(t);
	adopt(t);
	if (open && !stopping)
		nfs_accept_open(t->acceptor);
	if (!stopping)
		return;
	if (t->acceptor)
		nfs_accept_close(t->acceptor);
	for (struct nfs_conn *c = t->w.conns; c; c = c->next)
		nfs_conn_drain(c);
	stop_if_empty(t);
}

static void *thread_main(void *arg)
{
	struct nfs_thread *t = arg;

	(void)pthread_setname_np(pthread_self(), "nfs");
	t->w.idle = (struct vs_idle){.idle = nfs_conn_idle, .arg = &t->w};
	vs_loop_add_idle(t->w.loop, &t->w.idle);
	vs_loop_run(t->w.loop);
	for (struct nfs_served *s = t->w.served; s; s = s->next)
		s->leaving = true;
	(void)!drop_leaving(&t->w);
	return NULL;
}

static void thread_free(struct nfs_thread *t)
{
	/* Accepted while the thread was stopping. */
	while (t->ninbox)
		(void)close(t->inbox[--t->ninbox].fd);
	vs_loop_free(t->w.loop);
	vs_arena_destroy(&t->w.shared);
	nfs_seal_free(t->w.seal);
	nfs_seal_free(t->w.entry_seal);
	(void)pthread_mutex_destroy(&t->w.entry_lock);
	(void)pthread_mutex_destroy(&t->w.conns_lock);
	free(t->inbox);
	free(t);
}

static int make(struct nfs_thread *t, const uint8_t *key, size_t key_len, struct vs_error *err)
{
	int status;

	t->inbox = calloc(t->limit, sizeof(*t->inbox));
	if (!t->inbox || vs_arena_init(&t->w.shared, NFS_SHARED_UNITS))
		return vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	status = nfs_seal_new(key, key_len, &t->w.seal, err);
	if (status == 0)
		status = nfs_seal_new(key, key_len, &t->w.entry_seal, err);
	if (status == 0)
		status = vs_loop_new(&t->w.loop, err);
	if (status)
		return status;
	vs_loop_look_on(t->w.loop);
	return 0;
}

static int run(struct nfs_thread *t, struct vs_error *err)
{
	sigset_t all, old;
	int no;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	no = pthread_create(&t->thread, NULL, thread_main, t);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (no)
		return vs_fail(err, VS_E_LIMIT, "cannot start a thread of the NFS server: %s",
			       strerror(no));
	t->started = true;
	return 0;
}

int nfs_thread_start(struct nfs_shares *shares, struct nfs_common *common, unsigned limit,
		     const uint8_t *key, size_t key_len, struct nfs_thread **out,
		     struct vs_error *err)
{
	struct nfs_thread *t = calloc(1, sizeof(*t));
	int status;

	if (!t)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	t->shares = shares;
	t->limit = limit;
	t->post = (struct vs_post){.call = attend, .arg = t};
	t->w.common = common;
	t->w.closed = conn_closed;
	t->w.unused = share_unused;
	t->w.arg = t;
	(void)pthread_mutex_init(&t->w.entry_lock, NULL);
	(void)pthread_mutex_init(&t->w.conns_lock, NULL);
	status = make(t, key, key_len, err);
	if (status == 0)
		status = run(t, err);
	if (status) {
		thread_free(t);
		return status;
	}
	*out = t;
	return 0;
}

void nfs_threads_stop(struct nfs_shares *shares, struct nfs_thread **t, unsigned n)
{
	(void)pthread_mutex_lock(&shares->lock);
	for (unsigned i = 0; i < n; i++) {
		atomic_store(&t[i]->stopping, true);
		nfs_thread_poke(t[i]);
	}
	(void)pthread_mutex_unlock(&shares->lock);
	for (unsigned i = 0; i < n; i++)
		(void)pthread_join(t[i]->thread, NULL);
	for (unsigned i = 0; i < n; i++)
		thread_free(t[i]);
}
