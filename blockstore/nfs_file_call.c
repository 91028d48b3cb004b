#include "blockstore/nfs_file_int.h"

const char nf_zeros[NF_PIECE];

void nf_call_init(struct bs_nfs_file *f)
{
	f->last = &f->first;
	f->finished_last = &f->finished;
	f->again.last = &f->again.first;
	f->replay_again.last = &f->replay_again.first;
	f->parked.last = &f->parked.first;
	for (unsigned i = 0; i < VS_ARRAY_LEN(f->call); i++) {
		f->call[i].f = f;
		f->call[i].own = i >= BS_NFS_DEPTH;
		nf_call_free(&f->call[i]);
	}
}

void nf_call_free(struct nf_call *c)
{
	struct nf_call **list = c->own ? &c->f->idle_own : &c->f->idle;

	c->req = NULL;
	c->next = *list;
	*list = c;
}

struct nf_call *nf_call_take(struct nf_call **list)
{
	struct nf_call *c = *list;

	if (c) {
		*list = c->next;
		c->next = NULL;
		c->since_ns = vs_now_ns();
		c->reserved = c->given_up = c->unstable = c->zeros = false;
		c->done = 0;
		c->niov = 0;
	}
	return c;
}

enum bs_redo_kind nf_redo_kind(const struct nf_call *c)
{
	return c->zeros ? BS_REDO_ZERO : BS_REDO_WRITE;
}

void nf_unreserve(struct nf_call *c)
{
	if (c->reserved)
		bs_redo_unreserve(&c->f->redo, nf_redo_kind(c), c->length);
	c->reserved = false;
}

uint64_t nf_call_oldest(const struct bs_nfs_file *f)
{
	uint64_t oldest = UINT64_MAX;

	for (unsigned i = 0; i < VS_ARRAY_LEN(f->call); i++)
		if (f->call[i].sent)
			oldest = VS_MIN(oldest, f->call[i].begun_ns);
	return oldest;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* What is written, from done on: as it lies there, or put together. */
static char *rest(struct nf_call *c)
{
	uint64_t skip = c->done;
	size_t got = 0;

	if (c->zeros)
		return (char *)(uintptr_t)nf_zeros; /* libnfs only reads it */
	for (int i = 0; i < c->niov && got < c->asked; i++) {
		char *at = (char *)c->iov[i].iov_base + skip;
		size_t n = c->iov[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n -= skip;
		skip = 0;
		if (got == 0 && n >= c->asked)
			return at;
		n = VS_MIN(n, c->asked - got);
		memcpy(c->f->gather + got, at, n);
		got += n;
	}
	return c->f->gather;
}

static int send_read(struct nf_call *c)
{
	struct bs_nfs_file *f = c->f;
	READ3args a = {.file = nf_fh(&f->file), .offset = c->offset + c->done};

	a.count = c->asked = (uint32_t)VS_MIN(c->length - c->done, f->read_max);
	return rpc_nfs3_read_async(f->rpc, nf_read_answered, &a, c);
}

static int send_write(struct nf_call *c)
{
	struct bs_nfs_file *f = c->f;
	WRITE3args a = {.file = nf_fh(&f->file),
			.offset = c->offset + c->done,
			.stable = c->req && c->req->durable ? FILE_SYNC : UNSTABLE};

	a.count = c->asked = (uint32_t)VS_MIN(c->length - c->done, f->write_max);
	a.data.data_len = a.count;
	a.data.data_val = rest(c);
	return rpc_nfs3_write_async(f->rpc, nf_write_answered, &a, c);
}

/* All of the file: RFC 1813 section 3.3.21. */
static int send_commit(struct nf_call *c)
{
	COMMIT3args a = {.file = nf_fh(&c->f->file)};

	c->mark = c->f->redo.tail;
	return rpc_nfs3_commit_async(c->f->rpc, nf_commit_answered, &a, c);
}

bool nf_call_send(struct nf_call *c)
{
	static int (*const send[])(struct nf_call * c) = {
	    [NF_READ] = send_read, [NF_WRITE] = send_write, [NF_COMMIT] = send_commit};
	struct bs_nfs_file *f = c->f;

	c->begun_ns = vs_now_ns();
	if (send[c->kind](c) == 0) {
		c->sent = true;
		f->sent++;
		return true;
	}
	nf_path_fail(f, VS_E_IO, "a call cannot be sent: %s", nf_cause(f->rpc));
	nf_call_again(c, 0);
	return false;
}

/* ---- again ----------------------------------------------------------------------------------- */

static bool replays(const struct nf_call *c)
{
	return c->own && c->kind == NF_WRITE;
}

static void push(struct nf_list *list, struct nf_call *c)
{
	c->next = NULL;
	*list->last = c;
	list->last = &c->next;
}

void nf_call_again(struct nf_call *c, uint64_t delay_ns)
{
	c->waits = replays(c);
	c->due_ns = vs_now_ns() + delay_ns;
	push(replays(c) ? &c->f->replay_again : &c->f->again, c);
}

static struct nf_call *pop(struct nf_list *list)
{
	struct nf_call *c = list->first;

	list->first = c->next;
	if (!c->next)
		list->last = &list->first;
	c->waits = false;
	return c;
}

/* What was sent again before, and may land now, is older than what requests write. */
static bool undone_later(const struct nf_call *c)
{
	return c->kind == NF_WRITE && !c->own &&
	       bs_nfs_doubt_hits(&c->f->doubt_redo, c->offset, c->length);
}

bool nf_call_send_again(struct bs_nfs_file *f, struct nf_list *list)
{
	uint64_t now = vs_now_ns();

	while (!f->broken && list->first && list->first->due_ns <= now) {
		struct nf_call *c = pop(list);

		if (undone_later(c))
			push(&f->parked, c);
		else
			(void)nf_call_send(c);
	}
	return !f->broken;
}

void nf_call_unpark(struct bs_nfs_file *f)
{
	while (f->parked.first)
		push(&f->again, pop(&f->parked));
}

void nf_call_down(struct bs_nfs_file *f)
{
	for (unsigned i = 0; i < VS_ARRAY_LEN(f->call); i++) {
		struct nf_call *c = &f->call[i];

		c->done = 0; /* also of those that wait: what is done may be lost with the server */
		if (!c->sent)
			continue;
		if (c->kind == NF_WRITE)
			bs_nfs_doubt_add(replays(c) ? &f->doubt_redo : &f->doubt, c->offset,
					 c->length);
		c->sent = false;
		if (c->given_up || replays(c)) {
			nf_unreserve(c);
			nf_call_free(c);
		} else {
			nf_call_again(c, 0);
		}
	}
	while (f->replay_again.first)
		nf_call_free(pop(&f->replay_again));
	f->sent = f->given_up = 0;
}
