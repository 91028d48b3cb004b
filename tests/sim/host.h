/*
 * One run of the real engine on a simulated disk: its clock, its chance, its ports. Nothing here
 * knows about the model. Single-threaded; calls are made in the order that the driver chooses.
 */
#ifndef SIM_HOST_H
#define SIM_HOST_H

#include "blockstore/check.h"
#include "blockstore/exact.h"
#include "blockstore/io.h"
#include "blockstore/scrub.h"
#include "tests/sim/simdev.h"

#define SIM_PORTS 3

struct sim_host_config {
	uint64_t segment_size;
	unsigned frames, cache_blocks, units, fibers;
	uint32_t unit_max;
	uint64_t checkpoint_bytes, recovery_us, discard_ns;
	uint64_t index_bytes, near_bytes;
	unsigned checkpoint_step, spares;
	uint32_t ref_cap;
	uint16_t gen_mask;
	uint64_t max_contents, drops;
	unsigned exact_slots;
	unsigned ports, depth[SIM_PORTS];
	uint64_t origin_hold_ns;
	/* Content of a block of an origin; NULL: there are none. */
	void (*fetch)(void *arg, const struct vs_uuid *origin, uint64_t block, unsigned char *to);
	/* Whether blocks [first, first + n) are zeros, so far as the origin can say without them.
	 */
	bool (*is_hole)(void *arg, const struct vs_uuid *origin, uint64_t first, uint64_t n);
	void *fetch_arg;
};

struct sim_host;

int sim_host_format(struct sim_disk *disk, struct sim_clock *clock, uint64_t segment_size,
		    struct vs_error *err) vs_must_check;
/* Recovers. A device that falls silent meanwhile makes it fail. */
int sim_host_open(struct sim_disk *disk, struct sim_clock *clock, const struct sim_host_config *cfg,
		  uint64_t seed, struct sim_host **out, struct vs_error *err) vs_must_check;
/* Clean stop; all requests and administration must be done, all handles closed. */
int sim_host_close(struct sim_host *h, struct vs_error *err) vs_must_check;
/* Forgets everything; the disk must have been killed or cut before. */
void sim_host_abandon(struct sim_host *h);

/* Runs a part (the engine, a port, administration): whether anything was done. */
unsigned sim_host_parts(const struct sim_host *h);
bool sim_host_poll(struct sim_host *h, unsigned part);
/* When the engine wants to be called again at the latest; UINT64_MAX: no need. */
uint64_t sim_host_wake(const struct sim_host *h);
void sim_host_submit(struct sim_host *h, unsigned port, struct bs_req *req);

enum sim_admin_kind {
	SIM_CREATE,   /* name, size */
	SIM_RESIZE,   /* name, size, flag: force */
	SIM_RENAME,   /* name, to */
	SIM_DELETE,   /* name, mode */
	SIM_SNAPSHOT, /* fulls, nfulls */
	SIM_UNSNAP,   /* name */
	SIM_ROLLBACK, /* name */
	SIM_CLONE,    /* name, to */
	SIM_OPEN,     /* name; force: of objects; volume, out */
	SIM_CLOSE,    /* volume */
	SIM_LIST,     /* infos, out; ninfos, in and out */
	SIM_DIFF,     /* volume (NULL: nothing), volume2; diff, out; ndiff, in and out */
	SIM_SYNC,     /* as bs_store_flush */
	SIM_DRAIN,    /* as bs_store_drain */
	SIM_EXACT,    /* name; exact, out */
	/*
	 * A whole pass; found and counts, out. rewrite: one content in so many gets its bytes
	 * again; rot: one bit of one content of each step is flipped before it, rotten says how
	 * many; heal: those get their bytes back and are found no more (rewritten).
	 */
	SIM_SCRUB,
	SIM_MERGE, /* one step of merging duplicates; merge, out */
	SIM_OBJECTS, /* name: a volume of objects */
	SIM_THICK, /* name; force: thick, else thin */
	SIM_ADMIN_KINDS
};

#define SIM_GROUP 4

struct sim_admin {
	enum sim_admin_kind kind;
	char name[BS_FULL_NAME_MAX], to[BS_NAME_MAX];
	uint64_t size;
	bool force;
	bool no_dedup;		      /* CREATE */
	const struct vs_uuid *origin; /* CREATE: all of it is there; NULL: zeros */
	enum bs_delete_mode mode;
	char fulls[SIM_GROUP][BS_FULL_NAME_MAX];
	unsigned nfulls;
	struct bs_volume *volume, *volume2;
	struct bs_volume_info *infos;
	size_t ninfos;
	struct bs_diff_entry *diff;
	size_t ndiff;
	unsigned rewrite, found, rotten, rewritten;
	bool rot, heal;
	enum bs_scrub_counts counts; /* SCRUB; out */
	struct bs_merge_info merge;
	struct bs_exact_info exact;

	void (*done)(struct sim_admin *a); /* inside sim_host_poll */
	void *arg;
	struct sim_host *host; /* private */
	int status;	       /* out */
	struct vs_error err;
};

/* Whoever fetches from origins does not reach them any more, or does again. */
void sim_host_lose(struct sim_host *h, bool lost);
unsigned sim_host_origins(const struct sim_host *h); /* that the store knows */
/* Owned by the caller until done. */
void sim_host_admin(struct sim_host *h, struct sim_admin *a);

void sim_host_info(struct sim_host *h, struct bs_store_info *out);
/* Reads that got bytes of something else: none, while the disk is sound. */
uint64_t sim_host_mended(const struct sim_host *h);
/* Every device of a mirror is there and holds everything. */
bool sim_host_in_sync(const struct sim_host *h);
/*
 * The second disk becomes a mirror of the first one, or side i goes. Neither waits: what comes of
 * it is 1 until it is done. Once it is in the store it stays open until the host ends.
 */
void sim_host_join(struct sim_host *h);
void sim_host_extend(struct sim_host *h); /* it makes the store larger instead */
void sim_host_leave(struct sim_host *h, unsigned i);
/* An entry whose device is not here: power was lost before the device heard that it joins. */
bool sim_host_forget(struct sim_host *h);
int sim_host_changed(const struct sim_host *h);
unsigned sim_host_sides(const struct sim_host *h); /* devices in the store's table */
/* Events of severity warning and error since open. */
unsigned sim_host_complaints(const struct sim_host *h);

/* Offline check of a copy of the disk, as it would be after a kill. */
int sim_host_check(const struct sim_disk *disk, bool read_data, struct bs_check_result *out,
		   struct vs_error *err) vs_must_check;

#endif
