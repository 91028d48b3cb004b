/* From the export to the file: names, and a file that is made. */
#include "blockstore/nfs_file_find.h"

void nf_refuse(struct bs_nfs_file *f, int nfsstat)
{
	bool file = f->url.path[f->at] == '\0';
	int code;

	(void)nf_judge(nfsstat, &code);
	switch (nfsstat) {
	case NFS3ERR_NOENT:
		nf_path_fail(f, VS_E_NOENT, file ? "no such file" : "no folder '%.80s' on the way",
			     f->leaf);
		break;
	case NFS3ERR_ACCES:
	case NFS3ERR_PERM:
		nf_path_fail(f, VS_E_ACCESS,
			     "permission denied: let root of this node in (rw, no_root_squash), "
			     "or give the file to whom the server takes it for");
		break;
	case NFS3ERR_STALE:
	case NFS3ERR_BADHANDLE:
		nf_path_fail(f, VS_E_STALE, "the file is no longer there (stale handle)");
		break;
	default:
		nf_path_fail(f, code, "%s: %s", f->step->what, vs_err_text(code));
	}
}

/* The next name of the path into leaf. */
static void next_name(struct bs_nfs_file *f)
{
	const char *from = f->url.path + f->at + 1, *to = strchrnul(from, '/');

	memcpy(f->leaf, from, (size_t)(to - from));
	f->leaf[to - from] = '\0';
	f->at = (size_t)(to - f->url.path);
	f->dir = f->file;
}

static bool last_name(const struct bs_nfs_file *f)
{
	return f->url.path[f->at] == '\0';
}

static void looked_up(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;
	const LOOKUP3res *r = data;
	const nfs_fh3 *fh;

	(void)rpc;
	if (!nf_find_answer(f, status, data))
		return;
	if (r->status == NFS3ERR_NOENT && last_name(f) && f->create) {
		nf_go(f, &nf_make);
		return;
	}
	if (r->status != NFS3_OK) {
		nf_refuse(f, r->status);
		return;
	}
	fh = &r->LOOKUP3res_u.resok.object;
	if (!nf_take_handle(&f->file, fh->data.data_len, fh->data.data_val))
		nf_path_fail(f, VS_E_PROTO, "LOOKUP: the answer makes no sense");
	else if (!last_name(f))
		nf_go(f, &nf_look_up);
	else if (f->create)
		nf_path_fail(f, VS_E_EXIST, "the file exists");
	else
		nf_go(f, &nf_ask_attributes);
}

static int send_look_up(struct bs_nfs_file *f)
{
	LOOKUP3args a = {.what = {.name = f->leaf}};

	if (!last_name(f))
		next_name(f);
	a.what.dir = nf_fh(&f->dir);
	return rpc_nfs3_lookup_async(f->rpc, looked_up, &a, f);
}

static void made(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;
	const CREATE3res *r = data;
	const post_op_fh3 *h;

	(void)rpc;
	if (!nf_find_answer(f, status, data))
		return;
	if (r->status != NFS3_OK) {
		if (r->status == NFS3ERR_EXIST)
			nf_path_fail(f, VS_E_EXIST, "the file exists");
		else
			nf_refuse(f, r->status);
		return;
	}
	h = &r->CREATE3res_u.resok.obj;
	if (h->handle_follows && nf_take_handle(&f->file, h->post_op_fh3_u.handle.data.data_len,
						h->post_op_fh3_u.handle.data.data_val)) {
		nf_go(f, &nf_set_size);
		return;
	}
	nf_path_fail(f, VS_E_NOTSUP, "the server makes files without telling their handles");
}

static int send_make(struct bs_nfs_file *f)
{
	CREATE3args a = {.where = {.dir = nf_fh(&f->dir), .name = f->leaf},
			 .how = {.mode = GUARDED}};
	sattr3 *attr = &a.how.createhow3_u.g_obj_attributes;

	attr->mode.set_it = 1;
	attr->mode.set_mode3_u.mode = 0600;
	return rpc_nfs3_create_async(f->rpc, made, &a, f);
}

static void sized(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;
	const SETATTR3res *r = data;

	(void)rpc;
	if (!nf_find_answer(f, status, data))
		return;
	f->refusal = (int)r->status;
	nf_go(f, r->status == NFS3_OK ? &nf_ask_attributes : &nf_take_away);
}

/* One that cannot have its size does not stay. */
static void taken_away(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;

	(void)rpc;
	if (nf_find_answer(f, status, data))
		nf_refuse(f, f->refusal);
}

static int send_take_away(struct bs_nfs_file *f)
{
	REMOVE3args a = {.object = {.dir = nf_fh(&f->dir), .name = f->leaf}};

	return rpc_nfs3_remove_async(f->rpc, taken_away, &a, f);
}

static int send_set_size(struct bs_nfs_file *f)
{
	SETATTR3args a = {.object = nf_fh(&f->file)};

	a.new_attributes.size.set_it = 1;
	a.new_attributes.size.set_size3_u.size = f->create_size;
	return rpc_nfs3_setattr_async(f->rpc, sized, &a, f);
}

const struct nf_find nf_look_up = {NF_AT_NFS, send_look_up, "LOOKUP"};
const struct nf_find nf_make = {NF_AT_NFS, send_make, "CREATE"};
const struct nf_find nf_set_size = {NF_AT_NFS, send_set_size, "SETATTR"};
const struct nf_find nf_take_away = {NF_AT_NFS, send_take_away, "REMOVE"};
