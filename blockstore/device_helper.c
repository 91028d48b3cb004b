#include "blockstore/device_helper.h"

#include "blockstore/device_queue.h"
#include "common/bytes.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Bytes of zeros at once: others' writes wait behind them. */
#define READY_STEP (128u << 10)

/* lock guards todo, done and stop; the other fields do not change while the thread runs. */
struct bs_device_helper {
	int fd, event_fd;
	bool block, started, noted;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct bs_device_queue todo, done;
	bool stop;
};

/* The file has no space for any of it, as far as it says. */
static bool hole(const struct bs_device_helper *h, const struct bs_devio *io)
{
	off_t data = lseek(h->fd, (off_t)io->offset, SEEK_DATA);

	return data < 0 ? errno == ENXIO : (uint64_t)data >= io->offset + io->length;
}

static bool written(const struct bs_device_helper *h, const struct bs_devio *io)
{
	off_t end = lseek(h->fd, (off_t)io->offset, SEEK_HOLE);

	return end >= 0 && (uint64_t)end >= io->offset + io->length;
}

/* A hint: a device that cannot forget bytes keeps them, and nobody reads them. */
static void discard(struct bs_device_helper *h, const struct bs_devio *io)
{
	uint64_t range[2] = {io->offset, io->length};
	int rc;

	if (!h->block && hole(h, io))
		return;
	if (h->block)
		rc = ioctl(h->fd, BLKDISCARD, range);
	else
		rc = fallocate(h->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset,
			       (off_t)io->length);
	if (rc < 0 && !h->noted) {
		h->noted = true;
		vs_info("the device does not discard (%s): freed space stays allocated below the "
			"store",
			strerrordesc_np(errno));
	}
}

/*
 * Zeros are written: what fallocate sets aside must still be entered as written by the flush of
 * each write that comes there.
 */
static void make_ready(struct bs_device_helper *h, const struct bs_devio *io)
{
	static _Alignas(BS_DEV_ALIGN) uint8_t zeros[READY_STEP];

	if (h->block || written(h, io))
		return;
	for (uint64_t at = 0; at < io->length; at += READY_STEP)
		if (pwrite(h->fd, zeros, VS_MIN(io->length - at, (uint64_t)READY_STEP),
			   (off_t)(io->offset + at)) < 0)
			return; /* the log's own write meets it, and says so */
}

static int run(struct bs_device_helper *h, struct bs_devio *io)
{
	if (io->op == BS_DEV_READY) {
		make_ready(h, io);
		return 0;
	}
	if (io->op == BS_DEV_DISCARD) {
		discard(h, io);
		return 0;
	}
	if (fdatasync(h->fd) == 0)
		return 0;
	return vs_err_from_errno(errno) == VS_E_NOSPC ? VS_E_NOSPC : VS_E_IO;
}

static void *helper_main(void *arg)
{
	struct bs_device_helper *h = arg;
	uint64_t one = 1;

	pthread_mutex_lock(&h->lock);
	for (;;) {
		struct bs_devio *io = bs_device_queue_get(&h->todo);

		if (!io) {
			if (h->stop)
				break;
			pthread_cond_wait(&h->wake, &h->lock);
			continue;
		}
		pthread_mutex_unlock(&h->lock);
		io->status = run(h, io);
		pthread_mutex_lock(&h->lock);
		bs_device_queue_put(&h->done, io);
		while (write(h->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

int bs_device_helper_new(int fd, int event_fd, bool block, struct bs_device_helper **out,
			 struct vs_error *err)
{
	struct bs_device_helper *h = calloc(1, sizeof(*h));

	if (!h)
		return vs_fail(err, VS_E_NOMEM, "cannot open a device: out of memory");
	h->fd = fd;
	h->event_fd = event_fd;
	h->block = block;
	bs_device_queue_init(&h->todo);
	bs_device_queue_init(&h->done);
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->wake, NULL);
	*out = h;
	return 0;
}

void bs_device_helper_free(struct bs_device_helper *h)
{
	if (!h)
		return;
	if (h->started) {
		pthread_mutex_lock(&h->lock);
		h->stop = true;
		pthread_cond_signal(&h->wake);
		pthread_mutex_unlock(&h->lock);
		pthread_join(h->thread, NULL);
	}
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

int bs_device_helper_submit(struct bs_device_helper *h, struct bs_devio *io)
{
	if (!h->started && pthread_create(&h->thread, NULL, helper_main, h) != 0)
		return VS_E_NOMEM;
	h->started = true;
	pthread_mutex_lock(&h->lock);
	bs_device_queue_put(&h->todo, io);
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->lock);
	return 0;
}

struct bs_devio *bs_device_helper_take(struct bs_device_helper *h)
{
	struct bs_devio *list;

	if (!h->started)
		return NULL;
	pthread_mutex_lock(&h->lock);
	list = bs_device_queue_take(&h->done);
	pthread_mutex_unlock(&h->lock);
	return list;
}
