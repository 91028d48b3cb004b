/*
 * What an NFS server exports. Any thread; the call waits, at most 10 s.
 */
#ifndef BS_NFS_DISCOVER_H
#define BS_NFS_DISCOVER_H

#include "blockstore/nfs_url.h"

#define BS_NFS_EXPORTS_MAX 1024u

/*
 * Calls found for each export (EXPORT, RFC 1813 section 5.2.5), then with each of its clients, and
 * NULL for those once it has told all; all are one line each, of whatever a server may send.
 */
int bs_nfs_discover(const struct bs_nfs_url *server,
		    void (*found)(void *arg, const char *path, const char *client), void *arg,
		    struct vs_error *err) vs_must_check;

#endif
