#include "mgmt/space.h"

#include "common/bytes.h"

#include <stdlib.h>
#include <time.h>

#define LOOK_SECONDS 5
#define SLACK 2 /* percent */

/* lock guards stop. */
struct mg_space {
	struct mg_node *node;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t stopped;
	bool stop;
};

unsigned mg_space_mark(uint64_t used, uint64_t capacity, unsigned before)
{
	static const unsigned marks[] = {95, 90, 80};
	double percent = capacity ? 100.0 * (double)used / (double)capacity : 0;

	for (size_t i = 0; i < VS_ARRAY_LEN(marks); i++)
		if (percent >= marks[i] - (marks[i] <= before ? SLACK : 0))
			return marks[i];
	return 0;
}

static void look(struct mg_node *n, unsigned *mark)
{
	struct bs_store_info info;
	unsigned now;

	bs_store_info(n->store, &info);
	now = mg_space_mark(info.physical_used_bytes, info.capacity_bytes, *mark);
	if (now > *mark)
		mg_event(n->events, now >= 95 ? MG_ERROR : MG_WARNING, "store.space", "store",
			 "%u%% full: %llu of %llu bytes; delete snapshots or volumes, or grow it",
			 now, (unsigned long long)info.physical_used_bytes,
			 (unsigned long long)info.capacity_bytes);
	else if (now < *mark)
		mg_event(n->events, MG_INFO, "store.space", "store", "less than %u%% full again",
			 *mark);
	*mark = now;
}

static void *watcher(void *arg)
{
	struct mg_space *s = arg;
	unsigned mark = 0;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		struct timespec until;

		pthread_mutex_unlock(&s->lock);
		look(s->node, &mark);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += LOOK_SECONDS;
		pthread_mutex_lock(&s->lock);
		if (!s->stop)
			pthread_cond_timedwait(&s->stopped, &s->lock, &until);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int mg_space_open(struct mg_node *n, struct mg_space **out, struct vs_error *err)
{
	struct mg_space *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int no;

	if (!s)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	s->node = n;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->stopped, &attr);
	pthread_condattr_destroy(&attr);
	no = pthread_create(&s->thread, NULL, watcher, s);
	if (no != 0) {
		free(s);
		return vs_fail(err, vs_err_from_errno(no), "cannot start the space thread");
	}
	*out = s;
	return 0;
}

void mg_space_close(struct mg_space *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->stopped);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->stopped);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
