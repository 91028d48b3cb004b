/* READDIR (RFC 8881 section 18.23), of directories and of the pseudo root. */
#include "targets/nfs/nfs4.h"

#define DIR_MAX (64u << 10) /* bytes of one result */
#define END_BYTES 8u	    /* no more entries, eof */
#define LAST_RESERVED 2u    /* cookies that are never given out */

/* Attributes that are known without a look at the file: rdattr_error, filehandle, fileid. */
#define KNOWN_WITHOUT \
	(1u << NFS4_ATTR_RDATTR_ERROR | 1u << NFS4_ATTR_FILEHANDLE | 1u << NFS4_ATTR_FILEID)

/* Cookies are good for ever, so that this never changes. */
#define VERIFIER UINT64_C(0x636f6f6b69653431)

static struct nfs4_compound *of(struct nfs_call *call)
{
	return &call->args.v4;
}

uint32_t nfs4_readdir_room(const struct nfs4_args *a)
{
	return VS_MIN(a->count, DIR_MAX) + NFS4_VERIFIER_BYTES + END_BYTES;
}

static bool add(struct nfs_call *call, uint64_t cookie, const char *name, size_t len,
		const struct nfs4_attr_source *from)
{
	struct nfs_enc e = call->entries;
	uint32_t dir = 8 + 4 + (uint32_t)len + NFS_XDR_PAD((uint32_t)len);

	nfs_enc_u32(&e, 1); /* an entry follows */
	nfs_enc_u64(&e, cookie);
	nfs_enc_bytes(&e, name, (uint32_t)len);
	nfs4_attrs_encode(&e, &of(call)->a.mask, from);
	call->full = e.bad || (dir > call->dircount && call->entries.p != of(call)->e.p);
	if (call->full)
		return false;
	call->dircount -= VS_MIN(dir, call->dircount);
	call->entries = e;
	return true;
}

/* May be on a thread of the datastore; the call is nobody else's meanwhile. */
static bool take_entry(struct ds_req *req, const struct ds_entry *entry)
{
	struct nfs_call *call = req->arg;
	struct nfs_worker *w = call->conn->worker;
	const struct ds_attr bare = {.handle = entry->handle, .type = entry->type};
	struct nfs4_attr_source from = {.attr = entry->attr ? entry->attr : &bare,
					.space = of(call)->space,
					.fsid = call->fsid,
					.minor2 = of(call)->minor >= 2};
	struct nfs_handle h;

	if (entry->cookie <= LAST_RESERVED)
		return true; /* "." and ".." are not told */
	if (req->plus && !entry->attr)
		return true; /* it has gone */
	(void)pthread_mutex_lock(&w->entry_lock);
	nfs_handle_make(w->entry_seal, &call->served->store_id, entry->handle, &h);
	(void)pthread_mutex_unlock(&w->entry_lock);
	from.handle = &h;
	return add(call, entry->cookie, entry->name, entry->name_len, &from);
}

static int finish_list(struct nfs_call *call, bool eof)
{
	struct nfs_enc *e = &of(call)->e;

	if (call->full && call->entries.p == e->p)
		return NFS4_ERR_TOOSMALL;
	e->p = call->entries.p;
	nfs_enc_u32(e, 0);
	nfs_enc_u32(e, eof && !call->full);
	return NFS4_ERR_NONE;
}

/* ---- the pseudo root: each share that the client may use ---- */

static int ask_share(struct nfs_call *call, uint64_t id)
{
	struct nfs_served *s = nfs4_next_share(call, id);
	struct nfs4_fh fh = {.set = true, .file = ds_root};
	enum nfs4_status status;

	if (!s)
		return finish_list(call, true);
	fh.store = s->store_id;
	status = nfs4_resolve(call, &fh);
	if (status)
		return status;
	of(call)->position = s->id;
	call->req.op = DS_GETATTR;
	return nfs4_submit(call);
}

static int share_answered(struct nfs_call *call)
{
	struct nfs_served *s = call->served;
	struct nfs_handle h;
	struct nfs4_attr_source from = nfs4_source(call, &call->req.attr, &h);

	from.space = of(call)->space;
	if (nfs4_answered(call) == NFS4_ERR_NONE &&
	    !add(call, nfs4_share_fileid(s), s->name, strlen(s->name), &from))
		return finish_list(call, false);
	return ask_share(call, of(call)->position + 1);
}

/* ---- */

static int ask_entries(struct nfs_call *call)
{
	const struct nfs4_bitmap *mask = &of(call)->a.mask;

	call->req.op = DS_READDIR;
	call->req.cookie = of(call)->a.cookie;
	call->req.plus = mask->w[0] & ~KNOWN_WITHOUT || mask->w[1] || mask->w[2];
	call->req.entry = take_entry;
	return nfs4_submit(call);
}

int nfs4_readdir_start(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	struct nfs_enc *e = &of(call)->e;
	uint32_t most = VS_MIN(a->count, DIR_MAX);

	if ((a->cookie && a->cookie <= LAST_RESERVED) ||
	    (a->cookie && a->verifier != VERIFIER && a->verifier))
		return NFS4_ERR_BAD_COOKIE;
	if (most <= NFS4_VERIFIER_BYTES + END_BYTES)
		return NFS4_ERR_TOOSMALL;
	nfs_enc_u64(e, VERIFIER);
	call->entries =
	    (struct nfs_enc){e->p, e->p + most - NFS4_VERIFIER_BYTES - END_BYTES, false};
	call->dircount = a->dircount ? a->dircount : UINT32_MAX;
	call->full = false;
	of(call)->space = (struct nfs4_space){0};
	if (!call->served)
		return ask_share(call, a->cookie ? a->cookie - LAST_RESERVED + 1 : 0);
	if (!nfs4_attrs_of_fs(&a->mask))
		return ask_entries(call);
	call->req.op = DS_STATFS;
	return nfs4_submit(call);
}

int nfs4_readdir_finish(struct nfs_call *call)
{
	enum nfs4_status status;

	if (nfs4_is_pseudo(&of(call)->cur.fh))
		return share_answered(call);
	status = nfs4_answered(call);
	if (status)
		return status;
	if (call->req.op == DS_READDIR)
		return finish_list(call, call->req.eof);
	of(call)->space = nfs4_space_of(&call->req);
	return ask_entries(call);
}
