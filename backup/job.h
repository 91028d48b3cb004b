/*
 * Backups and restores.
 *
 * Threads: every function blocks and belongs on a worker thread of the caller, never on an event
 * loop's or the engine's; it brings a loop and a port of its own. Any number of jobs may run at
 * once, also on one repository handle. Ownership: all handles stay the caller's and must stay open
 * until the function returns. Memory: a backup takes about 50 MiB, a restore about 40 MiB, whatever
 * the volume's size, besides the repository's index (repo.h).
 * Errors: those of repo.h and of the store's reads and writes; VS_E_CANCELED. A backup that fails
 * or is killed at any point leaves a valid repository: what it wrote without being referred to is
 * used by the next backup or given back by gc. A restore that fails leaves the target half written.
 */
#ifndef BK_JOB_H
#define BK_JOB_H

#include "backup/repo.h"
#include "blockstore/store.h"
#include "blockstore/volume.h"

/*
 * What the caller keeps (in its catalogue) for each volume and repository, so that the next backup
 * only walks what differs: the snapshot that the last backup was made of, which must be kept until
 * the next backup has succeeded, and that backup's id. If the snapshot is gone, back up without a
 * parent: everything is walked then, and still only blocks that the repository lacks are read.
 */
struct bk_base {
	struct vs_uuid repo; /* bk_repo_info.uuid */
	struct vs_uuid volume;
	struct vs_uuid snapshot;
	char backup[BK_ID_MAX];
};

struct bk_backup_options {
	struct bs_volume *parent; /* base snapshot; NULL: none */
	const char *parent_id;	  /* its backup; NULL: none. Both or neither. */
	const char *tag;	  /* NULL: none */
	struct bk_watch watch;	  /* progress in blocks walked */
};

struct bk_backup_result {
	char id[BK_ID_MAX];
	bool incremental;	 /* the parent was used */
	uint64_t blocks_total;	 /* of the volume */
	uint64_t blocks_changed; /* that differ from the parent's (no parent: that are not zero) */
	uint64_t blocks_sent;	 /* unique blocks newly stored */
	uint64_t bytes_sent;	 /* of all objects written */
	double seconds;
};

/*
 * Backs a snapshot up. Only blocks whose digest the repository lacks are read. A parent backup that
 * is gone, damaged or of another snapshot is not used (result.incremental says so). VS_E_INVAL:
 * snap is not a snapshot, or the tag is not valid. opts may be NULL.
 */
int bk_backup_run(struct bs_store *s, struct bs_volume *snap, struct bk_repo *r,
		  const struct bk_backup_options *opts, struct bk_backup_result *out,
		  struct vs_error *err) vs_must_check;

struct bk_restore_options {
	bool overwrite;	       /* the target may hold data: what differs is written, zeros too */
	struct bk_watch watch; /* progress in blocks walked */
};

struct bk_restore_result {
	uint64_t blocks_total;	 /* of the volume */
	uint64_t blocks_local;	 /* mapped to what the store held, or already right in the target */
	uint64_t blocks_fetched; /* unique blocks taken from the repository */
	uint64_t bytes_fetched;	 /* read from the repository's packs and pages */
	double seconds;
};

/*
 * Restores a backup into a volume of the same size (bk_repo_show tells it) that nobody else writes.
 * Every block from the repository is hashed before it is written. VS_E_INVAL: sizes differ;
 * VS_E_EXIST: the target holds data and overwrite is not set. Flushed when it returns 0.
 */
int bk_restore_run(struct bs_store *s, struct bk_repo *r, const char *id, struct bs_volume *target,
		   const struct bk_restore_options *opts, struct bk_restore_result *out,
		   struct vs_error *err) vs_must_check;

/*
 * Restores to a file, block device or pipe, raw, without a store. A regular file is cut to the
 * volume's size with holes for zeros and synced; a pipe gets every byte in order. watch may be
 * NULL.
 */
int bk_restore_to_file(struct bk_repo *r, const char *id, int fd, const struct bk_watch *watch,
		       struct bk_restore_result *out, struct vs_error *err) vs_must_check;

#endif
