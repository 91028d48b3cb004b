#include "targets/vhost/state.h"

#include "common/bytes.h"
#include "common/log.h"
#include "common/text.h"

#include <stdlib.h>

#define RETRY_NS UINT64_C(1000000000)

struct vhost_io {
	struct bs_req req;
	struct vhost_queue *q;
	struct vhost_mem *mem;
	struct vhost_io *next; /* while held */
	bool was_held;
	uint16_t head;
	uint32_t type;
	uint32_t written; /* bytes of data that the device writes when all goes well */
	uint64_t bytes;	  /* counted in the disk's bytes_in_flight */
	uint8_t *status;
	unsigned nsegs, seg;
	struct vhost_blk_segment segs[VHOST_BLK_SEGMENTS_MAX];
	int iovcnt;
	struct iovec iov[];
};

static void submit(struct vhost_io *r)
{
	struct vhost_disk *d = r->q->disk;

	r->q->in_flight++;
	d->in_flight++;
	d->bytes_in_flight += r->bytes;
	bs_submit(d->thread->port, &r->req);
}

/* The store is done with r, well or not. */
static void returned(struct vhost_io *r)
{
	struct vhost_disk *d = r->q->disk;

	r->q->in_flight--;
	d->in_flight--;
	d->bytes_in_flight -= r->bytes;
}

static void unheld(struct vhost_io *r, bool tell)
{
	struct vhost_disk *d = r->q->disk;

	if (!r->was_held || --d->nheld > 0)
		return;
	d->held_reason = 0;
	if (tell && d->held_call)
		d->held_call(d->held_arg, 0);
}

static void request_free(struct vhost_io *r)
{
	vhost_mem_put(r->mem);
	free(r);
}

static void finish(struct vhost_io *r, enum vhost_blk_status status)
{
	struct vhost_queue *q = r->q;

	*r->status = (uint8_t)status;
	if (status == VHOST_BLK_IOERR)
		q->disk->status.errors++;
	vhost_ring_push(&q->ring, r->head, 1 + (status == VHOST_BLK_OK ? r->written : 0));
	unheld(r, true);
	request_free(r);
	vhost_queue_mark(q);
}

static void hold(struct vhost_io *r, int reason)
{
	struct vhost_disk *d = r->q->disk;

	r->next = NULL;
	*d->held_tail = r;
	d->held_tail = &r->next;
	r->q->held++;
	if (!r->was_held) {
		r->was_held = true;
		d->nheld++;
	}
	if (!d->held_reason) {
		vs_warn("disk %s: requests are held: %s", d->name, vs_err_text(reason));
		d->held_reason = reason;
		if (d->held_call)
			d->held_call(d->held_arg, reason);
	}
	if (d->retry.slot == 0 && vs_loop_timer(d->thread->loop, &d->retry, RETRY_NS) != 0)
		vs_err("disk %s: no timer for held requests", d->name);
}

static void count(struct vhost_io *r)
{
	struct vhost_disk_status *st = &r->q->disk->status;

	switch (r->type) {
	case VHOST_BLK_IN:
		st->reads++;
		st->read_bytes += r->req.length;
		break;
	case VHOST_BLK_OUT:
		st->writes++;
		st->written_bytes += r->req.length;
		break;
	case VHOST_BLK_FLUSH:
		st->flushes++;
		break;
	default:
		st->discards++;
	}
}

static void set_segment(struct vhost_io *r)
{
	const struct vhost_blk_segment *s = &r->segs[r->seg];

	r->req.offset = s->sector * VHOST_BLK_SECTOR;
	r->req.length = (uint64_t)s->sectors * VHOST_BLK_SECTOR;
}

static void done(struct bs_req *req)
{
	struct vhost_io *r = vs_container_of(req, struct vhost_io, req);
	struct vhost_queue *q = r->q;
	struct vhost_disk *d = q->disk;
	int status = req->status;

	returned(r);
	if (status == VS_E_NOSPC && r->type == VHOST_BLK_DISCARD)
		status = 0; /* a hint */
	if (status == 0 && ++r->seg < r->nsegs) {
		set_segment(r);
		submit(r);
		return;
	}
	/* without the in-flight region a stopped front end could not find held requests again */
	if ((status == VS_E_NOSPC || status == VS_E_FAILED) && q->ring.inflight.desc &&
	    q->started && !d->session.closing) {
		hold(r, status);
	} else if ((status == VS_E_NOSPC || status == VS_E_FAILED) && q->ring.inflight.desc) {
		unheld(r, false);
		request_free(r); /* stays in the in-flight region */
	} else {
		if (status)
			vs_warn("disk %s: request of %llu bytes at %llu failed: %s", d->name,
				(unsigned long long)req->length, (unsigned long long)req->offset,
				vs_err_text(status));
		else
			count(r);
		finish(r, status ? VHOST_BLK_IOERR : VHOST_BLK_OK);
	}
	for (unsigned i = 0; i < d->nqueues; i++)
		if (d->queues[i].started)
			vhost_queue_mark(&d->queues[i]);
	vhost_session_drained(q);
}

void vhost_request_retry(struct vs_timer *t)
{
	struct vhost_disk *d = t->arg;
	struct vhost_io *list = d->held;

	d->held = NULL;
	d->held_tail = &d->held;
	while (list) {
		struct vhost_io *r = list;

		list = r->next;
		r->q->held--;
		submit(r);
	}
}

void vhost_request_drop_held(struct vhost_queue *q)
{
	struct vhost_disk *d = q->disk;
	struct vhost_io **p = &d->held;

	while (*p) {
		struct vhost_io *r = *p;

		if (r->q != q) {
			p = &r->next;
			continue;
		}
		*p = r->next;
		q->held--;
		unheld(r, false);
		request_free(r);
	}
	d->held_tail = p;
}

/* Copies n bytes from the front of the readable pieces. */
static void copy_out(const struct vhost_chain *c, size_t skip, void *buf, size_t n)
{
	uint8_t *p = buf;

	for (unsigned i = 0; i < c->nread && n > 0; i++) {
		const struct iovec *v = &c->iov[i];
		size_t part;

		if (skip >= v->iov_len) {
			skip -= v->iov_len;
			continue;
		}
		part = VS_MIN(v->iov_len - skip, n);
		memcpy(p, (const uint8_t *)v->iov_base + skip, part);
		p += part;
		n -= part;
		skip = 0;
	}
}

/* Points r's iovec at [skip, skip + len) of n pieces. */
static void slice(struct vhost_io *r, const struct iovec *iov, unsigned n, size_t skip,
		  uint64_t len)
{
	r->iovcnt = 0;
	for (unsigned i = 0; i < n && len > 0; i++) {
		size_t part;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		part = VS_MIN(iov[i].iov_len - skip, len);
		r->iov[r->iovcnt++] =
		    (struct iovec){.iov_base = (uint8_t *)iov[i].iov_base + skip, .iov_len = part};
		len -= part;
		skip = 0;
	}
}

static uint8_t *last_byte(const struct vhost_chain *c)
{
	for (unsigned i = c->nread + c->nwrite; i > c->nread; i--)
		if (c->iov[i - 1].iov_len > 0)
			return (uint8_t *)c->iov[i - 1].iov_base + c->iov[i - 1].iov_len - 1;
	return NULL;
}

static bool in_disk(const struct vhost_disk *d, uint64_t sector, uint64_t sectors)
{
	return vs_range_ok(sector, sectors, bs_volume_size(d->volume) / VHOST_BLK_SECTOR);
}

static void get_id(struct vhost_io *r)
{
	char text[2 * 16 + 1], id[VHOST_BLK_ID_SIZE];
	size_t at = 0;

	vs_format_hex(bs_volume_uuid(r->q->disk->volume)->b, 16, text);
	memcpy(id, text, sizeof(id));
	for (int i = 0; i < r->iovcnt; i++) {
		size_t part = VS_MIN(r->iov[i].iov_len, sizeof(id) - at);

		memcpy(r->iov[i].iov_base, id + at, part);
		at += part;
	}
	r->written = (uint32_t)at;
}

/* Prepares a read or write: 1 to submit, else a status (negated) to finish with at once. */
static int prepare_rw(struct vhost_io *r, const struct vhost_blk_header *h, uint64_t len)
{
	struct vhost_disk *d = r->q->disk;
	bool write = r->type == VHOST_BLK_OUT;

	if (len % VHOST_BLK_SECTOR != 0 || len > VHOST_REQUEST_BYTES_MAX ||
	    !in_disk(d, h->sector, len / VHOST_BLK_SECTOR) || (write && d->read_only))
		return -VHOST_BLK_IOERR;
	if (len == 0)
		return -VHOST_BLK_OK;
	r->req.op = write ? BS_WRITE : BS_READ;
	r->req.flags = write ? BS_UNSTABLE : 0;
	/* a driver without the flush command expects a write-through device (section 5.2.6.2) */
	if (write && !(d->session.features & VHOST_BLK_F_FLUSH))
		r->req.flags |= BS_FUA;
	r->req.offset = h->sector * VHOST_BLK_SECTOR;
	r->req.length = len;
	r->req.iov = r->iov;
	r->req.iovcnt = r->iovcnt;
	r->bytes = len;
	r->written = write ? 0 : (uint32_t)len;
	return 1;
}

static int prepare_segments(struct vhost_io *r, const struct vhost_chain *c)
{
	uint64_t len = c->read_len - VHOST_BLK_HEADER_SIZE;
	struct vhost_disk *d = r->q->disk;

	if (d->read_only || len == 0 || len % VHOST_BLK_SEGMENT_SIZE != 0)
		return -VHOST_BLK_IOERR;
	if (len > VHOST_BLK_SEGMENTS_MAX * VHOST_BLK_SEGMENT_SIZE)
		return -VHOST_BLK_UNSUPP;
	r->nsegs = (unsigned)(len / VHOST_BLK_SEGMENT_SIZE);
	for (unsigned i = 0; i < r->nsegs; i++) {
		uint8_t b[VHOST_BLK_SEGMENT_SIZE];
		struct vhost_blk_segment *s = &r->segs[i];

		copy_out(c, VHOST_BLK_HEADER_SIZE + i * sizeof(b), b, sizeof(b));
		vhost_blk_segment_decode(b, s);
		if ((s->flags & ~VHOST_BLK_FLAG_UNMAP) ||
		    (r->type == VHOST_BLK_DISCARD && s->flags))
			return -VHOST_BLK_UNSUPP; /* section 5.2.6.2 */
		if (s->sectors > VHOST_BLK_SEGMENT_SECTORS_MAX ||
		    !in_disk(d, s->sector, s->sectors))
			return -VHOST_BLK_IOERR;
	}
	r->req.op = r->type == VHOST_BLK_DISCARD ? BS_TRIM : BS_ZERO;
	if (!(d->session.features & VHOST_BLK_F_FLUSH) && r->type == VHOST_BLK_WRITE_ZEROES)
		r->req.flags = BS_FUA;
	set_segment(r);
	return 1;
}

static int prepare(struct vhost_io *r, const struct vhost_blk_header *h,
		   const struct vhost_chain *c)
{
	uint64_t len;

	switch (r->type) {
	case VHOST_BLK_IN:
		len = c->write_len - 1;
		slice(r, c->iov + c->nread, c->nwrite, 0, len);
		return prepare_rw(r, h, len);
	case VHOST_BLK_OUT:
		len = c->read_len - VHOST_BLK_HEADER_SIZE;
		slice(r, c->iov, c->nread, VHOST_BLK_HEADER_SIZE, len);
		return prepare_rw(r, h, len);
	case VHOST_BLK_FLUSH:
		r->req.op = BS_FLUSH;
		return 1;
	case VHOST_BLK_GET_ID:
		slice(r, c->iov + c->nread, c->nwrite, 0, c->write_len - 1);
		get_id(r);
		return -VHOST_BLK_OK;
	case VHOST_BLK_DISCARD:
	case VHOST_BLK_WRITE_ZEROES:
		return prepare_segments(r, c);
	default:
		return -VHOST_BLK_UNSUPP;
	}
}

int vhost_request_start(struct vhost_queue *q, uint16_t head, struct vhost_chain *c)
{
	uint8_t b[VHOST_BLK_HEADER_SIZE];
	struct vhost_blk_header h;
	struct vhost_io *r;
	int rc;

	if (c->read_len < sizeof(b) || c->write_len < 1)
		return VS_E_PROTO; /* no room for header and status */
	r = calloc(1, sizeof(*r) + (c->nread + c->nwrite) * sizeof(struct iovec));
	if (!r) {
		*last_byte(c) = VHOST_BLK_IOERR;
		vhost_ring_push(&q->ring, head, 1);
		vhost_queue_mark(q);
		return 0;
	}
	copy_out(c, 0, b, sizeof(b));
	vhost_blk_header_decode(b, &h);
	r->q = q;
	r->mem = vhost_mem_get(q->disk->session.mem);
	r->head = head;
	r->type = h.type;
	r->status = last_byte(c);
	r->req.volume = q->disk->volume;
	r->req.done = done;
	rc = prepare(r, &h, c);
	if (rc == 1)
		submit(r);
	else
		finish(r, (enum vhost_blk_status) - rc);
	return 0;
}
