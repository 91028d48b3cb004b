#include "targets/nfs/nfs4_attr_format.h"

#include <stdio.h>

#define NS_PER_S INT64_C(1000000000)
#define MODE_BITS 07777u
#define CLONE_ALIGN 4096u
#define ID_BYTES 16u /* of a number as text */

enum attr {
	SUPPORTED_ATTRS = 0,
	TYPE = 1,
	FH_EXPIRE_TYPE = 2,
	CHANGE = 3,
	SIZE = 4,
	LINK_SUPPORT = 5,
	SYMLINK_SUPPORT = 6,
	NAMED_ATTR = 7,
	FSID = 8,
	UNIQUE_HANDLES = 9,
	LEASE_TIME = 10,
	RDATTR_ERROR = 11,
	CANSETTIME = 15,
	CASE_INSENSITIVE = 16,
	CASE_PRESERVING = 17,
	CHOWN_RESTRICTED = 18,
	FILEHANDLE = 19,
	FILEID = 20,
	FILES_AVAIL = 21,
	FILES_FREE = 22,
	FILES_TOTAL = 23,
	HOMOGENEOUS = 26,
	MAXFILESIZE = 27,
	MAXLINK = 28,
	MAXNAME = 29,
	MAXREAD = 30,
	MAXWRITE = 31,
	MODE = 33,
	NO_TRUNC = 34,
	NUMLINKS = 35,
	OWNER = 36,
	OWNER_GROUP = 37,
	RAWDEV = 41,
	SPACE_AVAIL = 42,
	SPACE_FREE = 43,
	SPACE_TOTAL = 44,
	SPACE_USED = 45,
	TIME_ACCESS = 47,
	TIME_ACCESS_SET = 48,
	TIME_CREATE = 50,
	TIME_DELTA = 51,
	TIME_METADATA = 52,
	TIME_MODIFY = 53,
	TIME_MODIFY_SET = 54,
	MOUNTED_ON_FILEID = 55,
	SUPPATTR_EXCLCREAT = 75,
	CLONE_BLKSIZE = 77,
	CHANGE_ATTR_TYPE = 79,
	ATTRS
};

#define BIT(i) (UINT32_C(1) << (i) % 32)

const struct nfs4_bitmap nfs4_attrs_settable = {
    {BIT(SIZE),
     BIT(MODE) | BIT(OWNER) | BIT(OWNER_GROUP) | BIT(TIME_ACCESS_SET) | BIT(TIME_MODIFY_SET), 0},
    false};

static const struct nfs4_bitmap of_fs = {
    {BIT(FILES_AVAIL) | BIT(FILES_FREE) | BIT(FILES_TOTAL),
     BIT(SPACE_AVAIL) | BIT(SPACE_FREE) | BIT(SPACE_TOTAL), 0},
    false};

static struct nfs4_bitmap supported(bool minor2);

uint64_t nfs4_fileid(struct ds_handle h)
{
	return (uint64_t)h.snapshot << 32 | h.object;
}

bool nfs4_attrs_of_fs(const struct nfs4_bitmap *mask)
{
	return (mask->w[0] & of_fs.w[0]) || (mask->w[1] & of_fs.w[1]);
}

/* ---- encoding ---- */

struct context {
	const struct nfs4_attr_source *s;
	uint64_t value; /* of the table */
};

static void put_supported(struct nfs_enc *e, const struct context *c)
{
	struct nfs4_bitmap b = supported(c->s->minor2);

	nfs4_bitmap_encode(e, &b);
}

static void put_exclcreat(struct nfs_enc *e, const struct context *c)
{
	(void)c;
	nfs4_bitmap_encode(e, &nfs4_attrs_settable);
}

static void put_type(struct nfs_enc *e, const struct context *c)
{
	static const uint32_t types[] = {[DS_REG] = 1, [DS_DIR] = 2,  [DS_BLK] = 3, [DS_CHR] = 4,
					 [DS_LNK] = 5, [DS_SOCK] = 6, [DS_FIFO] = 7};

	nfs_enc_u32(e, types[c->s->attr->type]);
}

static void put_u32(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u32(e, (uint32_t)c->value);
}

static void put_u64(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, c->value);
}

static void put_change(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, c->s->attr->change);
}

static void put_size(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, c->s->attr->size);
}

static void put_fsid(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, c->s->fsid);
	nfs_enc_u64(e, 0);
}

static void put_handle(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_bytes(e, c->s->handle->b, NFS_HANDLE_BYTES);
}

static void put_fileid(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, nfs4_fileid(c->s->attr->handle));
}

static void put_mounted_on(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, c->s->mounted_on ? c->s->mounted_on : nfs4_fileid(c->s->attr->handle));
}

static void put_mode(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u32(e, c->s->attr->mode & MODE_BITS);
}

static void put_links(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u32(e, c->s->attr->links);
}

/* RFC 8881 section 5.9: numbers where names are not kept. */
static void put_id(struct nfs_enc *e, uint32_t id)
{
	char text[ID_BYTES];
	int n = snprintf(text, sizeof(text), "%u", id);

	nfs_enc_bytes(e, text, (uint32_t)n);
}

static void put_owner(struct nfs_enc *e, const struct context *c)
{
	put_id(e, c->s->attr->uid);
}

static void put_group(struct nfs_enc *e, const struct context *c)
{
	put_id(e, c->s->attr->gid);
}

static void put_rawdev(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u32(e, c->s->attr->major);
	nfs_enc_u32(e, c->s->attr->minor);
}

static void put_files_free(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, c->s->space.files_free);
}

static void put_files_total(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, c->s->space.files);
}

static void put_space_free(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, c->s->space.free);
}

static void put_space_total(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, c->s->space.total);
}

static void put_space_used(struct nfs_enc *e, const struct context *c)
{
	nfs_enc_u64(e, c->s->attr->used);
}

static void put_time(struct nfs_enc *e, int64_t ns)
{
	int64_t s = ns / NS_PER_S, rest = ns % NS_PER_S;

	if (rest < 0) {
		s--;
		rest += NS_PER_S;
	}
	nfs_enc_u64(e, (uint64_t)s);
	nfs_enc_u32(e, (uint32_t)rest);
}

static void put_atime(struct nfs_enc *e, const struct context *c)
{
	put_time(e, c->s->attr->atime);
}

static void put_mtime(struct nfs_enc *e, const struct context *c)
{
	put_time(e, c->s->attr->mtime);
}

static void put_ctime(struct nfs_enc *e, const struct context *c)
{
	put_time(e, c->s->attr->ctime);
}

static void put_btime(struct nfs_enc *e, const struct context *c)
{
	put_time(e, c->s->attr->btime);
}

static void put_delta(struct nfs_enc *e, const struct context *c)
{
	(void)c;
	put_time(e, 1); /* times are kept to the nanosecond */
}

/* ---- decoding ---- */

static enum nfs4_status get_size(struct nfs_dec *d, struct ds_set *set)
{
	set->what |= DS_SET_SIZE;
	set->size = nfs_dec_u64(d);
	return NFS4_OK;
}

static enum nfs4_status get_mode(struct nfs_dec *d, struct ds_set *set)
{
	uint32_t mode = nfs_dec_u32(d);

	set->what |= DS_SET_MODE;
	set->mode = mode & MODE_BITS;
	return mode & ~MODE_BITS ? NFS4ERR_INVAL : NFS4_OK;
}

static enum nfs4_status get_id(struct nfs_dec *d, uint32_t *id)
{
	struct nfs_bytes b = nfs_dec_bytes(d, UINT32_MAX - 4);
	uint64_t v = 0;

	if (b.len < 1 || b.len > 10)
		return NFS4ERR_BADOWNER;
	for (uint32_t i = 0; i < b.len; i++) {
		if (b.p[i] < '0' || b.p[i] > '9')
			return NFS4ERR_BADOWNER;
		v = v * 10 + (b.p[i] - '0');
	}
	*id = (uint32_t)v;
	return v > UINT32_MAX ? NFS4ERR_BADOWNER : NFS4_OK;
}

static enum nfs4_status get_owner(struct nfs_dec *d, struct ds_set *set)
{
	set->what |= DS_SET_UID;
	return get_id(d, &set->uid);
}

static enum nfs4_status get_group(struct nfs_dec *d, struct ds_set *set)
{
	set->what |= DS_SET_GID;
	return get_id(d, &set->gid);
}

/* settime4; false: it is the server's time that is to be set. */
static bool get_time(struct nfs_dec *d, int64_t *ns, enum nfs4_status *status)
{
	int64_t s;
	uint32_t rest;

	if (!nfs_dec_bool(d)) /* time_how4 has the same numbers */
		return false;
	s = (int64_t)nfs_dec_u64(d);
	rest = nfs_dec_u32(d);
	if (rest >= NS_PER_S || s > INT64_MAX / NS_PER_S - 1 || s < INT64_MIN / NS_PER_S + 1)
		*status = NFS4ERR_INVAL;
	else
		*ns = s * NS_PER_S + rest;
	return true;
}

static enum nfs4_status get_atime(struct nfs_dec *d, struct ds_set *set)
{
	enum nfs4_status status = NFS4_OK;

	set->what |= get_time(d, &set->atime, &status) ? DS_SET_ATIME : DS_SET_ATIME_NOW;
	return status;
}

static enum nfs4_status get_mtime(struct nfs_dec *d, struct ds_set *set)
{
	enum nfs4_status status = NFS4_OK;

	set->what |= get_time(d, &set->mtime, &status) ? DS_SET_MTIME : DS_SET_MTIME_NOW;
	return status;
}

/* ---- the table ---- */

static const struct {
	void (*put)(struct nfs_enc *e, const struct context *c); /* NULL: can only be set */
	enum nfs4_status (*get)(struct nfs_dec *d, struct ds_set *set); /* NULL: cannot be set */
	uint64_t value;
	bool minor2;
} attrs[ATTRS] = {
    [SUPPORTED_ATTRS] = {put_supported},
    [TYPE] = {put_type},
    [FH_EXPIRE_TYPE] = {put_u32, .value = 0}, /* FH4_PERSISTENT */
    [CHANGE] = {put_change},
    [SIZE] = {put_size, get_size},
    [LINK_SUPPORT] = {put_u32, .value = 1},
    [SYMLINK_SUPPORT] = {put_u32, .value = 1},
    [NAMED_ATTR] = {put_u32, .value = 0},
    [FSID] = {put_fsid},
    [UNIQUE_HANDLES] = {put_u32, .value = 1},
    [LEASE_TIME] = {put_u32, .value = NFS4_LEASE_S},
    [RDATTR_ERROR] = {put_u32, .value = NFS4_OK},
    [CANSETTIME] = {put_u32, .value = 1},
    [CASE_INSENSITIVE] = {put_u32, .value = 0},
    [CASE_PRESERVING] = {put_u32, .value = 1},
    [CHOWN_RESTRICTED] = {put_u32, .value = 1},
    [FILEHANDLE] = {put_handle},
    [FILEID] = {put_fileid},
    [FILES_AVAIL] = {put_files_free},
    [FILES_FREE] = {put_files_free},
    [FILES_TOTAL] = {put_files_total},
    [HOMOGENEOUS] = {put_u32, .value = 1},
    [MAXFILESIZE] = {put_u64, .value = DS_FILE_MAX},
    [MAXLINK] = {put_u32, .value = DS_LINKS_MAX},
    [MAXNAME] = {put_u32, .value = DS_NAME_MAX},
    [MAXREAD] = {put_u64, .value = NFS4_DATA_MAX},
    [MAXWRITE] = {put_u64, .value = NFS4_DATA_MAX},
    [MODE] = {put_mode, get_mode},
    [NO_TRUNC] = {put_u32, .value = 1},
    [NUMLINKS] = {put_links},
    [OWNER] = {put_owner, get_owner},
    [OWNER_GROUP] = {put_group, get_group},
    [RAWDEV] = {put_rawdev},
    [SPACE_AVAIL] = {put_space_free},
    [SPACE_FREE] = {put_space_free},
    [SPACE_TOTAL] = {put_space_total},
    [SPACE_USED] = {put_space_used},
    [TIME_ACCESS] = {put_atime},
    [TIME_ACCESS_SET] = {NULL, get_atime},
    [TIME_CREATE] = {put_btime},
    [TIME_DELTA] = {put_delta},
    [TIME_METADATA] = {put_ctime},
    [TIME_MODIFY] = {put_mtime},
    [TIME_MODIFY_SET] = {NULL, get_mtime},
    [MOUNTED_ON_FILEID] = {put_mounted_on},
    [SUPPATTR_EXCLCREAT] = {put_exclcreat},
    [CLONE_BLKSIZE] = {put_u32, .value = CLONE_ALIGN, .minor2 = true},
    [CHANGE_ATTR_TYPE] = {put_u32, .value = 0, .minor2 = true}, /* MONOTONIC_INCR */
};

static bool is_served(unsigned i, bool minor2)
{
	return i < ATTRS && (attrs[i].put || attrs[i].get) && (minor2 || !attrs[i].minor2);
}

static struct nfs4_bitmap supported(bool minor2)
{
	struct nfs4_bitmap b = {{0}, false};

	for (unsigned i = 0; i < ATTRS; i++)
		if (is_served(i, minor2))
			nfs4_bit_set(&b, i);
	return b;
}

void nfs4_attrs_encode(struct nfs_enc *e, const struct nfs4_bitmap *mask,
		       const struct nfs4_attr_source *from)
{
	struct nfs4_bitmap b = {{0}, false};
	uint8_t *length;

	for (unsigned i = 0; i < ATTRS; i++)
		if (nfs4_bit(mask, i) && is_served(i, from->minor2) && attrs[i].put)
			nfs4_bit_set(&b, i);
	nfs4_bitmap_encode(e, &b);
	length = nfs_enc_take(e, 4);
	for (unsigned i = 0; i < ATTRS; i++)
		if (nfs4_bit(&b, i))
			attrs[i].put(e, &(struct context){from, attrs[i].value});
	if (!e->bad)
		vs_put_be32(length, (uint32_t)(e->p - length - 4));
}

enum nfs4_status nfs4_attrs_set_decode(const struct nfs4_fattr *f, bool minor2, struct ds_set *set)
{
	struct nfs_dec d = {f->values.p, f->values.p + f->values.len, false};
	enum nfs4_status status = f->mask.beyond ? NFS4ERR_ATTRNOTSUPP : NFS4_OK;

	*set = (struct ds_set){0};
	for (unsigned i = 0; i < 32 * VS_ARRAY_LEN(f->mask.w) && !status; i++) {
		if (!nfs4_bit(&f->mask, i))
			continue;
		if (!is_served(i, minor2))
			return NFS4ERR_ATTRNOTSUPP;
		if (!attrs[i].get)
			return NFS4ERR_INVAL;
		status = attrs[i].get(&d, set);
	}
	if (d.bad)
		return NFS4ERR_BADXDR;
	return status ? status : nfs_dec_ok(&d) ? NFS4_OK : NFS4ERR_BADXDR;
}

enum nfs4_status nfs4_attrs_verifiable(const struct nfs4_fattr *f, bool minor2)
{
	if (f->mask.beyond)
		return NFS4ERR_ATTRNOTSUPP;
	for (unsigned i = 0; i < 32 * VS_ARRAY_LEN(f->mask.w); i++) {
		if (!nfs4_bit(&f->mask, i))
			continue;
		if (!is_served(i, minor2))
			return NFS4ERR_ATTRNOTSUPP;
		if (!attrs[i].put || i == RDATTR_ERROR)
			return NFS4ERR_INVAL;
	}
	return NFS4_OK;
}

struct nfs4_bitmap nfs4_attrs_set_mask(uint32_t what)
{
	static const struct {
		uint32_t what;
		enum attr attr;
	} set[] = {{DS_SET_SIZE, SIZE},
		   {DS_SET_MODE, MODE},
		   {DS_SET_UID, OWNER},
		   {DS_SET_GID, OWNER_GROUP},
		   {DS_SET_ATIME | DS_SET_ATIME_NOW, TIME_ACCESS_SET},
		   {DS_SET_MTIME | DS_SET_MTIME_NOW, TIME_MODIFY_SET}};
	struct nfs4_bitmap b = {{0}, false};

	for (size_t i = 0; i < VS_ARRAY_LEN(set); i++)
		if (what & set[i].what)
			nfs4_bit_set(&b, set[i].attr);
	return b;
}
