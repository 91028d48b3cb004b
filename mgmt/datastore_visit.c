#include "mgmt/datastore_visit.h"

#include "common/bytes.h"

#include <string.h>

void mg_visit_close(struct mg_visit *v)
{
	if (v->client)
		ds_client_close(v->client);
	if (v->loop)
		vs_loop_free(v->loop);
	if (v->store)
		mg_datastore_put(v->node, v->store);
}

int mg_visit_open(struct mg_node *n, const char *name, struct mg_visit *v, struct vs_error *err)
{
	int rc;

	*v = (struct mg_visit){.node = n};
	rc = mg_datastore_get(n, name, &v->store, err);
	if (rc == 0)
		rc = vs_loop_new(&v->loop, err);
	if (rc == 0)
		rc = ds_client_open(v->store, v->loop, MG_VISIT_DEPTH, &v->client, err);
	if (rc != 0)
		mg_visit_close(v);
	return rc;
}

const char *mg_visit_why(const struct ds_req *req)
{
	static const char *const texts[] = {
	    [DS_NOT_DIR] = "not a directory",
	    [DS_IS_DIR] = "it is a directory",
	    [DS_NOT_EMPTY] = "the directory is not empty",
	    [DS_NAME_TOO_LONG] = "the name has more than 255 bytes",
	    [DS_BAD_NAME] = "that is no name of a file",
	    [DS_WRONG_TYPE] = "it is not a file",
	};

	if (req->status == VS_E_INVAL && req->why < VS_ARRAY_LEN(texts) && texts[req->why])
		return texts[req->why];
	return req->status == VS_E_NOENT ? "there is no such file" : vs_err_text(req->status);
}

int mg_visit_ask(struct mg_visit *v, struct ds_req *req, const char *what, const char *path,
		 struct vs_error *err)
{
	int rc = ds_wait(v->client, req);

	return rc ? vs_fail(err, rc, "cannot %s %s: %s", what, path[0] ? path : "/",
			    mg_visit_why(req))
		  : 0;
}

/* The next part of a path; its length is 0 at the end. */
static size_t next_part(const char **path)
{
	*path += strspn(*path, "/");
	return strcspn(*path, "/");
}

int mg_visit_walk(struct mg_visit *v, const char *path, const char **leaf, struct ds_attr *out,
		  struct vs_error *err)
{
	struct ds_req req = {.op = DS_GETATTR, .file = ds_root};
	const char *at = path;
	size_t len = next_part(&at);
	int rc = mg_visit_ask(v, &req, "find", path, err);

	while (rc == 0 && len) {
		const char *after = at + len;
		size_t more = next_part(&after);

		if (leaf && !more)
			break;
		req = (struct ds_req){
		    .op = DS_LOOKUP, .file = req.attr.handle, .name = at, .name_len = len};
		rc = mg_visit_ask(v, &req, "find", path, err);
		at = after;
		len = more;
	}
	if (rc == 0 && leaf && !len)
		rc = vs_fail(err, VS_E_INVAL, "a name of a file is missing");
	if (leaf)
		*leaf = at;
	*out = req.attr;
	return rc;
}
