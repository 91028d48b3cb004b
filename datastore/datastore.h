/*
 * Datastores: trees of files in the store, for front ends that serve files.
 *
 * A datastore is a volume of objects (blockstore/object.h): a file's bytes are an object, its
 * attributes the object's record, and the names of all directories a database in object 0. What a
 * request changes becomes visible, and durable, at once or not at all; but a WRITE and a CLONE of a
 * range in the pieces of io.h, each with its size and times, and of a file that shrinks the tail
 * may be zeros before it is shorter.
 *
 * Ownership: ds_open gives a datastore that ds_close takes back when no client uses it any more.
 * The caller owns a request, its buffers and names from ds_submit until done is called.
 * Threads: ds_open, ds_close and the calls of management: any but a loop's, they wait. A client
 * belongs to the thread of its loop: requests are submitted and answered there. Names are worked on
 * by a thread of the datastore; no loop ever waits.
 * Errors: 0 or VS_E_*; enum ds_status says more exactly what files and directories can refuse.
 * VS_E_STALE: the handle's file is gone. VS_E_TOOBIG: behind DS_FILE_MAX, more than 1 MiB at once,
 * or a link's target that has no room. VS_E_RANGE: a SEEK from the end on. VS_E_LIMIT: there are as
 * many files as there can be. VS_E_AGAIN: more snapshots are looked into than can be at once.
 * VS_E_FAILED: a rollback could not open the datastore again; or the store has failed.
 *
 * Times are Unix time in nanoseconds. Names are 1 to 255 bytes without '/' and NUL, and not "." or
 * ".." where one is made or removed.
 */
#ifndef DS_DATASTORE_H
#define DS_DATASTORE_H

#include "blockstore/io.h"

#define DS_NAME_MAX 255u
#define DS_LINK_MAX 4096u   /* bytes of a symbolic link's target */
#define DS_GROUPS_MAX 16u   /* of a caller, as AUTH_SYS has them */
#define DS_LINKS_MAX 65000u /* hard links of a file */
#define DS_FILE_MAX BS_OBJECT_MAX

struct ds_store;  /* an open datastore */
struct ds_client; /* one event loop's way to it */

/* Names a file for ever: over restarts, renames, snapshots and rollbacks. */
struct ds_handle {
	uint32_t object;
	uint32_t generation; /* tells apart files that had the same object one after the other */
	uint32_t snapshot;   /* id of the snapshot that it is seen in; 0: of the datastore itself */
};
/* The root directory. In it LOOKUP finds, but READDIR does not list, the directory ".snapshots",
 * whose entries are the roots of snapshots; all below it is read-only. */
extern const struct ds_handle ds_root;

enum ds_type { DS_NONE, DS_REG, DS_DIR, DS_LNK, DS_FIFO, DS_SOCK, DS_CHR, DS_BLK };

struct ds_attr {
	struct ds_handle handle;
	enum ds_type type;
	uint32_t mode; /* permission bits, 07777 */
	uint32_t links, uid, gid;
	uint32_t major, minor; /* DS_CHR, DS_BLK */
	uint64_t size, used;   /* bytes; size of a directory: its entries */
	int64_t atime, mtime, ctime, btime;
	uint64_t change; /* grows with each change of bytes, attributes or entries */
};

/* Who asks. Permissions are those of POSIX; uid 0 may all. */
struct ds_cred {
	uint32_t uid, gid, ngroups;
	uint32_t group[DS_GROUPS_MAX];
};

/* What is set: bits. */
#define DS_SET_MODE 1u
#define DS_SET_UID 2u
#define DS_SET_GID 4u
#define DS_SET_SIZE 8u
#define DS_SET_ATIME 16u
#define DS_SET_MTIME 32u
#define DS_SET_ATIME_NOW 64u
#define DS_SET_MTIME_NOW 128u

struct ds_set {
	uint32_t what, mode, uid, gid;
	uint64_t size;
	int64_t atime, mtime;
};

enum ds_op {
	DS_GETATTR,
	DS_LOOKUP,  /* file: directory; "." and ".." are understood */
	DS_SETATTR, /* of a guard: guard_ctime */
	DS_ACCESS,  /* access: what is asked; out: what may be done */
	DS_READ,    /* up to the end of the file: count, eof */
	DS_WRITE,   /* stable: durable when answered */
	DS_COMMIT,  /* what was written is durable */
	DS_CREATE,  /* type REG, DIR, LNK (target in iov), FIFO, SOCK, CHR, BLK; durable */
	DS_REMOVE,  /* anything but a directory; durable, as are all changes of names and SETATTR */
	DS_RMDIR,
	DS_RENAME, /* file, name -> other, other_name */
	DS_LINK,   /* file becomes other, name */
	DS_READLINK,
	DS_READDIR, /* entries behind cookie: entry() for each, until it says that it is full */
	DS_STATFS,
	DS_ALLOCATE,   /* the file is at least so long; nothing is reserved */
	DS_DEALLOCATE, /* the range reads as zeros, and takes no space where blocks are whole */
	DS_SEEK,       /* seek_hole or not: from offset on; out: offset, eof */
	DS_CLONE, /* the range gets what other has from other_offset on; length 0: to its end */
};

/* DS_ACCESS, as NFSv3 has them (RFC 1813 section 3.3.4). */
#define DS_MAY_READ 1u
#define DS_MAY_LOOKUP 2u
#define DS_MAY_MODIFY 4u
#define DS_MAY_EXTEND 8u
#define DS_MAY_DELETE 16u
#define DS_MAY_EXECUTE 32u

/* How DS_CREATE meets a name that is there. */
enum ds_how {
	DS_UNCHECKED, /* a file there is taken, and made as long as set says */
	DS_GUARDED,   /* VS_E_EXIST */
	DS_EXCLUSIVE, /* VS_E_EXIST unless it was made with the same verifier */
};

/* What VS_E_* has no words for; of a request whose status is VS_E_INVAL. */
enum ds_status {
	DS_OK,
	DS_NOT_DIR,
	DS_IS_DIR,
	DS_NOT_EMPTY,
	DS_NAME_TOO_LONG,
	DS_BAD_NAME,
	DS_BAD_COOKIE,
	DS_CROSSES, /* between datastores, or out of a snapshot */
	DS_WRONG_TYPE,
	DS_NOT_SYNC, /* guard_ctime is another */
	DS_TOO_MANY_LINKS,
	DS_NOT_OWNER, /* EPERM */
};

struct ds_entry {
	uint64_t cookie; /* where the next one begins; 0 and 1, 2 are not given out but for "." and
			    ".." */
	struct ds_handle handle;
	enum ds_type type;
	const char *name;
	size_t name_len;
	const struct ds_attr *attr; /* with plus; NULL: not known */
};

struct ds_req {
	enum ds_op op;
	const struct ds_cred *cred; /* NULL: the node itself, which may all */
	struct ds_handle file, other;
	const char *name, *other_name; /* not terminated */
	size_t name_len, other_name_len;
	uint64_t offset, length; /* READ, WRITE: up to 1 MiB; DEALLOCATE, ALLOCATE, CLONE: any */
	uint64_t other_offset;
	const struct iovec *iov; /* READ, READLINK: where to; WRITE, CREATE of a link: what */
	int iovcnt;
	bool stable;	/* WRITE */
	bool owner_may; /* READ, WRITE: who opened a file goes on after its mode has changed */
	bool plus;	/* READDIR: with attributes */
	bool seek_hole; /* SEEK */
	enum ds_type type;
	enum ds_how how;
	uint64_t verifier;     /* EXCLUSIVE */
	uint32_t major, minor; /* CREATE */
	struct ds_set set;     /* SETATTR, CREATE */
	bool guarded;	       /* SETATTR: only if ctime is guard_ctime */
	int64_t guard_ctime;
	uint32_t access; /* in and out */
	uint64_t cookie; /* READDIR: the entry before; 0: from the start */
	bool (*entry)(struct ds_req *req, const struct ds_entry *e); /* false: not taken, full */
	void (*done)(struct ds_req *req);
	void *arg;

	/* out */
	int status;	    /* 0 or VS_E_* ; VS_E_STALE: the handle's file is gone */
	enum ds_status why; /* with VS_E_INVAL */
	size_t count;	    /* READ, WRITE, READLINK: bytes */
	bool eof;	    /* READ, READDIR, SEEK */
	bool created;	    /* CREATE: it was not there before */
	/* attr: of the file, or of what was found or made. before, after: of the directory (file)
	 * or the file that changed; before_other, after_other: of RENAME's and LINK's other
	 * directory. type DS_NONE: not known. */
	struct ds_attr attr, before, after, before_other, after_other;
	uint64_t fs_total, fs_free, fs_files, fs_files_free; /* STATFS: bytes, files */

	/* private from submit to done */
	void *state_;
};

/* The volume name is a datastore; VS_E_NOTSUP: it is none. Finishes what a crash left undone. */
int ds_open(struct bs_store *s, const char *name, struct ds_store **out,
	    struct vs_error *err) vs_must_check;
void ds_close(struct ds_store *d);
/* Makes the volume, the database and the root directory (mode 0755, of root). */
int ds_create(struct bs_store *s, const char *name, struct vs_error *err) vs_must_check;
/* Blocks of 4 KiB that its files may take together; 0: what the store has. */
void ds_set_quota(struct ds_store *d, uint64_t bytes);
const struct vs_uuid *ds_uuid(const struct ds_store *d);

int ds_client_open(struct ds_store *d, struct vs_loop *loop, unsigned depth, struct ds_client **out,
		   struct vs_error *err) vs_must_check;
/* One of another datastore in the same store, on the same loop: it shares that one's port, for a
 * port takes some 3 MiB once it is used. */
int ds_client_open_beside(struct ds_store *d, struct ds_client *beside, unsigned depth,
			  struct ds_client **out, struct vs_error *err) vs_must_check;
/* Waits for what is outstanding; in any order. */
void ds_client_close(struct ds_client *c);
void ds_submit(struct ds_client *c, struct ds_req *req);
/* For a loop that nobody else runs: submits, turns the loop until done; the request's status. */
int ds_wait(struct ds_client *c, struct ds_req *req) vs_must_check;

/*
 * A file that is open is not taken away when its last name goes (NFSv4 OPEN): each ds_hold is
 * answered by one ds_release. Any thread. VS_E_NOMEM; VS_E_AGAIN: its last name is just going.
 */
int ds_hold(struct ds_store *d, struct ds_handle file) vs_must_check;
void ds_release(struct ds_store *d, struct ds_handle file);

/* Snapshots: of all files at one instant. name: without the datastore's. They wait. */
int ds_snapshot_create(struct ds_store *d, const char *name, struct vs_error *err) vs_must_check;
int ds_snapshot_delete(struct ds_store *d, const char *name, struct vs_error *err) vs_must_check;
/* Requests wait meanwhile; handles stay good for what is there again. */
int ds_snapshot_rollback(struct ds_store *d, const char *name, struct vs_error *err) vs_must_check;

#endif
