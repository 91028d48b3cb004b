/* Attributes that are set. */
#include "targets/nfs/nfs4_attr_format.h"

#define NS_PER_S INT64_C(1000000000)
#define MODE_BITS 07777u
#define BIT(i) (UINT32_C(1) << (i) % 32)

const struct nfs4_bitmap nfs4_attrs_settable = {
    {BIT(NFS4_ATTR_SIZE),
     BIT(NFS4_ATTR_MODE) | BIT(NFS4_ATTR_OWNER) | BIT(NFS4_ATTR_OWNER_GROUP) |
	 BIT(NFS4_ATTR_TIME_ACCESS_SET) | BIT(NFS4_ATTR_TIME_MODIFY_SET),
     0},
    false};

static enum nfs4_status get_size(struct nfs_dec *d, struct ds_set *set)
{
	set->what |= DS_SET_SIZE;
	set->size = nfs_dec_u64(d);
	return NFS4_ERR_NONE;
}

static enum nfs4_status get_mode(struct nfs_dec *d, struct ds_set *set)
{
	uint32_t mode = nfs_dec_u32(d);

	set->what |= DS_SET_MODE;
	set->mode = mode & MODE_BITS;
	return mode & ~MODE_BITS ? NFS4_ERR_INVAL : NFS4_ERR_NONE;
}

static enum nfs4_status get_id(struct nfs_dec *d, uint32_t *id)
{
	struct nfs_bytes b = nfs_dec_bytes(d, UINT32_MAX - 4);
	uint64_t v = 0;

	if (b.len < 1 || b.len > 10)
		return NFS4_ERR_BADOWNER;
	for (uint32_t i = 0; i < b.len; i++) {
		if (b.p[i] < '0' || b.p[i] > '9')
			return NFS4_ERR_BADOWNER;
		v = v * 10 + (b.p[i] - '0');
	}
	*id = (uint32_t)v;
	return v > UINT32_MAX ? NFS4_ERR_BADOWNER : NFS4_ERR_NONE;
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
		*status = NFS4_ERR_INVAL;
	else
		*ns = s * NS_PER_S + rest;
	return true;
}

static enum nfs4_status get_atime(struct nfs_dec *d, struct ds_set *set)
{
	enum nfs4_status status = NFS4_ERR_NONE;

	set->what |= get_time(d, &set->atime, &status) ? DS_SET_ATIME : DS_SET_ATIME_NOW;
	return status;
}

static enum nfs4_status get_mtime(struct nfs_dec *d, struct ds_set *set)
{
	enum nfs4_status status = NFS4_ERR_NONE;

	set->what |= get_time(d, &set->mtime, &status) ? DS_SET_MTIME : DS_SET_MTIME_NOW;
	return status;
}

static enum nfs4_status (*const getters[NFS4_ATTRS])(struct nfs_dec *d, struct ds_set *set) = {
    [NFS4_ATTR_SIZE] = get_size,
    [NFS4_ATTR_MODE] = get_mode,
    [NFS4_ATTR_OWNER] = get_owner,
    [NFS4_ATTR_OWNER_GROUP] = get_group,
    [NFS4_ATTR_TIME_ACCESS_SET] = get_atime,
    [NFS4_ATTR_TIME_MODIFY_SET] = get_mtime,
};

enum nfs4_status nfs4_attrs_set_decode(const struct nfs4_fattr *f, bool minor2, struct ds_set *set)
{
	const struct nfs_bytes *v = &f->values;
	struct nfs_dec d = {v->p, v->len ? v->p + v->len : v->p, false};
	enum nfs4_status status = f->mask.beyond ? NFS4_ERR_ATTRNOTSUPP : NFS4_ERR_NONE;

	*set = (struct ds_set){0};
	for (unsigned i = 0; i < 32 * VS_ARRAY_LEN(f->mask.w) && !status; i++) {
		if (!nfs4_bit(&f->mask, i))
			continue;
		if (!nfs4_attr_is_served(i, minor2))
			return NFS4_ERR_ATTRNOTSUPP;
		if (i >= NFS4_ATTRS || !getters[i])
			return NFS4_ERR_INVAL;
		status = getters[i](&d, set);
	}
	if (d.bad)
		return NFS4_ERR_BADXDR;
	return status ? status : nfs_dec_ok(&d) ? NFS4_ERR_NONE : NFS4_ERR_BADXDR;
}

struct nfs4_bitmap nfs4_attrs_set_mask(uint32_t what)
{
	static const struct {
		uint32_t what;
		enum nfs4_attr attr;
	} set[] = {{DS_SET_SIZE, NFS4_ATTR_SIZE},
		   {DS_SET_MODE, NFS4_ATTR_MODE},
		   {DS_SET_UID, NFS4_ATTR_OWNER},
		   {DS_SET_GID, NFS4_ATTR_OWNER_GROUP},
		   {DS_SET_ATIME | DS_SET_ATIME_NOW, NFS4_ATTR_TIME_ACCESS_SET},
		   {DS_SET_MTIME | DS_SET_MTIME_NOW, NFS4_ATTR_TIME_MODIFY_SET}};
	struct nfs4_bitmap b = {{0}, false};

	for (size_t i = 0; i < VS_ARRAY_LEN(set); i++)
		if (what & set[i].what)
			nfs4_bit_set(&b, set[i].attr);
	return b;
}
