/*
 * Attributes of NFS version 4 (RFC 8881 section 5, RFC 7862 section 12): a table of those that are
 * served, how each is encoded, and how those that may be set are decoded. Pure functions, any
 * thread.
 */
#ifndef NFS_NFS4_ATTR_FORMAT_H
#define NFS_NFS4_ATTR_FORMAT_H

#include "targets/nfs/nfs4_format.h"

#define NFS4_ATTRS_BYTES 1024u /* all of them take less */
#define NFS4_LEASE_S 90u

/* What a datastore has room for: bytes, files. */
struct nfs4_space {
	uint64_t total, free, files, files_free;
};

/* What attributes are made from. */
struct nfs4_attr_source {
	const struct ds_attr *attr;
	struct nfs4_space space; /* where nfs4_attrs_of_fs are asked for */
	uint64_t fsid;
	uint64_t mounted_on; /* fileid of the directory that this is mounted on; 0: its own */
	const struct nfs_handle *handle;
	bool minor2; /* attributes of minor version 2 are there */
};

extern const struct nfs4_bitmap nfs4_attrs_settable;
/* space_avail and its kin: DS_STATFS knows them. */
bool nfs4_attrs_of_fs(const struct nfs4_bitmap *mask);

/* fattr4 of those in mask that are served. */
void nfs4_attrs_encode(struct nfs_enc *e, const struct nfs4_bitmap *mask,
		       const struct nfs4_attr_source *from);
/* NFS4_OK: all of f may be set, and is in set. NFS4ERR_ATTRNOTSUPP, INVAL, BADOWNER, BADXDR. */
enum nfs4_status nfs4_attrs_set_decode(const struct nfs4_fattr *f, bool minor2, struct ds_set *set);
/* What of f can be verified: NFS4_OK, ATTRNOTSUPP, INVAL (may only be set). */
enum nfs4_status nfs4_attrs_verifiable(const struct nfs4_fattr *f, bool minor2);
/* The bits of what was set. */
struct nfs4_bitmap nfs4_attrs_set_mask(uint32_t what);

/* fileid: tells apart a file and what a snapshot has of it. */
uint64_t nfs4_fileid(struct ds_handle h);

#endif
