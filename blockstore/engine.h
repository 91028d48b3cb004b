/*
 * The engine: all metadata of one open store, owned by one thread.
 *
 * Threads: everything in the engine-internal headers runs on the engine's thread, inside
 * bs_engine_poll or in a fiber of it; only bs_engine_call and the ports' rings are met by others.
 * Steps: code that does not block (fiber.h) is one uninterrupted step. An operation first makes
 * everything resident that it needs ("prepare", may block and then starts over), then changes
 * memory and appends its records in one step ("apply", cannot fail). Getters return VS_E_AGAIN
 * instead of blocking when not called from a fiber.
 */
#ifndef BS_ENGINE_H
#define BS_ENGINE_H

#include "blockstore/ahead.h"
#include "blockstore/cache.h"
#include "blockstore/drop.h"
#include "blockstore/fiber.h"
#include "blockstore/frame.h"
#include "blockstore/index.h"
#include "blockstore/log.h"
#include "blockstore/marks.h"
#include "blockstore/pool.h"
#include "blockstore/segment.h"
#include "blockstore/super_format.h"
#include "blockstore/thick.h"
#include "blockstore/tree.h"
#include "blockstore/vols.h"

#include <stdatomic.h>

struct bs_env {
	uint64_t (*now_ns)(void *arg); /* monotonic */
	int64_t (*unix_ns)(void *arg);
	uint64_t (*random)(void *arg);
	/* Remembers or recalls the last unit known durable; both may be NULL. */
	void (*witness_put)(void *arg, uint64_t epoch, uint64_t seq);
	bool (*witness_get)(void *arg, uint64_t *epoch, uint64_t *seq);
	void (*event)(void *arg, enum bs_severity severity, const char *kind, const char *message);
	void (*wake)(void *arg); /* the engine has work; called from any thread */
	void *arg;
};

/*
 * Fibers that operations never take: three calls, and one each for checkpoint, cleaner, release
 * queue, drops, index, exact space, count of thick volumes, discard, healing and resilvering. So
 * what an operation waits for can always run.
 */
#define BS_FIBERS_KEPT 13u

struct bs_engine_config {
	unsigned frames;	   /* page frames of 4 KiB; at least 512 */
	unsigned cache_blocks;	   /* block cache, 4 KiB each */
	unsigned read_pages;	   /* 4 KiB pages for reads in flight; at least 256 */
	uint64_t index_bytes;	   /* dedup index; 0: nothing is deduplicated */
	uint64_t near_bytes;	   /* locality cache; 0: none */
	uint64_t merge_bytes;	   /* while duplicates are merged */
	unsigned near_digests;	   /* loaded around a hit: 256 to 1024 */
	unsigned fibers;	   /* at least BS_FIBERS_KEPT + 2 */
	unsigned units;		   /* log units in memory; at least 3 */
	uint32_t unit_max;	   /* bytes; clamped to the segment size */
	uint64_t checkpoint_bytes; /* log bytes between checkpoints */
	unsigned checkpoint_step;  /* pages that a checkpoint places before others run */
	unsigned spares;	   /* old versions of pages that it may hold; at least 128 */
	uint64_t recovery_us;	   /* recovery should take no longer (checkpoint.c) */
	uint32_t ref_cap;	   /* references of one content */
	uint16_t gen_mask;	   /* generations wrap at this mask */
	uint64_t max_contents;	   /* slots of the place table */
	uint64_t drops;		   /* entries that a run of drops gathers; 0: by frames and store */
	bool read_only;		   /* never writes to the device */
	bool discard;		   /* gives back what is free */
	uint64_t discard_ns;	   /* and has been for so long */
	uint64_t origin_hold_ns;   /* reads wait so long for what is at an origin */
	unsigned exact_slots;	   /* contents that a dry run counts in one pass; 0: 65536 */
	bool no_owner;		   /* neither checks nor writes the owner block */
	/* In a fiber, after the log is replayed and before anything is written; an error ends the
	 * opening, and nothing is. NULL: none. */
	int (*recovered)(struct bs_engine *e, void *arg);
	void *recovered_arg;
};

/* Changes that wait for a reason, in the order in which they came. */
struct bs_arena;
struct bs_iop;
struct bs_rio;
struct bs_checkpoint;
struct bs_cleaner;
struct bs_exact;
struct bs_replay;
struct bs_opq {
	struct bs_iop *head, *tail;
};

/* A call of another thread, run in a fiber. Owned by the caller until done. */
struct bs_call {
	int (*fn)(struct bs_engine *e, struct bs_call *c);
	void *arg;
	struct vs_error *err;
	int status;
	bool writer;			 /* one at a time */
	void (*done)(struct bs_call *c); /* on the engine's thread */
	struct bs_call *next;
	struct bs_engine *engine;
};

struct bs_counters {
	uint64_t device_reads, device_read_bytes, device_writes, device_write_bytes, flushes;
	uint64_t cache_hits, cache_misses, dedup_hits, checkpoints, cleaned, discarded;
	uint64_t mended;	/* reads of clients whose bytes did not have their checksum */
	uint64_t bytes_written; /* by clients, blocks of zeros included */
	uint64_t bytes_data, bytes_maps, bytes_tables, bytes_cleaner;
	uint64_t cut_wait_ns, cut_ns; /* of checkpoints, the longest: changes waited; the step */
};

struct bs_port;
#define BS_MAX_PORTS 128     /* 64 datastores have one each */
#define BS_STARVING_READS 1u /* of buffers for reads */
#define BS_STARVING_UNITS 2u

struct bs_engine {
	struct bs_pool *pool;
	struct bs_device *dev; /* the pool's */
	struct bs_engine_config cfg;
	struct bs_env env;
	struct bs_super sb; /* the last checkpoint's; counters below are the live ones */
	uint64_t tag;	    /* store's mark in unit headers */
	bool read_only, failed, stopping, recovering;
	bool damaged;	   /* a step met tables that contradict each other */
	bool pool_changed; /* when it was opened */
	char why[160];	   /* of read_only or failed */

	struct bs_fiber_pool *fibers;
	struct bs_frames frames;
	struct bs_tree trees[BS_TREES];
	struct bs_segs segs;
	struct bs_idalloc places, mappages;
	struct bs_log log;
	struct bs_vols vols;
	struct bs_drops drops;
	struct bs_ahead ahead;
	struct bs_cache cache;
	struct bs_index index;
	struct bs_marks marks;
	struct bs_merge *merge; /* NULL: none runs */
	struct bs_counters count;

	uint64_t features; /* incompatible ones taken into use since open (feature.h) */
	uint64_t era, works, contents, stored_bytes, references;
	uint64_t changes; /* of maps, since open */
	struct bs_thick thick;

	/* foreground */
	struct bs_port *ports[BS_MAX_PORTS];
	unsigned nports;
	struct bs_opq pending; /* wait for a fiber */
	struct bs_opq locked;  /* wait for a block range */
	struct bs_opq parked;  /* wait for what is at an origin (origin_wait.c) */
	struct bs_iop *locks;  /* hold a block range */
	unsigned op_fibers;
	struct bs_waitq room_wait; /* log or frames may have room again */
	bool room_changed;
	/* Somebody waits for what finished reads hold: ports wake the engine for RELEASE. */
	atomic_uint starving; /* BS_STARVING_* */

	/* read buffers */
	struct bs_arena *read_arena;
	struct bs_rio *rios, *rio_mem; /* free; all */
	struct bs_waitq read_wait;
	unsigned reads_in_flight;
	bool mending, remending, resilvering, discarding;
	uint32_t resilver_at; /* where the search goes on */
	uint64_t discard_due; /* when it looks for what has been free for long */
	struct bs_waitq mend_wait;
	unsigned waits_in_flight; /* device requests of fibers */

	/* background; work_wait: something of it has ended */
	bool checkpointing, checkpoint_wanted, cleaning, working, clean_stuck, work_stuck;
	bool work_starved; /* the log has no room even for the release queue */
	bool cutting;	   /* no change is applied until the cut is made */
	bool evacuating, evacuate_stuck;
	unsigned checkpoint_waiters; /* the background starts none */
	struct bs_waitq checkpoint_wait, work_wait, drained_wait;
	struct bs_checkpoint *checkpoint;
	struct bs_replay *replay;
	struct bs_exact *exact;
	uint64_t taken_apart; /* map pages that releases and absorbs have read since open */
	struct {	      /* at the last cut */
		uint64_t bytes, records, taken_apart;
	} cut_at;
	struct bs_cleaner *cleaner;
	uint64_t owner_due;
	struct bs_devio owner_io;
	uint8_t *owner_buf;
	bool owner_busy;
	struct bs_owner owner;

	/* calls */
	_Atomic(struct bs_call *) calls_head; /* pushed by any thread */
	struct bs_call *calls_first, *calls_last;
	bool writer_active;
	unsigned calls_running;
};

/* The devices of one store, in any order; they stay the caller's. */
int bs_engine_open(struct bs_device *const *devs, unsigned ndevs,
		   const struct bs_engine_config *cfg, const struct bs_env *env,
		   struct bs_engine **out, struct vs_error *err) vs_must_check;
/* Runs whatever is runnable; false when there was nothing. *wake_ns: when to call again at the
 * latest (UINT64_MAX: no need). */
bool bs_engine_poll(struct bs_engine *e, uint64_t *wake_ns);
/*
 * Ends background work and writes a checkpoint; the ports must be closed. Polls the device itself.
 * After a failure requests may still be in flight: the device is closed next, and only then
 * bs_engine_abandon frees what they point to.
 */
int bs_engine_stop(struct bs_engine *e, struct vs_error *err);
/* Both, for a device that has nothing in flight once its owner stops polling. */
int bs_engine_close(struct bs_engine *e, struct vs_error *err);
/* Waits until the device works on nothing of the engine's any more. */
void bs_engine_quiesce(struct bs_engine *e);
/* Frees the memory and nothing else, as when the daemon is killed. Does not close the device. */
void bs_engine_abandon(struct bs_engine *e);

void bs_engine_call(struct bs_engine *e, struct bs_call *c); /* any thread */
/* Waits in polling until c is done: for single-threaded users (tests, check). */
int bs_engine_call_wait(struct bs_engine *e, struct bs_call *c);

/* Marks the store failed: writes and flushes fail until it is reopened. */
void bs_engine_fail(struct bs_engine *e, const char *why);
/*
 * (step) What the tables say cannot be. The step goes on with what is harmless in memory; nothing
 * of it is written: the store fails, or opens read-only when it is still being replayed.
 */
void bs_engine_damaged(struct bs_engine *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void bs_engine_event(struct bs_engine *e, enum bs_severity severity, const char *kind,
		     const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void bs_engine_info(struct bs_engine *e, struct bs_store_info *out);

/* In a fiber: until the release queue is empty and no drop is pending. VS_E_FAILED. */
int bs_engine_drain(struct bs_engine *e) vs_must_check;

/* Blocking device access for fibers: 0, VS_E_IO. off and len multiples of 4096. */
int bs_engine_read(struct bs_engine *e, uint32_t seg, uint32_t off, void *buf,
		   uint32_t len) vs_must_check;
int bs_engine_dev(struct bs_engine *e, enum bs_devop op, uint64_t offset, void *buf,
		  uint64_t len) vs_must_check;
/* The same on some devices of a mirror; served (may be NULL): which one answered a read. */
int bs_engine_dev_sides(struct bs_engine *e, enum bs_devop op, uint64_t offset, void *buf,
			uint64_t len, uint16_t sides, uint16_t *served) vs_must_check;
/* In a fiber: a checkpoint's superblock on all devices, durably. */
int bs_engine_super(struct bs_engine *e, const struct bs_super *sb) vs_must_check;
/* Where the pool has a byte of a segment. */
uint64_t bs_engine_where(const struct bs_engine *e, uint32_t seg, uint32_t off);
/* Something that operations may wait for has changed. */
void bs_engine_room(struct bs_engine *e);

#endif
