/*
 * A file of another's NFS server (NFSv3 over TCP, RFC 1813, by libnfs): read and written on an
 * event loop.
 *
 * Ownership: bs_nfs_open makes it, bs_far_close ends it. Requests, threads, errors, what is held
 * and what a flush means: far.h. Names are looked up in bs_nfs_open only, so nothing waits for a
 * name server later. There is nothing to ask for holes: STATUS says that all is data, ZERO writes
 * zeros and UNMAP is VS_E_NOTSUP.
 *
 * Only this process may write the file: NFSv3 has no lock that a server need know, and nothing here
 * takes one.
 */
#ifndef BS_NFS_FILE_H
#define BS_NFS_FILE_H

#include "blockstore/far.h"
#include "blockstore/nfs_url.h"
#include "common/loop.h"

#include <stdatomic.h>

#define BS_NFS_DEPTH 32u /* most calls in flight */

struct bs_nfs_file;

struct bs_nfs_spec {
	struct bs_nfs_url url;
	uint64_t hold_ns;    /* 0: BS_FAR_HOLD_NS */
	uint64_t keep;	     /* bytes of unflushed writes that are kept; 0: it is only read */
	uint64_t doubt_ns;   /* how long a write may land late, see nfs_doubt.h; 0: 15 s */
	uint64_t silence_ns; /* without any answer, after which requests are held; 0: 15 s */
	/*
	 * What an earlier process had asked for may still be done: waits until the file's times
	 * have stayed as they are for half a second. VS_E_BUSY: they do not.
	 */
	bool quiet;
	bool create;   /* it is made, mode 0600, and must not be there; keep is not 0 */
	uint64_t size; /* bytes of one that is made */
	/* Gives up opening when it becomes true; NULL: never. */
	const atomic_bool *cancel;
};

/*
 * Connects, finds the export that holds the file and the file in it; turns the loop until that is
 * done, at most 30 s. The message names URL and cause: refused, not admitted, no such file.
 */
int bs_nfs_open(struct vs_loop *loop, const struct bs_nfs_spec *spec, struct bs_nfs_file **out,
		struct vs_error *err) vs_must_check;
struct bs_far *bs_nfs_far(struct bs_nfs_file *f); /* it, as what it has in common with others */

/*
 * The file gets another name in its folder. replace: what has that name goes, else it is
 * VS_E_EXIST, unless it comes between our looking and the server's renaming. Both of these turn
 * the loop until it is done, at most 30 s, or spec.cancel is set; have no requests meanwhile.
 */
int bs_nfs_rename(struct bs_nfs_file *f, const char *name, bool replace,
		  struct vs_error *err) vs_must_check;
int bs_nfs_remove(struct bs_nfs_file *f, struct vs_error *err) vs_must_check;

#endif
