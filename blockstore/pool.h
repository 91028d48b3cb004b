/*
 * A store's devices as one: what the engine reads, writes, flushes and discards through (DESIGN.md,
 * "Devices").
 *
 * bs_pool.dev is a struct bs_device whose bytes are the store's segments one after the other behind
 * the head area; a request stays within one segment. A write goes to every device of the segment's
 * group that is not missing, a read to the one in sync that has the least in flight (and to another
 * when it fails), a flush to all. A request below BS_HEAD_AREA goes to that place of every device.
 *
 * A device that fails a write or a flush is dropped from its group while another that is in sync
 * has the data. From then until the superblocks of all others say so no write and no flush is
 * answered: what was acknowledged is never only on devices that do not know they are the newest.
 *
 * Ownership: the pool borrows the devices; whoever opened them closes them, before bs_pool_free.
 * Threads: the engine's. Errors: as of the devices; VS_E_IO when no device is left for a request.
 */
#ifndef BS_POOL_H
#define BS_POOL_H

#include "blockstore/device.h"
#include "blockstore/device_queue.h"
#include "blockstore/store.h"
#include "blockstore/super_format.h"

struct bs_pool_child;

struct bs_pool_side {
	struct bs_device *dev; /* NULL: not here */
	unsigned in_flight;
	bool lost; /* it failed a flush: what it has dropped no later flush of it brings back */
	uint64_t read_errors, write_errors, healed; /* since open */
	uint32_t resilver;			    /* where copying went on when it was opened */
};

/* Writing superblocks: one program of writes and flushes at a time (pool_super.c). */
struct bs_pool_supers {
	struct bs_super slot[2]; /* as last written or read */
	bool have[2];
	struct bs_super next; /* a checkpoint's, until done is called */
	void (*done)(void *arg, int status);
	void *arg;
	bool busy, writing_next;
	uint64_t generation; /* of the table being written */
	unsigned step, nsteps;
	uint8_t steps[8];
	unsigned pending;
	int status;
	uint8_t *buf; /* a page for each device */
	struct bs_devio io[BS_POOL_DEVICES];
};

/* A read that failed on one device and not on another: to be looked at again. */
struct bs_pool_bad {
	uint64_t offset, length;
	uint16_t side; /* its bit */
};
#define BS_POOL_BAD 64u

struct bs_pool {
	struct bs_device dev;
	struct bs_devtab tab; /* one device without a table: ndevs 1, and plain */
	struct bs_pool_side side[BS_POOL_DEVICES];
	uint32_t segment_size;
	bool plain;	/* one device: no table is written */
	bool read_only; /* nothing is written, not even that a device is missing */
	bool settling;	/* the table has changed and is not on the devices yet */
	bool failed;	/* it could not be written */

	struct bs_pool_child *children, *free_children;
	unsigned nfree;
	struct bs_device_queue waiting; /* for children */
	struct bs_devio *held;		/* done, but the table is not settled */
	struct bs_devio *refused;	/* no device may serve them */
	struct bs_pool_supers supers;
	struct bs_pool_bad bad[BS_POOL_BAD];
	unsigned nbad;

	/* Set by the owner; event may be NULL. */
	void (*event)(void *arg, enum bs_severity severity, const char *kind, const char *text);
	void *event_arg;
};

/* tab and the sides' devices as the caller has them; tab.ndevs 0: one plain device. */
int bs_pool_new(const struct bs_devtab *tab, struct bs_device *const devs[BS_POOL_DEVICES],
		uint32_t segment_size, struct bs_pool **out) vs_must_check;
void bs_pool_free(struct bs_pool *p);

/* Whether a poll would do something that no device's event announces. */
bool bs_pool_pending(const struct bs_pool *p);
/*
 * Superblocks. bs_pool_super writes a checkpoint's to its slot of all devices, durably; done is
 * called inside a poll. One at a time; sb is copied, its table replaced by the pool's.
 */
void bs_pool_super(struct bs_pool *p, const struct bs_super *sb,
		   void (*done)(void *arg, int status), void *arg);
/* The table has changed: it goes into both slots, and nothing is answered before. */
void bs_pool_settle(struct bs_pool *p);
void bs_pool_supers_poll(struct bs_pool *p); /* inside a poll */
/* device_size of sb becomes that of device i, its table the pool's. */
void bs_pool_stamp(const struct bs_pool *p, struct bs_super *sb, unsigned i);

/* Bits of the devices of the segment's group that are in sync, or get its writes, and are here. */
uint16_t bs_pool_in_sync(const struct bs_pool *p, uint32_t seg);
uint16_t bs_pool_written(const struct bs_pool *p, uint32_t seg);
/* Leaves device i out: its group goes on without it. */
void bs_pool_drop(struct bs_pool *p, unsigned i, const char *why);
bool bs_pool_can_drop(const struct bs_pool *p, unsigned i); /* another one is in sync */
bool bs_pool_live(const struct bs_pool *p, unsigned i);	    /* here, and neither missing nor gone */
bool bs_pool_has(const struct bs_pool *p, const struct bs_device *dev);
/* Nothing new goes to the group's segments: all of its devices leave, or are gone. */
bool bs_pool_shut(const struct bs_pool *p, uint16_t group);
uint32_t bs_pool_segments(const struct bs_pool *p); /* that the ranges have; 0: plain */
/* Where a segment lies: group and slot. */
const struct bs_range *bs_pool_range(const struct bs_pool *p, uint32_t seg);
/* The device fields of a segment's entry. */
void bs_pool_place(const struct bs_pool *p, uint32_t seg, struct bs_segent *ent);
void bs_pool_say(struct bs_pool *p, enum bs_severity severity, const char *kind, const char *fmt,
		 ...) __attribute__((format(printf, 4, 5)));
/*
 * What a flush of device i amounts to that ended with `status`. Once one has failed, others beside
 * or behind it have too: the device may have dropped what they are about to call durable.
 */
int bs_pool_flushed(struct bs_pool *p, unsigned i, int status);
const char *bs_pool_name(const struct bs_pool *p, unsigned i); /* for messages */

static inline uint64_t bs_pool_offset(uint32_t segment_size, uint32_t seg, uint32_t off)
{
	return BS_HEAD_AREA + (uint64_t)seg * segment_size + off;
}

#endif
