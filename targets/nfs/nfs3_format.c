#include "targets/nfs/nfs3_format.h"

#define NS_PER_S INT64_C(1000000000)
#define MODE_BITS 07777u

/* ftype3, section 2.6 */
enum { NF3REG = 1, NF3DIR, NF3BLK, NF3CHR, NF3LNK, NF3SOCK, NF3FIFO };

/* time_how, section 2.6 */
enum { DONT_CHANGE, SET_TO_SERVER_TIME, SET_TO_CLIENT_TIME };

static int64_t decode_time(struct nfs_dec *d)
{
	uint32_t s = nfs_dec_u32(d), ns = nfs_dec_u32(d);

	if (ns >= NS_PER_S)
		d->bad = true;
	return (int64_t)s * NS_PER_S + ns;
}

static struct nfs_bytes decode_handle(struct nfs_dec *d)
{
	return nfs_dec_bytes(d, NFS_HANDLE_MAX);
}

static uint32_t decode_time_how(struct nfs_dec *d, uint32_t now, uint32_t given, int64_t *t)
{
	uint32_t how = nfs_dec_enum(d, SET_TO_CLIENT_TIME);

	if (how == SET_TO_CLIENT_TIME)
		*t = decode_time(d);
	return how == DONT_CHANGE ? 0 : how == SET_TO_SERVER_TIME ? now : given;
}

/* sattr3 */
static void decode_set(struct nfs_dec *d, struct ds_set *s)
{
	s->what = 0;
	if (nfs_dec_bool(d)) {
		s->what |= DS_SET_MODE;
		s->mode = nfs_dec_u32(d) & MODE_BITS;
	}
	if (nfs_dec_bool(d)) {
		s->what |= DS_SET_UID;
		s->uid = nfs_dec_u32(d);
	}
	if (nfs_dec_bool(d)) {
		s->what |= DS_SET_GID;
		s->gid = nfs_dec_u32(d);
	}
	if (nfs_dec_bool(d)) {
		s->what |= DS_SET_SIZE;
		s->size = nfs_dec_u64(d);
	}
	s->what |= decode_time_how(d, DS_SET_ATIME_NOW, DS_SET_ATIME, &s->atime);
	s->what |= decode_time_how(d, DS_SET_MTIME_NOW, DS_SET_MTIME, &s->mtime);
}

static void args_none(struct nfs_dec *d, struct nfs3_args *a)
{
	(void)d;
	(void)a;
}

static void args_handle(struct nfs_dec *d, struct nfs3_args *a)
{
	a->file = decode_handle(d);
}

/* diropargs3 */
static void args_name(struct nfs_dec *d, struct nfs3_args *a)
{
	a->file = decode_handle(d);
	a->name = nfs_dec_bytes(d, NFS3_NAME_BYTES);
}

static void args_setattr(struct nfs_dec *d, struct nfs3_args *a)
{
	a->file = decode_handle(d);
	decode_set(d, &a->set);
	a->guarded = nfs_dec_bool(d);
	if (a->guarded)
		a->guard_ctime = decode_time(d);
}

static void args_access(struct nfs_dec *d, struct nfs3_args *a)
{
	a->file = decode_handle(d);
	a->access = nfs_dec_u32(d);
}

static void args_range(struct nfs_dec *d, struct nfs3_args *a)
{
	a->file = decode_handle(d);
	a->offset = nfs_dec_u64(d);
	a->count = nfs_dec_u32(d);
}

static void args_write(struct nfs_dec *d, struct nfs3_args *a)
{
	args_range(d, a);
	a->stable = nfs_dec_enum(d, NFS3_FILE_SYNC);
	a->data = nfs_dec_bytes(d, UINT32_MAX - 4);
}

static void args_create(struct nfs_dec *d, struct nfs3_args *a)
{
	args_name(d, a);
	a->type = DS_REG;
	a->how = nfs_dec_enum(d, DS_EXCLUSIVE); /* createmode3 has the same numbers */
	a->set.what = 0;
	if (a->how == DS_EXCLUSIVE)
		a->create_verifier = nfs_dec_u64(d);
	else
		decode_set(d, &a->set);
}

static void args_mkdir(struct nfs_dec *d, struct nfs3_args *a)
{
	args_name(d, a);
	a->type = DS_DIR;
	a->how = DS_GUARDED;
	decode_set(d, &a->set);
}

static void args_symlink(struct nfs_dec *d, struct nfs3_args *a)
{
	args_name(d, a);
	a->type = DS_LNK;
	a->how = DS_GUARDED;
	decode_set(d, &a->set);
	a->data = nfs_dec_bytes(d, NFS3_PATH_BYTES);
}

static void args_mknod(struct nfs_dec *d, struct nfs3_args *a)
{
	static const enum ds_type types[] = {
	    [NF3BLK] = DS_BLK, [NF3CHR] = DS_CHR, [NF3SOCK] = DS_SOCK, [NF3FIFO] = DS_FIFO};
	uint32_t type;

	args_name(d, a);
	type = nfs_dec_u32(d);
	a->type = type < VS_ARRAY_LEN(types) ? types[type] : DS_NONE;
	a->how = DS_GUARDED;
	a->major = a->minor = 0;
	if (a->type == DS_NONE)
		return; /* of other types nothing follows */
	decode_set(d, &a->set);
	if (a->type == DS_BLK || a->type == DS_CHR) {
		a->major = nfs_dec_u32(d);
		a->minor = nfs_dec_u32(d);
	}
}

static void args_rename(struct nfs_dec *d, struct nfs3_args *a)
{
	args_name(d, a);
	a->other = decode_handle(d);
	a->other_name = nfs_dec_bytes(d, NFS3_NAME_BYTES);
}

static void args_link(struct nfs_dec *d, struct nfs3_args *a)
{
	a->file = decode_handle(d);
	a->other = decode_handle(d);
	a->name = nfs_dec_bytes(d, NFS3_NAME_BYTES);
}

static void decode_cookie(struct nfs_dec *d, struct nfs3_args *a)
{
	const uint8_t *p;

	a->file = decode_handle(d);
	a->cookie = nfs_dec_u64(d);
	p = nfs_dec_take(d, NFS3_VERIFIER_BYTES);
	if (p)
		memcpy(a->verifier, p, NFS3_VERIFIER_BYTES);
}

static void args_readdir(struct nfs_dec *d, struct nfs3_args *a)
{
	decode_cookie(d, a);
	a->dircount = UINT32_MAX;
	a->count = nfs_dec_u32(d);
}

static void args_readdirplus(struct nfs_dec *d, struct nfs3_args *a)
{
	decode_cookie(d, a);
	a->dircount = nfs_dec_u32(d);
	a->count = nfs_dec_u32(d);
}

static void (*const decoders[NFS3_PROCS])(struct nfs_dec *d, struct nfs3_args *a) = {
    [NFS3_PROC_NULL] = args_none,	[NFS3_PROC_GETATTR] = args_handle,
    [NFS3_PROC_SETATTR] = args_setattr, [NFS3_PROC_LOOKUP] = args_name,
    [NFS3_PROC_ACCESS] = args_access,	[NFS3_PROC_READLINK] = args_handle,
    [NFS3_PROC_READ] = args_range,	[NFS3_PROC_WRITE] = args_write,
    [NFS3_PROC_CREATE] = args_create,	[NFS3_PROC_MKDIR] = args_mkdir,
    [NFS3_PROC_SYMLINK] = args_symlink, [NFS3_PROC_MKNOD] = args_mknod,
    [NFS3_PROC_REMOVE] = args_name,	[NFS3_PROC_RMDIR] = args_name,
    [NFS3_PROC_RENAME] = args_rename,	[NFS3_PROC_LINK] = args_link,
    [NFS3_PROC_READDIR] = args_readdir, [NFS3_PROC_READDIRPLUS] = args_readdirplus,
    [NFS3_PROC_FSSTAT] = args_handle,	[NFS3_PROC_FSINFO] = args_handle,
    [NFS3_PROC_PATHCONF] = args_handle, [NFS3_PROC_COMMIT] = args_range,
};

bool nfs3_args_decode(enum nfs3_proc proc, struct nfs_dec *d, struct nfs3_args *a)
{
	decoders[proc](d, a);
	return nfs_dec_ok(d);
}

enum nfs3_status nfs3_status_from(int status, enum ds_status why)
{
	static const struct {
		int code;
		enum nfs3_status status;
	} codes[] = {
	    {0, NFS3_ERR_NONE},
	    {VS_E_NOENT, NFS3_ERR_NOENT},
	    {VS_E_EXIST, NFS3_ERR_EXIST},
	    {VS_E_ACCESS, NFS3_ERR_ACCES},
	    {VS_E_ROFS, NFS3_ERR_ROFS},
	    {VS_E_NOSPC, NFS3_ERR_NOSPC},
	    {VS_E_LIMIT, NFS3_ERR_NOSPC},
	    {VS_E_STALE, NFS3_ERR_STALE},
	    {VS_E_RANGE, NFS3_ERR_FBIG},
	    {VS_E_TOOBIG, NFS3_ERR_FBIG},
	    {VS_E_NOTSUP, NFS3_ERR_NOTSUPP},
	    {VS_E_BUSY, NFS3_ERR_JUKEBOX},
	    {VS_E_AGAIN, NFS3_ERR_JUKEBOX},
	    {VS_E_NOMEM, NFS3_ERR_JUKEBOX},
	};
	static const enum nfs3_status invalid[] = {
	    [DS_OK] = NFS3_ERR_INVAL,
	    [DS_NOT_DIR] = NFS3_ERR_NOTDIR,
	    [DS_IS_DIR] = NFS3_ERR_ISDIR,
	    [DS_NOT_EMPTY] = NFS3_ERR_NOTEMPTY,
	    [DS_NAME_TOO_LONG] = NFS3_ERR_NAMETOOLONG,
	    [DS_BAD_NAME] = NFS3_ERR_INVAL,
	    [DS_BAD_COOKIE] = NFS3_ERR_BAD_COOKIE,
	    [DS_CROSSES] = NFS3_ERR_XDEV,
	    [DS_WRONG_TYPE] = NFS3_ERR_INVAL,
	    [DS_NOT_SYNC] = NFS3_ERR_NOT_SYNC,
	    [DS_TOO_MANY_LINKS] = NFS3_ERR_MLINK,
	    [DS_NOT_OWNER] = NFS3_ERR_PERM,
	};

	if (status == VS_E_INVAL)
		return why < VS_ARRAY_LEN(invalid) ? invalid[why] : NFS3_ERR_INVAL;
	for (size_t i = 0; i < VS_ARRAY_LEN(codes); i++)
		if (codes[i].code == status)
			return codes[i].status;
	return NFS3_ERR_IO;
}

/* nfstime3 ends in 2106 and begins in 1970. */
static void encode_time(struct nfs_enc *e, int64_t ns)
{
	int64_t s = ns < 0 ? 0 : VS_MIN(ns / NS_PER_S, (int64_t)UINT32_MAX);

	nfs_enc_u32(e, (uint32_t)s);
	nfs_enc_u32(e, ns < 0 ? 0 : (uint32_t)(ns % NS_PER_S));
}

uint64_t nfs3_fileid(struct ds_handle h)
{
	/* readdir(3) of clients leaves out what has the number 0. */
	return (uint64_t)h.snapshot << 32 | (h.object ? h.object : UINT32_MAX);
}

void nfs3_attr_encode(struct nfs_enc *e, const struct ds_attr *a, uint64_t fsid)
{
	static const uint32_t types[] = {
	    [DS_REG] = NF3REG,	 [DS_DIR] = NF3DIR, [DS_LNK] = NF3LNK, [DS_FIFO] = NF3FIFO,
	    [DS_SOCK] = NF3SOCK, [DS_CHR] = NF3CHR, [DS_BLK] = NF3BLK};

	nfs_enc_u32(e, types[a->type]);
	nfs_enc_u32(e, a->mode & MODE_BITS);
	nfs_enc_u32(e, a->links);
	nfs_enc_u32(e, a->uid);
	nfs_enc_u32(e, a->gid);
	nfs_enc_u64(e, a->size);
	nfs_enc_u64(e, a->used);
	nfs_enc_u32(e, a->major);
	nfs_enc_u32(e, a->minor);
	nfs_enc_u64(e, fsid);
	nfs_enc_u64(e, nfs3_fileid(a->handle));
	encode_time(e, a->atime);
	encode_time(e, a->mtime);
	encode_time(e, a->ctime);
}

void nfs3_post_encode(struct nfs_enc *e, const struct ds_attr *a, uint64_t fsid)
{
	nfs_enc_u32(e, a->type != DS_NONE);
	if (a->type != DS_NONE)
		nfs3_attr_encode(e, a, fsid);
}

void nfs3_wcc_encode(struct nfs_enc *e, const struct ds_attr *before, const struct ds_attr *after,
		     uint64_t fsid)
{
	nfs_enc_u32(e, before->type != DS_NONE);
	if (before->type != DS_NONE) {
		nfs_enc_u64(e, before->size);
		encode_time(e, before->mtime);
		encode_time(e, before->ctime);
	}
	nfs3_post_encode(e, after, fsid);
}

void nfs3_post_handle_encode(struct nfs_enc *e, const struct nfs_handle *h)
{
	nfs_enc_u32(e, 1);
	nfs_enc_bytes(e, h->b, NFS_HANDLE_BYTES);
}

void nfs3_fsinfo_encode(struct nfs_enc *e)
{
	/* rtmax, rtpref, rtmult; wtmax, wtpref, wtmult; dtpref */
	static const uint32_t sizes[] = {NFS3_DATA_MAX, NFS3_DATA_MAX, 4096,	 NFS3_DATA_MAX,
					 NFS3_DATA_MAX, 4096,	       64u << 10};
	/* FSF3_LINK, FSF3_SYMLINK, FSF3_HOMOGENEOUS, FSF3_CANSETTIME */
	const uint32_t properties = 0x1 | 0x2 | 0x8 | 0x10;

	for (size_t i = 0; i < VS_ARRAY_LEN(sizes); i++)
		nfs_enc_u32(e, sizes[i]);
	nfs_enc_u64(e, DS_FILE_MAX);
	encode_time(e, 1); /* time_delta: times are kept to the nanosecond */
	nfs_enc_u32(e, properties);
}

void nfs3_fsstat_encode(struct nfs_enc *e, const struct ds_req *r)
{
	nfs_enc_u64(e, r->fs_total);
	nfs_enc_u64(e, r->fs_free);
	nfs_enc_u64(e, r->fs_free);
	nfs_enc_u64(e, r->fs_files);
	nfs_enc_u64(e, r->fs_files_free);
	nfs_enc_u64(e, r->fs_files_free);
	nfs_enc_u32(e, 0); /* invarsec: they may change at any time */
}

void nfs3_pathconf_encode(struct nfs_enc *e)
{
	nfs_enc_u32(e, DS_LINKS_MAX);
	nfs_enc_u32(e, DS_NAME_MAX);
	nfs_enc_u32(e, 1); /* no_trunc */
	nfs_enc_u32(e, 1); /* chown_restricted */
	nfs_enc_u32(e, 0); /* case_insensitive */
	nfs_enc_u32(e, 1); /* case_preserving */
}

uint32_t nfs3_entry_dircount(const struct ds_entry *entry)
{
	return 8 + 4 + (uint32_t)entry->name_len + NFS_XDR_PAD((uint32_t)entry->name_len) + 8;
}

bool nfs3_entry_encode(struct nfs_enc *e, const struct ds_entry *entry, uint64_t fsid,
		       const struct nfs_handle *handle)
{
	static const struct ds_attr unknown;
	struct nfs_enc to = *e;

	nfs_enc_u32(&to, 1); /* an entry follows */
	nfs_enc_u64(&to, nfs3_fileid(entry->handle));
	nfs_enc_bytes(&to, entry->name, (uint32_t)entry->name_len);
	nfs_enc_u64(&to, entry->cookie);
	if (handle) {
		nfs3_post_encode(&to, entry->attr ? entry->attr : &unknown, fsid);
		nfs3_post_handle_encode(&to, handle);
	}
	if (to.bad)
		return false;
	*e = to;
	return true;
}
