/* Operations that look for files and at them, and that set attributes. */
#include "targets/nfs/nfs4.h"

#define AUTH_SYS 1u
#define SECINFO_PARENT 1u /* secinfo_style4 */

static struct nfs4_compound *of(struct nfs_call *call)
{
	return &call->args.v4;
}

static void at_root_of(struct nfs_call *call, const struct nfs_served *s)
{
	nfs4_place_set(call, &s->store_id, ds_root);
}

/* The share of that name that the client may use. */
static struct nfs_served *find_share(const struct nfs_call *call, struct nfs_bytes name)
{
	for (struct nfs_served *s = call->conn->worker->served; s; s = s->next)
		if (strlen(s->name) == name.len && memcmp(s->name, name.p, name.len) == 0 &&
		    nfs4_visible(call, s))
			return s;
	return NULL;
}

/* ---- LOOKUP and LOOKUPP, sections 18.13 and 18.14 ---- */

int nfs4_lookup_start(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_name(call);
	struct nfs_served *s;

	if (status)
		return status;
	if (call->served) {
		call->req.op = DS_LOOKUP;
		return nfs4_submit(call);
	}
	s = find_share(call, of(call)->a.name);
	if (!s)
		return NFS4_ERR_NOENT;
	at_root_of(call, s);
	return NFS4_ERR_NONE;
}

int nfs4_lookup_finish(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_answered(call);

	if (status == NFS4_ERR_NONE)
		nfs4_place_set(call, &call->served->store_id, call->req.attr.handle);
	else if (status == NFS4_ERR_NOTDIR && call->req.after.type == DS_LNK)
		status = NFS4_ERR_SYMLINK;
	return status;
}

static bool is_root(const struct nfs_call *call)
{
	return memcmp(&call->args.v4.cur.fh.file, &ds_root, sizeof(ds_root)) == 0;
}

int nfs4_lookupp_start(struct nfs_call *call)
{
	if (is_root(call))
		return nfs4_putrootfh(call);
	call->req.op = DS_LOOKUP;
	call->req.name = "..";
	call->req.name_len = 2;
	return nfs4_submit(call);
}

int nfs4_lookupp_finish(struct nfs_call *call)
{
	return nfs4_lookup_finish(call);
}

/* ---- SECINFO and SECINFO_NO_NAME, sections 18.29 and 18.45 ---- */

/* The current filehandle is consumed (section 2.6.3.1.1.8). */
static int tell_flavors(struct nfs_call *call)
{
	of(call)->cur.fh.set = false;
	nfs_enc_u32(&of(call)->e, 1);
	nfs_enc_u32(&of(call)->e, AUTH_SYS);
	return NFS4_ERR_NONE;
}

int nfs4_secinfo_start(struct nfs_call *call)
{
	int status = nfs4_lookup_start(call);

	return status == NFS4_ERR_NONE ? tell_flavors(call) : status;
}

int nfs4_secinfo_finish(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_lookup_finish(call);

	return status == NFS4_ERR_NONE ? tell_flavors(call) : (int)status;
}

int nfs4_secinfo_no_name_start(struct nfs_call *call)
{
	if (of(call)->a.what > SECINFO_PARENT)
		return NFS4_ERR_BADXDR;
	if (of(call)->a.what != SECINFO_PARENT)
		return tell_flavors(call);
	if (!call->served)
		return NFS4_ERR_NOENT;
	if (is_root(call))
		return tell_flavors(call);
	return nfs4_lookupp_start(call);
}

int nfs4_secinfo_no_name_finish(struct nfs_call *call)
{
	return nfs4_secinfo_finish(call);
}

/* ---- GETATTR, VERIFY, NVERIFY, sections 18.7, 18.30, 18.15 ---- */

static void encode_attrs(struct nfs_call *call, const struct nfs4_bitmap *mask,
			 const struct ds_attr *a)
{
	struct nfs_handle h;
	struct nfs4_attr_source from = nfs4_source(call, a, &h);

	from.space = of(call)->space;
	nfs4_attrs_encode(&of(call)->e, mask, &from);
}

/* Asks the datastore for what mask needs: first its space, then the file. */
static int ask_attrs(struct nfs_call *call, const struct nfs4_bitmap *mask)
{
	bool space = !of(call)->step && nfs4_attrs_of_fs(mask);

	of(call)->step = 1;
	call->req.op = space ? DS_STATFS : DS_GETATTR;
	return nfs4_submit(call);
}

/* Whether all that mask needs is there; else *status is what is to be returned. */
static bool have_attrs(struct nfs_call *call, const struct nfs4_bitmap *mask, int *status)
{
	*status = nfs4_answered(call);
	if (*status)
		return false;
	if (call->req.op == DS_STATFS) {
		of(call)->space = nfs4_space_of(&call->req);
		*status = ask_attrs(call, mask);
		return false;
	}
	return true;
}

int nfs4_getattr_start(struct nfs_call *call)
{
	struct ds_attr pseudo = nfs4_pseudo_attr(call);

	of(call)->space = (struct nfs4_space){0};
	if (call->served)
		return ask_attrs(call, &of(call)->a.mask);
	encode_attrs(call, &of(call)->a.mask, &pseudo);
	return NFS4_ERR_NONE;
}

int nfs4_getattr_finish(struct nfs_call *call)
{
	int status;

	if (have_attrs(call, &of(call)->a.mask, &status))
		encode_attrs(call, &of(call)->a.mask, &call->req.attr);
	return status;
}

/* Whether the file's attributes are those that were sent: compared as they are encoded. */
static int compare(struct nfs_call *call, const struct ds_attr *a)
{
	struct nfs4_compound *v = of(call);
	const struct nfs4_fattr *f = &v->a.attrs;
	uint8_t want[NFS4_ATTRS_BYTES];
	struct nfs_enc e = {want, want + sizeof(want), false};
	uint8_t *got = v->e.p;
	bool same;

	nfs4_bitmap_encode(&e, &f->mask);
	if (f->values.len > (size_t)(e.end - e.p) - 8)
		return NFS4_ERR_NOT_SAME;
	nfs_enc_bytes(&e, f->values.p, f->values.len);
	encode_attrs(call, &f->mask, a);
	same = v->e.p - got == e.p - want && memcmp(got, want, (size_t)(e.p - want)) == 0;
	v->e.p = got;
	if (v->op == NFS4_OP_VERIFY)
		return same ? NFS4_ERR_NONE : NFS4_ERR_NOT_SAME;
	return same ? NFS4_ERR_SAME : NFS4_ERR_NONE;
}

int nfs4_verify_start(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_attrs_verifiable(&of(call)->a.attrs, of(call)->minor >= 2);
	struct ds_attr pseudo = nfs4_pseudo_attr(call);

	if (status)
		return status;
	of(call)->space = (struct nfs4_space){0};
	return call->served ? ask_attrs(call, &of(call)->a.attrs.mask) : compare(call, &pseudo);
}

int nfs4_verify_finish(struct nfs_call *call)
{
	int status;

	return have_attrs(call, &of(call)->a.attrs.mask, &status) ? compare(call, &call->req.attr)
								  : status;
}

/* ---- SETATTR, section 18.30 ---- */

static int set_result(struct nfs_call *call, enum nfs4_status status, uint32_t what)
{
	struct nfs4_bitmap set = nfs4_attrs_set_mask(what);

	of(call)->keep = true;
	of(call)->e.p = of(call)->body;
	nfs4_bitmap_encode(&of(call)->e, &set);
	return status;
}

int nfs4_setattr_start(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	enum nfs4_status status =
	    nfs4_attrs_set_decode(&a->attrs, of(call)->minor >= 2, &call->req.set);

	if (status == NFS4_ERR_NONE && call->req.set.what & DS_SET_SIZE)
		status = nfs4_use(call, a->stateid, NFS4_SHARE_WRITE);
	if (status)
		return set_result(call, status, 0);
	call->req.op = DS_SETATTR;
	call->req.owner_may = nfs4_special(&a->stateid) == NFS4_STATEID_REAL;
	return nfs4_submit(call);
}

int nfs4_setattr_finish(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_answered(call);

	return set_result(call, status, status ? 0 : call->req.set.what);
}

/* ---- ACCESS, READLINK, sections 18.1 and 18.24 ---- */

#define ACCESS_ALL                                                                     \
	(DS_MAY_READ | DS_MAY_LOOKUP | DS_MAY_MODIFY | DS_MAY_EXTEND | DS_MAY_DELETE | \
	 DS_MAY_EXECUTE)

static int tell_access(struct nfs_call *call, uint32_t may)
{
	nfs_enc_u32(&of(call)->e, of(call)->a.access & ACCESS_ALL);
	nfs_enc_u32(&of(call)->e, may);
	return NFS4_ERR_NONE;
}

int nfs4_access_start(struct nfs_call *call)
{
	uint32_t asked = of(call)->a.access & ACCESS_ALL;

	if (!call->served)
		return tell_access(call, asked & (DS_MAY_READ | DS_MAY_LOOKUP));
	if (call->rule->read_only)
		asked &= DS_MAY_READ | DS_MAY_LOOKUP | DS_MAY_EXECUTE;
	call->req.op = DS_ACCESS;
	call->req.access = asked;
	return nfs4_submit(call);
}

int nfs4_access_finish(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_answered(call);

	return status ? (int)status : tell_access(call, call->req.access);
}

int nfs4_readlink_start(struct nfs_call *call)
{
	call->req.op = DS_READLINK;
	call->req.length = DS_LINK_MAX;
	call->iov = (struct iovec){of(call)->e.p + 4, DS_LINK_MAX};
	return nfs4_submit(call);
}

/* What was read in place behind a length of 4 bytes becomes opaque<>. */
int nfs4_readlink_finish(struct nfs_call *call)
{
	struct nfs_enc *e = &of(call)->e;
	enum nfs4_status status = nfs4_answered(call);
	uint32_t n = (uint32_t)call->req.count;

	if (status)
		return status;
	nfs_enc_u32(e, n);
	nfs_enc_skip(e, n);
	return NFS4_ERR_NONE;
}
