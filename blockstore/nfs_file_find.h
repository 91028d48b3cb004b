/*
 * Private to nfs_file_find.c (ports, export), nfs_file_lookup.c (names) and nfs_file_probe.c (what
 * it is): the steps from a URL to an open file, each on the connection that it needs.
 */
#ifndef BS_NFS_FILE_FIND_H
#define BS_NFS_FILE_FIND_H

#include "blockstore/nfs_file_int.h"

enum nf_where { NF_AT_PORTMAPPER, NF_AT_MOUNT, NF_AT_NFS };

struct nf_find {
	enum nf_where where;
	int (*send)(struct bs_nfs_file *f); /* not 0: it cannot be sent */
	const char *what;
};

extern const struct nf_find nf_mount_port, nf_nfs_port, nf_mount_export, nf_look_up, nf_make,
    nf_set_size, nf_take_away, nf_ask_attributes, nf_ask_access, nf_ask_limits, nf_commit;

void nf_go(struct bs_nfs_file *f, const struct nf_find *step);
/* Whether there is an answer of the step at hand to look at. */
bool nf_find_answer(struct bs_nfs_file *f, int status, const void *data);
bool nf_take_handle(struct nf_handle *h, uint32_t n, const char *data);
void nf_refuse(struct bs_nfs_file *f, int nfsstat); /* the path fails, in words */

#endif
