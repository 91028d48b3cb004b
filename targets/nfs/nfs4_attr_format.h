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

/* Their numbers: those that are served. */
enum nfs4_attr {
	NFS4_ATTR_SUPPORTED_ATTRS = 0,
	NFS4_ATTR_TYPE = 1,
	NFS4_ATTR_FH_EXPIRE_TYPE = 2,
	NFS4_ATTR_CHANGE = 3,
	NFS4_ATTR_SIZE = 4,
	NFS4_ATTR_LINK_SUPPORT = 5,
	NFS4_ATTR_SYMLINK_SUPPORT = 6,
	NFS4_ATTR_NAMED_ATTR = 7,
	NFS4_ATTR_FSID = 8,
	NFS4_ATTR_UNIQUE_HANDLES = 9,
	NFS4_ATTR_LEASE_TIME = 10,
	NFS4_ATTR_RDATTR_ERROR = 11,
	NFS4_ATTR_CANSETTIME = 15,
	NFS4_ATTR_CASE_INSENSITIVE = 16,
	NFS4_ATTR_CASE_PRESERVING = 17,
	NFS4_ATTR_CHOWN_RESTRICTED = 18,
	NFS4_ATTR_FILEHANDLE = 19,
	NFS4_ATTR_FILEID = 20,
	NFS4_ATTR_FILES_AVAIL = 21,
	NFS4_ATTR_FILES_FREE = 22,
	NFS4_ATTR_FILES_TOTAL = 23,
	NFS4_ATTR_HOMOGENEOUS = 26,
	NFS4_ATTR_MAXFILESIZE = 27,
	NFS4_ATTR_MAXLINK = 28,
	NFS4_ATTR_MAXNAME = 29,
	NFS4_ATTR_MAXREAD = 30,
	NFS4_ATTR_MAXWRITE = 31,
	NFS4_ATTR_MODE = 33,
	NFS4_ATTR_NO_TRUNC = 34,
	NFS4_ATTR_NUMLINKS = 35,
	NFS4_ATTR_OWNER = 36,
	NFS4_ATTR_OWNER_GROUP = 37,
	NFS4_ATTR_RAWDEV = 41,
	NFS4_ATTR_SPACE_AVAIL = 42,
	NFS4_ATTR_SPACE_FREE = 43,
	NFS4_ATTR_SPACE_TOTAL = 44,
	NFS4_ATTR_SPACE_USED = 45,
	NFS4_ATTR_TIME_ACCESS = 47,
	NFS4_ATTR_TIME_ACCESS_SET = 48,
	NFS4_ATTR_TIME_CREATE = 50,
	NFS4_ATTR_TIME_DELTA = 51,
	NFS4_ATTR_TIME_METADATA = 52,
	NFS4_ATTR_TIME_MODIFY = 53,
	NFS4_ATTR_TIME_MODIFY_SET = 54,
	NFS4_ATTR_MOUNTED_ON_FILEID = 55,
	NFS4_ATTR_SUPPATTR_EXCLCREAT = 75,
	NFS4_ATTR_CLONE_BLKSIZE = 77,
	NFS4_ATTR_CHANGE_ATTR_TYPE = 79,
	NFS4_ATTRS
};

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
/* NFS4_ERR_NONE: all of f may be set, and is in set. NFS4_ERR_ATTRNOTSUPP, INVAL, BADOWNER, BADXDR.
 */
enum nfs4_status nfs4_attrs_set_decode(const struct nfs4_fattr *f, bool minor2, struct ds_set *set);
/* What of f can be verified: NFS4_ERR_NONE, ATTRNOTSUPP, INVAL (may only be set). */
enum nfs4_status nfs4_attrs_verifiable(const struct nfs4_fattr *f, bool minor2);
/* Whether it is known here, to be read or to be set. */
bool nfs4_attr_is_served(unsigned i, bool minor2);
/* The bits of what was set. */
struct nfs4_bitmap nfs4_attrs_set_mask(uint32_t what);

/* fileid: tells apart a file and what a snapshot has of it. */
uint64_t nfs4_fileid(struct ds_handle h);

#endif
