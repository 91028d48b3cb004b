/* A LUN of another array or a file of an NFS server as a source. */
#include "mgmt/source.h"

#include "common/bytes.h"
#include "common/secret.h"
#include "mgmt/far.h"

#include <stdlib.h>

struct far_source;

struct call {
	struct far_source *source;
	struct mg_source_req *req; /* NULL: free */
	struct bs_far_req far;
	struct bs_far_run runs[MG_SOURCE_RUNS];
};

struct far_source {
	struct mg_source base;
	struct bs_far *far;
	struct call calls[MG_SOURCE_DEPTH];
};

static int open_far(const json_t *doc, struct vs_loop *loop, const atomic_bool *cancel,
		    struct mg_source **out, struct vs_error *err)
{
	struct far_source *s = calloc(1, sizeof(*s));
	const char *url = json_string_value(json_object_get(doc, "url"));
	struct mg_far_access access = {0};
	struct bs_far_info info;
	int rc;

	if (!s)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = mg_far_access(&access, url ? url : "", json_string_value(json_object_get(doc, "user")),
			   json_string_value(json_object_get(doc, "secret")), err);
	if (rc == 0)
		rc = mg_far_open(&access, loop, false, cancel, &s->far, err);
	vs_secret_wipe(access.secret, sizeof(access.secret));
	if (rc != 0) {
		free(s);
		return rc;
	}
	info = bs_far_info(s->far);
	s->base = (struct mg_source){.kind = access.nfs ? &mg_source_nfs : &mg_source_lun,
				     .size = info.size,
				     .identity = info.identity,
				     .sector = info.sector};
	for (unsigned i = 0; i < MG_SOURCE_DEPTH; i++)
		s->calls[i].source = s;
	*out = &s->base;
	return 0;
}

static void done(struct bs_far_req *far)
{
	struct call *c = far->arg;
	struct mg_source_req *req = c->req;

	c->req = NULL;
	req->status = far->status;
	if (!req->buf)
		req->nruns = far->status == 0 ? far->nruns : 0;
	for (unsigned i = 0; !req->buf && i < req->nruns; i++)
		req->runs[i] = (struct mg_source_run){c->runs[i].length, c->runs[i].mapped};
	req->done(req);
}

static void submit(struct mg_source *source, struct mg_source_req *req)
{
	struct far_source *s = (struct far_source *)source;
	struct call *c = s->calls;

	while (c->req) {
		c++;
		VS_ASSERT(c < s->calls + MG_SOURCE_DEPTH);
	}
	c->req = req;
	c->far = (struct bs_far_req){.op = req->buf ? BS_FAR_READ : BS_FAR_STATUS,
				     .offset = req->offset,
				     .length = req->length,
				     .iov = {{req->buf, req->length}},
				     .iovcnt = req->buf != NULL,
				     .runs = c->runs,
				     .max_runs = MG_SOURCE_RUNS,
				     .done = done,
				     .arg = c};
	bs_far_submit(s->far, &c->far);
}

void mg_source_wipe(json_t *doc)
{
	json_t *secret = json_object_get(doc, "secret");

	if (json_is_string(secret)) /* where it is, the text is the document's own */
		vs_secret_wipe((char *)(uintptr_t)json_string_value(secret),
			       json_string_length(secret));
}

static void close_far(struct mg_source *source)
{
	struct far_source *s = (struct far_source *)source;

	bs_far_close(s->far);
	free(s);
}

const struct mg_source_kind mg_source_lun = {
    .name = "lun", .open = open_far, .submit = submit, .close = close_far};
const struct mg_source_kind mg_source_nfs = {
    .name = "nfs", .open = open_far, .submit = submit, .close = close_far};
