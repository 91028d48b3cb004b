#include "blockstore/nfs_file_int.h"

#include "common/log.h"

/*
 * The verifier of the server that has all that is kept: the COMMIT that brought it has made that
 * stable. That of the last connection, which may have been in the middle of a replay: it is the
 * same server, which may still do what it was asked for.
 */
void nf_replay_start(struct bs_nfs_file *f, const char verf[NFS3_WRITEVERFSIZE])
{
	bool restarted = memcmp(verf, f->verf, sizeof(f->verf)) != 0;

	if (f->path.opened && memcmp(verf, f->kept_verf, sizeof(f->kept_verf)) == 0)
		bs_redo_forget(&f->redo, f->redo.tail);
	if (restarted && !f->cut)
		f->doubt.n = f->doubt_redo.n =
		    0; /* what the one before was asked for went with it */
	memcpy(f->verf, verf, sizeof(f->verf));
	f->doubt_end = vs_now_ns() + f->doubt_ns;
	f->attr = f->found;
	f->replay = f->redo.head;
	f->replay_end = f->redo.tail;
	f->state = NF_REPLAY;
	if (f->replay != f->replay_end)
		vs_info("%s: the server has restarted and gets again what was not flushed, %llu "
			"writes",
			f->name, (unsigned long long)(f->replay_end - f->replay));
}

/* Whether a write to some of the entry's range is on its way. */
static bool under_way(const struct bs_nfs_file *f, const struct bs_redo_entry *e)
{
	for (unsigned i = BS_NFS_DEPTH; i < VS_ARRAY_LEN(f->call); i++) {
		const struct nf_call *c = &f->call[i];

		if ((c->sent || c->waits) && c->offset < e->offset + e->length &&
		    e->offset < c->offset + c->length)
			return true;
	}
	return false;
}

/* Whether an older entry that may still land would undo this one. */
static bool undone_later(const struct bs_nfs_file *f, const struct bs_redo_entry *e)
{
	if (!bs_nfs_doubt_hits(&f->doubt_redo, e->offset, e->length) || vs_now_ns() >= f->doubt_end)
		return false;
	for (uint64_t n = f->redo.head; n < f->replay; n++) {
		const struct bs_redo_entry *older = bs_redo_at(&f->redo, n);

		if (older->offset < e->offset + e->length &&
		    e->offset < older->offset + older->length)
			return true;
	}
	return false;
}

static bool send_entry(struct bs_nfs_file *f, const struct bs_redo_entry *e)
{
	struct nf_call *c = nf_call_take(&f->idle_own);

	if (!c)
		return false;
	c->kind = NF_WRITE;
	c->offset = e->offset;
	c->length = e->length;
	c->zeros = e->kind == BS_REDO_ZERO;
	c->niov = c->zeros ? 0 : bs_redo_iov(&f->redo, e, c->iov);
	return nf_call_send(c);
}

static void up(struct bs_nfs_file *f)
{
	uint64_t now = vs_now_ns(), down = bs_far_path_up(&f->path, now);

	if (down)
		vs_info("%s: the path is back after %llu ms", f->name,
			(unsigned long long)(down / 1000000));
	f->asked_ns = f->alive_ns = now;
	memcpy(f->kept_verf, f->verf, sizeof(f->verf)); /* only now: a replay may be cut off */
	f->cut = false;
	f->state = NF_UP;
	nf_io_pump(f);
}

void nf_replay_pump(struct bs_nfs_file *f)
{
	if (!nf_call_send_again(f, &f->replay_again))
		return;
	while (f->replay < f->replay_end) {
		const struct bs_redo_entry *e = bs_redo_at(&f->redo, f->replay);

		if (f->broken || under_way(f, e) || undone_later(f, e) || !send_entry(f, e))
			return;
		f->replay++;
	}
	if (f->sent == 0 && !f->replay_again.first)
		up(f);
}

void nf_replay_ended(struct nf_call *c, int status)
{
	struct bs_nfs_file *f = c->f;

	nf_call_free(c);
	if (status == 0 || f->lost)
		return;
	vs_err("%s: what was written could not be sent again (%s); no flush is believed any more "
	       "until it is opened anew",
	       f->name, vs_err_text(status));
	f->lost = true;
	bs_redo_forget(&f->redo, f->redo.tail);
	f->replay = f->replay_end;
}
