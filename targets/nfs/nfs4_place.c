/* Filehandles, the pseudo file system above all shares, and stateids that stand for others. */
#include "targets/nfs/nfs4.h"

#define PSEUDO_MODE 0555u
#define PSEUDO_FILEID 1u
#define FIRST_SHARE 2u /* fileids of the places where shares are mounted */

static const struct nfs_store_id pseudo_store; /* no UUID begins with zeros: it has a version */

bool nfs4_is_pseudo(const struct nfs4_fh *fh)
{
	return memcmp(&fh->store, &pseudo_store, sizeof(fh->store)) == 0;
}

/* ---- shares ---- */

bool nfs4_visible(const struct nfs_call *call, const struct nfs_served *s)
{
	return !s->leaving && nfs_rule_find(s->rules, s->nrules, &call->conn->address);
}

/* The one with the lowest id from id on that the client may use. */
struct nfs_served *nfs4_next_share(const struct nfs_call *call, uint64_t id)
{
	struct nfs_served *best = NULL;

	for (struct nfs_served *s = call->conn->worker->served; s; s = s->next)
		if (s->id >= id && nfs4_visible(call, s) && (!best || s->id < best->id))
			best = s;
	return best;
}

uint64_t nfs4_share_fileid(const struct nfs_served *s)
{
	return s->id + FIRST_SHARE;
}

struct ds_attr nfs4_pseudo_attr(const struct nfs_call *call)
{
	const struct nfs_worker *w = call->conn->worker;
	int64_t since = (int64_t)w->common->started_ns;

	/* Grows with each change of what is shared, also over restarts. */
	return (struct ds_attr){.handle = {.object = PSEUDO_FILEID},
				.type = DS_DIR,
				.mode = PSEUDO_MODE,
				.links = 2,
				.atime = since,
				.mtime = since,
				.ctime = since,
				.btime = since,
				.change = w->common->started_ns + w->version};
}

static struct nfs_served *find_served(struct nfs_worker *w, const struct nfs_store_id *id)
{
	for (struct nfs_served *s = w->served; s; s = s->next)
		if (memcmp(s->store_id.b, id->b, sizeof(id->b)) == 0)
			return s->leaving ? NULL : s;
	return NULL;
}

enum nfs4_status nfs4_resolve(struct nfs_call *call, const struct nfs4_fh *fh)
{
	struct nfs_conn *c = call->conn;

	call->served = NULL;
	call->rule = NULL;
	memset(&call->req, 0, sizeof(call->req));
	if (nfs4_is_pseudo(fh))
		return NFS4_ERR_NONE;
	call->served = find_served(c->worker, &fh->store);
	if (!call->served)
		return NFS4_ERR_STALE;
	call->rule = nfs_rule_find(call->served->rules, call->served->nrules, &c->address);
	if (!call->rule)
		return NFS4_ERR_ACCESS;
	call->fsid = call->served->fsid;
	nfs_rule_squash(call->rule, &call->rpc.cred, &call->cred);
	call->req.file = fh->file;
	call->req.cred = &call->cred;
	call->req.iov = &call->iov;
	call->req.iovcnt = 1;
	return NFS4_ERR_NONE;
}

/* ---- the current filehandle ---- */

void nfs4_place_set(struct nfs_call *call, const struct nfs_store_id *store, struct ds_handle file)
{
	call->args.v4.cur = (struct nfs4_place){.fh = {true, *store, file}};
}

void nfs4_place_stateid(struct nfs_call *call, const struct nfs4_stateid *id)
{
	call->args.v4.cur.has_stateid = true;
	call->args.v4.cur.stateid = *id;
}

struct nfs4_where nfs4_where(const struct nfs_call *call)
{
	return (struct nfs4_where){call->served->store_id, call->args.v4.cur.fh.file,
				   call->served->store};
}

enum nfs4_status nfs4_saved_file(struct nfs_call *call, struct ds_handle *other)
{
	const struct nfs4_compound *v = &call->args.v4;

	if (memcmp(&v->saved.fh.store, &v->cur.fh.store, sizeof(v->cur.fh.store)) != 0)
		return NFS4_ERR_XDEV;
	*other = v->saved.fh.file;
	return NFS4_ERR_NONE;
}

static bool is_dots(struct nfs_bytes n)
{
	return n.len && n.len <= 2 && memcmp(n.p, "..", n.len) == 0;
}

enum nfs4_status nfs4_name(struct nfs_call *call)
{
	struct nfs_bytes n = call->args.v4.a.name;

	if (!n.len)
		return NFS4_ERR_INVAL;
	if (is_dots(n))
		return NFS4_ERR_BADNAME;
	call->req.name = (const char *)n.p;
	call->req.name_len = n.len;
	return NFS4_ERR_NONE;
}

/* ---- stateids ---- */

enum nfs4_status nfs4_stateid_of(const struct nfs_call *call, struct nfs4_stateid *id)
{
	static const uint8_t zeros[NFS4_OTHER_BYTES];
	const struct nfs4_place *cur = &call->args.v4.cur;

	if (id->seqid != 1 || memcmp(id->other, zeros, sizeof(zeros)) != 0)
		return NFS4_ERR_NONE;
	if (!cur->has_stateid)
		return NFS4_ERR_BAD_STATEID;
	*id = cur->stateid;
	return NFS4_ERR_NONE;
}

enum nfs4_status nfs4_use(struct nfs_call *call, struct nfs4_stateid id, uint32_t access)
{
	struct nfs4_where w = nfs4_where(call);
	enum nfs4_status status = nfs4_stateid_of(call, &id);

	return status
		   ? status
		   : nfs4_share_may_use(nfs4_state_of(call), nfs4_client_of(call), &id, &w, access);
}

/* ---- results ---- */

enum nfs4_status nfs4_answered(const struct nfs_call *call)
{
	return nfs4_status_from(call->req.status, call->req.why);
}

struct nfs4_space nfs4_space_of(const struct ds_req *statfs)
{
	return (struct nfs4_space){statfs->fs_total, statfs->fs_free, statfs->fs_files,
				   statfs->fs_files_free};
}

struct nfs4_attr_source nfs4_source(struct nfs_call *call, const struct ds_attr *a,
				    struct nfs_handle *handle)
{
	const struct nfs_served *s = call->served;
	bool root = s && a->handle.object == ds_root.object && !a->handle.snapshot;

	nfs_handle_make(call->conn->worker->seal, s ? &s->store_id : &pseudo_store, a->handle,
			handle);
	return (struct nfs4_attr_source){.attr = a,
					 .fsid = s ? s->fsid : 0,
					 .mounted_on = root ? nfs4_share_fileid(s) : 0,
					 .handle = handle,
					 .minor2 = call->args.v4.minor >= 2};
}

/* ---- operations, sections 18.19 to 18.21, 18.8, 18.28, 18.27 ---- */

int nfs4_putfh(struct nfs_call *call)
{
	struct nfs_bytes h = call->args.v4.a.handle;
	struct nfs4_fh fh = {.set = true};
	enum nfs4_status status;

	if (nfs_handle_open(call->conn->worker->seal, h.p, h.len, &fh.store, &fh.file))
		return NFS4_ERR_BADHANDLE;
	status = nfs4_resolve(call, &fh);
	if (status == NFS4_ERR_NONE)
		nfs4_place_set(call, &fh.store, fh.file);
	return status;
}

int nfs4_putrootfh(struct nfs_call *call)
{
	nfs4_place_set(call, &pseudo_store, (struct ds_handle){.object = PSEUDO_FILEID});
	return NFS4_ERR_NONE;
}

int nfs4_getfh(struct nfs_call *call)
{
	struct nfs4_compound *v = &call->args.v4;
	struct nfs_handle h;

	nfs_handle_make(call->conn->worker->seal, &v->cur.fh.store, v->cur.fh.file, &h);
	nfs_enc_bytes(&v->e, h.b, NFS_HANDLE_BYTES);
	return NFS4_ERR_NONE;
}

int nfs4_savefh(struct nfs_call *call)
{
	struct nfs4_compound *v = &call->args.v4;

	v->saved = v->cur;
	return NFS4_ERR_NONE;
}

int nfs4_restorefh(struct nfs_call *call)
{
	struct nfs4_compound *v = &call->args.v4;

	if (!v->saved.fh.set)
		return NFS4_ERR_NOFILEHANDLE;
	v->cur = v->saved;
	return NFS4_ERR_NONE;
}
