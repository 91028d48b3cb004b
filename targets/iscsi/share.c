#include "targets/iscsi/internal.h"

#include "common/bytes.h"

#define ALONE_REQUESTS 64u /* that a session has at the store which no other of its thread uses */
#define ALONE_BYTES (UINT64_C(9) << 20) /* all its chunks, and what sixteen slots hold */
#define SHARED_REQUESTS 32u /* of all sessions of a thread together, while each has its share */
#define SHARED_BYTES (UINT64_C(4) << 20)
#define LEAST_REQUESTS 4u /* the smallest share */
#define LEAST_BYTES UINT64_C(262144)
#define MOST_BYTES (UINT64_C(1) << 20) /* that one request counts for: copies hardly move bytes */
#define LOOK_NS (100 * UINT64_C(1000000))

_Static_assert(LEAST_BYTES >= ISCSI_CHUNK, "a share has room for a piece");

static void divide(struct iscsi_thread *t)
{
	bool alone = t->sharers <= 1;

	t->share_requests =
	    alone ? ALONE_REQUESTS : VS_MAX(SHARED_REQUESTS / t->sharers, LEAST_REQUESTS);
	t->share_bytes = alone ? ALONE_BYTES : VS_MAX(SHARED_BYTES / t->sharers, LEAST_BYTES);
}

static void uncount(struct iscsi_conn *c)
{
	c->share.counted = false;
	c->thread->sharers--;
	divide(c->thread);
}

static void look_again(struct iscsi_thread *t)
{
	/* without a timer those that have been counted stay so: shares are smaller, no more */
	if (vs_loop_timer(t->loop, &t->share_timer, LOOK_NS) < 0)
		return;
}

/* Who has not used the store since the last look does not share it any more. */
static void look(struct vs_timer *timer)
{
	struct iscsi_thread *t = timer->arg;

	for (struct iscsi_conn *c = t->conns; c; c = c->next) {
		if (c->share.counted && !c->share.used && !c->share.requests)
			uncount(c);
		c->share.used = false;
	}
	if (t->sharers)
		look_again(t);
}

void iscsi_share_start(struct iscsi_thread *t)
{
	t->share_timer = (struct vs_timer){.fired = look, .arg = t};
	divide(t);
}

void iscsi_share_stop(struct iscsi_thread *t)
{
	vs_loop_cancel(t->loop, &t->share_timer);
}

static void count(struct iscsi_conn *c)
{
	struct iscsi_thread *t = c->thread;

	c->share.counted = true;
	if (t->sharers++ == 0)
		look_again(t);
	divide(t);
}

static uint64_t weight(const struct iscsi_piece *p)
{
	return VS_MIN(p->req.length, MOST_BYTES);
}

/* One request may always be there: whatever it weighs, the session goes on. */
static bool fits(const struct iscsi_conn *c, const struct iscsi_piece *p)
{
	const struct iscsi_share *s = &c->share;

	return !s->requests || (s->requests < c->thread->share_requests &&
				s->bytes + weight(p) <= c->thread->share_bytes);
}

static void submit(struct iscsi_conn *c, struct iscsi_piece *p)
{
	c->share.requests++;
	c->share.bytes += weight(p);
	bs_submit(c->thread->port, &p->req);
}

void iscsi_share_submit(struct iscsi_piece *p)
{
	struct iscsi_conn *c = p->task->conn;
	struct iscsi_share *s = &c->share;

	s->used = true;
	if (!s->counted)
		count(c);
	if (!s->first && fits(c, p)) {
		submit(c, p);
		return;
	}
	p->line_next = NULL;
	*(s->first ? &s->last->line_next : &s->first) = p;
	s->last = p;
}

void iscsi_share_done(struct iscsi_piece *p)
{
	struct iscsi_conn *c = p->task->conn;
	struct iscsi_share *s = &c->share;

	s->requests--;
	s->bytes -= weight(p);
	while (s->first && fits(c, s->first)) {
		struct iscsi_piece *next = s->first;

		s->first = next->line_next;
		submit(c, next);
	}
}

void iscsi_share_drop(struct iscsi_conn *c, const struct iscsi_task *t)
{
	struct iscsi_piece *p = c->share.first, *next;

	c->share.first = c->share.last = NULL;
	for (; p; p = next) {
		next = p->line_next;
		if (!t || p->task == t) {
			iscsi_task_withdrawn(p);
			continue;
		}
		p->line_next = NULL;
		*(c->share.first ? &c->share.last->line_next : &c->share.first) = p;
		c->share.last = p;
	}
}

void iscsi_share_leave(struct iscsi_conn *c)
{
	if (c->share.counted)
		uncount(c);
}
