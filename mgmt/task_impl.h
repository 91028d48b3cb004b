/* Private to task*.c: the tasks that have not ended. */
#ifndef MG_TASK_IMPL_H
#define MG_TASK_IMPL_H

#include "mgmt/task.h"

#include <pthread.h>

enum mg_task_state {
	MG_TASK_QUEUED,
	MG_TASK_RUNNING,
	MG_TASK_DONE,
	MG_TASK_FAILED,
	MG_TASK_CANCELLED
};

/*
 * A live task is in its list from start until it has ended; the worker that runs it owns it, and
 * removes and frees it under the lock. All but the atomics is guarded by the list's lock; spec is
 * constant. Without spec.run somebody else does the work (task_follow.c).
 */
struct mg_task {
	struct mg_task_spec spec;
	char subject[256];
	int64_t id, created_ns, started_ns, finished_ns;
	enum mg_task_state state;
	atomic_ullong done, total;
	atomic_bool cancel;
	struct mg_task *next;
};

struct mg_tasks {
	struct mg_history *history;
	struct mg_events *events;
	pthread_t threads[MG_TASK_THREADS];
	unsigned nthreads;
	pthread_mutex_t lock;
	pthread_cond_t work;	/* a task was queued, stop */
	pthread_cond_t changed; /* a task ended, stop */
	struct mg_task *head;	/* in the order of ids */
	unsigned n;
	bool stop;
};

/* With the lock held. */
struct mg_task *mg_task_live(struct mg_tasks *ts, int64_t id); /* NULL: it has ended */
/* Takes what is in spec over; the task is not seen before the lock is given back. */
int mg_task_enter(struct mg_tasks *ts, const struct mg_task_spec *spec, enum mg_task_state state,
		  struct mg_task **out, struct vs_error *err) vs_must_check;
/* Writes the end of t, which returned rc, to the history, tells, and frees it. */
void mg_task_ended(struct mg_tasks *ts, struct mg_task *t, int rc, json_t *result,
		   struct vs_error *err);
json_t *mg_task_json(const struct mg_task *t);

#endif
