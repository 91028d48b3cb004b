#include "targets/nfs/nfs4_keep.h"

#include "common/log.h"
#include "targets/nfs/nfs4_grace.h"

#include <signal.h>
#include <stdlib.h>

struct nfs4_keep {
	struct nfs4_state *s;
	struct nfs_keeper keeper;
	struct vs_loop *loop;
	pthread_t thread;
	struct vs_timer timer; /* the end of the grace period */
	uint8_t *bytes;	       /* NFS4_KEPT_MAX; the thread's */
	struct nfs4_kept list; /* the thread's */
	/* under the state's lock */
	struct vs_post post;
	bool posted;
	uint64_t wanted, kept; /* numbers of changes */
	struct nfs4_waiter *waiters;
};

void nfs4_keep_changed_locked(struct nfs4_state *s)
{
	struct nfs4_keep *k = s->keep;

	if (!k)
		return;
	k->wanted++;
	if (k->posted)
		return;
	k->posted = true;
	vs_loop_post(k->loop, &k->post);
}

bool nfs4_keep_wait_locked(struct nfs4_state *s, struct nfs4_waiter *w)
{
	struct nfs4_keep *k = s->keep;

	if (!k || k->kept == k->wanted)
		return false;
	w->number = k->wanted;
	w->next = k->waiters;
	k->waiters = w;
	return true;
}

uint64_t nfs4_keep_number_locked(const struct nfs4_state *s)
{
	return s->keep ? s->keep->wanted : 0;
}

bool nfs4_keep_has_locked(const struct nfs4_state *s, uint64_t number)
{
	return !s->keep || s->keep->kept >= number;
}

static bool is_listed(const struct nfs4_state *s, const struct nfs_address *a)
{
	const struct nfs4_client *c = nfs_nlm_host_locked(s, a);

	return c && c->listed;
}

/* Those that only wait have nothing to reclaim. */
static void list_hosts_locked(struct nfs4_keep *k, bool over)
{
	const struct nfs4_grace_host *h;
	struct nfs4_kept *l = &k->list;

	l->nhosts = 0;
	for (struct nfs4_client *c = k->s->hosts; c; c = c->next) {
		c->listed = c->monitored && c->held && l->nhosts < NFS_NLM_HOSTS_MAX;
		if (c->listed)
			l->hosts[l->nhosts++] = (struct nfs4_kept_host){c->address, c->server};
	}
	if (over || !nfs4_grace_on(k->s->grace))
		return;
	for (unsigned i = 0; l->nhosts < NFS_NLM_HOSTS_MAX && (h = nfs4_grace_host(k->s->grace, i));
	     i++)
		if (!h->back && !is_listed(k->s, &h->kept.client))
			l->hosts[l->nhosts++] = h->kept;
}

/* The list as it is now; over: without those that may still come back. */
static size_t encode_locked(struct nfs4_keep *k, bool over)
{
	struct nfs4_kept *l = &k->list;
	struct nfs_bytes owner;
	unsigned i = 0;

	l->n = 0;
	l->nsm_state = k->s->nsm_state;
	for (const struct nfs4_client *c = k->s->clients; c; c = c->next)
		if (c->reclaimed && l->n < NFS4_CLIENTS_MAX)
			l->owners[l->n++] = (struct nfs_bytes){c->owner, c->owner_len};
	while (!over && l->n < NFS4_CLIENTS_MAX && nfs4_grace_left(k->s->grace, &i, &owner))
		l->owners[l->n++] = owner;
	list_hosts_locked(k, over);
	return nfs4_kept_encode(l, k->bytes);
}

static void wake_locked(struct nfs4_keep *k)
{
	struct nfs4_waiter **link = &k->waiters, *w;

	while ((w = *link)) {
		if (w->number > k->kept) {
			link = &w->next;
			continue;
		}
		*link = w->next;
		vs_loop_post(w->loop, &w->woken);
	}
}

/*
 * Who did not come back within the grace period is off the list before it is over: another client
 * may have what was his then, and after one more restart he must not claim it.
 */
static void keep(struct nfs4_keep *k)
{
	struct nfs4_state *s = k->s;
	struct vs_error err = {0};
	uint64_t number;
	bool over;
	size_t len;

	(void)pthread_mutex_lock(&s->lock);
	k->posted = false;
	number = k->wanted;
	over = nfs4_grace_due(s->grace, s->now());
	len = encode_locked(k, over);
	(void)pthread_mutex_unlock(&s->lock);
	if (k->keeper.save(k->keeper.arg, k->bytes, len, &err))
		vs_err("nfs: which clients may reclaim their locks could not be kept: %s",
		       err.text);
	(void)pthread_mutex_lock(&s->lock);
	k->kept = number;
	wake_locked(k);
	nfs4_freed_locked(s); /* who has got what he waited for may be told now */
	if (over)
		nfs4_grace_end(s->grace);
	(void)pthread_mutex_unlock(&s->lock);
}

static void posted(struct vs_post *p)
{
	keep(p->arg);
}

static void grace_over(struct vs_timer *t)
{
	keep(t->arg);
}

static void *thread_main(void *arg)
{
	struct nfs4_keep *k = arg;

	(void)pthread_setname_np(pthread_self(), "nfs-keep");
	if (nfs4_grace_on(k->s->grace) && vs_loop_timer(k->loop, &k->timer, NFS4_GRACE_NS))
		keep(k);
	vs_loop_run(k->loop);
	return NULL;
}

static int load(struct nfs4_state *s, struct nfs4_keep *k, struct vs_error *err)
{
	struct nfs4_kept *l = &k->list;
	size_t len = 0;
	int status = k->keeper.load(k->keeper.arg, k->bytes, NFS4_KEPT_MAX, &len, err);

	if (status)
		return status;
	if (!len || nfs4_kept_decode(k->bytes, len, l)) {
		if (len)
			vs_warn("nfs: the list of clients that may reclaim their locks is damaged; "
				"none may");
		memset(l, 0, sizeof(*l));
	}
	/* Odd: up; and never one that it had before. */
	s->nsm_state = (l->nsm_state | 1) + 2;
	if ((l->n || l->nhosts) && nfs4_grace_new(l, s->now(), &s->grace))
		return vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	return 0;
}

static int run(struct nfs4_keep *k, struct vs_error *err)
{
	sigset_t all, old;
	int no;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	no = pthread_create(&k->thread, NULL, thread_main, k);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return no ? vs_fail(err, VS_E_LIMIT, "cannot start a thread of the NFS server: %s",
			    strerror(no))
		  : 0;
}

static void free_keep(struct nfs4_keep *k)
{
	vs_loop_free(k->loop);
	free(k->bytes);
	free(k);
}

int nfs4_keep_start(struct nfs4_state *s, const struct nfs_keeper *keeper, struct vs_error *err)
{
	struct nfs4_keep *k;
	int status;

	if (!keeper->save)
		return 0;
	k = calloc(1, sizeof(*k));
	if (!k)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	k->s = s;
	k->keeper = *keeper;
	k->post = (struct vs_post){.call = posted, .arg = k};
	k->timer = (struct vs_timer){.fired = grace_over, .arg = k};
	k->bytes = malloc(NFS4_KEPT_MAX);
	status = k->bytes ? vs_loop_new(&k->loop, err)
			  : vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	if (status == 0)
		status = load(s, k, err);
	if (status == 0)
		status = run(k, err);
	if (status) {
		free_keep(k);
		return status;
	}
	s->keep = k;
	/* Nobody hears of the new state number before it is kept. */
	(void)pthread_mutex_lock(&s->lock);
	if (nfs4_grace_host(s->grace, 0))
		nfs4_keep_changed_locked(s);
	(void)pthread_mutex_unlock(&s->lock);
	return 0;
}

void nfs4_keep_stop(struct nfs4_state *s)
{
	struct nfs4_keep *k = s->keep;

	if (!k)
		return;
	vs_loop_stop(k->loop);
	(void)pthread_join(k->thread, NULL);
	if (k->kept != k->wanted)
		keep(k);
	s->keep = NULL;
	free_keep(k);
}
