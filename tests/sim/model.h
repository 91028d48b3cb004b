/*
 * What a store must hold, told from outside: which operations were given when, and when they were
 * acknowledged.
 *
 * Time is a counter that moves with every event. An operation takes effect at one instant between
 * its submission and its acknowledgement (at any instant later, or never, when it failed or was cut
 * off). Each sector of a volume has its history of writes; a value is right when some order of the
 * operations that agrees with their times explains it.
 *
 * A *view* is a reading of whole images as of one instant: a snapshot, or everything after a crash.
 * It is right when its operations are a prefix: once it holds an operation that was submitted after
 * another was acknowledged, it must hold that other, too. Because an operation is an interval, the
 * one number `cut` (the latest submission that the view holds) says all of that. Pieces of requests
 * are atomic: a view that holds one sector of a piece holds all of it.
 *
 * An epoch lasts from one full reading of the store to the next; images start it with exact
 * content.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_IMAGES 48
#define MODEL_BLOCKS 640
#define MODEL_SECTORS (MODEL_BLOCKS * 8)
#define MODEL_NEVER UINT64_MAX

struct model_op {
	uint64_t submit, ack; /* MODEL_NEVER: not (yet) acknowledged */
	bool durable;	      /* survives power loss by itself: FUA, administration */
	bool optional;	      /* may have no effect: trims */
	bool dropped;	      /* surely has none: refused */
	bool present;	      /* scratch of a view */
};

/* A volume or snapshot. Volumes have histories; snapshots get exact content when pinned. */
struct model_image {
	bool live, snapshot, pinned;
	bool thick; /* a volume whose writes never find the store full */
	char name[64], snap[64];
	uint32_t sectors;
	uint64_t *base; /* MODEL_SECTORS tags at the epoch's start */
	uint32_t *head; /* MODEL_SECTORS: last node of the sector's history, 0: none */
	/* a snapshot not yet pinned */
	struct model_image *source;
	uint64_t lo, hi; /* taken at an instant between */
	uint32_t users;	 /* unpinned snapshots that look at this one's history */
	void *user;	 /* the driver's */
};

/* One atomic piece of a copy in flight. What is written to its source may be what it writes. */
struct model_copy {
	uint32_t op, group; /* group: the request's first operation */
	const struct model_image *source;
	struct model_image *image;
	uint32_t from, sector, count;
};

struct model {
	uint64_t now;
	uint64_t durable; /* everything acknowledged before this survives power loss */
	struct model_image images[MODEL_IMAGES];
	struct model_op *ops;
	uint32_t nops, cap_ops;
	struct model_node *nodes;
	uint32_t nnodes, cap_nodes;
	struct model_copy *copies;
	uint32_t ncopies, cap_copies;
};

void model_init(struct model *m);
void model_free(struct model *m);
static inline uint64_t model_tick(struct model *m)
{
	return ++m->now;
}

/* NULL when none is free. Content is zeros. */
struct model_image *model_add(struct model *m, const char *name, const char *snap,
			      uint32_t sectors);
void model_remove(struct model *m, struct model_image *img);
struct model_image *model_find(struct model *m, const char *name, const char *snap);
unsigned model_count(const struct model *m, bool snapshots);

/* A new operation, submitted now: its number. Valid until the epoch ends. */
uint32_t model_op_new(struct model *m);
struct model_op *model_op(struct model *m, uint32_t op);
/* It writes tag into a sector. */
void model_write(struct model *m, struct model_image *img, uint32_t op, uint32_t sector,
		 uint64_t tag);

/*
 * n pieces of one request, which must not be of each other's making: each sector gets what its
 * source may hold at any instant until model_copied. So a sector has several tags of one operation.
 */
void model_copy(struct model *m, const struct model_copy *pieces, unsigned n);
/* Whether few enough values may be there now for copies of them to be followed. */
bool model_copyable(const struct model *m, const struct model_image *img, uint32_t sector,
		    uint32_t count);
void model_copied(struct model *m, uint32_t group);

/* Whether a sector may read as tag for a reader that began at lo and ended now. */
bool model_may_read(struct model *m, const struct model_image *img, uint32_t sector, uint64_t tag,
		    uint64_t lo);
/* The only value that a reader between lo and now may get: true, and *tag. */
bool model_only(struct model *m, const struct model_image *img, uint32_t sector, uint64_t lo,
		uint64_t *tag);

struct model_reading {
	struct model_image *image; /* volume, or snapshot not yet pinned or pinned */
	const uint64_t *tags;	   /* image->sectors of them */
};

/*
 * Checks readings as one view whose instant lies between lo and hi. crash: durable operations are
 * in it. *cut: the latest submission that the view surely holds. false: why says what is wrong.
 */
bool model_check_view(struct model *m, const struct model_reading *r, unsigned n, uint64_t lo,
		      uint64_t hi, bool crash, uint64_t *cut, char *why, size_t len);
/* After a check: a snapshot's content is exactly this. */
void model_pin(struct model *m, struct model_image *img, const uint64_t *tags);
/* Starts an epoch: every live image must be among the readings. */
void model_new_epoch(struct model *m, const struct model_reading *r, unsigned n);

#endif
