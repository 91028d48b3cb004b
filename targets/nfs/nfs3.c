#include "targets/nfs/nfs3.h"

/* What follows the status of a call that failed; each attribute may be missing. */
enum tail {
	TAIL_NONE,
	TAIL_ATTR,     /* post_op_attr of the file */
	TAIL_DIR,      /* post_op_attr of the directory looked in */
	TAIL_WCC,      /* wcc_data of the file or directory */
	TAIL_TWO_WCC,  /* wcc_data of two directories */
	TAIL_ATTR_WCC, /* post_op_attr of the file, wcc_data of the directory */
};

struct op {
	enum ds_op op;
	enum tail tail;
	bool changes; /* not for clients that may read only */
	/* Fills what is special in call->req. NFS3_ERR_NONE, a status, or NFS3_NO_MEMORY. NULL:
	 * nothing is. */
	int (*prepare)(struct nfs_call *call);
	/* A status that the datastore does not know. NULL: there is none. */
	enum nfs3_status (*check)(const struct nfs_call *call);
	/* What follows NFS3_ERR_NONE. NULL: the tail. */
	void (*encode)(struct nfs_enc *e, struct nfs_call *call);
};

static bool decode(struct nfs_call *call, struct nfs_dec *d)
{
	memset(&call->args.v3, 0, sizeof(call->args.v3));
	return nfs3_args_decode(call->rpc.proc, d, &call->args.v3);
}

static struct nfs_served *find_served(struct nfs_worker *w, const struct nfs_store_id *id)
{
	for (struct nfs_served *s = w->served; s; s = s->next)
		if (memcmp(s->store_id.b, id->b, sizeof(id->b)) == 0)
			return s->leaving ? NULL : s;
	return NULL;
}

enum nfs3_status nfs3_resolve(struct nfs_call *call, struct nfs_bytes handle,
			      struct nfs_served **served, struct ds_handle *file)
{
	struct nfs_conn *c = call->conn;
	struct nfs_store_id id;

	if (nfs_handle_open(c->worker->seal, handle.p, handle.len, &id, file))
		return NFS3_ERR_BADHANDLE;
	*served = find_served(c->worker, &id);
	if (!*served)
		return NFS3_ERR_STALE;
	call->rule = nfs_rule_find((*served)->rules, (*served)->nrules, &c->address);
	return call->rule ? NFS3_ERR_NONE : NFS3_ERR_ACCES;
}

/* A second handle; the first one's datastore is the only one that it may be of. */
static enum nfs3_status resolve_other(struct nfs_call *call)
{
	struct nfs_served *served;
	enum nfs3_status status =
	    nfs3_resolve(call, call->args.v3.other, &served, &call->req.other);

	return status ? status : served == call->served ? NFS3_ERR_NONE : NFS3_ERR_XDEV;
}

static int prepare_create(struct nfs_call *call)
{
	const struct nfs3_args *a = &call->args.v3;

	if (a->type == DS_NONE)
		return NFS3_ERR_BADTYPE;
	call->req.type = a->type;
	call->req.how = a->how;
	call->req.verifier = a->create_verifier;
	call->req.set = a->set;
	call->req.major = a->major;
	call->req.minor = a->minor;
	return NFS3_ERR_NONE;
}

static int prepare_symlink(struct nfs_call *call)
{
	const struct nfs_bytes *target = &call->args.v3.data;

	if (target->len > DS_LINK_MAX)
		return NFS3_ERR_NAMETOOLONG;
	call->iov = (struct iovec){(void *)(uintptr_t)target->p, target->len};
	call->req.length = target->len;
	return prepare_create(call);
}

static int prepare_rename(struct nfs_call *call)
{
	const struct nfs3_args *a = &call->args.v3;

	call->req.other_name = (const char *)a->other_name.p;
	call->req.other_name_len = a->other_name.len;
	return resolve_other(call);
}

static int prepare_link(struct nfs_call *call)
{
	return resolve_other(call);
}

static void encode_getattr(struct nfs_enc *e, struct nfs_call *call)
{
	nfs3_attr_encode(e, &call->req.attr, call->fsid);
}

static void encode_post(struct nfs_enc *e, struct nfs_call *call)
{
	nfs3_post_encode(e, &call->req.attr, call->fsid);
}

static void encode_lookup(struct nfs_enc *e, struct nfs_call *call)
{
	struct nfs_handle h;

	nfs_handle_make(call->conn->worker->seal, &call->served->store_id, call->req.attr.handle,
			&h);
	nfs_enc_bytes(e, h.b, NFS_HANDLE_BYTES);
	encode_post(e, call);
	nfs3_post_encode(e, &call->req.after, call->fsid);
}

static void encode_wcc(struct nfs_enc *e, struct nfs_call *call)
{
	nfs3_wcc_encode(e, &call->req.before, &call->req.after, call->fsid);
}

static void encode_other_wcc(struct nfs_enc *e, struct nfs_call *call)
{
	nfs3_wcc_encode(e, &call->req.before_other, &call->req.after_other, call->fsid);
}

static void encode_create(struct nfs_enc *e, struct nfs_call *call)
{
	struct nfs_handle h;

	nfs_handle_make(call->conn->worker->seal, &call->served->store_id, call->req.attr.handle,
			&h);
	nfs3_post_handle_encode(e, &h);
	encode_post(e, call);
	encode_wcc(e, call);
}

static void encode_fsinfo(struct nfs_enc *e, struct nfs_call *call)
{
	encode_post(e, call);
	nfs3_fsinfo_encode(e);
}

static void encode_fsstat(struct nfs_enc *e, struct nfs_call *call)
{
	encode_post(e, call);
	nfs3_fsstat_encode(e, &call->req);
}

static void encode_pathconf(struct nfs_enc *e, struct nfs_call *call)
{
	encode_post(e, call);
	nfs3_pathconf_encode(e);
}

static const struct op ops[NFS3_PROCS] = {
    [NFS3_PROC_GETATTR] = {DS_GETATTR, TAIL_NONE, .encode = encode_getattr},
    [NFS3_PROC_SETATTR] = {DS_SETATTR, TAIL_WCC, .changes = true, .prepare = nfs3_prepare_setattr},
    [NFS3_PROC_LOOKUP] = {DS_LOOKUP, TAIL_DIR, .encode = encode_lookup},
    [NFS3_PROC_ACCESS] = {DS_ACCESS, TAIL_ATTR, .prepare = nfs3_prepare_access,
			  .encode = nfs3_encode_access},
    [NFS3_PROC_READLINK] = {DS_READLINK, TAIL_ATTR, .prepare = nfs3_prepare_readlink,
			    .encode = nfs3_encode_readlink},
    [NFS3_PROC_READ] = {DS_READ, TAIL_ATTR, .prepare = nfs3_prepare_read,
			.encode = nfs3_encode_read},
    [NFS3_PROC_WRITE] = {DS_WRITE, TAIL_WCC, .changes = true, .prepare = nfs3_prepare_write,
			 .encode = nfs3_encode_write},
    [NFS3_PROC_CREATE] = {DS_CREATE, TAIL_WCC, .changes = true, .prepare = prepare_create,
			  .encode = encode_create},
    [NFS3_PROC_MKDIR] = {DS_CREATE, TAIL_WCC, .changes = true, .prepare = prepare_create,
			 .encode = encode_create},
    [NFS3_PROC_SYMLINK] = {DS_CREATE, TAIL_WCC, .changes = true, .prepare = prepare_symlink,
			   .encode = encode_create},
    [NFS3_PROC_MKNOD] = {DS_CREATE, TAIL_WCC, .changes = true, .prepare = prepare_create,
			 .encode = encode_create},
    [NFS3_PROC_REMOVE] = {DS_REMOVE, TAIL_WCC, .changes = true},
    [NFS3_PROC_RMDIR] = {DS_RMDIR, TAIL_WCC, .changes = true},
    [NFS3_PROC_RENAME] = {DS_RENAME, TAIL_TWO_WCC, .changes = true, .prepare = prepare_rename},
    [NFS3_PROC_LINK] = {DS_LINK, TAIL_ATTR_WCC, .changes = true, .prepare = prepare_link},
    [NFS3_PROC_READDIR] = {DS_READDIR, TAIL_ATTR, .prepare = nfs3_dir_prepare,
			   .check = nfs3_dir_check, .encode = nfs3_dir_encode},
    [NFS3_PROC_READDIRPLUS] = {DS_READDIR, TAIL_ATTR, .prepare = nfs3_dir_prepare,
			       .check = nfs3_dir_check, .encode = nfs3_dir_encode},
    [NFS3_PROC_FSSTAT] = {DS_STATFS, TAIL_ATTR, .encode = encode_fsstat},
    [NFS3_PROC_FSINFO] = {DS_GETATTR, TAIL_ATTR, .encode = encode_fsinfo},
    [NFS3_PROC_PATHCONF] = {DS_GETATTR, TAIL_ATTR, .encode = encode_pathconf},
    [NFS3_PROC_COMMIT] = {DS_COMMIT, TAIL_WCC, .changes = true, .prepare = nfs3_prepare_commit,
			  .encode = nfs3_encode_commit},
};

static void encode_dir(struct nfs_enc *e, struct nfs_call *call)
{
	nfs3_post_encode(e, &call->req.after, call->fsid);
}

static void encode_two_wcc(struct nfs_enc *e, struct nfs_call *call)
{
	encode_wcc(e, call);
	encode_other_wcc(e, call);
}

static void encode_attr_wcc(struct nfs_enc *e, struct nfs_call *call)
{
	encode_post(e, call);
	encode_other_wcc(e, call);
}

static void encode_nothing(struct nfs_enc *e, struct nfs_call *call)
{
	(void)e;
	(void)call;
}

static void (*const tails[])(struct nfs_enc *e, struct nfs_call *call) = {
    [TAIL_NONE] = encode_nothing,    [TAIL_ATTR] = encode_post,
    [TAIL_DIR] = encode_dir,	     [TAIL_WCC] = encode_wcc,
    [TAIL_TWO_WCC] = encode_two_wcc, [TAIL_ATTR_WCC] = encode_attr_wcc,
};

static void answer(struct nfs_call *call, enum nfs3_status status)
{
	const struct op *op = &ops[call->rpc.proc];
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);

	nfs_enc_u32(&e, status);
	if (status == NFS3_ERR_NONE && op->encode)
		op->encode(&e, call);
	else
		tails[op->tail](&e, call);
	nfs_call_answer(call, &e);
}

static void finish(struct nfs_call *call)
{
	const struct op *op = &ops[call->rpc.proc];
	enum nfs3_status status = nfs3_status_from(call->req.status, call->req.why);

	if (status == NFS3_ERR_NONE && op->check)
		status = op->check(call);
	answer(call, status);
}

/* What procedures have in common; NFS3_ERR_NONE, a status, or NFS3_NO_MEMORY. */
static int prepare(struct nfs_call *call, const struct op *op)
{
	const struct nfs3_args *a = &call->args.v3;
	struct ds_req *r = &call->req;
	enum nfs3_status status;

	memset(r, 0, sizeof(*r));
	status = nfs3_resolve(call, a->file, &call->served, &r->file);
	if (status)
		return status;
	call->fsid = call->served->fsid;
	if (op->changes && call->rule->read_only)
		return NFS3_ERR_ROFS;
	nfs_rule_squash(call->rule, &call->rpc.cred, &call->cred);
	r->op = op->op;
	r->cred = &call->cred;
	r->name = (const char *)a->name.p;
	r->name_len = a->name.len;
	r->iov = &call->iov;
	r->iovcnt = 1;
	return op->prepare ? op->prepare(call) : NFS3_ERR_NONE;
}

static bool start(struct nfs_call *call)
{
	int status = prepare(call, &ops[call->rpc.proc]);

	if (status == NFS3_NO_MEMORY)
		return false;
	if (status)
		answer(call, (enum nfs3_status)status);
	else
		nfs_call_submit(call, finish);
	return true;
}

static bool start_null(struct nfs_call *call)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);

	nfs_call_answer(call, &e);
	return true;
}

static const struct nfs_procedure procedures[NFS3_PROCS] = {
    [NFS3_PROC_NULL] = {decode, start_null, false},
    [NFS3_PROC_GETATTR] = {decode, start, false},
    [NFS3_PROC_SETATTR] = {decode, start, true},
    [NFS3_PROC_LOOKUP] = {decode, start, false},
    [NFS3_PROC_ACCESS] = {decode, start, false},
    [NFS3_PROC_READLINK] = {decode, start, false},
    [NFS3_PROC_READ] = {decode, start, false},
    [NFS3_PROC_WRITE] = {decode, start, false},
    [NFS3_PROC_CREATE] = {decode, start, true},
    [NFS3_PROC_MKDIR] = {decode, start, true},
    [NFS3_PROC_SYMLINK] = {decode, start, true},
    [NFS3_PROC_MKNOD] = {decode, start, true},
    [NFS3_PROC_REMOVE] = {decode, start, true},
    [NFS3_PROC_RMDIR] = {decode, start, true},
    [NFS3_PROC_RENAME] = {decode, start, true},
    [NFS3_PROC_LINK] = {decode, start, true},
    [NFS3_PROC_READDIR] = {decode, start, false},
    [NFS3_PROC_READDIRPLUS] = {decode, start, false},
    [NFS3_PROC_FSSTAT] = {decode, start, false},
    [NFS3_PROC_FSINFO] = {decode, start, false},
    [NFS3_PROC_PATHCONF] = {decode, start, false},
    [NFS3_PROC_COMMIT] = {decode, start, false},
};

const struct nfs_version nfs3_version = {NFS3_VERSION, NFS3_PROCS, procedures};
