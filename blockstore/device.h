/*
 * A place to keep bytes: file, block device, LUN of another array, file of an NFS server, or the
 * simulated device of tests/sim.
 *
 * Ownership: the caller owns a struct bs_devio and its buffers from bs_device_submit until done.
 * Threads: one thread (the engine's) submits, polls and closes; done runs inside bs_device_poll on
 * that thread, never inside submit. Requests in flight are not ordered among each other; a flush
 * makes durable every write whose done was called before the flush was submitted.
 * Errors: devio.status is 0 or VS_E_* (VS_E_IO, VS_E_NOSPC).
 * Offsets, lengths and buffer addresses are multiples of 4096.
 */
#ifndef BS_DEVICE_H
#define BS_DEVICE_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum bs_devop {
	BS_DEV_READ,
	BS_DEV_WRITE,
	BS_DEV_FLUSH,
	BS_DEV_DISCARD, /* hint: the range's bytes are not needed, its space may go */
	BS_DEV_READY,	/* hint: nor here, but writes should find space */
};

/* What says nothing of bytes that somebody will read: it does not fail. */
static inline bool bs_devop_hint(enum bs_devop op)
{
	return op == BS_DEV_DISCARD || op == BS_DEV_READY;
}

#define BS_DEV_IOV_MAX 8
#define BS_DEV_ALIGN 4096

struct bs_devio {
	enum bs_devop op;
	uint64_t offset;
	uint64_t length; /* of the data; for hints of the range; 0 for FLUSH */
	struct iovec iov[BS_DEV_IOV_MAX];
	int iovcnt;
	bool durable; /* WRITE: these bytes survive power loss once it is done; none but these */
	void (*done)(struct bs_devio *io);
	void *arg;
	int status;	       /* out */
	uint16_t sides;	       /* of a pool: the devices that may serve it, a bit each; 0: any */
	uint16_t served;       /* out, of a pool: the device that a read came from, its bit */
	struct bs_devio *next; /* private to the device from submit to done */
	uint64_t priv[12];     /* private to the device */
};

struct bs_device;

struct bs_device_ops {
	/* Queues io; it may start only at kick. Bounded by the device's depth: more wait inside. */
	void (*submit)(struct bs_device *dev, struct bs_devio *io);
	void (*kick)(struct bs_device *dev);
	/* Runs done of what has completed; returns how many. Does not block. */
	unsigned (*poll)(struct bs_device *dev);
	/* Blocks until something may have completed (used at open, check and close only). */
	void (*wait)(struct bs_device *dev);
	void (*close)(struct bs_device *dev);
	/* Looks how large it is now; NULL: it does not change. */
	void (*measure)(struct bs_device *dev);
};

struct bs_device {
	const struct bs_device_ops *ops;
	uint64_t size; /* bytes, multiple of 4096 */
	int event_fd;  /* readable when poll has work; -1: none (simulated) */
	bool read_only;
	char name[256]; /* for messages */
};

#define BS_DEVICE_READ_ONLY 1u
#define BS_DEVICE_CREATE 2u /* create a file of `size` bytes when there is none */

/* For LUNs (iscsi://[USER@]HOST[:PORT]/IQN/LUN) and files of NFS servers (nfs://HOST[:PORT]/PATH).
 */
struct bs_device_lun {
	const char *secret; /* CHAP, of a LUN's URL's user; NULL: none. Copied, wiped at close. */
	uint64_t hold_ns;   /* how long requests wait for a path that is down; 0: 60 s */
};

/*
 * Opens a regular file, a block device or what a URL names exclusively (flock; O_EXCL on block
 * devices; the others within this machine, the store's owner block keeps other machines away):
 * VS_E_BUSY when another process has it. size is used with BS_DEVICE_CREATE only, which for a file
 * of an NFS server means that there is none yet. lun may be NULL.
 */
int bs_device_open_as(const char *path, unsigned flags, uint64_t size,
		      const struct bs_device_lun *lun, struct bs_device **out,
		      struct vs_error *err) vs_must_check;
int bs_device_open(const char *path, unsigned flags, uint64_t size, struct bs_device **out,
		   struct vs_error *err) vs_must_check;

/* Removes a file that BS_DEVICE_CREATE has made and that is closed. */
int bs_device_unmake(const char *path, struct vs_error *err) vs_must_check;

static inline void bs_device_submit(struct bs_device *dev, struct bs_devio *io)
{
	dev->ops->submit(dev, io);
}
static inline void bs_device_kick(struct bs_device *dev)
{
	dev->ops->kick(dev);
}
static inline unsigned bs_device_poll(struct bs_device *dev)
{
	return dev->ops->poll(dev);
}
/* The device may have grown: size is what it is now. It does not become smaller. */
static inline void bs_device_measure(struct bs_device *dev)
{
	if (dev->ops->measure)
		dev->ops->measure(dev);
}
static inline void bs_device_close(struct bs_device *dev)
{
	dev->ops->close(dev);
}
/* Submits and waits: for open, init and check, while nothing else is in flight. */
int bs_device_sync(struct bs_device *dev, enum bs_devop op, uint64_t offset, void *buf,
		   uint64_t length) vs_must_check;

#endif
