/*
 * NFS version 4, minor versions 1 and 2 (RFC 8881, RFC 7862): operations, statuses, arguments.
 *
 * Pure functions, any thread. What is decoded points into the input: names have no NUL at their end
 * and may hold anything, lengths are those of the record and no more.
 */
#ifndef NFS_NFS4_FORMAT_H
#define NFS_NFS4_FORMAT_H

#include "blockstore/object.h"
#include "datastore/datastore.h"
#include "targets/nfs/handle.h"
#include "targets/nfs/xdr_format.h"

#define NFS4_VERSION 4u
#define NFS4_MINOR_FIRST 1u
#define NFS4_MINOR_LAST 2u
#define NFS4_FH_MAX 128u      /* NFS4_FHSIZE */
#define NFS4_OPAQUE_MAX 1024u /* NFS4_OPAQUE_LIMIT: owners */
#define NFS4_TAG_MAX 1024u
#define NFS4_NAME_BYTES 1024u /* a longer name makes no sense to anybody */
#define NFS4_PATH_BYTES (8u << 10)
#define NFS4_VERIFIER_BYTES 8u
#define NFS4_SESSION_BYTES 16u
#define NFS4_OTHER_BYTES 12u
#define NFS4_DATA_MAX (1u << 20) /* maxread, maxwrite */
#define NFS4_TESTED_MAX 64u	 /* stateids of one TEST_STATEID */

/* nfs_opnum4, sections 18 and RFC 7862 section 15 */
enum nfs4_op {
	NFS4_OP_ACCESS = 3,
	NFS4_OP_CLOSE,
	NFS4_OP_COMMIT,
	NFS4_OP_CREATE,
	NFS4_OP_DELEGPURGE,
	NFS4_OP_DELEGRETURN,
	NFS4_OP_GETATTR,
	NFS4_OP_GETFH,
	NFS4_OP_LINK,
	NFS4_OP_LOCK,
	NFS4_OP_LOCKT,
	NFS4_OP_LOCKU,
	NFS4_OP_LOOKUP,
	NFS4_OP_LOOKUPP,
	NFS4_OP_NVERIFY,
	NFS4_OP_OPEN,
	NFS4_OP_OPENATTR,
	NFS4_OP_OPEN_CONFIRM,
	NFS4_OP_OPEN_DOWNGRADE,
	NFS4_OP_PUTFH,
	NFS4_OP_PUTPUBFH,
	NFS4_OP_PUTROOTFH,
	NFS4_OP_READ,
	NFS4_OP_READDIR,
	NFS4_OP_READLINK,
	NFS4_OP_REMOVE,
	NFS4_OP_RENAME,
	NFS4_OP_RENEW,
	NFS4_OP_RESTOREFH,
	NFS4_OP_SAVEFH,
	NFS4_OP_SECINFO,
	NFS4_OP_SETATTR,
	NFS4_OP_SETCLIENTID,
	NFS4_OP_SETCLIENTID_CONFIRM,
	NFS4_OP_VERIFY,
	NFS4_OP_WRITE,
	NFS4_OP_RELEASE_LOCKOWNER,
	NFS4_OP_BACKCHANNEL_CTL,
	NFS4_OP_BIND_CONN_TO_SESSION,
	NFS4_OP_EXCHANGE_ID,
	NFS4_OP_CREATE_SESSION,
	NFS4_OP_DESTROY_SESSION,
	NFS4_OP_FREE_STATEID,
	NFS4_OP_GET_DIR_DELEGATION,
	NFS4_OP_GETDEVICEINFO,
	NFS4_OP_GETDEVICELIST,
	NFS4_OP_LAYOUTCOMMIT,
	NFS4_OP_LAYOUTGET,
	NFS4_OP_LAYOUTRETURN,
	NFS4_OP_SECINFO_NO_NAME,
	NFS4_OP_SEQUENCE,
	NFS4_OP_SET_SSV,
	NFS4_OP_TEST_STATEID,
	NFS4_OP_WANT_DELEGATION,
	NFS4_OP_DESTROY_CLIENTID,
	NFS4_OP_RECLAIM_COMPLETE,
	NFS4_OP_ALLOCATE, /* the first of minor version 2 */
	NFS4_OP_COPY,
	NFS4_OP_COPY_NOTIFY,
	NFS4_OP_DEALLOCATE,
	NFS4_OP_IO_ADVISE,
	NFS4_OP_LAYOUTERROR,
	NFS4_OP_LAYOUTSTATS,
	NFS4_OP_OFFLOAD_CANCEL,
	NFS4_OP_OFFLOAD_STATUS,
	NFS4_OP_READ_PLUS,
	NFS4_OP_SEEK,
	NFS4_OP_WRITE_SAME,
	NFS4_OP_CLONE,
	NFS4_OPS,
	NFS4_OP_ILLEGAL = 10044,
};

/* nfsstat4: those that are used */
enum nfs4_status {
	NFS4_ERR_NONE = 0,
	NFS4_ERR_PERM = 1,
	NFS4_ERR_NOENT = 2,
	NFS4_ERR_IO = 5,
	NFS4_ERR_NXIO = 6,
	NFS4_ERR_ACCESS = 13,
	NFS4_ERR_EXIST = 17,
	NFS4_ERR_XDEV = 18,
	NFS4_ERR_NOTDIR = 20,
	NFS4_ERR_ISDIR = 21,
	NFS4_ERR_INVAL = 22,
	NFS4_ERR_FBIG = 27,
	NFS4_ERR_NOSPC = 28,
	NFS4_ERR_ROFS = 30,
	NFS4_ERR_MLINK = 31,
	NFS4_ERR_NAMETOOLONG = 63,
	NFS4_ERR_NOTEMPTY = 66,
	NFS4_ERR_STALE = 70,
	NFS4_ERR_BADHANDLE = 10001,
	NFS4_ERR_BAD_COOKIE = 10003,
	NFS4_ERR_NOTSUPP = 10004,
	NFS4_ERR_TOOSMALL = 10005,
	NFS4_ERR_SERVERFAULT = 10006,
	NFS4_ERR_BADTYPE = 10007,
	NFS4_ERR_DELAY = 10008,
	NFS4_ERR_SAME = 10009,
	NFS4_ERR_DENIED = 10010,
	NFS4_ERR_EXPIRED = 10011,
	NFS4_ERR_LOCKED = 10012,
	NFS4_ERR_GRACE = 10013,
	NFS4_ERR_SHARE_DENIED = 10015,
	NFS4_ERR_CLID_INUSE = 10017,
	NFS4_ERR_RESOURCE = 10018,
	NFS4_ERR_NOFILEHANDLE = 10020,
	NFS4_ERR_MINOR_VERS_MISMATCH = 10021,
	NFS4_ERR_STALE_CLIENTID = 10022,
	NFS4_ERR_OLD_STATEID = 10024,
	NFS4_ERR_BAD_STATEID = 10025,
	NFS4_ERR_NOT_SAME = 10027,
	NFS4_ERR_SYMLINK = 10029,
	NFS4_ERR_RESTOREFH = 10030,
	NFS4_ERR_ATTRNOTSUPP = 10032,
	NFS4_ERR_NO_GRACE = 10033,
	NFS4_ERR_RECLAIM_BAD = 10034,
	NFS4_ERR_RECLAIM_CONFLICT = 10035,
	NFS4_ERR_BADXDR = 10036,
	NFS4_ERR_LOCKS_HELD = 10037,
	NFS4_ERR_OPENMODE = 10038,
	NFS4_ERR_BADOWNER = 10039,
	NFS4_ERR_BADNAME = 10041,
	NFS4_ERR_OP_ILLEGAL = 10044,
	NFS4_ERR_BADSESSION = 10052,
	NFS4_ERR_BADSLOT = 10053,
	NFS4_ERR_COMPLETE_ALREADY = 10054,
	NFS4_ERR_SEQ_MISORDERED = 10063,
	NFS4_ERR_SEQUENCE_POS = 10064,
	NFS4_ERR_REQ_TOO_BIG = 10065,
	NFS4_ERR_REP_TOO_BIG = 10066,
	NFS4_ERR_REP_TOO_BIG_TO_CACHE = 10067,
	NFS4_ERR_RETRY_UNCACHED_REP = 10068,
	NFS4_ERR_TOO_MANY_OPS = 10070,
	NFS4_ERR_OP_NOT_IN_SESSION = 10071,
	NFS4_ERR_CLIENTID_BUSY = 10074,
	NFS4_ERR_SEQ_FALSE_RETRY = 10076,
	NFS4_ERR_NOT_ONLY_OP = 10081,
	NFS4_ERR_WRONG_TYPE = 10083,
};

/* open_claim_type4; the others are of delegations */
enum { NFS4_CLAIM_NULL = 0, NFS4_CLAIM_PREVIOUS = 1, NFS4_CLAIM_FH = 4, NFS4_CLAIM_LAST = 6 };

#define NFS4_SHARE_READ 1u
#define NFS4_SHARE_WRITE 2u
#define NFS4_SHARE_BOTH 3u
#define NFS4_WANT_MASK 0xff00u /* OPEN4_SHARE_ACCESS_WANT_DELEG_MASK */
#define NFS4_WANT_NONE 0x0400u
#define NFS4_WANT_CANCEL 0x0500u
#define NFS4_SHARE_FLAGS 0x3ffffu /* what share_access may hold */

/* nfs_lock_type4 */
enum { NFS4_READ_LT = 1, NFS4_WRITE_LT, NFS4_READW_LT, NFS4_WRITEW_LT };

/* EXCHANGE_ID, section 18.35 */
#define NFS4_EXCHGID_ARGS 0x40070107u
#define NFS4_EXCHGID_UPDATE 0x40000000u
#define NFS4_EXCHGID_NON_PNFS 0x00010000u
#define NFS4_EXCHGID_CONFIRMED 0x80000000u

struct nfs4_stateid {
	uint32_t seqid;
	uint8_t other[NFS4_OTHER_BYTES];
};

/* bitmap4 of up to three words; more are decoded, and beyond says that bits stood there. */
struct nfs4_bitmap {
	uint32_t w[3];
	bool beyond;
};

/* fattr4: which, and their values still encoded */
struct nfs4_fattr {
	struct nfs4_bitmap mask;
	struct nfs_bytes values;
};

/* channel_attrs4 */
struct nfs4_channel {
	uint32_t pad, max_request, max_reply, max_cached, max_ops, slots;
};

/* What an operation has of these is decoded; the rest is as it was. */
struct nfs4_args {
	struct nfs_bytes name, other_name;
	struct nfs_bytes data;	/* WRITE; CREATE: the link's target */
	struct nfs_bytes owner; /* of opens, locks, clients */
	struct nfs_bytes handle;
	struct nfs4_stateid stateid, other_stateid;
	struct nfs4_bitmap mask;
	struct nfs4_fattr attrs;
	uint64_t clientid, offset, length, other_offset, cookie;
	uint32_t count, dircount; /* READ, WRITE, COMMIT, READDIR */
	uint32_t access, deny;	  /* OPEN, OPEN_DOWNGRADE; ACCESS */
	uint32_t seqid;
	uint32_t stable, what, claim, flags, type, major, minor;
	bool create, reclaim, fresh_owner, one_fs;
	enum ds_how how;
	bool exclusive4_1; /* with verifier and attributes */
	uint64_t verifier; /* OPEN, READDIR, EXCHANGE_ID */
	/* sessions */
	uint8_t session[NFS4_SESSION_BYTES];
	uint32_t slot, highest_slot;
	bool cache;
	uint32_t protect; /* state_protect_how4; after anything but SP4_NONE nothing is decoded */
	struct nfs4_channel fore, back;
	uint32_t ntested;
	const uint8_t *tested; /* stateids as they came */
	uint32_t nservers;     /* COPY: where from, of other servers */
};

/* Decodes the arguments of op, which some minor version has; whether they were all there. d stands
 * behind them. Of operations that are not served none are decoded. */
bool nfs4_args_decode(enum nfs4_op op, struct nfs_dec *d, struct nfs4_args *a);
/* nfs4_session_format.c: those of clients and sessions; nothing for the others. */
void nfs4_session_args_decode(enum nfs4_op op, struct nfs_dec *d, struct nfs4_args *a);

struct nfs4_stateid nfs4_stateid_decode(struct nfs_dec *d);
void nfs4_stateid_encode(struct nfs_enc *e, const struct nfs4_stateid *s);
void nfs4_bitmap_encode(struct nfs_enc *e, const struct nfs4_bitmap *b);
void nfs4_channel_encode(struct nfs_enc *e, const struct nfs4_channel *c);
/* change_info4 of a directory; atomic when both are known. */
void nfs4_change_encode(struct nfs_enc *e, const struct ds_attr *before,
			const struct ds_attr *after);

static inline bool nfs4_bit(const struct nfs4_bitmap *b, unsigned i)
{
	return b->w[i / 32] >> i % 32 & 1;
}

static inline void nfs4_bit_set(struct nfs4_bitmap *b, unsigned i)
{
	b->w[i / 32] |= UINT32_C(1) << i % 32;
}

/* The one table from VS_E_* and enum ds_status to NFS. */
enum nfs4_status nfs4_status_from(int status, enum ds_status why);

#endif
