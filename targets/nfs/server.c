#include "targets/nfs/server.h"

#include "common/listen.h"
#include "common/secret.h"
#include "common/text.h"
#include "targets/nfs/nlm_peer.h"
#include "targets/nfs/register.h"
#include "targets/nfs/worker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_CONNECTIONS 256
#define MAX_CONNECTIONS 4096
#define DEFAULT_THREADS 2
#define MAX_THREADS 16
#define DRC_ENTRIES 4096

struct nfs_server {
	struct nfs_shares shares;
	struct nfs_common common;
	struct nfs_acceptor acceptor;
	struct nfs_thread *threads[MAX_THREADS];
	unsigned nthreads;
	struct nfs_registrar *registrar; /* NULL: registers nowhere */
	struct nfs_nlm_peers *peers;
};

static int note_place(struct nfs_common *common, int fd, bool portmap)
{
	static const uint8_t zero[16];
	struct nfs_place *p = &common->places[common->nplaces];
	union {
		struct sockaddr_storage any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} at = {0};
	socklen_t len = sizeof(at);

	if (getsockname(fd, (struct sockaddr *)&at, &len) ||
	    !nfs_address_from(&at.any, &p->address))
		return VS_E_IO;
	p->portmap = portmap;
	p->v6 = at.any.ss_family == AF_INET6;
	/* IPv4 is the last four bytes. */
	p->any = memcmp(p->address.b + (p->v6 ? 0 : 12), zero, p->v6 ? 16 : 4) == 0;
	p->port = ntohs(p->v6 ? at.in6.sin6_port : at.in.sin_port);
	common->nplaces++;
	return 0;
}

static int listen_at(struct nfs_server *srv, const char *address, bool portmap,
		     struct vs_error *err)
{
	const char *what = portmap ? "the port mapper" : "NFS";
	int fd, status = vs_listen_tcp(what, address, &fd, err);

	if (status)
		return status;
	nfs_accept_add(&srv->acceptor, fd, portmap);
	status = note_place(&srv->common, fd, portmap);
	return status ? vs_fail(err, status, "cannot listen for %s on %s", what, address) : 0;
}

static int listen_all(struct nfs_server *srv, const struct nfs_server_options *opts,
		      struct vs_error *err)
{
	int status = 0;

	if (opts->nlisten > NFS_LISTEN_MAX || opts->nportmap > NFS_LISTEN_MAX - opts->nlisten)
		return vs_fail(err, VS_E_LIMIT, "NFS listens on at most %d addresses",
			       NFS_LISTEN_MAX);
	for (size_t i = 0; status == 0 && i < opts->nlisten; i++)
		status = listen_at(srv, opts->listen[i], false, err);
	for (size_t i = 0; status == 0 && i < opts->nportmap; i++)
		status = listen_at(srv, opts->portmap[i], true, err);
	return status;
}

static int start_threads(struct nfs_server *srv, const struct nfs_server_options *opts,
			 struct vs_error *err)
{
	unsigned threads = opts->threads ? opts->threads : DEFAULT_THREADS;
	unsigned conns = opts->max_connections ? opts->max_connections : DEFAULT_CONNECTIONS;
	uint8_t key[NFS_KEY_MAX];
	size_t key_len = opts->key ? opts->key_len : sizeof(key);
	int status = 0;

	if (threads > MAX_THREADS || conns > MAX_CONNECTIONS)
		return vs_fail(err, VS_E_INVAL,
			       "an NFS server has at most %d threads and %d connections",
			       MAX_THREADS, MAX_CONNECTIONS);
	if (!opts->key && vs_random(key, sizeof(key)))
		return vs_fail(err, VS_E_IO, "cannot make a key for NFS file handles");
	while (status == 0 && srv->nthreads < threads) {
		status = nfs_thread_start(&srv->shares, &srv->common, VS_DIV_UP(conns, threads),
					  opts->key ? opts->key : key, key_len,
					  &srv->threads[srv->nthreads], err);
		if (status == 0)
			srv->nthreads++;
	}
	vs_secret_wipe(key, sizeof(key));
	return status;
}

/* What clients of NFSv4 know the server by: the same as long as the key is the same. */
static int start_v4(struct nfs_server *srv, const struct nfs_server_options *opts,
		    struct vs_error *err)
{
	uint8_t id[NFS_SERVER_ID_BYTES];
	int status =
	    opts->key ? nfs_server_id(opts->key, opts->key_len, id) : vs_random(id, sizeof(id));

	if (status == 0)
		status = nfs4_state_new(id, &srv->common.v4);
	if (status)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	return nfs4_keep_start(srv->common.v4, &opts->keeper, err);
}

int nfs_server_start(const struct nfs_server_options *opts, struct nfs_server **out,
		     struct vs_error *err)
{
	struct nfs_server *srv = calloc(1, sizeof(*srv));
	int status;

	if (!srv)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	(void)pthread_mutex_init(&srv->shares.lock, NULL);
	(void)pthread_cond_init(&srv->shares.changed, NULL);
	nfs_mounts_init(&srv->common.mounts);
	srv->common.started_ns = (uint64_t)vs_unix_ns();
	if (nfs_drc_new(DRC_ENTRIES, &srv->common.drc) ||
	    vs_random(srv->common.verifier, sizeof(srv->common.verifier)))
		status = vs_fail(err, VS_E_NOMEM, "cannot start the NFS server: out of memory");
	else
		status = listen_all(srv, opts, err);
	if (status == 0)
		status = start_threads(srv, opts, err);
	if (status == 0)
		status = start_v4(srv, opts, err);
	if (status == 0)
		status = nfs_nlm_peers_start(&srv->common, opts->peer_portmap, &srv->peers, err);
	if (status == 0 && opts->rpcbind.socket && opts->nportmap == 0)
		status = nfs_registrar_new(&opts->rpcbind, &srv->common, &srv->registrar, err);
	if (status) {
		nfs_server_stop(srv);
		return status;
	}
	srv->acceptor.threads = srv->threads;
	srv->acceptor.nthreads = srv->nthreads;
	srv->acceptor.thread = srv->threads[0];
	srv->threads[0]->acceptor = &srv->acceptor;
	*out = srv;
	return 0;
}

void nfs_server_serve(struct nfs_server *srv)
{
	(void)pthread_mutex_lock(&srv->shares.lock);
	srv->acceptor.open = true;
	nfs_thread_poke(srv->threads[0]);
	(void)pthread_mutex_unlock(&srv->shares.lock);
	nfs_nlm_peers_begin(srv->peers);
	if (srv->registrar)
		nfs_registrar_begin(srv->registrar);
}

void nfs_server_stop(struct nfs_server *srv)
{
	if (!srv)
		return;
	nfs_registrar_free(srv->registrar);
	nfs_threads_stop(&srv->shares, srv->threads, srv->nthreads);
	nfs_nlm_peers_stop(srv->peers);
	for (unsigned i = 0; i < srv->acceptor.nlisteners; i++)
		(void)close(srv->acceptor.listeners[i].watch.fd);
	for (struct nfs_share *s = srv->shares.list, *next; s; s = next) {
		next = s->next;
		free(s);
	}
	if (srv->common.v4)
		nfs4_keep_stop(srv->common.v4);
	nfs4_state_free(srv->common.v4);
	nfs_drc_free(srv->common.drc);
	nfs_mounts_destroy(&srv->common.mounts);
	(void)pthread_cond_destroy(&srv->shares.changed);
	(void)pthread_mutex_destroy(&srv->shares.lock);
	free(srv);
}

/* The link that leads to a share, or the end of the list. */
static struct nfs_share **find(struct nfs_server *srv, const char *name)
{
	struct nfs_share **link = &srv->shares.list;

	while (*link && strcmp((*link)->name, name) != 0)
		link = &(*link)->next;
	return link;
}

/* Waits until all threads go by what is shared now; the lock is held. The first error, or 0. */
static int settle_locked(struct nfs_server *srv, struct vs_error *err)
{
	uint64_t version = ++srv->shares.version;
	int status = 0;

	for (unsigned i = 0; i < srv->nthreads; i++)
		nfs_thread_poke(srv->threads[i]);
	for (unsigned i = 0; i < srv->nthreads; i++) {
		struct nfs_thread *t = srv->threads[i];

		while (t->seen != version)
			(void)pthread_cond_wait(&srv->shares.changed, &srv->shares.lock);
		if (t->error.code && !status) {
			status = t->error.code;
			if (err)
				*err = t->error;
		}
	}
	return status;
}

/* Also under another name. */
static bool is_shared(const struct nfs_server *srv, const struct ds_store *store)
{
	for (const struct nfs_share *s = srv->shares.list; s; s = s->next)
		if (s->store == store)
			return true;
	return false;
}

static void remove_locked(struct nfs_server *srv, struct nfs_share **link)
{
	struct nfs_share *s = *link;
	struct nfs_store_id id;

	*link = s->next;
	srv->shares.count--;
	(void)settle_locked(srv, NULL);
	id = nfs_store_id(ds_uuid(s->store));
	if (!is_shared(srv, s->store))
		nfs4_share_forget(srv->common.v4, &id);
	free(s);
}

static int add_locked(struct nfs_server *srv, struct nfs_share *fresh, struct vs_error *err)
{
	struct nfs_share **link = find(srv, fresh->name);
	int status;

	if (*link && (*link)->store != fresh->store) {
		status = vs_fail(err, VS_E_EXIST, "%s is shared over NFS already", fresh->name);
	} else if (*link) {
		(*link)->nrules = fresh->nrules;
		memcpy((*link)->rules, fresh->rules, sizeof(fresh->rules));
		free(fresh);
		return settle_locked(srv, err);
	} else if (srv->shares.count == NFS_SHARES_MAX) {
		status = vs_fail(err, VS_E_LIMIT, "at most %d datastores are shared over NFS",
				 NFS_SHARES_MAX);
	} else {
		fresh->id = ++srv->shares.next_id;
		*link = fresh;
		srv->shares.count++;
		status = settle_locked(srv, err);
		if (status)
			remove_locked(srv, link);
		return status;
	}
	free(fresh);
	return status;
}

int nfs_server_share(struct nfs_server *srv, const char *name, struct ds_store *store,
		     const struct nfs_rule *rules, size_t nrules, struct vs_error *err)
{
	struct nfs_share *s;
	int status = 0;

	if (*name == '\0' || strlen(name) >= NFS_SHARE_NAME_MAX || strchr(name, '/'))
		return vs_fail(err, VS_E_INVAL, "%s is no name to share over NFS", name);
	if (nrules > NFS_RULES_MAX)
		return vs_fail(err, VS_E_LIMIT, "at most %d lists of clients may use %s over NFS",
			       NFS_RULES_MAX, name);
	s = calloc(1, sizeof(*s));
	if (!s)
		return vs_fail(err, VS_E_NOMEM, "cannot share %s: out of memory", name);
	memcpy(s->name, name, strlen(name));
	s->store = store;
	while (status == 0 && s->nrules < nrules) {
		status = nfs_rule_parse(&rules[s->nrules], &s->rules[s->nrules], err);
		s->nrules++;
	}
	if (status) {
		free(s);
		return status;
	}
	(void)pthread_mutex_lock(&srv->shares.lock);
	status = add_locked(srv, s, err);
	(void)pthread_mutex_unlock(&srv->shares.lock);
	return status;
}

int nfs_server_unshare(struct nfs_server *srv, const char *name, struct vs_error *err)
{
	struct nfs_share **link;
	int status = 0;

	(void)pthread_mutex_lock(&srv->shares.lock);
	link = find(srv, name);
	if (*link)
		remove_locked(srv, link);
	else
		status = vs_fail(err, VS_E_NOENT, "%s is not shared over NFS", name);
	(void)pthread_mutex_unlock(&srv->shares.lock);
	return status;
}

size_t nfs_server_list(struct nfs_server *srv, struct nfs_server_share_info *out, size_t max)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&srv->shares.lock);
	for (const struct nfs_share *s = srv->shares.list; s; s = s->next, n++) {
		if (n >= max)
			continue;
		memcpy(out[n].name, s->name, sizeof(out[n].name));
		out[n].rules = s->nrules;
	}
	(void)pthread_mutex_unlock(&srv->shares.lock);
	return n;
}

static void describe(struct nfs_conn *c, struct nfs_server_client_info *out)
{
	memcpy(out->address, c->peer, sizeof(out->address));
	out->since = c->since;
	out->calls = atomic_load_explicit(&c->ncalls, memory_order_relaxed);
	out->received = atomic_load_explicit(&c->received, memory_order_relaxed);
	out->sent = atomic_load_explicit(&c->sent, memory_order_relaxed);
}

size_t nfs_server_clients(struct nfs_server *srv, struct nfs_server_client_info *out, size_t max)
{
	size_t n = 0;

	for (unsigned i = 0; i < srv->nthreads; i++) {
		struct nfs_worker *w = &srv->threads[i]->w;

		(void)pthread_mutex_lock(&w->conns_lock);
		for (struct nfs_conn *c = w->conns; c; c = c->next, n++)
			if (n < max)
				describe(c, &out[n]);
		(void)pthread_mutex_unlock(&w->conns_lock);
	}
	return n;
}

int nfs_server_address(struct nfs_server *srv, size_t i, char text[NFS_ADDRESS_MAX])
{
	if (i >= srv->acceptor.nlisteners)
		return VS_E_NOENT;
	return vs_listen_name(srv->acceptor.listeners[i].watch.fd, text, NFS_ADDRESS_MAX);
}
