#include "mgmt/event.h"

#include "common/bytes.h"
#include "common/log.h"
#include "common/text.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct queued {
	int64_t time_ns;
	enum mg_severity severity;
	char kind[32];
	char subject[256];
	char message[512];
};

/* lock guards everything below it; at[head .. head + n) is queued, modulo the size. */
struct mg_events {
	struct mg_history *history;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;	/* n, stop */
	pthread_cond_t written; /* last, awake */
	struct queued at[MG_EVENT_QUEUE];
	unsigned head, n;
	unsigned long lost; /* since the last event that said so */
	int64_t last;	    /* id of the newest written */
	bool stop, awake;
};

static const char *const severity_name[] = {"info", "warning", "error"};
static const enum vs_log_level severity_level[] = {VS_LOG_INFO, VS_LOG_WARNING, VS_LOG_ERROR};

static void write_event(struct mg_events *e, const struct queued *q)
{
	struct mg_event_row row = {.time_ns = q->time_ns,
				   .severity = severity_name[q->severity],
				   .kind = q->kind,
				   .subject = q->subject,
				   .message = q->message};
	struct vs_error err;
	int64_t id = 0;

	vs_log(severity_level[q->severity], "%s%s%s: %s", q->kind, *q->subject ? " " : "",
	       q->subject, q->message);
	if (mg_history_event_add(e->history, &row, MG_EVENTS_KEPT, &id, &err) != 0) {
		vs_err("an event could not be kept: %s", err.text);
		return;
	}
	pthread_mutex_lock(&e->lock);
	e->last = id;
	pthread_cond_broadcast(&e->written);
	pthread_mutex_unlock(&e->lock);
}

static void fill(struct queued *q, enum mg_severity severity, const char *kind, const char *subject)
{
	q->time_ns = vs_unix_ns();
	q->severity = severity;
	(void)snprintf(q->kind, sizeof(q->kind), "%s", kind);
	(void)snprintf(q->subject, sizeof(q->subject), "%s", subject ? subject : "");
	vs_clean_line(q->subject);
}

static void *writer(void *arg)
{
	struct mg_events *e = arg;

	pthread_mutex_lock(&e->lock);
	for (;;) {
		struct queued q;

		while (e->n == 0 && e->lost == 0 && !e->stop)
			pthread_cond_wait(&e->work, &e->lock);
		if (e->n > 0) {
			q = e->at[e->head];
			e->head = (e->head + 1) % MG_EVENT_QUEUE;
			e->n--;
		} else if (e->lost > 0) {
			fill(&q, MG_WARNING, "events.lost", "");
			(void)snprintf(q.message, sizeof(q.message),
				       "%lu events came faster than they could be written",
				       e->lost);
			e->lost = 0;
		} else {
			break;
		}
		pthread_mutex_unlock(&e->lock);
		write_event(e, &q);
		pthread_mutex_lock(&e->lock);
	}
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

int mg_events_open(struct mg_history *h, struct mg_events **out, struct vs_error *err)
{
	struct mg_events *e = calloc(1, sizeof(*e));
	pthread_condattr_t attr;
	int no;

	if (!e)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	e->history = h;
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->work, NULL);
	pthread_cond_init(&e->written, &attr);
	pthread_condattr_destroy(&attr);
	no = pthread_create(&e->thread, NULL, writer, e);
	if (no != 0) {
		free(e);
		return vs_fail(err, vs_err_from_errno(no), "cannot start the event thread");
	}
	*out = e;
	return 0;
}

void mg_events_close(struct mg_events *e)
{
	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	e->stop = true;
	pthread_cond_signal(&e->work);
	pthread_mutex_unlock(&e->lock);
	pthread_join(e->thread, NULL);
	pthread_cond_destroy(&e->work);
	pthread_cond_destroy(&e->written);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

void mg_events_wake(struct mg_events *e)
{
	pthread_mutex_lock(&e->lock);
	e->awake = true;
	pthread_cond_broadcast(&e->written);
	pthread_mutex_unlock(&e->lock);
}

void mg_event(struct mg_events *e, enum mg_severity severity, const char *kind, const char *subject,
	      const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&e->lock);
	if (e->n == MG_EVENT_QUEUE) {
		e->lost++;
	} else {
		struct queued *q = &e->at[(e->head + e->n) % MG_EVENT_QUEUE];

		fill(q, severity, kind, subject);
		va_start(ap, fmt);
		(void)vsnprintf(q->message, sizeof(q->message), fmt, ap);
		va_end(ap);
		vs_clean_line(q->message);
		e->n++;
	}
	pthread_cond_signal(&e->work);
	pthread_mutex_unlock(&e->lock);
}

void mg_events_wait(struct mg_events *e, int64_t after, unsigned seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)seconds;
	pthread_mutex_lock(&e->lock);
	while (e->last <= after && !e->awake &&
	       pthread_cond_timedwait(&e->written, &e->lock, &until) == 0)
		;
	pthread_mutex_unlock(&e->lock);
}
