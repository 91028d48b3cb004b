/* What is done to the name of a file, and not to what is in it. */
#include "blockstore/nfs_file_int.h"

#define PATIENCE_NS (30 * NF_SECOND)

/* A call that somebody waits for; libnfs ends each one, if only with the connection. */
struct wait {
	struct bs_nfs_file *f;
	bool done;
	int code; /* 0 or VS_E_* */
};

static void ended(struct wait *w, int status, const int *nfsstat)
{
	w->done = true;
	if (status != RPC_STATUS_SUCCESS || !nfsstat)
		w->code = VS_E_IO;
	else
		(void)nf_judge(*nfsstat, &w->code);
	if (status == RPC_STATUS_SUCCESS)
		nf_path_alive(w->f);
}

/* All results begin with their status. */
static void answered(struct rpc_context *rpc, int status, void *data, void *arg)
{
	(void)rpc;
	ended(arg, status, data);
}

static bool canceled(const struct bs_nfs_file *f)
{
	return f->cancel && atomic_load(f->cancel);
}

static int wait_up(struct bs_nfs_file *f, uint64_t until, struct vs_error *err)
{
	while (f->state != NF_UP || f->broken) {
		if (canceled(f))
			return vs_fail(err, VS_E_CANCELED, "%s: canceled", f->name);
		if (vs_now_ns() > until)
			return vs_fail(err, VS_E_TIMEDOUT, "%s: no answer", f->name);
		vs_loop_turn(f->loop, 100);
	}
	return 0;
}

static int run(struct bs_nfs_file *f, int (*send)(struct wait *w, const char *name),
	       const char *name, int *code, struct vs_error *err)
{
	uint64_t until = vs_now_ns() + PATIENCE_NS;
	struct wait w = {.f = f};
	int rc = wait_up(f, until, err);

	if (rc != 0)
		return rc;
	if (send(&w, name) != 0)
		return vs_fail(err, VS_E_IO, "%s: a call cannot be sent: %s", f->name,
			       nf_cause(f->rpc));
	nf_kick(f);
	while (!w.done) {
		if (canceled(f) || vs_now_ns() > until) {
			nf_path_fail(f, VS_E_TIMEDOUT, "no answer");
			nf_settle(f);
		} else {
			vs_loop_turn(f->loop, 100);
		}
	}
	*code = w.code;
	return 0;
}

static int send_lookup(struct wait *w, const char *name)
{
	LOOKUP3args a = {.what = {.dir = nf_fh(&w->f->dir), .name = (char *)(uintptr_t)name}};

	return rpc_nfs3_lookup_async(w->f->rpc, answered, &a, w);
}

static int send_rename(struct wait *w, const char *name)
{
	RENAME3args a = {.from = {.dir = nf_fh(&w->f->dir), .name = w->f->leaf},
			 .to = {.dir = nf_fh(&w->f->dir), .name = (char *)(uintptr_t)name}};

	return rpc_nfs3_rename_async(w->f->rpc, answered, &a, w);
}

static int send_remove(struct wait *w, const char *name)
{
	REMOVE3args a = {.object = {.dir = nf_fh(&w->f->dir), .name = w->f->leaf}};

	(void)name;
	return rpc_nfs3_remove_async(w->f->rpc, answered, &a, w);
}

int bs_nfs_rename(struct bs_nfs_file *f, const char *name, bool replace, struct vs_error *err)
{
	int code = VS_E_NOENT, rc = replace ? 0 : run(f, send_lookup, name, &code, err);

	if (rc != 0)
		return rc;
	if (code == 0)
		return vs_fail(err, VS_E_EXIST, "%s: '%s' exists", f->name, name);
	rc = run(f, send_rename, name, &code, err);
	if (rc == 0 && code != 0)
		rc = vs_fail(err, code, "%s: cannot be renamed to '%s': %s", f->name, name,
			     vs_err_text(code));
	return rc;
}

int bs_nfs_remove(struct bs_nfs_file *f, struct vs_error *err)
{
	int code = 0, rc = run(f, send_remove, NULL, &code, err);

	if (rc == 0 && code != 0)
		rc = vs_fail(err, code, "%s: cannot be removed: %s", f->name, vs_err_text(code));
	return rc;
}
