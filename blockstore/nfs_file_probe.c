/* What a file is, whether we may use it, and what its server remembers of it. */
#include "blockstore/nfs_file_find.h"

#include <xxhash.h>

#define DEFAULT_IO (32u << 10)
#define QUIET_NS (NF_SECOND / 2)

static uint64_t identity(const fattr3 *a)
{
	uint64_t id[2] = {a->fsid, a->fileid}, hash = XXH3_64bits(id, sizeof(id));

	return hash ? hash : 1;
}

static uint64_t times(const fattr3 *a)
{
	uint32_t t[] = {a->mtime.seconds, a->mtime.nseconds, a->ctime.seconds, a->ctime.nseconds};
	uint64_t hash = XXH3_64bits(t, sizeof(t));

	return hash ? hash : 1;
}

/* NFSv3 does not end with a connection what was asked for on it. */
static bool quiet(struct bs_nfs_file *f, uint64_t before)
{
	if (f->path.opened || !f->quiet || f->found.changed == before)
		return true;
	f->look_ns = vs_now_ns() + QUIET_NS;
	return false;
}

/* A handle that leads to another file than before must not be written to. */
static bool same_file(struct bs_nfs_file *f)
{
	if (!f->path.opened)
		return true;
	if (f->attr.identity != f->found.identity) {
		nf_path_fail(f, VS_E_IO, "another file is there now");
		return false;
	}
	if (f->found.size < f->attr.size) {
		nf_path_fail(f, VS_E_IO, "the file has become smaller");
		return false;
	}
	return true;
}

static void told_attributes(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;
	const GETATTR3res *r = data;
	uint64_t before = f->found.changed;
	const fattr3 *a;

	(void)rpc;
	f->look_ns = 0;
	if (!nf_find_answer(f, status, data))
		return;
	if (r->status != NFS3_OK) {
		nf_refuse(f, r->status);
		return;
	}
	a = &r->GETATTR3res_u.resok.obj_attributes;
	if (a->type != NF3REG) {
		nf_path_fail(f, VS_E_INVAL,
			     a->type == NF3DIR	 ? "it is a folder"
			     : a->type == NF3LNK ? "it is a symbolic link: name what it points to"
						 : "it is no regular file");
		return;
	}
	f->found = (struct nf_attr){.size = a->size, .identity = identity(a), .changed = times(a)};
	if (same_file(f) && quiet(f, before))
		nf_go(f, &nf_ask_access);
}

static int send_ask_attributes(struct bs_nfs_file *f)
{
	GETATTR3args a = {.object = nf_fh(&f->file)};

	return rpc_nfs3_getattr_async(f->rpc, told_attributes, &a, f);
}

static void told_access(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;
	const ACCESS3res *r = data;
	uint32_t need = ACCESS3_READ | (f->writes ? ACCESS3_MODIFY : 0u);

	(void)rpc;
	if (!nf_find_answer(f, status, data))
		return;
	if (r->status != NFS3_OK)
		nf_refuse(f, r->status);
	else if ((r->ACCESS3res_u.resok.access & need) != need)
		nf_refuse(f, NFS3ERR_ACCES);
	else
		nf_go(f, &nf_ask_limits);
}

static int send_ask_access(struct bs_nfs_file *f)
{
	ACCESS3args a = {.object = nf_fh(&f->file), .access = ACCESS3_READ | ACCESS3_MODIFY};

	return rpc_nfs3_access_async(f->rpc, told_access, &a, f);
}

static uint32_t limit(uint32_t said)
{
	return said ? VS_MIN(said, NF_PIECE) : DEFAULT_IO;
}

static void told_limits(struct rpc_context *rpc, int status, void *data, void *arg)
{
	static const char none[NFS3_WRITEVERFSIZE];
	struct bs_nfs_file *f = arg;
	const FSINFO3res *r = data;

	(void)rpc;
	if (!nf_find_answer(f, status, data))
		return;
	f->read_max = limit(r->status == NFS3_OK ? r->FSINFO3res_u.resok.rtmax : 0);
	f->write_max = limit(r->status == NFS3_OK ? r->FSINFO3res_u.resok.wtmax : 0);
	if (f->writes)
		nf_go(f, &nf_commit);
	else
		nf_replay_start(f, none);
}

static int send_ask_limits(struct bs_nfs_file *f)
{
	FSINFO3args a = {.fsroot = nf_fh(&f->file)};

	return rpc_nfs3_fsinfo_async(f->rpc, told_limits, &a, f);
}

static void committed(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;
	const COMMIT3res *r = data;

	(void)rpc;
	if (!nf_find_answer(f, status, data))
		return;
	if (r->status == NFS3_OK)
		nf_replay_start(f, r->COMMIT3res_u.resok.verf);
	else if (r->status == NFS3ERR_ROFS)
		nf_path_fail(f, VS_E_ROFS, "the export can only be read");
	else
		nf_refuse(f, r->status);
}

static int send_commit(struct bs_nfs_file *f)
{
	COMMIT3args a = {.file = nf_fh(&f->file)};

	return rpc_nfs3_commit_async(f->rpc, committed, &a, f);
}

const struct nf_find nf_ask_attributes = {NF_AT_NFS, send_ask_attributes, "GETATTR"};
const struct nf_find nf_ask_access = {NF_AT_NFS, send_ask_access, "ACCESS"};
const struct nf_find nf_ask_limits = {NF_AT_NFS, send_ask_limits, "FSINFO"};
const struct nf_find nf_commit = {NF_AT_NFS, send_commit, "COMMIT"};

void nf_find_look(struct bs_nfs_file *f)
{
	f->look_ns = UINT64_MAX; /* it has been asked for */
	nf_find_connected(f);
}

/* ---- while it is up -------------------------------------------------------------------------- */

static void told_size(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;
	const GETATTR3res *r = data;

	(void)rpc;
	if (f->dropping || f->broken)
		return;
	f->asking = false;
	if (status != RPC_STATUS_SUCCESS || !data) {
		nf_path_fail(f, VS_E_IO, "%s", nf_cause(f->rpc));
		return;
	}
	nf_path_alive(f);
	if (r->status == NFS3_OK)
		f->attr.size = VS_MAX(f->attr.size, r->GETATTR3res_u.resok.obj_attributes.size);
}

void nf_find_ask(struct bs_nfs_file *f)
{
	GETATTR3args a = {.object = nf_fh(&f->file)};

	f->asked_ns = vs_now_ns();
	f->asking = rpc_nfs3_getattr_async(f->rpc, told_size, &a, f) == 0;
	if (!f->asking)
		nf_path_fail(f, VS_E_IO, "GETATTR cannot be sent: %s", nf_cause(f->rpc));
}
