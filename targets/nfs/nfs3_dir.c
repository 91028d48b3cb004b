#include "targets/nfs/nfs3.h"

#define DIR_MAX (64u << 10) /* bytes of entries in one reply: dtpref of FSINFO */
#define END_BYTES 8u	    /* of a list: no more entries, eof */

/* Cookies are good for ever, so that this never changes. */
static const uint8_t verifier[NFS3_VERIFIER_BYTES] = "cookie1";

/* 0 is what clients send that keep none. */
static bool verifier_ok(const struct nfs3_args *a)
{
	static const uint8_t none[NFS3_VERIFIER_BYTES];

	return a->cookie == 0 || memcmp(a->verifier, verifier, sizeof(verifier)) == 0 ||
	       memcmp(a->verifier, none, sizeof(none)) == 0;
}

static bool fill_entry(struct nfs_call *call, const struct ds_entry *entry)
{
	struct nfs_worker *w = call->conn->worker;
	struct nfs_handle h;

	if (!call->req.plus)
		return nfs3_entry_encode(&call->entries, entry, call->fsid, NULL);
	(void)pthread_mutex_lock(&w->entry_lock);
	nfs_handle_make(w->entry_seal, &call->served->store_id, entry->handle, &h);
	(void)pthread_mutex_unlock(&w->entry_lock);
	return nfs3_entry_encode(&call->entries, entry, call->fsid, &h);
}

/* On a thread of the datastore; the call is nobody else's meanwhile. */
static bool take_entry(struct ds_req *req, const struct ds_entry *entry)
{
	struct nfs_call *call = req->arg;
	uint32_t dir = nfs3_entry_dircount(entry);

	call->full = dir > call->dircount || !fill_entry(call, entry);
	if (call->full)
		return false;
	call->dircount -= dir;
	return true;
}

int nfs3_dir_prepare(struct nfs_call *call)
{
	const struct nfs3_args *a = &call->args.v3;
	uint32_t room;

	if (!verifier_ok(a))
		return NFS3_ERR_BAD_COOKIE;
	if (a->count <= NFS3_DIR_BYTES)
		return NFS3_ERR_TOOSMALL;
	room = VS_MIN(a->count - NFS3_DIR_BYTES, DIR_MAX - END_BYTES);
	if (!nfs_call_memory(call, &call->data, room + END_BYTES))
		return NFS3_NO_MEMORY;
	call->entries = (struct nfs_enc){call->data.p, call->data.p + room, false};
	call->dircount = a->dircount;
	call->full = false;
	call->req.plus = call->rpc.proc == NFS3_PROC_READDIRPLUS;
	call->req.cookie = a->cookie;
	call->req.entry = take_entry;
	return NFS3_ERR_NONE;
}

enum nfs3_status nfs3_dir_check(const struct nfs_call *call)
{
	return call->full && call->entries.p == call->data.p ? NFS3_ERR_TOOSMALL : NFS3_ERR_NONE;
}

void nfs3_dir_encode(struct nfs_enc *e, struct nfs_call *call)
{
	struct nfs_enc *list = &call->entries;

	nfs3_post_encode(e, &call->req.attr, call->fsid);
	nfs_enc_fixed(e, verifier, sizeof(verifier));
	list->end += END_BYTES;
	nfs_enc_u32(list, 0);
	nfs_enc_u32(list, call->req.eof && !call->full);
	call->data_len = (uint32_t)(list->p - call->data.p);
}
