#include "targets/nbd/opener.h"

#include "blockstore/volume.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct nbd_opener {
	struct bs_store *store;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct nbd_opening *first, **last;
	bool stop;
};

static void carry_out(struct nbd_opener *o, struct nbd_opening *job)
{
	struct bs_volume *v = job->volume;

	job->status = 0;
	job->volume = NULL;
	if (!v) {
		job->status = bs_volume_open(o->store, job->export->name, &v, NULL);
		if (job->status)
			return;
		if (vs_uuid_equal(bs_volume_uuid(v), &job->export->uuid)) {
			job->volume = v;
			return;
		}
		job->status = VS_E_NOENT;
	}
	bs_volume_close(v);
}

static void *opener_main(void *arg)
{
	struct nbd_opener *o = arg;

	(void)pthread_setname_np(pthread_self(), "nbd-open");
	(void)pthread_mutex_lock(&o->lock);
	for (;;) {
		struct nbd_opening *job;

		while (!o->first && !o->stop)
			(void)pthread_cond_wait(&o->work, &o->lock);
		job = o->first;
		if (!job)
			break;
		o->first = job->next;
		if (!o->first)
			o->last = &o->first;
		(void)pthread_mutex_unlock(&o->lock);
		carry_out(o, job);
		vs_loop_post(job->loop, &job->post);
		(void)pthread_mutex_lock(&o->lock);
	}
	(void)pthread_mutex_unlock(&o->lock);
	return NULL;
}

int nbd_opener_start(struct bs_store *store, struct nbd_opener **out, struct vs_error *err)
{
	struct nbd_opener *o = calloc(1, sizeof(*o));
	sigset_t all, old;
	int no;

	if (!o)
		return vs_fail(err, VS_E_NOMEM, "cannot start the NBD server: out of memory");
	o->store = store;
	o->last = &o->first;
	(void)pthread_mutex_init(&o->lock, NULL);
	(void)pthread_cond_init(&o->work, NULL);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	no = pthread_create(&o->thread, NULL, opener_main, o);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (no) {
		free(o);
		return vs_fail(err, VS_E_LIMIT, "cannot start a thread of the NBD server: %s",
			       strerror(no));
	}
	*out = o;
	return 0;
}

void nbd_opener_stop(struct nbd_opener *o)
{
	if (!o)
		return;
	(void)pthread_mutex_lock(&o->lock);
	o->stop = true;
	(void)pthread_cond_signal(&o->work);
	(void)pthread_mutex_unlock(&o->lock);
	(void)pthread_join(o->thread, NULL);
	(void)pthread_cond_destroy(&o->work);
	(void)pthread_mutex_destroy(&o->lock);
	free(o);
}

void nbd_opener_submit(struct nbd_opener *o, struct nbd_opening *job)
{
	job->next = NULL;
	(void)pthread_mutex_lock(&o->lock);
	*o->last = job;
	o->last = &job->next;
	(void)pthread_cond_signal(&o->work);
	(void)pthread_mutex_unlock(&o->lock);
}
