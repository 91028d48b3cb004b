#include "targets/nfs/worker.h"

#include "common/log.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS 16 /* in one turn of the loop */
#define ACCEPT_PAUSE_NS (UINT64_C(200) * 1000000)

static void give_to_thread(struct nfs_acceptor *a, struct nfs_accepted from)
{
	struct nfs_shares *shares = a->thread->shares;
	struct nfs_thread *best = a->threads[0];
	bool given;

	for (unsigned i = 1; i < a->nthreads; i++)
		if (atomic_load(&a->threads[i]->load) < atomic_load(&best->load))
			best = a->threads[i];
	(void)pthread_mutex_lock(&shares->lock);
	given = best->ninbox < best->limit;
	if (given) {
		atomic_fetch_add(&best->load, 1);
		best->inbox[best->ninbox++] = from;
		nfs_thread_poke(best);
	}
	(void)pthread_mutex_unlock(&shares->lock);
	if (!given)
		(void)close(from.fd);
}

static void accept_some(struct vs_watch *w, uint32_t events)
{
	struct nfs_listener *l = w->arg;
	struct vs_loop *loop = l->acceptor->thread->w.loop;

	(void)events;
	for (int i = 0; i < ACCEPTS; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 &&
		    (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
			vs_warn("nfs: cannot accept a client: %s", strerror(errno));
			vs_loop_remove(loop, w);
			if (vs_loop_timer(loop, &l->pause, ACCEPT_PAUSE_NS))
				vs_err("nfs: a listener was given up: no timer is left");
			return;
		}
		if (fd < 0)
			return;
		give_to_thread(l->acceptor, (struct nfs_accepted){fd, l->portmap});
	}
}

static void watch(struct nfs_listener *l)
{
	struct vs_loop *loop = l->acceptor->thread->w.loop;

	if (vs_loop_add(loop, &l->watch, EPOLLIN) &&
	    vs_loop_timer(loop, &l->pause, ACCEPT_PAUSE_NS))
		vs_err("nfs: a listener was given up: no timer is left");
}

static void accept_again(struct vs_timer *t)
{
	watch(t->arg);
}

void nfs_accept_add(struct nfs_acceptor *a, int fd, bool portmap)
{
	struct nfs_listener *l = &a->listeners[a->nlisteners++];

	l->watch = (struct vs_watch){.fd = fd, .ready = accept_some, .arg = l};
	l->pause = (struct vs_timer){.fired = accept_again, .arg = l};
	l->acceptor = a;
	l->portmap = portmap;
}

void nfs_accept_open(struct nfs_acceptor *a)
{
	if (a->watching)
		return;
	a->watching = true;
	for (unsigned i = 0; i < a->nlisteners; i++)
		watch(&a->listeners[i]);
}

void nfs_accept_close(struct nfs_acceptor *a)
{
	struct vs_loop *loop = a->thread->w.loop;

	for (unsigned i = 0; i < a->nlisteners && a->watching; i++) {
		vs_loop_cancel(loop, &a->listeners[i].pause);
		vs_loop_remove(loop, &a->listeners[i].watch);
	}
	a->watching = false;
}
