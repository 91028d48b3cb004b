/* A LUN of another array as a source. */
#include "mgmt/source.h"

#include "common/bytes.h"
#include "common/secret.h"
#include "mgmt/luncopy.h"

#include <stdlib.h>

struct lun_source;

struct call {
	struct lun_source *source;
	struct mg_source_req *req; /* NULL: free */
	struct bs_far_req lun;
	struct bs_far_run runs[MG_SOURCE_RUNS];
};

struct lun_source {
	struct mg_source base;
	struct bs_lun *lun;
	struct call calls[MG_SOURCE_DEPTH];
};

static int open_lun(const json_t *doc, struct vs_loop *loop, const atomic_bool *cancel,
		    struct mg_source **out, struct vs_error *err)
{
	struct lun_source *s = calloc(1, sizeof(*s));
	const char *url = json_string_value(json_object_get(doc, "url"));
	struct mg_lun_access access = {0};
	struct bs_lun_info info;
	int rc;

	if (!s)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = mg_lun_access(&access, url ? url : "", json_string_value(json_object_get(doc, "user")),
			   json_string_value(json_object_get(doc, "secret")), err);
	if (rc == 0)
		rc = mg_lun_open(&access, loop, false, cancel, &s->lun, err);
	vs_secret_wipe(&access, sizeof(access));
	if (rc != 0) {
		free(s);
		return rc;
	}
	info = bs_lun_info(s->lun);
	s->base = (struct mg_source){.kind = &mg_source_lun,
				     .size = info.size,
				     .identity = info.identity,
				     .sector = info.sector};
	for (unsigned i = 0; i < MG_SOURCE_DEPTH; i++)
		s->calls[i].source = s;
	*out = &s->base;
	return 0;
}

static void done(struct bs_far_req *lun)
{
	struct call *c = lun->arg;
	struct mg_source_req *req = c->req;

	c->req = NULL;
	req->status = lun->status;
	if (!req->buf)
		req->nruns = lun->status == 0 ? lun->nruns : 0;
	for (unsigned i = 0; !req->buf && i < req->nruns; i++)
		req->runs[i] = (struct mg_source_run){c->runs[i].length, c->runs[i].mapped};
	req->done(req);
}

static void submit(struct mg_source *source, struct mg_source_req *req)
{
	struct lun_source *s = (struct lun_source *)source;
	struct call *c = s->calls;

	while (c->req) {
		c++;
		VS_ASSERT(c < s->calls + MG_SOURCE_DEPTH);
	}
	c->req = req;
	c->lun = (struct bs_far_req){.op = req->buf ? BS_FAR_READ : BS_FAR_STATUS,
				     .offset = req->offset,
				     .length = req->length,
				     .iov = {{req->buf, req->length}},
				     .iovcnt = req->buf != NULL,
				     .runs = c->runs,
				     .max_runs = MG_SOURCE_RUNS,
				     .done = done,
				     .arg = c};
	bs_lun_submit(s->lun, &c->lun);
}

void mg_source_wipe(json_t *doc)
{
	json_t *secret = json_object_get(doc, "secret");

	if (json_is_string(secret)) /* where it is, the text is the document's own */
		vs_secret_wipe((char *)(uintptr_t)json_string_value(secret),
			       json_string_length(secret));
}

static void close_lun(struct mg_source *source)
{
	struct lun_source *s = (struct lun_source *)source;

	bs_lun_close(s->lun);
	free(s);
}

const struct mg_source_kind mg_source_lun = {
    .name = "lun", .open = open_lun, .submit = submit, .close = close_lun};
