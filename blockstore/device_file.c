#include "blockstore/device_file.h"

#include "blockstore/device_helper.h"
#include "blockstore/device_pace.h"
#include "blockstore/device_queue.h"
#include "common/bytes.h"
#include "common/log.h"

#include <errno.h>
#include <libaio.h>
#include <linux/fs.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH 256u

/* In devio.priv. */
struct slot {
	struct iocb cb;
	uint64_t moved; /* bytes transferred by earlier, partial completions */
};
_Static_assert(sizeof(struct slot) <= sizeof(((struct bs_devio *)0)->priv), "slot fits priv");

/* Submitted requests; the first `kicked` of them may start. */
struct line {
	struct bs_device_queue queue;
	unsigned n, kicked;
};

/*
 * A request is in one place: its line, the kernel (`running` counts them, never more than DEPTH),
 * the helper (`helping`), or `finished` (status set, done not yet called). Reads have a line of
 * their own: `pace` says how many of them the kernel has.
 */
struct file_device {
	struct bs_device dev;
	int fd;
	bool block;
	io_context_t aio;
	struct bs_device_helper *helper;
	struct line reads, others;
	struct bs_device_pace pace;
	struct bs_device_queue finished;
	unsigned running, helping;
	bool no_fdsync;	      /* the kernel refuses IOCB_CMD_FDSYNC on this file */
	uint64_t signals_due; /* that event_fd still gets: one each completion */
	struct iocb *batch[DEPTH];
	struct io_event events[DEPTH];
};

static struct file_device *file_device(struct bs_device *dev)
{
	return vs_container_of(dev, struct file_device, dev);
}

static struct slot *slot_of(struct bs_devio *io)
{
	return (struct slot *)io->priv;
}

static void signal_self(struct file_device *d)
{
	uint64_t one = 1;

	d->signals_due++;
	while (write(d->dev.event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void finish(struct file_device *d, struct bs_devio *io, int status)
{
	io->status = status;
	bs_device_queue_put(&d->finished, io);
}

static struct line *line_of(struct file_device *d, const struct bs_devio *io)
{
	return io->op == BS_DEV_READ ? &d->reads : &d->others;
}

static void line_push(struct line *l, struct bs_devio *io)
{
	bs_device_queue_put(&l->queue, io);
	l->n++;
}

static struct bs_devio *line_pop(struct line *l)
{
	l->n--;
	l->kicked--;
	return bs_device_queue_get(&l->queue);
}

static void line_return(struct line *l, struct bs_devio *io)
{
	bs_device_queue_return(&l->queue, io);
	l->n++;
	l->kicked++;
}

/* What may start next; NULL: nothing. */
static struct bs_devio *next_to_start(struct file_device *d)
{
	struct bs_devio *io;

	if (d->others.kicked)
		return line_pop(&d->others);
	if (!d->reads.kicked ||
	    !bs_device_pace_may(&d->pace, d->reads.queue.first->length, d->reads.kicked))
		return NULL;
	io = line_pop(&d->reads);
	bs_device_pace_began(&d->pace, io->length);
	return io;
}

static void started_not(struct file_device *d, struct bs_devio *io)
{
	if (io->op == BS_DEV_READ)
		bs_device_pace_ended(&d->pace, io->length);
	line_return(line_of(d, io), io);
}

static bool kicked(const struct file_device *d)
{
	return d->reads.kicked || d->others.kicked;
}

static int status_of(long no)
{
	return vs_err_from_errno((int)no) == VS_E_NOSPC ? VS_E_NOSPC : VS_E_IO;
}

/* A request that moved some bytes goes on with the rest of the piece where it stopped. */
static void prepare(struct file_device *d, struct bs_devio *io)
{
	struct slot *s = slot_of(io);
	uint64_t skip = s->moved;
	int i = 0;

	if (io->op == BS_DEV_FLUSH) {
		io_prep_fdsync(&s->cb, d->fd);
	} else if (skip == 0 && io->iovcnt > 1) {
		if (io->op == BS_DEV_READ)
			io_prep_preadv(&s->cb, d->fd, io->iov, io->iovcnt, (long long)io->offset);
		else
			io_prep_pwritev(&s->cb, d->fd, io->iov, io->iovcnt, (long long)io->offset);
	} else {
		while (skip >= io->iov[i].iov_len)
			skip -= io->iov[i++].iov_len;
		(io->op == BS_DEV_READ ? io_prep_pread : io_prep_pwrite)(
		    &s->cb, d->fd, (char *)io->iov[i].iov_base + skip, io->iov[i].iov_len - skip,
		    (long long)io->offset + (long long)s->moved);
	}
	if (io->op == BS_DEV_WRITE && io->durable)
		s->cb.aio_rw_flags = RWF_DSYNC;
	io_set_eventfd(&s->cb, d->dev.event_fd);
	s->cb.data = io;
}

static void help(struct file_device *d, struct bs_devio *io)
{
	if (bs_device_helper_submit(d->helper, io) == 0) {
		d->helping++;
		d->signals_due++;
	} else {
		finish(d, io, bs_devop_hint(io->op) ? 0 : VS_E_IO);
		signal_self(d);
	}
}

static unsigned fill_batch(struct file_device *d)
{
	unsigned n = 0;

	while (d->running + n < DEPTH) {
		struct bs_devio *io = next_to_start(d);

		if (!io)
			break;
		if (bs_devop_hint(io->op) || (io->op == BS_DEV_FLUSH && d->no_fdsync)) {
			help(d, io);
			continue;
		}
		prepare(d, io);
		d->batch[n++] = &slot_of(io)->cb;
	}
	return n;
}

/* The kernel did not take the batch's first request for the reason given. */
static void refused(struct file_device *d, struct bs_devio *io, int no)
{
	if (no == EINVAL && io->op == BS_DEV_FLUSH) {
		d->no_fdsync = true;
		help(d, io);
		return;
	}
	if (io->op == BS_DEV_READ)
		bs_device_pace_ended(&d->pace, io->length);
	finish(d, io, status_of(no));
	signal_self(d);
}

static void start(struct file_device *d)
{
	unsigned n = fill_batch(d), sent = 0;

	while (sent < n) {
		int rc = io_submit(d->aio, (long)(n - sent), d->batch + sent);

		if (rc > 0) {
			sent += (unsigned)rc;
			d->running += (unsigned)rc;
			d->signals_due += (uint64_t)rc;
			continue;
		}
		if (rc == -EINTR)
			continue;
		if (rc == 0 || rc == -EAGAIN || rc == -ENOMEM)
			break;
		refused(d, d->batch[sent++]->data, -rc);
	}
	if (sent == n)
		return;
	while (n > sent)
		started_not(d, d->batch[--n]->data);
	if (d->running == 0)
		signal_self(d); /* no completion would bring us back to try again */
}

static void file_submit(struct bs_device *dev, struct bs_devio *io)
{
	struct file_device *d = file_device(dev);

	slot_of(io)->moved = 0;
	if (io->op == BS_DEV_FLUSH || vs_range_ok(io->offset, io->length, dev->size)) {
		line_push(line_of(d, io), io);
		return;
	}
	finish(d, io, VS_E_IO);
	signal_self(d);
}

static void file_kick(struct bs_device *dev)
{
	struct file_device *d = file_device(dev);

	d->reads.kicked = d->reads.n;
	d->others.kicked = d->others.n;
	start(d);
}

static void completed(struct file_device *d, const struct io_event *ev)
{
	struct bs_devio *io = ev->data;
	struct slot *s = slot_of(io);
	long res = (long)ev->res;

	d->running--;
	if (io->op == BS_DEV_READ)
		bs_device_pace_ended(&d->pace, io->length);
	if (res < 0) {
		if (io->op == BS_DEV_FLUSH && (res == -EINVAL || res == -EOPNOTSUPP)) {
			d->no_fdsync = true;
			help(d, io);
			return;
		}
		vs_warn("%s: %s at %llu, %llu bytes: %s", d->dev.name,
			io->op == BS_DEV_READ	 ? "read"
			: io->op == BS_DEV_WRITE ? "write"
						 : "flush",
			(unsigned long long)io->offset, (unsigned long long)io->length,
			strerrordesc_np((int)-res));
		finish(d, io, status_of(-res));
		return;
	}
	if (io->op == BS_DEV_FLUSH) {
		finish(d, io, 0);
		return;
	}
	s->moved += (uint64_t)res;
	if (s->moved >= io->length) {
		finish(d, io, 0);
	} else if (res == 0) {
		vs_warn("%s: the device ends at %llu, before its size", d->dev.name,
			(unsigned long long)(io->offset + s->moved));
		finish(d, io, VS_E_IO);
	} else {
		line_return(line_of(d, io), io);
	}
}

/* Moves what the kernel and the helper have done to finished. */
static void reap(struct file_device *d)
{
	struct timespec none = {0};
	struct bs_devio *io = d->helping ? bs_device_helper_take(d->helper) : NULL;
	unsigned reads = d->pace.running;
	int n;

	while (io) {
		struct bs_devio *next = io->next;

		d->helping--;
		finish(d, io, io->status);
		io = next;
	}
	while (d->running) {
		n = io_getevents(d->aio, 0, DEPTH, d->events, &none);
		for (int i = 0; i < n; i++)
			completed(d, &d->events[i]);
		if (n <= 0)
			break;
	}
	bs_device_pace_looked(&d->pace, reads - d->pace.running);
}

static unsigned file_poll(struct bs_device *dev)
{
	struct file_device *d = file_device(dev);
	uint64_t signals;

	reap(d);
	if (!d->finished.first && d->signals_due > d->running + d->helping &&
	    read(dev->event_fd, &signals, sizeof(signals)) > 0) {
		d->signals_due -= signals;
		reap(d);
	}
	if (kicked(d))
		start(d);
	return bs_device_queue_answer(&d->finished);
}

static void file_wait(struct bs_device *dev)
{
	struct file_device *d = file_device(dev);
	struct pollfd p = {.fd = dev->event_fd, .events = POLLIN};

	if (d->finished.first || (!d->running && !d->helping && !kicked(d)))
		return;
	(void)poll(&p, 1, -1);
}

static void file_free(struct file_device *d)
{
	bs_device_helper_free(d->helper);
	if (d->aio)
		io_destroy(d->aio);
	if (d->dev.event_fd >= 0)
		close(d->dev.event_fd);
	free(d);
}

static void file_close(struct bs_device *dev)
{
	struct file_device *d = file_device(dev);
	int fd = d->fd;

	while (d->finished.first || d->running || d->helping || kicked(d)) {
		if (file_poll(dev) == 0)
			file_wait(dev);
	}
	file_free(d);
	close(fd);
}

static void file_measure(struct bs_device *dev)
{
	struct file_device *d = file_device(dev);
	uint64_t size = 0;
	struct stat st;

	if (d->block ? ioctl(d->fd, BLKGETSIZE64, &size) < 0 : fstat(d->fd, &st) < 0) {
		vs_warn("%s: cannot look how large it is: %s", dev->name, strerrordesc_np(errno));
		return;
	}
	if (!d->block)
		size = (uint64_t)st.st_size;
	dev->size = VS_MAX(dev->size, VS_ALIGN_DOWN(size, BS_DEV_ALIGN));
}

static const struct bs_device_ops file_ops = {
    .submit = file_submit,
    .kick = file_kick,
    .poll = file_poll,
    .wait = file_wait,
    .close = file_close,
    .measure = file_measure,
};

int bs_device_file_new(const struct bs_device_file_spec *spec, struct bs_device **out,
		       struct vs_error *err)
{
	struct file_device *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return vs_fail(err, VS_E_NOMEM, "cannot open %s: out of memory", spec->name);
	d->dev.ops = &file_ops;
	d->dev.size = spec->size;
	d->dev.read_only = spec->read_only;
	(void)snprintf(d->dev.name, sizeof(d->dev.name), "%s", spec->name);
	d->fd = spec->fd;
	d->block = spec->block;
	bs_device_queue_init(&d->reads.queue);
	bs_device_queue_init(&d->others.queue);
	bs_device_queue_init(&d->finished);
	d->dev.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->dev.event_fd < 0) {
		rc = vs_fail_errno(err, "cannot open %s: no event descriptor", spec->name);
		goto fail;
	}
	rc = io_setup((int)DEPTH, &d->aio);
	if (rc < 0) {
		rc = vs_fail(err, VS_E_LIMIT,
			     "cannot open %s: no asynchronous I/O context (%s); raise "
			     "fs.aio-max-nr",
			     spec->name, strerrordesc_np(-rc));
		goto fail;
	}
	rc = bs_device_helper_new(d->fd, d->dev.event_fd, spec->block, &d->helper, err);
	if (rc < 0)
		goto fail;
	*out = &d->dev;
	return 0;
fail:
	file_free(d);
	return rc;
}
