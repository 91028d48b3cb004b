/*
 * SQLite's way to object 0: pages are read from the store, and what it writes is kept until it
 * syncs. Then all of it is one request, with the changes of records that belong to it: so names
 * and attributes change together or not at all, and no snapshot sees anything between.
 *
 * A commit of more pages than one request takes goes a longer way: the pages, and where they
 * belong, are written to a staging area, far behind the database in the same object; a change of
 * the base record makes them count; then they are written to their places. Pages that are staged
 * stay in memory until they have their places, and are read from there when a database is opened.
 *
 * Threads: the one that owns the port's loop. Errors: SQLite's; status says what the store said.
 */
#ifndef DS_VFS_H
#define DS_VFS_H

#include "blockstore/io.h"
#include "blockstore/object.h"
#include "datastore/record_format.h"

#include <sqlite3.h>

#define DS_SCATTER_MAX (BS_ATOMIC_MAX / BS_BLOCK)
#define DS_COMMIT_MAX 4096u		  /* pages of one commit */
#define DS_STAGE_LIST (UINT64_C(1) << 45) /* where, in bytes: 8 for each page */
#define DS_STAGE_PAGES (DS_STAGE_LIST + DS_COMMIT_MAX * 8u)
#define DS_PAGES_KEPT 64u /* buffers that stay between commits */

struct ds_vfs {
	sqlite3_vfs vfs;
	char name[40];
	struct bs_port *port;
	struct bs_volume *volume;
	bool read_only;
	unsigned scatter_max; /* pages of a commit by the short way */
	uint64_t magic;	      /* of the base record: whose database it is */
	uint64_t base[BS_OBJECT_WORDS];
	uint64_t pages; /* of the database as SQLite sees it */
	/* pages that are not in their places yet, in any order */
	unsigned ndirty, nbuffers;
	uint64_t *where;
	uint8_t **buffer;
	bool staged;   /* they are in the staging area, and count */
	bool ignoring; /* a commit has failed: what SQLite writes back is there already */
	/* For the next commit: change[0] is of the base record. NULL: none but the vfs's own. */
	struct bs_object_change *change;
	unsigned nchanges;
	unsigned flags; /* of the requests: BS_SPARE; of the one that counts: BS_FUA */
	bool committed; /* they were taken along */
	int status;	/* of the last failure, until the next commit */
};

/*
 * Looks at the base record. fresh: there may be none (base[DS_B_MAGIC] is 0 then), it becomes one
 * with the first commit. VS_E_NOTSUP: there is none, or it is of another magic.
 */
int ds_vfs_open(struct ds_vfs *v, struct bs_port *port, struct bs_volume *volume, uint64_t magic,
		bool read_only, bool fresh, struct vs_error *err) vs_must_check;
void ds_vfs_close(struct ds_vfs *v); /* after the database */
/* Commits changes that no page goes along with; or what SQLite's sync is. */
int ds_vfs_commit(struct ds_vfs *v) vs_must_check;
/* After a commit that failed and was rolled back. */
void ds_vfs_recovered(struct ds_vfs *v);

void ds_vfs_file_init(struct ds_vfs *v); /* vfs_file.c: v->vfs */

/* vfs_stage.c */
int ds_vfs_stage(struct ds_vfs *v) vs_must_check;   /* commits by the long way */
int ds_vfs_settle(struct ds_vfs *v) vs_must_check;  /* what is staged gets its places */
int ds_vfs_unstage(struct ds_vfs *v) vs_must_check; /* what is staged comes into memory */
/* Up to 32 dirty pages from `first` on, to where[] or, from at on, in one piece. */
int ds_vfs_write(struct ds_vfs *v, unsigned first, unsigned n, uint64_t at,
		 bool changes) vs_must_check;
uint8_t *ds_vfs_page(struct ds_vfs *v, uint64_t page);		 /* a dirty one; NULL: it is none */
uint8_t *ds_vfs_new_page(struct ds_vfs *v, uint64_t page);	 /* NULL: no memory, or too many */
int ds_vfs_base(struct ds_vfs *v, unsigned flags) vs_must_check; /* changes only */

#endif
