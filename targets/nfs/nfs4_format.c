#include "targets/nfs/nfs4_format.h"

#define BITMAP_WORDS_MAX 16u
#define SERVERS_MAX 64u

/* nfs_ftype4 */
enum { NF4REG = 1, NF4DIR, NF4BLK, NF4CHR, NF4LNK, NF4SOCK, NF4FIFO };

/* createmode4 */
enum { UNCHECKED4, GUARDED4, EXCLUSIVE4, EXCLUSIVE4_1 };

struct nfs4_stateid nfs4_stateid_decode(struct nfs_dec *d)
{
	struct nfs4_stateid s = {.seqid = nfs_dec_u32(d)};
	const uint8_t *p = nfs_dec_take(d, NFS4_OTHER_BYTES);

	if (p)
		memcpy(s.other, p, NFS4_OTHER_BYTES);
	return s;
}

static struct nfs4_bitmap decode_bitmap(struct nfs_dec *d)
{
	struct nfs4_bitmap b = {{0}, false};
	uint32_t n = nfs_dec_enum(d, BITMAP_WORDS_MAX);

	for (uint32_t i = 0; i < n && !d->bad; i++) {
		uint32_t w = nfs_dec_u32(d);

		if (i < VS_ARRAY_LEN(b.w))
			b.w[i] = w;
		else if (w)
			b.beyond = true;
	}
	return b;
}

static struct nfs4_fattr decode_fattr(struct nfs_dec *d)
{
	struct nfs4_fattr f = {.mask = decode_bitmap(d)};

	f.values = nfs_dec_bytes(d, UINT32_MAX - 4);
	return f;
}

static struct nfs_bytes decode_name(struct nfs_dec *d)
{
	return nfs_dec_bytes(d, NFS4_NAME_BYTES);
}

/* open_owner4, lock_owner4 */
static void decode_owner(struct nfs_dec *d, struct nfs4_args *a)
{
	a->clientid = nfs_dec_u64(d);
	a->owner = nfs_dec_bytes(d, NFS4_OPAQUE_MAX);
}

static void args_access(struct nfs_dec *d, struct nfs4_args *a)
{
	a->access = nfs_dec_u32(d);
}

static void args_close(struct nfs_dec *d, struct nfs4_args *a)
{
	a->seqid = nfs_dec_u32(d);
	a->stateid = nfs4_stateid_decode(d);
}

static void args_commit(struct nfs_dec *d, struct nfs4_args *a)
{
	a->offset = nfs_dec_u64(d);
	a->count = nfs_dec_u32(d);
}

static void args_create(struct nfs_dec *d, struct nfs4_args *a)
{
	static const enum ds_type types[] = {
	    [NF4DIR] = DS_DIR, [NF4BLK] = DS_BLK,   [NF4CHR] = DS_CHR,
	    [NF4LNK] = DS_LNK, [NF4SOCK] = DS_SOCK, [NF4FIFO] = DS_FIFO,
	};
	uint32_t type = nfs_dec_u32(d);

	a->type = type < VS_ARRAY_LEN(types) ? types[type] : DS_NONE;
	a->major = a->minor = 0;
	a->data = (struct nfs_bytes){NULL, 0};
	if (a->type == DS_LNK) {
		a->data = nfs_dec_bytes(d, NFS4_PATH_BYTES);
	} else if (a->type == DS_BLK || a->type == DS_CHR) {
		a->major = nfs_dec_u32(d);
		a->minor = nfs_dec_u32(d);
	}
	a->name = decode_name(d);
	a->attrs = decode_fattr(d);
}

static void args_mask(struct nfs_dec *d, struct nfs4_args *a)
{
	a->mask = decode_bitmap(d);
}

static void args_name(struct nfs_dec *d, struct nfs4_args *a)
{
	a->name = decode_name(d);
}

static void decode_lock_type(struct nfs_dec *d, struct nfs4_args *a)
{
	a->type = nfs_dec_enum(d, NFS4_WRITEW_LT);
	if (!a->type)
		d->bad = true;
}

static void decode_range(struct nfs_dec *d, struct nfs4_args *a)
{
	a->offset = nfs_dec_u64(d);
	a->length = nfs_dec_u64(d);
}

static void args_lock(struct nfs_dec *d, struct nfs4_args *a)
{
	decode_lock_type(d, a);
	a->reclaim = nfs_dec_bool(d);
	decode_range(d, a);
	a->fresh_owner = nfs_dec_bool(d);
	if (a->fresh_owner)
		(void)nfs_dec_u32(d); /* open_seqid, which sessions have made needless */
	a->stateid = nfs4_stateid_decode(d);
	(void)nfs_dec_u32(d); /* lock_seqid */
	if (a->fresh_owner)
		decode_owner(d, a);
}

static void args_lockt(struct nfs_dec *d, struct nfs4_args *a)
{
	decode_lock_type(d, a);
	decode_range(d, a);
	decode_owner(d, a);
}

static void args_locku(struct nfs_dec *d, struct nfs4_args *a)
{
	decode_lock_type(d, a);
	(void)nfs_dec_u32(d);
	a->stateid = nfs4_stateid_decode(d);
	decode_range(d, a);
}

static void args_attrs(struct nfs_dec *d, struct nfs4_args *a)
{
	a->attrs = decode_fattr(d);
}

static void decode_how(struct nfs_dec *d, struct nfs4_args *a)
{
	static const enum ds_how hows[] = {
	    [UNCHECKED4] = DS_UNCHECKED,
	    [GUARDED4] = DS_GUARDED,
	    [EXCLUSIVE4] = DS_EXCLUSIVE,
	    [EXCLUSIVE4_1] = DS_EXCLUSIVE,
	};
	uint32_t mode = nfs_dec_enum(d, EXCLUSIVE4_1);

	a->how = hows[mode];
	a->exclusive4_1 = mode == EXCLUSIVE4_1;
	if (a->how == DS_EXCLUSIVE)
		a->verifier = nfs_dec_u64(d);
	if (mode == EXCLUSIVE4)
		a->attrs = (struct nfs4_fattr){.values = {NULL, 0}};
	else
		a->attrs = decode_fattr(d);
}

/* open_claim4 */
static void decode_claim(struct nfs_dec *d, struct nfs4_args *a)
{
	a->claim = nfs_dec_enum(d, NFS4_CLAIM_LAST);
	switch (a->claim) {
	case NFS4_CLAIM_NULL:
		a->name = decode_name(d);
		break;
	case NFS4_CLAIM_PREVIOUS:
		a->type = nfs_dec_u32(d); /* of a delegation */
		break;
	case 2: /* CLAIM_DELEGATE_CUR */
		a->stateid = nfs4_stateid_decode(d);
		a->name = decode_name(d);
		break;
	case 3: /* CLAIM_DELEGATE_PREV */
		a->name = decode_name(d);
		break;
	case 5: /* CLAIM_DELEG_CUR_FH */
		a->stateid = nfs4_stateid_decode(d);
		break;
	default: /* CLAIM_FH, CLAIM_DELEG_PREV_FH: nothing */
		break;
	}
}

static void args_open(struct nfs_dec *d, struct nfs4_args *a)
{
	a->seqid = nfs_dec_u32(d);
	a->access = nfs_dec_u32(d);
	a->deny = nfs_dec_u32(d);
	decode_owner(d, a);
	a->create = nfs_dec_bool(d); /* opentype4 has the same numbers */
	if (a->create)
		decode_how(d, a);
	decode_claim(d, a);
}

static void args_downgrade(struct nfs_dec *d, struct nfs4_args *a)
{
	a->stateid = nfs4_stateid_decode(d);
	a->seqid = nfs_dec_u32(d);
	a->access = nfs_dec_u32(d);
	a->deny = nfs_dec_u32(d);
}

static void args_handle(struct nfs_dec *d, struct nfs4_args *a)
{
	a->handle = nfs_dec_bytes(d, NFS4_FH_MAX);
}

static void args_read(struct nfs_dec *d, struct nfs4_args *a)
{
	a->stateid = nfs4_stateid_decode(d);
	a->offset = nfs_dec_u64(d);
	a->count = nfs_dec_u32(d);
}

static void args_readdir(struct nfs_dec *d, struct nfs4_args *a)
{
	a->cookie = nfs_dec_u64(d);
	a->verifier = nfs_dec_u64(d);
	a->dircount = nfs_dec_u32(d);
	a->count = nfs_dec_u32(d);
	a->mask = decode_bitmap(d);
}

static void args_rename(struct nfs_dec *d, struct nfs4_args *a)
{
	a->name = decode_name(d);
	a->other_name = decode_name(d);
}

static void args_setattr(struct nfs_dec *d, struct nfs4_args *a)
{
	a->stateid = nfs4_stateid_decode(d);
	a->attrs = decode_fattr(d);
}

static void args_write(struct nfs_dec *d, struct nfs4_args *a)
{
	a->stateid = nfs4_stateid_decode(d);
	a->offset = nfs_dec_u64(d);
	a->stable = nfs_dec_enum(d, 2);
	a->data = nfs_dec_bytes(d, UINT32_MAX - 4);
}

static void args_stateid(struct nfs_dec *d, struct nfs4_args *a)
{
	a->stateid = nfs4_stateid_decode(d);
}

static void args_range(struct nfs_dec *d, struct nfs4_args *a)
{
	a->stateid = nfs4_stateid_decode(d);
	decode_range(d, a);
}

static void decode_two(struct nfs_dec *d, struct nfs4_args *a)
{
	a->other_stateid = nfs4_stateid_decode(d);
	a->stateid = nfs4_stateid_decode(d);
	a->other_offset = nfs_dec_u64(d);
	a->offset = nfs_dec_u64(d);
	a->length = nfs_dec_u64(d);
}

/* netloc4: a name, a URL, or an address */
static void skip_server(struct nfs_dec *d)
{
	uint32_t type = nfs_dec_u32(d);

	if (type < 1 || type > 3)
		d->bad = true;
	(void)nfs_dec_bytes(d, NFS4_OPAQUE_MAX);
	if (type == 3)
		(void)nfs_dec_bytes(d, NFS4_OPAQUE_MAX);
}

static void args_copy(struct nfs_dec *d, struct nfs4_args *a)
{
	decode_two(d, a);
	(void)nfs_dec_bool(d); /* ca_consecutive: they always are */
	(void)nfs_dec_bool(d); /* ca_synchronous: it always is */
	a->nservers = nfs_dec_enum(d, SERVERS_MAX);
	for (uint32_t i = 0; i < a->nservers && !d->bad; i++)
		skip_server(d);
}

static void args_advise(struct nfs_dec *d, struct nfs4_args *a)
{
	args_range(d, a);
	a->mask = decode_bitmap(d);
}

static void args_seek(struct nfs_dec *d, struct nfs4_args *a)
{
	a->stateid = nfs4_stateid_decode(d);
	a->offset = nfs_dec_u64(d);
	a->what = nfs_dec_u32(d);
}

static void (*const decoders[NFS4_OPS])(struct nfs_dec *d, struct nfs4_args *a) = {
    [NFS4_OP_ACCESS] = args_access,
    [NFS4_OP_CLOSE] = args_close,
    [NFS4_OP_COMMIT] = args_commit,
    [NFS4_OP_CREATE] = args_create,
    [NFS4_OP_GETATTR] = args_mask,
    [NFS4_OP_LINK] = args_name,
    [NFS4_OP_LOCK] = args_lock,
    [NFS4_OP_LOCKT] = args_lockt,
    [NFS4_OP_LOCKU] = args_locku,
    [NFS4_OP_LOOKUP] = args_name,
    [NFS4_OP_NVERIFY] = args_attrs,
    [NFS4_OP_OPEN] = args_open,
    [NFS4_OP_OPEN_DOWNGRADE] = args_downgrade,
    [NFS4_OP_PUTFH] = args_handle,
    [NFS4_OP_READ] = args_read,
    [NFS4_OP_READDIR] = args_readdir,
    [NFS4_OP_REMOVE] = args_name,
    [NFS4_OP_RENAME] = args_rename,
    [NFS4_OP_SECINFO] = args_name,
    [NFS4_OP_SETATTR] = args_setattr,
    [NFS4_OP_VERIFY] = args_attrs,
    [NFS4_OP_WRITE] = args_write,
    [NFS4_OP_FREE_STATEID] = args_stateid,
    [NFS4_OP_ALLOCATE] = args_range,
    [NFS4_OP_COPY] = args_copy,
    [NFS4_OP_DEALLOCATE] = args_range,
    [NFS4_OP_IO_ADVISE] = args_advise,
    [NFS4_OP_READ_PLUS] = args_read,
    [NFS4_OP_SEEK] = args_seek,
    [NFS4_OP_CLONE] = decode_two,
};

bool nfs4_args_decode(enum nfs4_op op, struct nfs_dec *d, struct nfs4_args *a)
{
	void (*decode)(struct nfs_dec *, struct nfs4_args *) = op < NFS4_OPS ? decoders[op] : NULL;

	if (decode)
		decode(d, a);
	else
		nfs4_session_args_decode(op, d, a);
	return !d->bad;
}
