/*
 * A second thread for a port whose writes are large: the port hashes and compresses some of their
 * operations, the helper others, which it sends to the engine itself. It begins when it is first
 * needed and ends with the port. While it has an operation that is the only one to touch it.
 */
#include "blockstore/port_int.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define HELP_BLOCKS 16u /* smaller operations cost less than telling somebody */
#define HELP_BUSY 6u	/* or with more behind it: the port will have something else to do */
#define HELP_AT_ONCE 2u /* the one it works on and the next */

struct bs_port_helper {
	struct bs_port *port;
	struct bs_hands hands;
	pthread_t thread;
	sem_t todo; /* operations in the ring; one more ends the thread */
	struct vs_ring ring;
	atomic_uint has; /* operations */
};

static void *work(void *arg)
{
	struct bs_port_helper *h = arg;
	struct bs_port *p = h->port;

	(void)pthread_setname_np(pthread_self(), "port-helper");
	for (;;) {
		struct bs_iop *op;
		bool ok;

		while (sem_wait(&h->todo) != 0)
			;
		op = vs_ring_pop(&h->ring);
		if (!op)
			return NULL;
		bs_port_ready(&h->hands, &op, 1);
		ok = vs_ring_push(&p->from_helper, op);
		VS_ASSERT(ok);
		atomic_fetch_sub(&h->has, 1);
		bs_port_wake_engine(p);
	}
}

static int start_thread(struct bs_port_helper *h)
{
	sigset_t all, old;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&h->thread, NULL, work, h);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static void destroy(struct bs_port_helper *h)
{
	bs_hands_close(&h->hands);
	vs_ring_destroy(&h->ring);
	sem_destroy(&h->todo);
	free(h);
}

static struct bs_port_helper *start(struct bs_port *p)
{
	struct bs_port_helper *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->port = p;
	sem_init(&h->todo, 0, 0);
	if (vs_ring_init(&h->ring, HELP_AT_ONCE) || bs_hands_open(&h->hands) || start_thread(h)) {
		destroy(h);
		return NULL;
	}
	return h;
}

bool bs_port_help(struct bs_port *p, struct bs_iop *op)
{
	struct bs_port_helper *h = p->helper;
	bool ok;

	if (p->alone || op->count < HELP_BLOCKS || (!p->head && p->busy_ops < HELP_BUSY))
		return false;
	if (!h) {
		h = p->helper = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? start(p) : NULL;
		p->alone = !h;
	}
	if (!h || atomic_load(&h->has) >= HELP_AT_ONCE)
		return false;
	atomic_fetch_add(&h->has, 1);
	ok = vs_ring_push(&h->ring, op);
	VS_ASSERT(ok);
	sem_post(&h->todo);
	return true;
}

void bs_port_helper_stop(struct bs_port *p)
{
	struct bs_port_helper *h = p->helper;

	if (!h)
		return;
	sem_post(&h->todo);
	(void)pthread_join(h->thread, NULL);
	destroy(h);
}
