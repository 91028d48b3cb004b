/*
 * Inside the simulated disk: shared by simdev.c (the device that the engine sees), simdisk.c (cache
 * and content) and simcut.c (ends of runs).
 */
#ifndef SIM_SIMDISK_H
#define SIM_SIMDISK_H

#include "blockstore/device_queue.h"
#include "common/bytes.h"
#include "tests/sim/image.h"
#include "tests/sim/simdev.h"

#include <stddef.h>

/* A completed, unflushed write, or a discard (data NULL: all of it reads as `fill`), in the order
 * of completion. */
struct sim_cached {
	struct sim_cached *next;
	uint64_t offset, length, number;
	bool lost; /* by a failed flush: no later flush brings it back */
	unsigned char *data, fill;
};

/* In devio.priv. */
struct sim_slot {
	uint64_t due;
	uint64_t sum;	    /* of the data at submit */
	uint64_t completed; /* flush: the number of the last write completed before its submit */
	int fate;	    /* enum sim_fate, or -1 */
	bool of_flush;	    /* the fate is that of a flush */
	bool stalled;
	bool before; /* started before the device fell silent */
};
_Static_assert(sizeof(struct sim_slot) <= sizeof(((struct bs_devio *)0)->priv), "slot fits priv");

static inline struct sim_slot *sim_slot_of(struct bs_devio *io)
{
	return (struct sim_slot *)io->priv;
}

struct sim_device {
	struct bs_device dev;
	struct sim_disk *disk; /* NULL after a kill or power cut */
	struct sim_clock *clock;
	struct bs_device_queue queue;
	struct bs_devio *running; /* by due */
	unsigned in_flight;
};

struct sim_disk {
	uint64_t size;
	struct sim_rng rng;
	struct sim_image now, stable;
	struct sim_cached *cache, **cache_tail;
	unsigned cached;
	uint64_t completed; /* number of the last completed write */
	uint64_t events, silence_at;
	uint64_t limit;
	unsigned hits;
	bool refusing;	 /* silent, and somebody waits: all fails without effect */
	unsigned spread; /* latencies differ by up to this factor, set by the seed */
	struct sim_rule rules[SIM_RULES];
	struct sim_device *device;
	struct sim_disk *first;	  /* of the pair; itself */
	struct sim_disk *partner; /* the first one's; NULL: none */
	bool pulled;
};

/* The data of a request in one piece; the caller frees it. */
unsigned char *sim_disk_gather(const struct bs_devio *io);
/* Into the cache. */
void sim_disk_put(struct sim_disk *d, uint64_t offset, const void *data, uint64_t length);
void sim_disk_fill(struct sim_disk *d, uint64_t offset, unsigned char byte, uint64_t length);
/* A cached write, or the sectors of it from `at` on, to where it belongs. */
void sim_cached_apply(const struct sim_cached *c, struct sim_image *to, uint64_t at,
		      uint64_t length);
/* Stable at once; of what is in the cache only these bytes are. */
void sim_disk_put_stable(struct sim_disk *d, uint64_t offset, const void *data, uint64_t length);
/* Some sectors of a request that was interrupted: all, none, the first, the last, any. */
void sim_disk_put_torn(struct sim_disk *d, uint64_t offset, const unsigned char *data,
		       uint64_t length);
void sim_disk_drop_first(struct sim_disk *d);	 /* forgets the cache's oldest write */
void sim_disk_destage_first(struct sim_disk *d); /* makes it stable */
/* A flush: up to and including this number. Lost ones stay: they are read until power goes. */
void sim_disk_destage_to(struct sim_disk *d, uint64_t number);

#endif
