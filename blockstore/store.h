/*
 * The store: open, close, figures, events. Front ends include io.h, management volume.h.
 *
 * Ownership: bs_store_open gives a store that bs_store_close takes back; every port and volume
 * handle must be closed before. Threads: all functions here may be called from any thread but the
 * engine's own, and wait for the engine. Errors: VS_E_*, with one line for people in err.
 */
#ifndef BS_STORE_H
#define BS_STORE_H

#include "blockstore/device.h"
#include "common/uuid.h"

#include <stddef.h>

#define BS_BLOCK 4096u
#define BS_NAME_MAX 64 /* with the terminating NUL */

enum bs_coding { BS_CODING_PLAIN = 0, BS_CODING_LZ4 = 1, BS_CODING_ZSTD = 2 };

struct bs_store;

struct bs_init_options {
	uint64_t segment_size;	    /* bytes, power of two, 256 KiB to 16 MiB; 0: 8 MiB */
	enum bs_coding compression; /* default of new volumes; BS_CODING_PLAIN is "none" */
	bool force;		    /* overwrite what holds data */
	bool mirror;		    /* of several devices: each holds everything */
};

/* Formats a device. VS_E_EXIST when it holds data (any non-zero byte in its first and last MiB). */
int bs_store_init(struct bs_device *dev, const struct bs_init_options *opts,
		  struct vs_error *err) vs_must_check;
/* Several: a store as large as all of them, or, with opts->mirror, two to four that hold the same.
 */
int bs_store_init_all(struct bs_device *const *devs, unsigned ndevs,
		      const struct bs_init_options *opts, struct vs_error *err) vs_must_check;

enum bs_severity { BS_INFO, BS_WARNING, BS_ERROR };

/* The index that finds content by digest. Zero fields: the default. */
struct bs_index_options {
	uint64_t bytes;	       /* default: a tenth of memory, near_bytes included */
	uint64_t near_bytes;   /* of the digests around recent hits; default 1 to 16 MiB */
	unsigned near_digests; /* loaded around a hit, 256 to 1024; default 1024 */
};

struct bs_open_options {
	uint64_t memory; /* bytes for caches, tables and index, at least 256 MiB; 0: default */
	struct bs_index_options index;
	uint64_t origin_hold_ms; /* reads wait so long for what is at an origin; 0: 30 s */
	bool read_only;
	bool keep_free;		  /* segments that are free are not discarded */
	const char *witness_path; /* file that remembers the last durable unit; NULL: none */
	/* Called on the engine's thread; must not block. */
	void (*event)(void *arg, enum bs_severity severity, const char *kind, const char *message);
	void *event_arg;
};

/*
 * Opens and recovers a store, then starts its engine thread. Takes the device over, also on
 * failure. VS_E_NOTSTORE, VS_E_VERSION (later format), VS_E_FEATURE (unknown incompatible feature),
 * VS_E_BUSY (another node owns it), VS_E_CORRUPT. A store with an unknown read-only compatible
 * feature, or whose log is damaged in the middle, opens read-only and says so in an event.
 */
int bs_store_open(struct bs_device *dev, const struct bs_open_options *opts, struct bs_store **out,
		  struct vs_error *err) vs_must_check;
/*
 * The same of a store of several devices, given in any order. VS_E_NOENT: a device is missing that
 * no mirror replaces. A mirror opens without one of its devices; one that was absent while others
 * were written is brought up to date in the background. Events of kind "device" say so.
 */
int bs_store_open_all(struct bs_device *const *devs, unsigned ndevs,
		      const struct bs_open_options *opts, struct bs_store **out,
		      struct vs_error *err) vs_must_check;
/* Writes a checkpoint and closes. Never fails in a way that loses acknowledged writes. */
int bs_store_close(struct bs_store *s, struct vs_error *err);

struct bs_store_info {
	struct vs_uuid uuid;
	char device[256];
	uint32_t format_version;
	uint64_t segment_size;
	bool read_only, failed;
	uint64_t capacity_bytes;       /* what data and its metadata may fill */
	uint64_t physical_used_bytes;  /* live bytes, metadata included */
	uint64_t logical_used_bytes;   /* mapped blocks of all volumes (not snapshots) */
	uint64_t unique_content_bytes; /* distinct content before compression */
	uint64_t stored_content_bytes; /* the same after compression */
	uint64_t referenced_bytes;     /* content counted once per reference of a map page */
	uint64_t reclaimable_bytes;    /* dead bytes in segments not yet cleaned */
	uint64_t reserved_bytes;       /* kept back for metadata, deletion and cleaner */
	uint64_t thick_reserved_bytes; /* for thick volumes, not yet used by them; at most */
	uint64_t volumes, snapshots;
	/* since open */
	uint64_t device_reads, device_read_bytes, device_writes, device_write_bytes, device_flushes;
	uint64_t near_hits, near_loads;	     /* duplicates found by locality, its loads */
	uint64_t index_scanned;		     /* contents entered from the tables since open */
	bool index_ready;		     /* everything has been entered or loaded */
	uint64_t index_bytes, index_entries; /* now */
	uint64_t cache_hits, cache_misses, dedup_hits, checkpoints, segments_cleaned;
	uint64_t bytes_written; /* by clients, in whole blocks */
	uint64_t bytes_data, bytes_maps, bytes_tables, bytes_cleaner; /* to the device, by cause */
	uint64_t bytes_discarded;
	uint64_t free_segments, segments;
	unsigned devices, devices_missing; /* missing: mirrors serve without them */
};

void bs_store_info(struct bs_store *s, struct bs_store_info *out);
/*
 * Frees the dedup index and makes one of another size, at least 4 KiB, that is filled from the
 * tables in the background; 0: nothing is deduplicated any more. Until the store is closed.
 * VS_E_INVAL, VS_E_NOMEM: there is no index then.
 */
int bs_store_set_index(struct bs_store *s, uint64_t bytes, struct vs_error *err) vs_must_check;
/* Merging of duplicates that were missed when they were written. */
struct bs_merge_info {
	uint64_t merged, bytes; /* contents, stored bytes that they gave up */
	uint64_t done, total;	/* of the work */
	bool finished;
	bool busy; /* others use the store */
};
/*
 * begin, then step until finished: each takes milliseconds, and the caller decides how much time
 * passes between them; end in any case. What was merged stays merged. VS_E_BUSY: one runs already;
 * VS_E_NOSPC: the store is too full.
 */
int bs_store_merge_begin(struct bs_store *s, struct vs_error *err) vs_must_check;
int bs_store_merge_step(struct bs_store *s, struct bs_merge_info *out,
			struct vs_error *err) vs_must_check;
void bs_store_merge_end(struct bs_store *s);
/* Returns when everything acknowledged before the call survives power loss. */
int bs_store_flush(struct bs_store *s, struct vs_error *err) vs_must_check;
/* Waits until deletions, trims and overwrites given before are worked off (`df` after a deletion).
 */
int bs_store_drain(struct bs_store *s, struct vs_error *err) vs_must_check;

#endif
