/*
 * On-disk bytes of the superblock and of the owner block (FORMAT.md, "Superblock").
 */
#ifndef BS_SUPER_FORMAT_H
#define BS_SUPER_FORMAT_H

#include "blockstore/log_format.h"
#include "blockstore/pool_format.h"

#define BS_FORMAT_VERSION 1u
#define BS_SUPER_SIZE 4096u
#define BS_HEAD_AREA (64u << 10) /* before the first segment */
#define BS_TAIL_AREA (64u << 10) /* behind the last one */
/* A unit must hold the largest operation, 128 KiB and its records. */
#define BS_SEGMENT_MIN (256u << 10)
#define BS_SEGMENT_MAX (16u << 20)
#define BS_OWNER_OFFSET 8192u
#define BS_KEY_SLOTS 8u
/* Sequences, checkpoints and eras never get here; beyond, a superblock is damaged. */
#define BS_COUNT_MAX (UINT64_C(1) << 62)
#define BS_TREE_HEIGHT_MAX 8u

/* Features this code knows, per class. */
#define BS_KNOWN_COMPAT UINT64_C(0)
#define BS_KNOWN_RO_COMPAT UINT64_C(0)
#define BS_INCOMPAT_DROPS UINT64_C(1)		/* the drop table and its records */
#define BS_INCOMPAT_DEVICES (UINT64_C(1) << 4)	/* the superblock has a device table */
#define BS_INCOMPAT_PRIVATE (UINT64_C(1) << 8)	/* content that is not deduplicated */
#define BS_INCOMPAT_REPLACED (UINT64_C(1) << 9) /* content healed in another stored form */
#define BS_INCOMPAT_ALIAS (UINT64_C(1) << 10)	/* content that another one stores */
#define BS_INCOMPAT_HOLES (UINT64_C(1) << 11)	/* segments that no device has any more */
#define BS_INCOMPAT_ORIGIN (UINT64_C(1) << 12)	/* content that is not here yet */
#define BS_INCOMPAT_OBJECTS (UINT64_C(1) << 13) /* volumes of objects, and their records */
#define BS_KNOWN_INCOMPAT                                                                       \
	(BS_INCOMPAT_DROPS | BS_INCOMPAT_DEVICES | BS_INCOMPAT_PRIVATE | BS_INCOMPAT_REPLACED | \
	 BS_INCOMPAT_ALIAS | BS_INCOMPAT_HOLES | BS_INCOMPAT_ORIGIN | BS_INCOMPAT_OBJECTS)

/* No run of drops is longer. */
#define BS_DROPS_MAX (UINT64_C(1) << 26)

struct bs_tree_root {
	struct bs_ptr ptr;
	uint8_t height;	 /* 0: empty */
	uint64_t leaves; /* leaf pages below */
};

/* A dedup index saved at a clean stop: a hint (index_save.h). */
struct bs_saved_index {
	uint32_t first; /* segment, plus 1; 0: none */
	uint64_t nonce;
};

struct bs_super {
	uint32_t version;
	uint64_t compat, ro_compat, incompat;
	struct vs_uuid uuid;
	uint64_t device_size;
	uint32_t segment_size;
	uint32_t segments;
	uint8_t compression; /* default of new volumes */
	uint64_t checkpoint; /* number; the higher of two valid superblocks counts */
	int64_t written;     /* Unix ns */
	/* where the log goes on after the checkpoint's cut */
	uint64_t epoch, next_seq, chain;
	uint32_t log_seg, log_off;
	uint32_t ahead[BS_LOG_AHEAD];
	uint64_t durable_seq;
	/* counters at the cut */
	uint64_t era, next_volume, works;
	uint64_t contents, stored_bytes, references;
	uint64_t place_hint, map_hint; /* leaves where the search for free slots goes on */
	uint64_t drops[2];	       /* entries of the drop table's runs */
	uint64_t drop_cursor;	       /* the draining run is done below this place leaf */
	uint8_t drop_side;	       /* the run that gathers */
	struct bs_tree_root roots[BS_TREES];
	struct bs_saved_index index;
	bool clean;	      /* closed cleanly: nothing follows in the log */
	struct bs_devtab tab; /* with BS_INCOMPAT_DEVICES */
};

void bs_super_encode(uint8_t buf[BS_SUPER_SIZE], const struct bs_super *s);
/*
 * VS_E_NOTSTORE: no superblock; VS_E_CORRUPT: damaged; VS_E_VERSION: written by a later version
 * (out->version is set). Feature flags are the caller's to judge.
 */
int bs_super_decode(const uint8_t buf[BS_SUPER_SIZE], struct bs_super *out) vs_must_check;
/* Byte offset of copy 0..1 of slot 0..1. */
uint64_t bs_super_offset(uint64_t device_size, unsigned slot, unsigned copy);

/* Who has the store open; beside the superblock, rewritten as heartbeat. */
struct bs_owner {
	bool held;
	struct vs_uuid store;
	uint8_t machine[32]; /* machine id, text */
	char host[64];
	uint64_t beat; /* grows while held */
};
void bs_owner_encode(uint8_t buf[BS_SUPER_SIZE], const struct bs_owner *o);
int bs_owner_decode(const uint8_t buf[BS_SUPER_SIZE], struct bs_owner *out) vs_must_check;

#endif
