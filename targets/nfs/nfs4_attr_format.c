#include "targets/nfs/nfs4_attr_format.h"

#include <stdio.h>

#define NS_PER_S INT64_C(1000000000)
#define MODE_BITS 07777u
#define CLONE_ALIGN 4096u
#define ID_BYTES 16u /* of a number as text */

#define BIT(i) (UINT32_C(1) << (i) % 32)

static const struct nfs4_bitmap of_fs = {
    {BIT(NFS4_ATTR_FILES_AVAIL) | BIT(NFS4_ATTR_FILES_FREE) | BIT(NFS4_ATTR_FILES_TOTAL),
     BIT(NFS4_ATTR_SPACE_AVAIL) | BIT(NFS4_ATTR_SPACE_FREE) | BIT(NFS4_ATTR_SPACE_TOTAL), 0},
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

/* ---- the table ---- */

static const struct {
	void (*put)(struct nfs_enc *e, const struct context *c); /* NULL: can only be set */
	uint64_t value;
	bool minor2;
} attrs[NFS4_ATTRS] = {
    [NFS4_ATTR_SUPPORTED_ATTRS] = {put_supported},
    [NFS4_ATTR_TYPE] = {put_type},
    [NFS4_ATTR_FH_EXPIRE_TYPE] = {put_u32, .value = 0}, /* FH4_PERSISTENT */
    [NFS4_ATTR_CHANGE] = {put_change},
    [NFS4_ATTR_SIZE] = {put_size},
    [NFS4_ATTR_LINK_SUPPORT] = {put_u32, .value = 1},
    [NFS4_ATTR_SYMLINK_SUPPORT] = {put_u32, .value = 1},
    [NFS4_ATTR_NAMED_ATTR] = {put_u32, .value = 0},
    [NFS4_ATTR_FSID] = {put_fsid},
    [NFS4_ATTR_UNIQUE_HANDLES] = {put_u32, .value = 1},
    [NFS4_ATTR_LEASE_TIME] = {put_u32, .value = NFS4_LEASE_S},
    [NFS4_ATTR_RDATTR_ERROR] = {put_u32, .value = NFS4_ERR_NONE},
    [NFS4_ATTR_CANSETTIME] = {put_u32, .value = 1},
    [NFS4_ATTR_CASE_INSENSITIVE] = {put_u32, .value = 0},
    [NFS4_ATTR_CASE_PRESERVING] = {put_u32, .value = 1},
    [NFS4_ATTR_CHOWN_RESTRICTED] = {put_u32, .value = 1},
    [NFS4_ATTR_FILEHANDLE] = {put_handle},
    [NFS4_ATTR_FILEID] = {put_fileid},
    [NFS4_ATTR_FILES_AVAIL] = {put_files_free},
    [NFS4_ATTR_FILES_FREE] = {put_files_free},
    [NFS4_ATTR_FILES_TOTAL] = {put_files_total},
    [NFS4_ATTR_HOMOGENEOUS] = {put_u32, .value = 1},
    [NFS4_ATTR_MAXFILESIZE] = {put_u64, .value = DS_FILE_MAX},
    [NFS4_ATTR_MAXLINK] = {put_u32, .value = DS_LINKS_MAX},
    [NFS4_ATTR_MAXNAME] = {put_u32, .value = DS_NAME_MAX},
    [NFS4_ATTR_MAXREAD] = {put_u64, .value = NFS4_DATA_MAX},
    [NFS4_ATTR_MAXWRITE] = {put_u64, .value = NFS4_DATA_MAX},
    [NFS4_ATTR_MODE] = {put_mode},
    [NFS4_ATTR_NO_TRUNC] = {put_u32, .value = 1},
    [NFS4_ATTR_NUMLINKS] = {put_links},
    [NFS4_ATTR_OWNER] = {put_owner},
    [NFS4_ATTR_OWNER_GROUP] = {put_group},
    [NFS4_ATTR_RAWDEV] = {put_rawdev},
    [NFS4_ATTR_SPACE_AVAIL] = {put_space_free},
    [NFS4_ATTR_SPACE_FREE] = {put_space_free},
    [NFS4_ATTR_SPACE_TOTAL] = {put_space_total},
    [NFS4_ATTR_SPACE_USED] = {put_space_used},
    [NFS4_ATTR_TIME_ACCESS] = {put_atime},
    [NFS4_ATTR_TIME_CREATE] = {put_btime},
    [NFS4_ATTR_TIME_DELTA] = {put_delta},
    [NFS4_ATTR_TIME_METADATA] = {put_ctime},
    [NFS4_ATTR_TIME_MODIFY] = {put_mtime},
    [NFS4_ATTR_MOUNTED_ON_FILEID] = {put_mounted_on},
    [NFS4_ATTR_SUPPATTR_EXCLCREAT] = {put_exclcreat},
    [NFS4_ATTR_CLONE_BLKSIZE] = {put_u32, .value = CLONE_ALIGN, .minor2 = true},
    [NFS4_ATTR_CHANGE_ATTR_TYPE] = {put_u32, .value = 0, .minor2 = true}, /* MONOTONIC_INCR */
};

bool nfs4_attr_is_served(unsigned i, bool minor2)
{
	return i < NFS4_ATTRS && (attrs[i].put || nfs4_bit(&nfs4_attrs_settable, i)) &&
	       (minor2 || !attrs[i].minor2);
}

static struct nfs4_bitmap supported(bool minor2)
{
	struct nfs4_bitmap b = {{0}, false};

	for (unsigned i = 0; i < NFS4_ATTRS; i++)
		if (nfs4_attr_is_served(i, minor2))
			nfs4_bit_set(&b, i);
	return b;
}

void nfs4_attrs_encode(struct nfs_enc *e, const struct nfs4_bitmap *mask,
		       const struct nfs4_attr_source *from)
{
	struct nfs4_bitmap b = {{0}, false};
	uint8_t *length;

	for (unsigned i = 0; i < NFS4_ATTRS; i++)
		if (nfs4_bit(mask, i) && nfs4_attr_is_served(i, from->minor2) && attrs[i].put)
			nfs4_bit_set(&b, i);
	nfs4_bitmap_encode(e, &b);
	length = nfs_enc_take(e, 4);
	for (unsigned i = 0; i < NFS4_ATTRS; i++)
		if (nfs4_bit(&b, i))
			attrs[i].put(e, &(struct context){from, attrs[i].value});
	if (!e->bad)
		vs_put_be32(length, (uint32_t)(e->p - length - 4));
}

enum nfs4_status nfs4_attrs_verifiable(const struct nfs4_fattr *f, bool minor2)
{
	if (f->mask.beyond)
		return NFS4_ERR_ATTRNOTSUPP;
	for (unsigned i = 0; i < 32 * VS_ARRAY_LEN(f->mask.w); i++) {
		if (!nfs4_bit(&f->mask, i))
			continue;
		if (!nfs4_attr_is_served(i, minor2))
			return NFS4_ERR_ATTRNOTSUPP;
		if (!attrs[i].put || i == NFS4_ATTR_RDATTR_ERROR)
			return NFS4_ERR_INVAL;
	}
	return NFS4_ERR_NONE;
}
