/*
 * NFS version 3 (RFC 1813): arguments and results.
 *
 * Pure functions, any thread. What is decoded points into the input: names have no NUL at their end
 * and may hold anything, lengths are those of the record and no more; the datastore judges them.
 */
#ifndef NFS_NFS3_FORMAT_H
#define NFS_NFS3_FORMAT_H

#include "blockstore/object.h" /* DS_FILE_MAX */
#include "datastore/datastore.h"
#include "targets/nfs/handle.h"
#include "targets/nfs/xdr_format.h"

#define NFS3_PROG 100003u
#define NFS3_VERSION 3u
#define NFS3_DATA_MAX (1u << 20) /* rtmax, wtmax */
#define NFS3_NAME_BYTES 1024u	 /* a longer name makes no sense to anybody */
#define NFS3_PATH_BYTES (8u << 10)
#define NFS3_VERIFIER_BYTES 8u

enum nfs3_proc {
	NFS3_PROC_NULL,
	NFS3_PROC_GETATTR,
	NFS3_PROC_SETATTR,
	NFS3_PROC_LOOKUP,
	NFS3_PROC_ACCESS,
	NFS3_PROC_READLINK,
	NFS3_PROC_READ,
	NFS3_PROC_WRITE,
	NFS3_PROC_CREATE,
	NFS3_PROC_MKDIR,
	NFS3_PROC_SYMLINK,
	NFS3_PROC_MKNOD,
	NFS3_PROC_REMOVE,
	NFS3_PROC_RMDIR,
	NFS3_PROC_RENAME,
	NFS3_PROC_LINK,
	NFS3_PROC_READDIR,
	NFS3_PROC_READDIRPLUS,
	NFS3_PROC_FSSTAT,
	NFS3_PROC_FSINFO,
	NFS3_PROC_PATHCONF,
	NFS3_PROC_COMMIT,
	NFS3_PROCS,
};

/* nfsstat3, section 2.6 */
enum nfs3_status {
	NFS3_ERR_NONE = 0,
	NFS3_ERR_PERM = 1,
	NFS3_ERR_NOENT = 2,
	NFS3_ERR_IO = 5,
	NFS3_ERR_ACCES = 13,
	NFS3_ERR_EXIST = 17,
	NFS3_ERR_XDEV = 18,
	NFS3_ERR_NOTDIR = 20,
	NFS3_ERR_ISDIR = 21,
	NFS3_ERR_INVAL = 22,
	NFS3_ERR_FBIG = 27,
	NFS3_ERR_NOSPC = 28,
	NFS3_ERR_ROFS = 30,
	NFS3_ERR_MLINK = 31,
	NFS3_ERR_NAMETOOLONG = 63,
	NFS3_ERR_NOTEMPTY = 66,
	NFS3_ERR_STALE = 70,
	NFS3_ERR_BADHANDLE = 10001,
	NFS3_ERR_NOT_SYNC = 10002,
	NFS3_ERR_BAD_COOKIE = 10003,
	NFS3_ERR_NOTSUPP = 10004,
	NFS3_ERR_TOOSMALL = 10005,
	NFS3_ERR_SERVERFAULT = 10006,
	NFS3_ERR_BADTYPE = 10007,
	NFS3_ERR_JUKEBOX = 10008,
};

/* stable_how, section 3.3.7 */
enum nfs3_stable { NFS3_UNSTABLE, NFS3_DATA_SYNC, NFS3_FILE_SYNC };

/* What a procedure has of these is decoded; the rest is as it was. */
struct nfs3_args {
	struct nfs_bytes file, other; /* handles */
	struct nfs_bytes name, other_name;
	struct nfs_bytes data; /* WRITE; SYMLINK: the target */
	uint64_t offset, cookie;
	uint32_t count;	   /* READ, WRITE, COMMIT; READDIR: bytes of the reply */
	uint32_t dircount; /* READDIRPLUS: bytes of names and cookies */
	uint8_t verifier[NFS3_VERIFIER_BYTES]; /* of cookies */
	uint32_t access;
	enum nfs3_stable stable;
	enum ds_type type; /* CREATE and its kin; DS_NONE: one that MKNOD does not make */
	enum ds_how how;
	uint64_t create_verifier;
	uint32_t major, minor;
	struct ds_set set;
	bool guarded;
	int64_t guard_ctime;
};

/* Decodes the arguments of a procedure into a; whether they were all there and nothing else. */
bool nfs3_args_decode(enum nfs3_proc proc, struct nfs_dec *d, struct nfs3_args *a);

/* The one table from VS_E_* and enum ds_status to NFS. */
enum nfs3_status nfs3_status_from(int status, enum ds_status why);

/* Results. fsid is the one of the datastore. */
void nfs3_attr_encode(struct nfs_enc *e, const struct ds_attr *a, uint64_t fsid);
/* post_op_attr: none when the type is DS_NONE. */
void nfs3_post_encode(struct nfs_enc *e, const struct ds_attr *a, uint64_t fsid);
void nfs3_wcc_encode(struct nfs_enc *e, const struct ds_attr *before, const struct ds_attr *after,
		     uint64_t fsid);
/* post_op_fh3 */
void nfs3_post_handle_encode(struct nfs_enc *e, const struct nfs_handle *h);
void nfs3_fsinfo_encode(struct nfs_enc *e);
void nfs3_fsstat_encode(struct nfs_enc *e, const struct ds_req *r);
void nfs3_pathconf_encode(struct nfs_enc *e);

/* Bytes of READDIR's and READDIRPLUS' results around the entries. */
#define NFS3_DIR_BYTES (4u + 84u + NFS3_VERIFIER_BYTES + 8u)
/* One entry; handle NULL: of READDIR. False, and nothing is added, when it does not fit. */
bool nfs3_entry_encode(struct nfs_enc *e, const struct ds_entry *entry, uint64_t fsid,
		       const struct nfs_handle *handle);
/* Bytes that an entry takes of READDIRPLUS' dircount: its fileid, name and cookie. */
uint32_t nfs3_entry_dircount(const struct ds_entry *entry);
/* fileid3: tells apart a file and what a snapshot has of it. */
uint64_t nfs3_fileid(struct ds_handle h);

#endif
