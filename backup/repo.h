/*
 * Backup repositories: create, open, list, delete, check.
 *
 * Ownership: bk_repo_open and bk_repo_attach give a handle that bk_repo_close takes back; every job
 * on it must have ended. Threads: a handle may be used by any number of threads at once, all calls
 * block on the remote and none may be made on an event loop's or the engine's thread. Several
 * handles, processes and nodes may use one repository at the same time: objects are immutable and
 * named by content, and a backup's descriptor is written last.
 * Errors: VS_E_INVAL (URL), VS_E_NOTSUP (scheme), VS_E_NOENT, VS_E_NOTSTORE (not a repository),
 * VS_E_VERSION and VS_E_FEATURE (made by a later version), VS_E_CORRUPT (a damaged or truncated
 * object; the text names it), VS_E_NOSPC (remote full), VS_E_ROFS, VS_E_ACCESS, VS_E_IO.
 */
#ifndef BK_REPO_H
#define BK_REPO_H

#include "common/err.h"
#include "common/uuid.h"
#include "dedup/digest.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BK_ID_MAX 64   /* with NUL; an id matches [A-Za-z0-9][A-Za-z0-9._-]* */
#define BK_TAG_MAX 128 /* with NUL; printable UTF-8 */

struct bk_repo;

struct bk_repo_options {
	/*
	 * Bytes for the digest index in memory, at least 1 MiB; 0: 256 MiB, which find 11 million
	 * blocks (45 GB of unique data) at once. What does not fit is searched in the repository:
	 * slower, never wrong.
	 */
	uint64_t index_memory;
};

/* URL: dir:///path. opts may be NULL. Opens what exists. */
int bk_repo_open(const char *url, const struct bk_repo_options *opts, struct bk_repo **out,
		 struct vs_error *err) vs_must_check;
/*
 * Opens, or creates where there is nothing (the last folder of the path is made). VS_E_NOTSTORE
 * when the place holds other things. *created may be NULL.
 */
int bk_repo_attach(const char *url, const struct bk_repo_options *opts, struct bk_repo **out,
		   bool *created, struct vs_error *err) vs_must_check;
void bk_repo_close(struct bk_repo *r);

struct bk_repo_info {
	struct vs_uuid uuid;
	uint32_t format_version;
	int64_t created_ns; /* Unix time */
	bool encrypted;
	bool read_only; /* an unknown read-only compatible feature */
	uint64_t backups;
	uint64_t stored_bytes; /* all objects */
	uint64_t packs, pack_bytes;
	uint64_t unindexed_bytes; /* packs that no index object mentions: left by killed jobs */
};
int bk_repo_info(struct bk_repo *r, struct bk_repo_info *out, struct vs_error *err) vs_must_check;

struct bk_backup_info {
	char id[BK_ID_MAX];
	char volume[64], snapshot[64]; /* names at the time; snapshot may be "" */
	char tag[BK_TAG_MAX];	       /* "": none */
	char parent[BK_ID_MAX];	       /* the backup that it was made against; "": none */
	struct vs_uuid volume_uuid, snapshot_uuid;
	uint64_t size;	 /* bytes, multiple of 4096 */
	uint32_t sector; /* 512 or 4096 */
	int64_t created_ns, snapshot_ns;
	struct dd_digest root; /* of the page tree; all zero: everything reads as zeros */
	/* In blocks of 4 KiB. */
	uint64_t blocks_total;	 /* of the volume */
	uint64_t blocks_changed; /* that differ from the parent's (no parent: that are not zero) */
	uint64_t blocks_sent;	 /* unique blocks newly stored */
	uint64_t bytes_sent;	 /* of all objects written */
	uint64_t duration_ns;
};

/*
 * Calls each for every backup, oldest first; stops with its result when that is not 0. A damaged
 * descriptor goes to bad (NULL: ends the list with VS_E_CORRUPT) and the list goes on.
 */
int bk_repo_list(struct bk_repo *r, int (*each)(void *arg, const struct bk_backup_info *b),
		 void (*bad)(void *arg, const char *id, const struct vs_error *e), void *arg,
		 struct vs_error *err) vs_must_check;
int bk_repo_show(struct bk_repo *r, const char *id, struct bk_backup_info *out,
		 struct vs_error *err) vs_must_check;
/* Deletes the descriptor; bk_repo_gc gives the space back. */
int bk_repo_forget(struct bk_repo *r, const char *id, struct vs_error *err) vs_must_check;

/* How long work reports and is stopped. All members may be 0. */
struct bk_watch {
	/* On the calling thread, at most a few times a second; units: blocks, for checks bytes. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
	const atomic_bool *cancel; /* set by any thread: the work ends with VS_E_CANCELED */
};

struct bk_gc_result {
	uint64_t packs_deleted, packs_rewritten;
	uint64_t freed_bytes; /* with dry_run: that would be freed */
	uint64_t kept_bytes;  /* of packs that stay */
};
/*
 * Frees what no backup needs any more: deletes packs without use, writes packs anew of which less
 * than half is used, merges index objects, removes what killed jobs left. VS_E_BUSY while a backup
 * runs anywhere; nothing is deleted when any backup cannot be read whole (VS_E_CORRUPT). dry_run
 * changes nothing and takes no lock. Memory: one bit for each block in the repository, about 200
 * MiB for tables. Progress in backups looked at.
 */
int bk_repo_gc(struct bk_repo *r, bool dry_run, const struct bk_watch *watch,
	       struct bk_gc_result *out, struct vs_error *err) vs_must_check;

/* Reads what was added to the repository's index since; before bk_repo_block. */
int bk_repo_refresh(struct bk_repo *r, struct vs_error *err) vs_must_check;
/*
 * The block with this digest, hashed again before it is handed out. VS_E_NOENT: the repository has
 * none.
 */
int bk_repo_block(struct bk_repo *r, const struct dd_digest *digest, uint8_t out[4096],
		  struct vs_error *err) vs_must_check;

struct bk_check_result {
	uint64_t problems;
	uint64_t backups, packs, pages, blocks, bytes_read;
};
/*
 * Holds index objects against packs and every backup's pages and blocks against the index; with
 * read_data also reads every pack and hashes every block in it. report gets one line a problem,
 * naming the object, at most 1000 of them; result.problems counts all. 0 when the check could be
 * made, whatever it found.
 */
int bk_repo_check(struct bk_repo *r, bool read_data, void (*report)(void *arg, const char *line),
		  void *report_arg, const struct bk_watch *watch, struct bk_check_result *out,
		  struct vs_error *err) vs_must_check;
/* The same for one backup: its pages, and its blocks' places or (read_data) their bytes. */
int bk_backup_verify(struct bk_repo *r, const char *id, bool read_data,
		     void (*report)(void *arg, const char *line), void *report_arg,
		     const struct bk_watch *watch, struct bk_check_result *out,
		     struct vs_error *err) vs_must_check;

#endif
