#include "targets/vhost/state.h"

#include "common/bytes.h"
#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BUDGET 64 /* requests taken from one queue before the others get their turn */
#define EVENT_IDX (UINT64_C(1) << 29)

static void ready(struct vs_watch *w, uint32_t events);

void vhost_queue_init(struct vhost_disk *d, unsigned index)
{
	struct vhost_queue *q = &d->queues[index];

	memset(q, 0, sizeof(*q));
	q->disk = d;
	q->index = index;
	q->call_fd = q->err_fd = q->kick.fd = -1;
	q->kick.ready = ready;
	q->kick.arg = q;
}

void vhost_queue_mark(struct vhost_queue *q)
{
	struct vhost_thread *t = q->disk->thread;

	if (q->dirty)
		return;
	q->dirty = true;
	q->next_dirty = t->dirty;
	t->dirty = q;
}

static void ready(struct vs_watch *w, uint32_t events)
{
	struct vhost_queue *q = w->arg;
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR) {
		vs_loop_remove(q->disk->thread->loop, w);
		return;
	}
	vhost_queue_mark(q);
}

static void drop_kick(struct vhost_queue *q)
{
	if (q->kick.fd < 0)
		return;
	vs_loop_remove(q->disk->thread->loop, &q->kick);
	close(q->kick.fd);
	q->kick.fd = -1;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full, so the other side has its event already */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		vs_debug("vhost: cannot signal an event: errno %d", errno);
}

static void queue_broken(struct vhost_queue *q)
{
	vs_warn("disk %s: the guest's queue %u breaks the virtio rules; it is stopped until the "
		"guest resets the device",
		q->disk->name, q->index);
	q->broken = true;
	signal_fd(q->err_fd);
}

/* Sets the ring's state from the front end's base or, better, from what was in flight. */
static int ring_state(struct vhost_queue *q, struct vs_error *err)
{
	struct vhost_session *s = &q->disk->session;
	struct vhost_ring *r = &q->ring;
	bool fresh = true;
	int rc;

	r->event_idx = s->features & EVENT_IDX;
	r->used_idx = vhost_ring_used_in_memory(r);
	r->last_avail = q->base;
	r->signalled_valid = false;
	memset(&r->inflight, 0, sizeof(r->inflight));
	memset(r->busy, 0, sizeof(r->busy));
	q->nagain = q->next_again = 0;
	if (!s->inflight.map)
		return 0;
	free(q->again);
	q->again = calloc(r->num, sizeof(*q->again));
	if (!q->again)
		return vs_fail(err, VS_E_NOMEM, "cannot start a queue: out of memory");
	rc = vhost_inflight_start(&s->inflight, q->index, r->num, r->used_idx, &r->inflight,
				  q->again, &q->nagain, &fresh);
	if (rc)
		return vs_fail(err, rc, "queue %u does not fit the in-flight region", q->index);
	if (!fresh)
		r->last_avail = (uint16_t)(r->used_idx + q->nagain);
	for (unsigned i = 0; i < q->nagain; i++) {
		rc = vhost_ring_retake(r, q->again[i]);
		if (rc)
			return vs_fail(err, rc, "the in-flight region of queue %u is damaged",
				       q->index);
	}
	if (q->nagain)
		vs_info("disk %s: running %u requests of queue %u again", q->disk->name, q->nagain,
			q->index);
	return 0;
}

int vhost_queue_start(struct vhost_queue *q, int kick_fd, struct vs_error *err)
{
	struct vhost_session *s = &q->disk->session;
	int rc;

	drop_kick(q);
	q->kick.fd = kick_fd;
	if (!q->started) {
		if (!s->mem || !q->addr_set || q->num == 0)
			return vs_fail(err, VS_E_PROTO, "queue %u was started before it was set up",
				       q->index);
		if (q->in_flight || q->held)
			return vs_fail(err, VS_E_PROTO, "queue %u was started while it stops",
				       q->index);
		rc = vhost_ring_map(&q->ring, s->mem, q->num, &q->addr);
		if (rc)
			return vs_fail(err, rc, "the rings of queue %u are not in guest memory",
				       q->index);
		rc = ring_state(q, err);
		if (rc)
			return rc;
		q->started = true;
		q->broken = false;
	}
	rc = vs_loop_add(q->disk->thread->loop, &q->kick, EPOLLIN);
	if (rc)
		return vs_fail(err, rc, "the kick descriptor of queue %u cannot be polled",
			       q->index);
	vhost_queue_mark(q);
	return 0;
}

void vhost_queue_stop(struct vhost_queue *q)
{
	drop_kick(q);
	q->started = false;
}

void vhost_queue_reset(struct vhost_queue *q)
{
	VS_ASSERT(q->in_flight == 0 && q->held == 0);
	drop_kick(q);
	if (q->call_fd >= 0)
		close(q->call_fd);
	if (q->err_fd >= 0)
		close(q->err_fd);
	free(q->again);
	q->again = NULL;
	q->call_fd = q->err_fd = -1;
	q->nagain = q->next_again = q->num = 0;
	q->base = 0;
	q->addr_set = q->enabled = q->started = q->broken = false;
	memset(&q->ring, 0, sizeof(q->ring));
}

/* 1: a head to run; 0: none; negative: the driver broke the rules. */
static int next_head(struct vhost_queue *q, uint16_t *head)
{
	int rc;

	if (q->next_again < q->nagain) {
		*head = q->again[q->next_again++];
		return 1;
	}
	rc = vhost_ring_pop(&q->ring, head);
	if (rc == 0 && vhost_ring_kicks_on(&q->ring))
		rc = vhost_ring_pop(&q->ring, head);
	return rc;
}

static bool queue_live(const struct vhost_queue *q)
{
	return q->started && q->enabled && !q->broken && !q->disk->session.closing;
}

static void queue_take(struct vhost_queue *q)
{
	struct vhost_disk *d = q->disk;
	struct vhost_chain *c = &d->thread->chain;

	vhost_ring_kicks_off(&q->ring);
	for (unsigned n = 0; queue_live(q); n++) {
		uint16_t head;
		int rc;

		if (d->in_flight && d->bytes_in_flight >= VHOST_BYTES_MAX)
			return; /* a completion marks the queue again */
		if (n == BUDGET) {
			vhost_queue_mark(q);
			return;
		}
		rc = next_head(q, &head);
		if (rc == 0)
			return;
		if (rc > 0)
			rc = vhost_ring_chain(&q->ring, d->session.mem, head, c);
		if (rc == 0)
			rc = vhost_request_start(q, head, c);
		if (rc)
			queue_broken(q);
	}
}

void vhost_queue_signal(struct vhost_queue *q)
{
	if (q->ring.used && vhost_ring_must_signal(&q->ring))
		signal_fd(q->call_fd);
}

bool vhost_queue_run_marked(struct vhost_thread *t)
{
	struct vhost_queue *list = t->dirty;

	t->dirty = NULL;
	while (list) {
		struct vhost_queue *q = list;

		list = q->next_dirty;
		q->dirty = false;
		if (queue_live(q))
			queue_take(q);
		vhost_queue_signal(q);
	}
	return t->dirty != NULL;
}
