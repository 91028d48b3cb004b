/*
 * nfs://HOST[:PORT]/PATH: names of files of NFS servers, and of the servers. Pure functions, any
 * thread. A path is taken as it is: nothing is decoded, and it has no options behind it.
 */
#ifndef BS_NFS_URL_H
#define BS_NFS_URL_H

#include "blockstore/far_host.h"

#define BS_NFS_SCHEME "nfs://"
#define BS_NFS_PORT 2049
#define BS_NFS_PATH_MAX 1024 /* with its NUL; MNTPATHLEN of RFC 1813 section 5.1.2 */
#define BS_NFS_NAME_MAX 256  /* of one component, with its NUL */
#define BS_NFS_URL_TEXT 1400

struct bs_nfs_url {
	char host[BS_FAR_HOST_MAX];
	uint16_t port;		    /* of NFS and, where it is there, of MOUNT; 0: none said */
	char path[BS_NFS_PATH_MAX]; /* begins with a slash; "" in the URL of a server */
};

bool bs_nfs_url_is(const char *text); /* begins like one */
int bs_nfs_url_parse(const char *text, struct bs_nfs_url *out, struct vs_error *err) vs_must_check;
int bs_nfs_url_parse_server(const char *text, struct bs_nfs_url *out,
			    struct vs_error *err) vs_must_check;
const char *bs_nfs_url_text(const struct bs_nfs_url *url, char buf[BS_NFS_URL_TEXT]); /* buf */

#endif
