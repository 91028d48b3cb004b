#include "backup/writer.h"

#include "backup/format.h"
#include "common/bytes.h"

#include <pthread.h>
#include <stdlib.h>

enum state { IDLE, FULL, DONE, QUIT };

/* FULL and QUIT wake the thread, DONE the owner; buf, size, name, rc and err go with the state. */
struct bk_writer {
	struct bk_remote *r;
	struct dd_hasher *h; /* the thread's */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum state state;
	uint8_t *buf;
	size_t size;
	struct dd_digest name;
	int rc;
	struct vs_error err;
};

static void put_pack(struct bk_writer *w)
{
	char name[BK_NAME_MAX];

	dd_hash(w->h, w->buf, w->size, &w->name);
	bk_pack_name(&w->name, name);
	w->rc = bk_remote_put(w->r, name, w->buf, w->size, 0, &w->err);
}

static void *writer_run(void *arg)
{
	struct bk_writer *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (w->state != FULL && w->state != QUIT)
			pthread_cond_wait(&w->changed, &w->lock);
		if (w->state == QUIT)
			break;
		pthread_mutex_unlock(&w->lock);
		put_pack(w);
		pthread_mutex_lock(&w->lock);
		w->state = DONE;
		pthread_cond_signal(&w->changed);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int bk_writer_new(struct bk_remote *r, size_t capacity, struct bk_writer **out,
		  struct vs_error *err)
{
	struct bk_writer *w = calloc(1, sizeof(*w));
	int rc;

	*out = NULL;
	if (!w)
		return vs_fail(err, VS_E_NOMEM, "no memory for a backup");
	w->r = r;
	w->buf = malloc(capacity);
	rc =
	    w->buf ? dd_hasher_new(&w->h, err) : vs_fail(err, VS_E_NOMEM, "no memory for a backup");
	if (rc) {
		free(w->buf);
		free(w);
		return rc;
	}
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	if (pthread_create(&w->thread, NULL, writer_run, w) != 0) {
		pthread_cond_destroy(&w->changed);
		pthread_mutex_destroy(&w->lock);
		dd_hasher_free(w->h);
		free(w->buf);
		free(w);
		return vs_fail(err, VS_E_LIMIT, "no thread for a backup");
	}
	*out = w;
	return 0;
}

static void await(struct bk_writer *w)
{
	while (w->state == FULL)
		pthread_cond_wait(&w->changed, &w->lock);
}

void bk_writer_free(struct bk_writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	await(w);
	w->state = QUIT;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	dd_hasher_free(w->h);
	free(w->buf);
	free(w);
}

void bk_writer_start(struct bk_writer *w, uint8_t **buf, size_t size)
{
	uint8_t *spare;

	pthread_mutex_lock(&w->lock);
	VS_ASSERT(w->state == IDLE);
	spare = w->buf;
	w->buf = *buf;
	w->size = size;
	*buf = spare;
	w->state = FULL;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

int bk_writer_wait(struct bk_writer *w, struct dd_digest *name, struct vs_error *err)
{
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	await(w);
	if (w->state == DONE) {
		w->state = IDLE;
		*name = w->name;
		rc = w->rc;
		if (rc)
			vs_fail(err, rc, "%s", w->err.text);
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}
