#include "blockstore/nfs_file_int.h"

#include "common/log.h"

#define LATER_NS (NF_SECOND / 10) /* before what the server cannot do now is sent again */

static const struct {
	int status, code;
} meanings[] = {
    {NFS3ERR_PERM, VS_E_ACCESS},	{NFS3ERR_ACCES, VS_E_ACCESS},
    {NFS3ERR_NOENT, VS_E_NOENT},	{NFS3ERR_EXIST, VS_E_EXIST},
    {NFS3ERR_ISDIR, VS_E_INVAL},	{NFS3ERR_INVAL, VS_E_INVAL},
    {NFS3ERR_FBIG, VS_E_TOOBIG},	{NFS3ERR_NOSPC, VS_E_NOSPC},
    {NFS3ERR_DQUOT, VS_E_NOSPC},	{NFS3ERR_ROFS, VS_E_ROFS},
    {NFS3ERR_STALE, VS_E_STALE},	{NFS3ERR_BADHANDLE, VS_E_STALE},
    {NFS3ERR_NAMETOOLONG, VS_E_TOOBIG}, {NFS3ERR_NOTSUPP, VS_E_NOTSUP},
};

enum nf_verdict nf_judge(int nfsstat, int *code)
{
	*code = nfsstat == NFS3_OK ? 0 : VS_E_IO;
	for (size_t i = 0; i < VS_ARRAY_LEN(meanings); i++)
		if (meanings[i].status == nfsstat)
			*code = meanings[i].code;
	return nfsstat == NFS3_OK ? NF_DONE : nfsstat == NFS3ERR_JUKEBOX ? NF_LATER : NF_FAILED;
}

/*
 * Whether there is an answer to look at. What comes behind a break counts as not answered, and what
 * is not answered is sent again when the path is back.
 */
static bool answer(struct nf_call *c, int status, const void *data)
{
	struct bs_nfs_file *f = c->f;

	if (f->dropping || f->broken || !c->sent)
		return false;
	if (status != RPC_STATUS_SUCCESS || !data) {
		nf_path_fail(f, VS_E_IO, "%s", nf_cause(f->rpc));
		return false;
	}
	nf_path_alive(f);
	return true;
}

/*
 * RFC 1813 section 3.3.21: a server that lost what it had not yet written has another verifier. It
 * gets all of that again, in a connection of its own, so that nothing else is under way.
 */
static bool same_server(struct bs_nfs_file *f, const char verf[NFS3_WRITEVERFSIZE])
{
	if (memcmp(verf, f->verf, sizeof(f->verf)) == 0)
		return true;
	f->cut = true;
	nf_path_fail(f, VS_E_IO, "the server has restarted");
	return false;
}

static int commit_ended(struct nf_call *c, int status)
{
	struct bs_nfs_file *f = c->f;

	if (status == 0 && !f->lost) {
		bs_redo_forget(&f->redo, c->mark);
	} else if (status != 0 && !f->lost) {
		vs_err("%s: a flush failed (%s); none is believed any more until it is opened anew",
		       f->name, vs_err_text(status));
		f->lost = true;
		bs_redo_forget(&f->redo, f->redo.tail);
	}
	return f->lost && status == 0 ? VS_E_IO : status;
}

/* What is durable is kept all the same where it must not be undone by what is sent again. */
static void keep(struct nf_call *c, int status)
{
	struct bs_nfs_file *f = c->f;

	if (status != 0 || f->lost || c->given_up || !c->reserved ||
	    (!c->unstable && !bs_redo_overlaps(&f->redo, c->offset, c->length))) {
		nf_unreserve(c);
		return;
	}
	bs_redo_keep(&f->redo, nf_redo_kind(c), c->offset, c->length, c->iov);
	c->reserved = false;
}

static void ended(struct nf_call *c, int status)
{
	struct bs_nfs_file *f = c->f;

	if (c->kind == NF_COMMIT)
		status = commit_ended(c, status);
	if (c->own && c->kind == NF_WRITE) {
		nf_replay_ended(c, status);
		return;
	}
	keep(c, status);
	if (c->req) {
		nf_io_piece_ended(c, status);
		return;
	}
	f->cleaning = f->cleaning && !(c->own && c->kind == NF_COMMIT);
	nf_call_free(c);
}

static void released(struct nf_call *c)
{
	c->sent = false;
	c->f->sent--;
	c->f->given_up -= c->given_up;
}

/* What the server said of it, but for a part that is done. */
static void outcome(struct nf_call *c, int nfsstat)
{
	int code;
	enum nf_verdict v = nf_judge(nfsstat, &code);

	released(c);
	if (v == NF_LATER && !c->given_up && vs_now_ns() - c->since_ns < c->f->path.hold_ns)
		nf_call_again(c, LATER_NS);
	else
		ended(c, code);
}

/* n bytes of it are done, of asked at most; the rest is sent again. */
static void progress(struct nf_call *c, uint64_t n)
{
	c->done += n;
	if (c->done == c->length || c->given_up) {
		outcome(c, NFS3_OK);
		return;
	}
	released(c);
	nf_call_again(c, 0);
}

static void take(const struct nf_call *c, const char *from, size_t n)
{
	uint64_t skip = c->done;

	for (int i = 0; i < c->niov && n; i++) {
		size_t k = c->iov[i].iov_len;

		if (skip >= k) {
			skip -= k;
			continue;
		}
		k = VS_MIN(k - skip, n);
		memcpy((char *)c->iov[i].iov_base + skip, from, k);
		from += k;
		n -= k;
		skip = 0;
	}
}

void nf_read_answered(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct nf_call *c = arg;
	const READ3res *r = data;
	const READ3resok *ok;

	(void)rpc;
	if (!answer(c, status, data))
		return;
	ok = &r->READ3res_u.resok;
	if (r->status != NFS3_OK) {
		outcome(c, r->status);
	} else if (ok->data.data_len > c->asked || ok->data.data_len == 0) {
		/* too much, or nothing: it has become shorter */
		outcome(c, NFS3ERR_IO);
	} else {
		if (!c->given_up)
			take(c, ok->data.data_val, ok->data.data_len);
		progress(c, ok->data.data_len);
	}
}

void nf_write_answered(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct nf_call *c = arg;
	const WRITE3res *r = data;
	const WRITE3resok *ok;

	(void)rpc;
	if (!answer(c, status, data))
		return;
	ok = &r->WRITE3res_u.resok;
	if (r->status != NFS3_OK) {
		outcome(c, r->status);
	} else if (ok->count > c->asked || ok->count == 0) {
		outcome(c, NFS3ERR_IO);
	} else if (same_server(c->f, ok->verf)) {
		c->unstable |= ok->committed == UNSTABLE;
		progress(c, ok->count);
	}
}

void nf_commit_answered(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct nf_call *c = arg;
	const COMMIT3res *r = data;

	(void)rpc;
	if (!answer(c, status, data))
		return;
	if (r->status != NFS3_OK || same_server(c->f, r->COMMIT3res_u.resok.verf))
		outcome(c, r->status);
}
