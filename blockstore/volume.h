/*
 * Volumes, snapshots and clones: create, list, change, delete, compare.
 *
 * Threads: any but the engine's; each call waits for the engine and returns when its effect
 * survives power loss. Ownership: a struct bs_volume is a counted handle; what bs_volume_open
 * gives, bs_volume_close takes back. Names: [A-Za-z0-9][A-Za-z0-9._-]{0,62}; a snapshot is
 * VOLUME@SNAP. Errors: VS_E_NOENT, VS_E_EXIST, VS_E_INVAL, VS_E_BUSY, VS_E_NOSPC, VS_E_ROFS,
 * VS_E_LIMIT.
 */
#ifndef BS_VOLUME_H
#define BS_VOLUME_H

#include "blockstore/store.h"
#include "dedup/digest.h"

#define BS_VOLUME_MAX_SIZE (UINT64_C(1) << 47) /* 128 TiB */
#define BS_FULL_NAME_MAX 128		       /* VOLUME@SNAP with NUL */

struct bs_volume;

struct bs_volume_spec {
	const char *name;
	uint64_t size;	 /* bytes, multiple of 4096, 1 block to BS_VOLUME_MAX_SIZE */
	uint32_t sector; /* 512 or 4096: what front ends announce; 0: 512 */
	int compression; /* enum bs_coding; -1: the store's default */
	bool no_dedup;	 /* see bs_volume_set_dedup */
	bool thick;	 /* see bs_volume_set_thick */
	/* All of it is at a new origin of this UUID (origin.h); NULL: it is zeros. Not with thick.
	 */
	const struct vs_uuid *origin;
};

struct bs_volume_info {
	struct vs_uuid uuid;
	uint64_t id; /* within the store, never reused */
	bool snapshot;
	bool kept;		/* a snapshot whose volume was deleted */
	char name[BS_NAME_MAX]; /* the volume's name, also for its snapshots */
	char snap[BS_NAME_MAX]; /* "" for a volume */
	/* Snapshot: its volume; clone: the snapshot it came from; else that of
	 * bs_volume_spec, while it is there. */
	struct vs_uuid origin;
	bool has_origin;
	bool fetching; /* the origin that it, or what it came from, was made with is there still */
	uint64_t size;
	uint32_t sector;
	int compression;
	bool dedup;
	bool thick;
	bool objects;		 /* a volume of objects (object.h); its size is 0 */
	uint64_t reserved_bytes; /* thick: in all, what it uses itself included */
	int64_t created_ns;	 /* Unix time */
	uint64_t logical_bytes;	 /* mapped blocks */
	uint64_t snapshots;	 /* volume: how many it has */
	uint32_t open_handles;
};

int bs_volume_create(struct bs_store *s, const struct bs_volume_spec *spec,
		     struct bs_volume_info *out, struct vs_error *err) vs_must_check;
/* full: NAME or NAME@SNAP. out may be NULL. */
int bs_volume_find(struct bs_store *s, const char *full, struct bs_volume_info *out,
		   struct vs_error *err) vs_must_check;
int bs_volume_find_uuid(struct bs_store *s, const struct vs_uuid *uuid, struct bs_volume_info *out,
			struct vs_error *err) vs_must_check;
/* Up to max entries with id > after, in the order of ids; *n is set. Volumes and snapshots. */
int bs_volume_list(struct bs_store *s, uint64_t after, struct bs_volume_info *out, size_t max,
		   size_t *n, struct vs_error *err) vs_must_check;
int bs_volume_rename(struct bs_store *s, const char *name, const char *to,
		     struct vs_error *err) vs_must_check;
/* Shrinking needs force when it would cut mapped blocks (VS_E_INVAL otherwise). */
int bs_volume_resize(struct bs_store *s, const char *name, uint64_t size, bool force,
		     struct vs_error *err) vs_must_check;
int bs_volume_set_compression(struct bs_store *s, const char *name, int compression,
			      struct vs_error *err) vs_must_check;

/*
 * Off: blocks written from now on are kept for this volume and its snapshots and clones alone. They
 * are not compared with what the store holds and nobody finds them, so the time that a write takes
 * tells no tenant what another one has. What was written before stays shared or private as it is.
 */
int bs_volume_set_dedup(struct bs_store *s, const char *name, bool on,
			struct vs_error *err) vs_must_check;

/*
 * Thick: room for all of its blocks, uncompressed and with their metadata, is kept for the volume,
 * so that no other can make its writes fail with VS_E_NOSPC. VS_E_NOSPC when there is not so much.
 * What it writes is not deduplicated. What it holds of before, and what its snapshots keep, counts
 * beside that; so a snapshot of it needs as much room again as it stores, or is refused
 * (VS_E_NOSPC). Snapshots and clones are thin.
 */
int bs_volume_set_thick(struct bs_store *s, const char *name, bool thick,
			struct vs_error *err) vs_must_check;

enum bs_delete_mode { BS_DELETE_PLAIN, BS_DELETE_WITH_SNAPSHOTS, BS_DELETE_KEEP_SNAPSHOTS };
/* VS_E_BUSY with snapshots and BS_DELETE_PLAIN, or while a handle is open. */
int bs_volume_delete(struct bs_store *s, const char *name, enum bs_delete_mode mode,
		     struct vs_error *err) vs_must_check;

#define BS_SNAPSHOT_GROUP_MAX 64
/* All of them at one instant; all or none. fulls: VOLUME@SNAP. n up to BS_SNAPSHOT_GROUP_MAX. */
int bs_snapshot_create(struct bs_store *s, const char *const *fulls, size_t n,
		       struct vs_error *err) vs_must_check;
int bs_snapshot_delete(struct bs_store *s, const char *full, struct vs_error *err) vs_must_check;
/* The volume's content becomes the snapshot's; newer snapshots stay. VS_E_BUSY while open. */
int bs_snapshot_rollback(struct bs_store *s, const char *full, struct vs_error *err) vs_must_check;
/* full: NAME@SNAP; the clone is an independent volume. */
int bs_volume_clone(struct bs_store *s, const char *full, const char *to,
		    struct bs_volume_info *out, struct vs_error *err) vs_must_check;

/* full: NAME or NAME@SNAP; snapshots are read-only. VS_E_NOTSUP: a volume of objects (object.h). */
int bs_volume_open(struct bs_store *s, const char *full, struct bs_volume **out,
		   struct vs_error *err) vs_must_check;
void bs_volume_close(struct bs_volume *v);
/* Of an open handle; any thread, no waiting. */
uint64_t bs_volume_size(const struct bs_volume *v); /* bytes; changes with a resize */
uint32_t bs_volume_sector(const struct bs_volume *v);
bool bs_volume_read_only(const struct bs_volume *v);
const struct vs_uuid *bs_volume_uuid(const struct bs_volume *v);

/*
 * A volume of zeros without a name that no other call finds or lists. It goes when its handle is
 * closed, or at the store's next opening. What a copy brings into it from a volume without
 * deduplication, or a thick one, stays private.
 */
int bs_volume_temporary(struct bs_store *s, uint64_t size, struct bs_volume **out,
			struct vs_error *err) vs_must_check;

/* What differs: runs of blocks. kind ZERO: reads as zeros in b. DATA: one block each, with digest.
 */
enum bs_diff_kind { BS_DIFF_ZERO, BS_DIFF_DATA };
struct bs_diff_entry {
	uint64_t block; /* units of BS_BLOCK */
	uint64_t count; /* 1 for DATA */
	enum bs_diff_kind kind;
	struct dd_digest digest;
};
/*
 * Lists, in the order of blocks, up to max entries of b from *cursor on whose content differs from
 * a's (a NULL: that are not zero), and moves *cursor past what was looked at. *n == 0 and
 * *cursor == UINT64_MAX at the end; *n may be 0 before. Map pages that both share are not walked
 * and no data is read. Both handles should be snapshots: a volume may change under the walk.
 * VS_E_BUSY: what differs is at an origin, so nobody knows in what.
 */
int bs_volume_diff(struct bs_volume *a, struct bs_volume *b, uint64_t *cursor,
		   struct bs_diff_entry *out, size_t max, size_t *n,
		   struct vs_error *err) vs_must_check;

#endif
