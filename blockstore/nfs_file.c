#include "blockstore/nfs_file_int.h"

#include <stdlib.h>

#define OPEN_NS (30 * NF_SECOND)
#define DOUBT_NS (15 * NF_SECOND)
#define SILENCE_NS (15 * NF_SECOND)

static const struct bs_far_ops far_ops;

static int wait_open(struct bs_nfs_file *f, struct vs_error *err)
{
	uint64_t until = vs_now_ns() + OPEN_NS;
	unsigned tries = 0;

	while (!f->path.opened) {
		if (f->state == NF_DOWN) {
			/* whatever concerns one address only may be otherwise at the next */
			if (tries++ == f->addrs.n ||
			    (tries > 1 && f->why.code != VS_E_IO && f->why.code != VS_E_TIMEDOUT))
				break;
			nf_path_start(f);
			nf_settle(f);
		}
		if (f->cancel && atomic_load(f->cancel))
			return vs_fail(err, VS_E_CANCELED, "%s: canceled", f->name);
		if (vs_now_ns() > until)
			return vs_fail(err, VS_E_TIMEDOUT, "%s: no answer within %llu s", f->name,
				       (unsigned long long)(OPEN_NS / NF_SECOND));
		vs_loop_turn(f->loop, 100);
	}
	return f->path.opened ? 0 : vs_fail(err, f->why.code, "%s", f->why.text);
}

int bs_nfs_open(struct vs_loop *loop, const struct bs_nfs_spec *spec, struct bs_nfs_file **out,
		struct vs_error *err)
{
	struct bs_nfs_file *f = calloc(1, sizeof(*f));
	int rc = 0;

	if (!f)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	f->far.ops = &far_ops;
	f->loop = loop;
	f->url = spec->url;
	f->path.hold_ns = spec->hold_ns ? spec->hold_ns : BS_FAR_HOLD_NS;
	f->doubt_ns = spec->doubt_ns ? spec->doubt_ns : DOUBT_NS;
	f->silence_ns = spec->silence_ns ? spec->silence_ns : SILENCE_NS;
	f->writes = spec->keep != 0;
	f->create = spec->create;
	f->quiet = spec->quiet;
	f->create_size = spec->size;
	f->cancel = spec->cancel;
	(void)bs_nfs_url_text(&f->url, f->name);
	nf_call_init(f);
	nf_path_init(f);
	if (bs_redo_init(&f->redo, spec->keep) != 0)
		rc = vs_fail(err, VS_E_NOMEM, "%s: out of memory", f->name);
	if (rc == 0)
		rc = bs_far_resolve(f->url.host, f->name, &f->addrs, err);
	if (rc == 0)
		rc = wait_open(f, err);
	if (rc == 0)
		*out = f;
	else
		far_ops.close(&f->far);
	return rc;
}

struct bs_far *bs_nfs_far(struct bs_nfs_file *f)
{
	return &f->far;
}

static struct bs_nfs_file *file_of(struct bs_far *far)
{
	return (struct bs_nfs_file *)far;
}

/* What is known without asking; -1: it has to be asked. */
static int answer(const struct bs_nfs_file *f, struct bs_far_req *req)
{
	if (req->op == BS_FAR_FLUSH)
		return f->lost ? VS_E_IO : f->writes ? -1 : 0;
	if (!req->length || !vs_range_ok(req->offset, req->length, f->attr.size))
		return VS_E_RANGE;
	if (req->op == BS_FAR_STATUS) {
		req->runs[0] = (struct bs_far_run){.length = req->length, .mapped = true};
		req->nruns = 1;
		return 0;
	}
	if (req->op == BS_FAR_READ)
		return -1;
	if (!f->writes)
		return VS_E_ROFS;
	return req->op == BS_FAR_UNMAP ? VS_E_NOTSUP : -1;
}

static void far_submit(struct bs_far *far, struct bs_far_req *req)
{
	struct bs_nfs_file *f = file_of(far);
	int known = answer(f, req);

	if (known == -1 && f->path.expired)
		known = VS_E_IO;
	nf_io_submit(f, req, known);
}

static struct bs_far_info far_info(const struct bs_far *far)
{
	const struct bs_nfs_file *f = (const struct bs_nfs_file *)far;

	return (struct bs_far_info){.size = f->attr.size,
				    .sector = 512,
				    .read_only = !f->writes,
				    .identity = f->attr.identity};
}

static const char *far_name(const struct bs_far *far)
{
	return ((const struct bs_nfs_file *)far)->name;
}

static void far_close(struct bs_far *far)
{
	struct bs_nfs_file *f = file_of(far);

	nf_path_end(f);
	bs_redo_free(&f->redo);
	free(f);
}

static const struct bs_far_ops far_ops = {
    .submit = far_submit, .info = far_info, .name = far_name, .close = far_close};
