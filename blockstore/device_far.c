#include "blockstore/device_far.h"

#include "blockstore/device_queue.h"
#include "blockstore/lun.h"
#include "blockstore/nfs_file.h"
#include "common/bytes.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <xxhash.h>

#define DEPTH 256u
#define KEEP (UINT64_C(16) << 20) /* of unflushed writes: see lun_redo.h */
#define LOCKS "/run/vstore"
#define TICK_NS 100000000

_Static_assert(BS_DEV_IOV_MAX <= BS_FAR_IOV_MAX, "requests fit");

struct slot {
	struct bs_far_req req;
	struct far_device *d;
	struct bs_devio *io;
	struct slot *next;
};

/*
 * A request waits for a slot, has one, or is finished (status set, done not yet called). The timer
 * makes the loop's descriptor readable now and then, because its own timers do not.
 */
struct far_device {
	struct bs_device dev;
	struct vs_loop *loop;
	struct bs_far *far;
	struct vs_watch tick;
	int lock;
	struct bs_device_queue waiting, finished;
	struct slot *idle;
	unsigned running;
	bool fresh; /* something was submitted since the last kick */
	struct slot slot[DEPTH];
};

static struct far_device *far_device(struct bs_device *dev)
{
	return vs_container_of(dev, struct far_device, dev);
}

static void finish(struct far_device *d, struct bs_devio *io, int status)
{
	io->status = status;
	bs_device_queue_put(&d->finished, io);
}

static void start(struct far_device *d, struct bs_devio *io);

static void start_waiting(struct far_device *d)
{
	while (d->waiting.first && d->idle)
		start(d, bs_device_queue_get(&d->waiting));
}

static const char *verb(enum bs_devop op)
{
	return op == BS_DEV_READ ? "read" : op == BS_DEV_WRITE ? "write" : "flush";
}

static void ended(struct bs_far_req *req)
{
	struct slot *s = req->arg;
	struct far_device *d = s->d;
	struct bs_devio *io = s->io;
	int status = bs_devop_hint(io->op) ? 0 : req->status;

	if (status != 0)
		vs_warn("%s: %s at %llu, %llu bytes: %s", d->dev.name, verb(io->op),
			(unsigned long long)io->offset, (unsigned long long)io->length,
			vs_err_text(status));
	s->next = d->idle;
	d->idle = s;
	d->running--;
	finish(d, io, status == 0 || status == VS_E_NOSPC ? status : VS_E_IO);
	start_waiting(d);
}

static void start(struct far_device *d, struct bs_devio *io)
{
	static const enum bs_far_op ops[] = {[BS_DEV_READ] = BS_FAR_READ,
					     [BS_DEV_WRITE] = BS_FAR_WRITE,
					     [BS_DEV_FLUSH] = BS_FAR_FLUSH,
					     [BS_DEV_DISCARD] = BS_FAR_UNMAP};
	struct slot *s = d->idle;

	d->idle = s->next;
	d->running++;
	s->io = io;
	s->req = (struct bs_far_req){.op = ops[io->op],
				     .durable = io->durable,
				     .offset = io->offset,
				     .length = io->length,
				     .iovcnt = io->iovcnt,
				     .done = ended,
				     .arg = s};
	memcpy(s->req.iov, io->iov, (size_t)io->iovcnt * sizeof(io->iov[0]));
	bs_far_submit(d->far, &s->req);
}

static void far_submit(struct bs_device *dev, struct bs_devio *io)
{
	struct far_device *d = far_device(dev);

	d->fresh = true;
	if (io->op == BS_DEV_READY ||
	    (io->op != BS_DEV_FLUSH && !vs_range_ok(io->offset, io->length, dev->size))) {
		finish(d, io, bs_devop_hint(io->op) ? 0 : VS_E_IO);
		return;
	}
	bs_device_queue_put(&d->waiting, io);
}

static void far_kick(struct bs_device *dev)
{
	struct far_device *d = far_device(dev);

	if (!d->fresh)
		return;
	d->fresh = false;
	start_waiting(d);
	vs_loop_turn(d->loop, 0);
}

static unsigned far_poll(struct bs_device *dev)
{
	struct far_device *d = far_device(dev);

	vs_loop_turn(d->loop, 0);
	return bs_device_queue_answer(&d->finished);
}

static void far_wait(struct bs_device *dev)
{
	struct far_device *d = far_device(dev);
	struct pollfd p = {.fd = dev->event_fd, .events = POLLIN};

	if (!d->finished.first && (d->running || d->waiting.first))
		(void)poll(&p, 1, -1);
}

static void far_free(struct far_device *d)
{
	if (d->far)
		bs_far_close(d->far);
	if (d->tick.fd >= 0)
		close(d->tick.fd);
	vs_loop_free(d->loop);
	if (d->lock >= 0)
		close(d->lock);
	free(d);
}

static void far_close(struct bs_device *dev)
{
	struct far_device *d = far_device(dev);

	while (d->finished.first || d->running || d->waiting.first) {
		far_kick(dev);
		if (far_poll(dev) == 0)
			far_wait(dev);
	}
	far_free(d);
}

/* It asks every few seconds by itself. */
static void far_measure(struct bs_device *dev)
{
	uint64_t size = bs_far_info(far_device(dev)->far).size;

	dev->size = VS_MAX(dev->size, VS_ALIGN_DOWN(size, BS_DEV_ALIGN));
}

static const struct bs_device_ops far_ops = {
    .submit = far_submit,
    .kick = far_kick,
    .poll = far_poll,
    .wait = far_wait,
    .close = far_close,
    .measure = far_measure,
};

/* One process of this machine; others are kept away by the store's owner block. */
static int take_lock(struct far_device *d, const char *kind, uint64_t id, struct vs_error *err)
{
	char path[64];

	if (mkdir(LOCKS, 0700) != 0 && errno != EEXIST)
		return vs_fail_errno(err, "cannot make %s, for the lock of %s", LOCKS, d->dev.name);
	(void)snprintf(path, sizeof(path), LOCKS "/%s-%016llx", kind, (unsigned long long)id);
	d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock < 0)
		return vs_fail_errno(err, "cannot open %s, the lock of %s", path, d->dev.name);
	if (flock(d->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK
		   ? vs_fail(err, VS_E_BUSY,
			     "%s is in use by another process; stop it before using the store here",
			     d->dev.name)
		   : vs_fail_errno(err, "cannot lock %s", path);
}

static void ticked(struct vs_watch *w, uint32_t events)
{
	uint64_t times;

	(void)events;
	if (read(w->fd, &times, sizeof(times)) < 0 && errno != EAGAIN)
		vs_err("the timer of a device fails: %s", strerrordesc_np(errno));
}

static int start_ticking(struct far_device *d, struct vs_error *err)
{
	const struct itimerspec every = {.it_interval.tv_nsec = TICK_NS,
					 .it_value.tv_nsec = TICK_NS};

	d->tick.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (d->tick.fd < 0 || timerfd_settime(d->tick.fd, 0, &every, NULL) != 0 ||
	    vs_loop_add(d->loop, &d->tick, EPOLLIN) != 0)
		return vs_fail_errno(err, "cannot open %s: no timer", d->dev.name);
	d->dev.event_fd = vs_loop_fd(d->loop);
	return 0;
}

/* Sessions to one LUN would throw each other out, so the lock comes first. */
static int open_lun(struct far_device *d, const char *text, unsigned flags,
		    const struct bs_device_lun *how, struct vs_error *err)
{
	struct bs_lun_spec spec = {.login = {.secret = how->secret},
				   .session = "store",
				   .hold_ns = how->hold_ns,
				   .keep = flags & BS_DEVICE_READ_ONLY ? 0 : KEEP};
	struct bs_lun *lun;
	int rc = bs_lun_url_parse(text, &spec.url, err);

	if (rc == 0)
		rc = take_lock(
		    d, "lun",
		    XXH3_64bits_withSeed(spec.url.target, strlen(spec.url.target), spec.url.lun),
		    err);
	if (rc != 0)
		return rc;
	if (how->secret && !spec.url.user[0])
		return vs_fail(err, VS_E_INVAL,
			       "%s: a secret was given for it, but its URL names no user",
			       d->dev.name);
	rc = bs_lun_open(d->loop, &spec, &lun, err);
	if (rc == 0)
		d->far = bs_lun_far(lun);
	return rc;
}

/* By any name it is the same file, so the lock comes when that is known. */
static int open_file(struct far_device *d, const char *text, unsigned flags, uint64_t size,
		     const struct bs_device_lun *how, struct vs_error *err)
{
	struct bs_nfs_spec spec = {.hold_ns = how->hold_ns,
				   .keep = flags & BS_DEVICE_READ_ONLY ? 0 : KEEP,
				   .quiet = !(flags & (BS_DEVICE_READ_ONLY | BS_DEVICE_CREATE)),
				   .create = (flags & BS_DEVICE_CREATE) != 0,
				   .size = VS_ALIGN_DOWN(size, BS_DEV_ALIGN)};
	struct bs_nfs_file *file;
	int rc = bs_nfs_url_parse(text, &spec.url, err);

	if (rc == 0)
		rc = bs_nfs_open(d->loop, &spec, &file, err);
	if (rc != 0)
		return rc;
	d->far = bs_nfs_far(file);
	return take_lock(d, "file", bs_far_info(d->far).identity, err);
}

static int use(struct far_device *d, unsigned flags, struct vs_error *err)
{
	struct bs_far_info info = bs_far_info(d->far);

	d->dev.read_only = (flags & BS_DEVICE_READ_ONLY) != 0;
	if (info.read_only && !d->dev.read_only)
		return vs_fail(err, VS_E_ROFS, "%s can only be read", d->dev.name);
	d->dev.size = VS_ALIGN_DOWN(info.size, BS_DEV_ALIGN);
	return start_ticking(d, err);
}

bool bs_device_far_is(const char *path)
{
	return bs_lun_url_is(path) || bs_nfs_url_is(path);
}

int bs_device_far_new(const char *url, unsigned flags, uint64_t size,
		      const struct bs_device_lun *how, struct bs_device **out, struct vs_error *err)
{
	struct far_device *d;
	int rc;

	if (strlen(url) >= sizeof(d->dev.name))
		return vs_fail(err, VS_E_TOOBIG, "%s: the name of a device has %zu bytes at most",
			       url, sizeof(d->dev.name) - 1);
	d = calloc(1, sizeof(*d));
	if (!d)
		return vs_fail(err, VS_E_NOMEM, "cannot open %s: out of memory", url);
	d->dev.ops = &far_ops;
	d->dev.event_fd = -1;
	(void)snprintf(d->dev.name, sizeof(d->dev.name), "%s", url);
	d->lock = -1;
	d->tick = (struct vs_watch){.fd = -1, .ready = ticked};
	bs_device_queue_init(&d->waiting);
	bs_device_queue_init(&d->finished);
	for (unsigned i = 0; i < DEPTH; i++) {
		d->slot[i].d = d;
		d->slot[i].next = d->idle;
		d->idle = &d->slot[i];
	}
	rc = vs_loop_new(&d->loop, err);
	if (rc == 0)
		rc = bs_lun_url_is(url) ? open_lun(d, url, flags, how, err)
					: open_file(d, url, flags, size, how, err);
	if (rc == 0)
		rc = use(d, flags, err);
	if (rc == 0)
		*out = &d->dev;
	else
		far_free(d);
	return rc;
}

int bs_device_far_unmake(const char *url, struct vs_error *err)
{
	struct bs_nfs_spec spec = {0};
	struct bs_nfs_file *file;
	struct vs_loop *loop;
	int rc = bs_nfs_url_parse(url, &spec.url, err);

	if (rc == 0)
		rc = vs_loop_new(&loop, err);
	if (rc != 0)
		return rc;
	rc = bs_nfs_open(loop, &spec, &file, err);
	if (rc == 0) {
		rc = bs_nfs_remove(file, err);
		bs_far_close(bs_nfs_far(file));
	}
	vs_loop_free(loop);
	return rc;
}
