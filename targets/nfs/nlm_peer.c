#include "targets/nfs/nlm_peer.h"

#include "common/log.h"
#include "targets/nfs/nfs4_grace.h"
#include "targets/nfs/nlm_call.h"
#include "targets/nfs/nlm_wait.h"
#include "targets/nfs/nsm_udp.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND_NS UINT64_C(1000000000)
#define NOTIFY_CALLS                                                                 \
	(NFS_NLM_PEER_CALLS * 3 / 4) /* who waits for a lock need not wait for these \
				      */

#define WARN_ATTEMPTS 4u /* after some 15 s */

_Static_assert(NFS_NLM_CALL_OUT >= 64 + sizeof(((struct nfs_nlm_tell *)0)->args),
	       "a call's header and its arguments fit");

struct job {
	struct nfs_nlm_peers *peers;
	bool used;
	struct nfs4_grace_host *restarted; /* SM_NOTIFY of it; NULL: NLM_GRANTED */
	struct nfs_nlm_tell tell;
	struct nfs_nlm_call call;
};

struct nfs_nlm_peers {
	struct nfs4_state *s;
	struct vs_loop *loop;
	pthread_t thread;
	uint16_t portmapper;
	struct nsm_udp *udp;
	struct vs_timer tick;
	struct job jobs[NFS_NLM_PEER_CALLS];
	unsigned notifies; /* of them */
	/* under the state's lock */
	struct vs_post post;
	bool posted;
	bool open; /* clients are accepted */
};

/* The state's lock is held. */
static void stir(void *arg)
{
	struct nfs_nlm_peers *p = arg;

	if (p->posted)
		return;
	p->posted = true;
	vs_loop_post(p->loop, &p->post);
}

static struct job *free_job(struct nfs_nlm_peers *p)
{
	for (unsigned i = 0; i < NFS_NLM_PEER_CALLS; i++)
		if (!p->jobs[i].used)
			return &p->jobs[i];
	return NULL;
}

static void work(struct nfs_nlm_peers *p);

/* ---- NLM_GRANTED ---- */

static enum nfs_nlm_told told_by(const struct job *j, enum nfs_nlm_called how, struct nfs_dec *d)
{
	enum nfs_nlm_status status;
	struct nfs_bytes cookie;

	if (how == NFS_NLM_CALL_SILENT)
		return NFS_NLM_UNSURE;
	if (how == NFS_NLM_CALL_NOT_MADE)
		return NFS_NLM_LATER;
	if (!nfs_nlm_granted_decode(d, &cookie, &status))
		return NFS_NLM_UNSURE;
	if (status == NFS_NLM_OK)
		return NFS_NLM_TOLD;
	vs_debug("nfs: a client answered that it does not want lock %llu: %u",
		 (unsigned long long)j->tell.id, status);
	return status == NFS_NLM_DENIED_GRACE_PERIOD ? NFS_NLM_LATER : NFS_NLM_UNWANTED;
}

static void granted_done(struct nfs_nlm_call *c, enum nfs_nlm_called how, struct nfs_dec *d)
{
	struct job *j = c->arg;
	struct nfs_nlm_peers *p = j->peers;

	(void)pthread_mutex_lock(&p->s->lock);
	nfs_nlm_told_locked(p->s, j->tell.id, told_by(j, how, d));
	(void)pthread_mutex_unlock(&p->s->lock);
	j->used = false;
	work(p);
}

/* ---- SM_NOTIFY ---- */

static void warn(const struct nfs4_grace_host *h)
{
	char text[NFS_ADDRESS_MAX];

	nfs_address_text(&h->kept.client, text, sizeof(text));
	vs_warn("nfs: %s had files locked by version 3 and cannot be told that the server has "
		"restarted: it loses these locks unless its rpcbind and rpc.statd can be reached "
		"over TCP soon",
		text);
}

static void notify_done(struct nfs_nlm_call *c, enum nfs_nlm_called how, struct nfs_dec *d)
{
	struct job *j = c->arg;
	struct nfs_nlm_peers *p = j->peers;
	struct nfs4_grace_host *h = j->restarted;
	uint64_t now;

	(void)d; /* the answer is empty */
	(void)pthread_mutex_lock(&p->s->lock);
	now = p->s->now();
	h->busy = false;
	if (how == NFS_NLM_CALL_ANSWERED)
		h->answered_ns = now;
	else if (h->attempts == WARN_ATTEMPTS)
		warn(h);
	h->next_ns = now + SECOND_NS * VS_MIN(1u << VS_MIN(h->attempts, 4u), 10u);
	(void)pthread_mutex_unlock(&p->s->lock);
	p->notifies--;
	j->used = false;
	work(p);
}

/* The next host that is to hear of the restart; the lock is held. */
static bool next_notify(struct nfs_nlm_peers *p, struct job *j)
{
	struct nfs4_state *s = p->s;
	struct nfs4_grace_host *h;
	char name[NFS_ADDRESS_MAX];
	struct nfs_enc e = {j->tell.args, j->tell.args + sizeof(j->tell.args), false};

	if (!p->open || !nfs4_grace_on(s->grace) || p->notifies == NOTIFY_CALLS ||
	    !nfs4_keep_has_locked(s, 1)) /* the new state number */
		return false;
	for (unsigned i = 0; (h = nfs4_grace_host(s->grace, i)); i++)
		if (!h->busy && !h->answered_ns && !h->back && s->now() >= h->next_ns)
			break;
	if (!h)
		return false;
	h->busy = true;
	h->attempts++;
	j->restarted = h;
	j->tell.client = h->kept.client;
	j->tell.server = h->kept.server;
	/* By the address that it knows: it need not look a name up. */
	nfs_address_text(&h->kept.server, name, sizeof(name));
	nfs_nsm_notify_encode(&e, (struct nfs_bytes){(const uint8_t *)name, (uint32_t)strlen(name)},
			      s->nsm_state);
	VS_ASSERT(!e.bad);
	j->tell.len = (uint32_t)(e.p - j->tell.args);
	p->notifies++;
	return true;
}

/* ---- the thread ---- */

static void call(struct job *j)
{
	struct nfs_nlm_call *c = &j->call;
	bool granted = !j->restarted;

	j->used = true;
	c->loop = j->peers->loop;
	c->client = j->tell.client;
	c->server = j->tell.server;
	c->portmapper = j->peers->portmapper;
	c->prog = granted ? NFS_NLM_PROG : NFS_NSM_PROG;
	c->vers = granted ? NFS_NLM_VERSION : NFS_NSM_VERSION;
	c->proc = granted ? (uint32_t)NFS_NLM_GRANTED : (uint32_t)NFS_NSM_NOTIFY;
	c->args = j->tell.args;
	c->args_len = j->tell.len;
	c->done = granted ? granted_done : notify_done;
	c->arg = j;
	nfs_nlm_call_start(c);
}

/* Whether there is a call to make; the lock is held. */
static bool next_locked(struct nfs_nlm_peers *p, struct job *j)
{
	j->restarted = NULL;
	return nfs_nlm_next_locked(p->s, &j->tell) || next_notify(p, j);
}

/* Until there is something to do without being stirred; 0: nothing. */
static uint64_t pause_locked(const struct nfs4_state *s, bool unused)
{
	if (s->waiters || (nfs4_grace_on(s->grace) && nfs4_grace_host(s->grace, 0)))
		return SECOND_NS;
	return unused ? NFS_NLM_LINGER_NS / 2 : 0;
}

static void work(struct nfs_nlm_peers *p)
{
	struct nfs4_state *s = p->s;
	struct job *j = free_job(p);
	uint64_t pause;
	bool unused;

	(void)pthread_mutex_lock(&s->lock);
	nfs_nlm_settle_locked(s);
	for (; j && next_locked(p, j); j = free_job(p))
		call(j);
	unused = nfs_nlm_host_sweep_locked(s);
	if (nfs4_grace_due(s->grace, s->now()))
		nfs4_keep_changed_locked(s);
	pause = pause_locked(s, unused);
	(void)pthread_mutex_unlock(&s->lock);
	if (pause && vs_loop_timer(p->loop, &p->tick, pause))
		VS_ASSERT(false); /* a loop has timers for all that there can be here */
}

static void posted(struct vs_post *post)
{
	struct nfs_nlm_peers *p = post->arg;

	(void)pthread_mutex_lock(&p->s->lock);
	p->posted = false;
	(void)pthread_mutex_unlock(&p->s->lock);
	work(p);
}

static void ticked(struct vs_timer *t)
{
	work(t->arg);
}

static void *thread_main(void *arg)
{
	struct nfs_nlm_peers *p = arg;

	(void)pthread_setname_np(pthread_self(), "nfs-locks");
	vs_loop_run(p->loop);
	for (unsigned i = 0; i < NFS_NLM_PEER_CALLS; i++)
		if (p->jobs[i].used)
			nfs_nlm_call_drop(&p->jobs[i].call);
	nsm_udp_close(p->udp);
	return NULL;
}

static int run(struct nfs_nlm_peers *p, struct vs_error *err)
{
	sigset_t all, old;
	int no;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	no = pthread_create(&p->thread, NULL, thread_main, p);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return no ? vs_fail(err, VS_E_LIMIT, "cannot start a thread of the NFS server: %s",
			    strerror(no))
		  : 0;
}

int nfs_nlm_peers_start(struct nfs_common *common, uint16_t portmapper, struct nfs_nlm_peers **out,
			struct vs_error *err)
{
	struct nfs_nlm_peers *p = calloc(1, sizeof(*p));
	int status;

	if (!p)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	p->s = common->v4;
	p->portmapper = portmapper ? portmapper : NFS_PORTMAP_PORT;
	p->post = (struct vs_post){.call = posted, .arg = p};
	p->tick = (struct vs_timer){.fired = ticked, .arg = p};
	for (unsigned i = 0; i < NFS_NLM_PEER_CALLS; i++)
		p->jobs[i].peers = p;
	status = vs_loop_new(&p->loop, err);
	if (status == 0)
		status = nsm_udp_open(p->loop, common, &p->udp, err);
	if (status == 0)
		status = run(p, err);
	if (status) {
		nsm_udp_close(p->udp);
		vs_loop_free(p->loop);
		free(p);
		return status;
	}
	(void)pthread_mutex_lock(&p->s->lock);
	p->s->stir.arg = p;
	p->s->stir.call = stir;
	(void)pthread_mutex_unlock(&p->s->lock);
	*out = p;
	return 0;
}

void nfs_nlm_peers_begin(struct nfs_nlm_peers *p)
{
	(void)pthread_mutex_lock(&p->s->lock);
	p->open = true;
	stir(p);
	(void)pthread_mutex_unlock(&p->s->lock);
}

void nfs_nlm_peers_stop(struct nfs_nlm_peers *p)
{
	if (!p)
		return;
	vs_loop_stop(p->loop);
	(void)pthread_join(p->thread, NULL);
	(void)pthread_mutex_lock(&p->s->lock);
	p->s->stir.call = NULL;
	(void)pthread_mutex_unlock(&p->s->lock);
	vs_loop_free(p->loop);
	free(p);
}
