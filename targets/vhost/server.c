#include "targets/vhost/state.h"

#include "common/bytes.h"
#include "common/log.h"

#include <stdlib.h>

#define PORT_DEPTH 128

struct start {
	struct vhost_thread *thread;
	struct vs_error err;
	int rc;
	bool done;
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

static void call_run(struct vs_post *p)
{
	struct vhost_call *c = p->arg;

	c->run(c);
}

void vhost_call_wait(struct vhost_thread *t, struct vhost_call *c)
{
	c->post = (struct vs_post){.call = call_run, .arg = c};
	c->done = false;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
	vs_loop_post(t->loop, &c->post);
	pthread_mutex_lock(&c->lock);
	while (!c->done)
		pthread_cond_wait(&c->cond, &c->lock);
	pthread_mutex_unlock(&c->lock);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
}

void vhost_call_done(struct vhost_call *c, int rc)
{
	pthread_mutex_lock(&c->lock);
	c->rc = rc;
	c->done = true;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

static bool thread_idle(struct vs_idle *i)
{
	return vhost_queue_run_marked(i->arg);
}

static void *thread_main(void *arg)
{
	struct start *s = arg;
	struct vhost_thread *t = s->thread;
	int rc = bs_port_open(t->server->store, t->loop, PORT_DEPTH, &t->port, &s->err);

	if (!rc) {
		t->idle = (struct vs_idle){.idle = thread_idle, .arg = t};
		vs_loop_add_idle(t->loop, &t->idle);
	}
	pthread_mutex_lock(&s->lock);
	s->rc = rc;
	s->done = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
	if (rc)
		return NULL;
	vs_loop_run(t->loop);
	vs_loop_remove_idle(t->loop, &t->idle);
	bs_port_close(t->port);
	return NULL;
}

static int thread_start(struct vhost_server *srv, struct vhost_thread *t, struct vs_error *err)
{
	struct start s = {.thread = t, .lock = PTHREAD_MUTEX_INITIALIZER};
	int rc;

	t->server = srv;
	rc = vs_loop_new(&t->loop, err);
	if (rc)
		return rc;
	vs_loop_look_on(t->loop);
	pthread_cond_init(&s.cond, NULL);
	if (pthread_create(&t->id, NULL, thread_main, &s) != 0) {
		vs_loop_free(t->loop);
		return vs_fail(err, VS_E_NOMEM, "cannot start a vhost-user thread");
	}
	pthread_mutex_lock(&s.lock);
	while (!s.done)
		pthread_cond_wait(&s.cond, &s.lock);
	pthread_mutex_unlock(&s.lock);
	pthread_cond_destroy(&s.cond);
	if (!s.rc)
		return 0;
	pthread_join(t->id, NULL);
	vs_loop_free(t->loop);
	return vs_fail(err, s.rc, "%s", s.err.text);
}

static void thread_stop(struct vhost_thread *t)
{
	vs_loop_stop(t->loop);
	pthread_join(t->id, NULL);
	vs_loop_free(t->loop);
}

int vhost_server_open(struct bs_store *store, unsigned threads, struct vhost_server **out,
		      struct vs_error *err)
{
	struct vhost_server *srv;
	int rc;

	if (threads == 0 || threads > VHOST_THREADS_MAX)
		return vs_fail(err, VS_E_INVAL, "vhost-user threads: %u is not 1 to %u", threads,
			       VHOST_THREADS_MAX);
	srv = calloc(1, sizeof(*srv));
	if (srv)
		srv->threads = calloc(threads, sizeof(*srv->threads));
	if (!srv || !srv->threads) {
		free(srv);
		return vs_fail(err, VS_E_NOMEM, "cannot start vhost-user: out of memory");
	}
	srv->store = store;
	for (; srv->nthreads < threads; srv->nthreads++) {
		rc = thread_start(srv, &srv->threads[srv->nthreads], err);
		if (rc) {
			vhost_server_close(srv);
			return rc;
		}
	}
	*out = srv;
	return 0;
}

void vhost_server_close(struct vhost_server *srv)
{
	if (!srv)
		return;
	VS_ASSERT(atomic_load(&srv->disks) == 0);
	for (unsigned i = 0; i < srv->nthreads; i++)
		thread_stop(&srv->threads[i]);
	free(srv->threads);
	free(srv);
}
