/*
 * A simulated node: disk, engine, guests' requests in flight, administration, and the model of what
 * must be true. The driver of a case calls these; whatever is wrong ends the process (report.h).
 *
 * Everything runs on one thread; world_turn lets one seed-chosen part of the engine or its ports do
 * something and moves virtual time when nobody can.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "tests/sim/host.h"
#include "tests/sim/model.h"

#define WORLD_REQS 64
#define WORLD_SIDE 4
#define WORLD_ORIGINS 12

struct world_req {
	struct bs_req req;
	struct world *world;
	struct model_image *image, *source; /* source: COPY */
	bool busy;
	uint64_t lo;	   /* model time of submission */
	uint32_t op, nops; /* model operations, consecutive */
	uint32_t sector, count;
	uint64_t *tags; /* COMPARE_WRITE: what was compared; LINK: what was asked for */
	unsigned char *buf;
	struct iovec iov[4];
	struct dd_digest *digests;
	uint8_t *mapped;
	uint64_t *out; /* READ: where to put the tags, unchecked; NULL: they are checked */
	bool thick;    /* so was the volume when it was submitted */
	int *status;   /* where to put the outcome; 1 until then; may be NULL */
};

struct world {
	uint64_t seed;
	struct sim_rng rng;
	struct sim_clock clock;
	struct sim_disk *disk;
	uint64_t disk_size;
	uint32_t shift; /* blocks before the ones used in every volume, never written */
	struct sim_host_config cfg;
	struct sim_host *host;
	struct model model;
	struct dd_hasher *hasher;

	struct world_req reqs[WORLD_REQS];
	unsigned in_flight;
	struct sim_admin admin; /* one at a time */
	bool admin_busy;
	uint32_t admin_op; /* model operation of a resize or rollback */
	uint64_t admin_lo;
	int admin_expect;
	bool admin_cut;	   /* it was cut off: it may have happened or not */
	bool admin_unsure; /* it failed in a way that says neither */

	/* What the case allows besides success. */
	bool may_nospc; /* VS_E_NOSPC */
	bool may_fail;	/* VS_E_IO, VS_E_FAILED, VS_E_CHECKSUM: the disk errs or the store failed */
	bool may_lie;	/* flushes lied: power cuts may lose flushed writes, the store may refuse */
	bool trims_may_drop;
	bool may_lose; /* VS_E_IO where what is at an origin is needed */

	/* Origins that volumes were made with: what they hold. */
	struct world_origin {
		struct vs_uuid uuid;
		uint64_t *tags; /* MODEL_SECTORS */
	} origins[WORLD_ORIGINS];
	unsigned norigins;
	bool with_origins; /* new volumes may have one */

	/* Calls that change nothing; here because a cut leaves them with the engine. */
	struct sim_admin side[WORLD_SIDE];
	struct bs_volume_info infos[MODEL_IMAGES + 8];
	struct bs_diff_entry diff[MODEL_BLOCKS];

	uint64_t cut_at;    /* I/O event at which the disk falls silent after world_open; 0: none */
	uint64_t opened_at; /* I/O events until the last world_open was through */

	uint64_t next_content;
	unsigned names; /* for names never used before */
	unsigned beside[2]; /* volumes and snapshots that the model does not know */
	uint64_t turns, completions, crashes;
	unsigned idle_turns;
};

void world_init(struct world *w, uint64_t seed, uint64_t disk_size);
void world_end(const struct world *w); /* the trace's last line: what a replay must come to again */
void world_free(struct world *w);
/* Small everything, seed-chosen. */
void world_default_config(struct world *w);
void world_format(struct world *w);
/* Opens and checks everything, starting an epoch. lo: see world_crash. */
void world_open(struct world *w);

/*
 * The disk has fallen silent: the run can only end in world_die. All that waits returns at once
 * (statuses stay 1, calls give WORLD_CUT, handles and requests NULL).
 */
bool world_cut(const struct world *w);
#define WORLD_CUT 2
bool world_turn(struct world *w); /* false: nothing can happen until something is submitted */
void world_turns(struct world *w, unsigned n);
void world_settle(struct world *w); /* until no request and no administration is in flight */
void world_stop(struct world *w);   /* settles, closes the handles, stops cleanly */

/* Ends the run now, and the power too if told; recovers (with more cuts inside if told); checks. */
void world_crash(struct world *w, bool power, bool again);
/* The pieces of it: the end, and the way back. */
void world_die(struct world *w, bool power);
void world_recover(struct world *w, bool power, bool again);
/* Opens without checking; world_recover goes on from there, or tries again when it failed. */
bool world_try_open(struct world *w);

/* A request of the model's, still to be filled and submitted; NULL when there is none free. */
struct world_req *world_req_begin(struct world *w, struct model_image *img, enum bs_op op,
				  uint32_t sector, uint32_t count, unsigned flags);
/* Requests; NULL when too many are in flight. Sectors and counts in units of 512 bytes. */
struct world_req *world_read(struct world *w, struct model_image *img, uint32_t sector,
			     uint32_t count);
struct world_req *world_write(struct world *w, struct model_image *img, uint32_t sector,
			      uint32_t count, const uint64_t *tags, unsigned flags);
/* A whole block of the content given. */
struct world_req *world_write_block(struct world *w, struct model_image *img, uint32_t block,
				    uint64_t content, unsigned flags);
struct world_req *world_erase(struct world *w, struct model_image *img, enum bs_op op,
			      uint32_t sector, uint32_t count, unsigned flags);
struct world_req *world_compare_write(struct world *w, struct model_image *img, uint32_t sector,
				      uint32_t count, const uint64_t *compare, const uint64_t *tags,
				      unsigned flags);
struct world_req *world_copy(struct world *w, struct model_image *img, uint32_t sector,
			     struct model_image *source, uint32_t from, uint32_t count,
			     unsigned flags);
struct world_req *world_link(struct world *w, struct model_image *img, uint32_t block,
			     uint32_t count, const uint64_t *contents);
struct world_req *world_status(struct world *w, struct model_image *img, uint32_t block,
			       uint32_t count);
struct world_req *world_flush(struct world *w);
int world_side(struct world *w, struct sim_admin *a); /* runs one of w->side to its end */
struct sim_admin *world_side_new(struct world *w, enum sim_admin_kind kind);
/* Turns until *status is no longer 1. */
int world_await(struct world *w, int *status);
/* The outcomes in status[0, n) are of no interest any more. */
void world_forget(struct world *w, const int *status, unsigned n);
/* Forgets all requests in flight after the engine is gone. */
void world_drop_requests(struct world *w);

/* Administration: prepared in w->admin; the model follows. false when one is in flight. */
struct sim_admin *world_admin(struct world *w, enum sim_admin_kind kind);
void world_admin_go(struct world *w); /* submits it */
int world_admin_wait(struct world *w);
/* Shorthands that wait. */
int world_create(struct world *w, const char *name, uint32_t blocks);
/* All of it is at a new origin, which holds something. */
int world_create_there(struct world *w, const char *name, uint32_t blocks);
int world_snapshot(struct world *w, struct model_image *img, const char *snap);
int world_delete(struct world *w, struct model_image *img, enum bs_delete_mode mode);
int world_clone(struct world *w, struct model_image *snap, const char *name);
int world_rollback(struct world *w, struct model_image *snap);
int world_resize(struct world *w, struct model_image *img, uint32_t blocks);
int world_rename(struct world *w, struct model_image *img, const char *to);
int world_sync(struct world *w);
int world_drain(struct world *w);
int world_thick(struct world *w, struct model_image *img, bool thick); /* no requests in flight */
/* Before the world is opened: volumes with origins, which are fetched from. */
void world_with_origins(struct world *w);
/* One that holds something; NULL: there were enough. */
const struct vs_uuid *world_new_origin(struct world *w, uint32_t blocks);
void world_origin_content(const struct world *w, const struct vs_uuid *uuid, uint64_t *tags);
void world_free_origins(struct world *w);
/* Handles are opened when needed; this closes one so that a delete or rollback may happen. */
struct bs_volume *world_handle(struct world *w, struct model_image *img);
void world_unhandle(struct world *w, struct model_image *img);
/* After a crash: what the store lists decides whether the cut-off operation happened. */
void world_admin_resolve(struct world *w, size_t listed);
/* The model's side of an operation that happened. */
void world_admin_apply(struct world *w, const struct sim_admin *a);

/* Reads a whole image; tags: MODEL_SECTORS of them. false when cut. */
bool world_read_image(struct world *w, struct model_image *img, uint64_t *tags);
/* Reads a new snapshot (or several of one instant), checks and pins it. */
void world_pin(struct world *w, struct model_image *const *snaps, unsigned n);
/* All that are not pinned. */
void world_pin_all(struct world *w);
/* Reads everything as of now and checks it; lo: the model time up to which all must be there. */
void world_verify(struct world *w, uint64_t lo, bool crash);
/* The volumes and snapshots listed, with their sizes, are those that there must be. */
void world_check_list(struct world *w);
/* Compares the diff of two pinned snapshots (a NULL: from nothing) with brute force. */
void world_check_diff(struct world *w, struct model_image *a, struct model_image *b);
/* Recounts a copy of the disk offline; everything must agree. */
void world_recount(struct world *w, bool read_data);

/* Where a sector of the model lies in a volume, in bytes, and back. */
static inline uint64_t world_bytes(const struct world *w, uint32_t sector)
{
	return ((uint64_t)w->shift * 8 + sector) * SIM_SECTOR;
}
static inline uint32_t world_sectors(const struct world *w, uint64_t bytes)
{
	return (uint32_t)(bytes / SIM_SECTOR - (uint64_t)w->shift * 8);
}

uint64_t world_new_content(struct world *w);
struct model_image *world_find(struct world *w, const char *full); /* NAME or NAME@SNAP */
extern const char *const world_admin_names[SIM_ADMIN_KINDS];
const char *world_full_name(const struct model_image *img); /* static, four in turn */

#endif
