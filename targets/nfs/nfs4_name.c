/* Operations that change names: CREATE, REMOVE, RENAME, LINK (sections 18.4, 18.25, 18.26, 18.9).
 */
#include "targets/nfs/nfs4.h"

static struct nfs4_compound *of(struct nfs_call *call)
{
	return &call->args.v4;
}

int nfs4_create_start(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	enum nfs4_status status = nfs4_name(call);

	if (status == NFS4_ERR_NONE && a->type == DS_NONE)
		status = NFS4_ERR_BADTYPE;
	if (status == NFS4_ERR_NONE)
		status = nfs4_attrs_set_decode(&a->attrs, of(call)->minor >= 2, &call->req.set);
	if (status == NFS4_ERR_NONE && a->type == DS_LNK)
		status = !a->data.len		     ? NFS4_ERR_INVAL
			 : a->data.len > DS_LINK_MAX ? NFS4_ERR_NAMETOOLONG
						     : NFS4_ERR_NONE;
	if (status)
		return status;
	call->req.set.what &= ~DS_SET_SIZE;
	call->req.op = DS_CREATE;
	call->req.how = DS_GUARDED;
	call->req.type = a->type;
	call->req.major = a->major;
	call->req.minor = a->minor;
	call->iov = (struct iovec){(void *)(uintptr_t)a->data.p, a->data.len};
	call->req.length = a->data.len;
	return nfs4_submit(call);
}

int nfs4_create_finish(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_answered(call);
	struct nfs4_bitmap set = nfs4_attrs_set_mask(call->req.set.what);

	if (status)
		return status;
	nfs4_change_encode(&of(call)->e, &call->req.before, &call->req.after);
	nfs4_bitmap_encode(&of(call)->e, &set);
	nfs4_place_set(call, &call->served->store_id, call->req.attr.handle);
	return NFS4_ERR_NONE;
}

int nfs4_remove_start(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_name(call);

	if (status)
		return status;
	call->req.op = DS_REMOVE;
	return nfs4_submit(call);
}

int nfs4_remove_finish(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_answered(call);

	if (status == NFS4_ERR_ISDIR && call->req.op == DS_REMOVE) {
		call->req.op = DS_RMDIR;
		return nfs4_submit(call);
	}
	if (status == NFS4_ERR_NONE)
		nfs4_change_encode(&of(call)->e, &call->req.before, &call->req.after);
	return status;
}

int nfs4_rename_start(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	struct nfs_bytes to = a->other_name;
	struct ds_handle target = call->req.file;
	enum nfs4_status status = nfs4_name(call);

	if (status == NFS4_ERR_NONE)
		status = !to.len					  ? NFS4_ERR_INVAL
			 : to.len <= 2 && memcmp(to.p, "..", to.len) == 0 ? NFS4_ERR_BADNAME
									  : NFS4_ERR_NONE;
	if (status == NFS4_ERR_NONE)
		status = nfs4_saved_file(call, &call->req.file);
	if (status)
		return status;
	call->req.op = DS_RENAME;
	call->req.other = target;
	call->req.other_name = (const char *)to.p;
	call->req.other_name_len = to.len;
	return nfs4_submit(call);
}

int nfs4_rename_finish(struct nfs_call *call)
{
	const struct ds_req *r = &call->req;
	enum nfs4_status status = nfs4_answered(call);
	bool same = memcmp(&r->file, &r->other, sizeof(r->file)) == 0;

	if (status)
		return status;
	nfs4_change_encode(&of(call)->e, &r->before, &r->after);
	nfs4_change_encode(&of(call)->e, same ? &r->before : &r->before_other,
			   same ? &r->after : &r->after_other);
	return NFS4_ERR_NONE;
}

int nfs4_link_start(struct nfs_call *call)
{
	struct ds_handle dir = call->req.file;
	enum nfs4_status status = nfs4_name(call);

	if (status == NFS4_ERR_NONE)
		status = nfs4_saved_file(call, &call->req.file);
	if (status)
		return status;
	call->req.op = DS_LINK;
	call->req.other = dir;
	return nfs4_submit(call);
}

int nfs4_link_finish(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_answered(call);

	if (status == NFS4_ERR_NONE)
		nfs4_change_encode(&of(call)->e, &call->req.before_other, &call->req.after_other);
	return status;
}
