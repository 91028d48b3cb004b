#include "common/loop.h"
#include "common/text.h"
#include "mgmt/api.h"
#include "mgmt/copy.h"
#include "mgmt/repo.h"

#include <stdlib.h>
#include <string.h>

/* Work on a whole repository or on one backup. */
struct work {
	struct mg_node *node;
	char repo[64], id[BK_ID_MAX]; /* id "": all of it */
	bool read_data;
};

static int run_check(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct work *c = arg;
	uint64_t begun = vs_now_ns();
	struct mg_repo_watch w = {.task = t, .lines = json_array(), .unit = 1};
	struct bk_watch watch = {mg_repo_progress, &w, mg_task_cancel_flag(t)};
	struct bk_check_result r = {0};
	struct bk_repo *repo;
	int rc = mg_repo_use(c->node, c->repo, &repo, err);

	if (rc == 0) {
		rc = c->id[0]
			 ? bk_backup_verify(repo, c->id, c->read_data, mg_repo_report, &w, &watch,
					    &r, err)
			 : bk_repo_check(repo, c->read_data, mg_repo_report, &w, &watch, &r, err);
		bk_repo_close(repo);
	}
	if (rc != 0) {
		json_decref(w.lines);
		return rc;
	}
	if (r.problems)
		mg_event(c->node->events, MG_ERROR, "repo.damaged", c->repo, "%llu problems found",
			 (unsigned long long)r.problems);
	*result =
	    json_pack("{s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "problems",
		      (json_int_t)r.problems, "lines", w.lines, "backups", (json_int_t)r.backups,
		      "packs", (json_int_t)r.packs, "pages", (json_int_t)r.pages, "blocks",
		      (json_int_t)r.blocks, "blocks_checked", (json_int_t)r.blocks, "bytes_read",
		      (json_int_t)r.bytes_read, "seconds", (double)(vs_now_ns() - begun) / 1e9);
	if (*result && c->id[0])
		json_object_set_new(*result, "backup", json_string(c->id));
	return 0;
}

static int run_gc(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct work *c = arg;
	struct mg_repo_watch w = {.task = t, .unit = 1};
	struct bk_watch watch = {mg_repo_progress, &w, mg_task_cancel_flag(t)};
	uint64_t begun = vs_now_ns();
	struct bk_gc_result r = {0};
	struct bk_repo *repo;
	int rc = mg_repo_use(c->node, c->repo, &repo, err);

	if (rc != 0)
		return rc;
	rc = bk_repo_gc(repo, false, &watch, &r, err);
	bk_repo_close(repo);
	if (rc == 0)
		*result = json_pack(
		    "{s:I, s:I, s:I, s:I, s:f}", "freed_bytes", (json_int_t)r.freed_bytes,
		    "kept_bytes", (json_int_t)r.kept_bytes, "packs_deleted",
		    (json_int_t)r.packs_deleted, "packs_rewritten", (json_int_t)r.packs_rewritten,
		    "seconds", (double)(vs_now_ns() - begun) / 1e9);
	return rc;
}

static int start_work(struct mg_node *n, const char *kind, const char *subject, const char *repo,
		      const char *id, bool read_data, struct mg_reply *reply, struct vs_error *err)
{
	struct mg_task_spec ts = {.kind = kind, .subject = subject, .free = free};
	struct work *c;
	json_t *doc = NULL, *task = NULL;
	int rc = mg_catalogue_get(n->catalogue, MG_REPO, repo, &doc, err);

	json_decref(doc);
	if (rc != 0)
		return rc;
	c = calloc(1, sizeof(*c));
	if (!c)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	c->node = n;
	mg_copy(c->repo, sizeof(c->repo), repo);
	mg_copy(c->id, sizeof(c->id), id);
	c->read_data = read_data;
	ts.run = strcmp(kind, "gc") == 0 ? run_gc : run_check;
	ts.arg = c;
	rc = mg_task_start(n->tasks, &ts, &task, err);
	return mg_reply_task(rc, task, reply, err);
}

/* As the API shows it: reads the repository. */
static int show_repo(struct mg_node *n, const char *name, json_t **out, struct vs_error *err)
{
	struct bk_repo_info info;
	struct bk_repo *repo;
	json_t *doc = NULL;
	int rc = mg_catalogue_get(n->catalogue, MG_REPO, name, &doc, err);

	if (rc != 0)
		return rc;
	rc = mg_repo_use(n, name, &repo, err);
	if (rc == 0) {
		rc = bk_repo_info(repo, &info, err);
		bk_repo_close(repo);
	}
	if (rc == 0)
		*out =
		    json_pack("{s:s, s:O, s:b, s:b, s:I, s:I, s:I, s:I}", "name", name, "url",
			      json_object_get(doc, "url"), "encrypted", info.encrypted, "read_only",
			      info.read_only, "backups", (json_int_t)info.backups, "stored_bytes",
			      (json_int_t)info.stored_bytes, "packs", (json_int_t)info.packs,
			      "unreferenced_bytes", (json_int_t)info.unindexed_bytes);
	json_decref(doc);
	return rc;
}

static int add(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
	       struct vs_error *err)
{
	struct bk_repo_options o = {.index_memory = MG_REPO_INDEX};
	struct bk_repo_info info;
	const char *name, *url;
	struct bk_repo *repo;
	json_t *doc, *json = NULL;
	bool created;
	int rc = mg_body(req, err, "{s:s, s:s}", "name", &name, "url", &url);

	if (rc == 0 && !vs_name_ok(name))
		rc = vs_fail(err, VS_E_INVAL, "'%s' is not a name", name);
	if (rc == 0)
		rc = bk_repo_attach(url, &o, &repo, &created, err);
	if (rc != 0)
		return rc;
	rc = bk_repo_info(repo, &info, err);
	bk_repo_close(repo);
	if (rc != 0)
		return rc;
	doc = json_pack("{s:s, s:s, s:b}", "name", name, "url", url, "encrypted", info.encrypted);
	rc = mg_catalogue_insert(n->catalogue, MG_REPO, name, doc, NULL, 0, err);
	json_decref(doc);
	if (rc == 0)
		rc = show_repo(n, name, &json, err);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "repo.added", name, "%s %s", created ? "created" : "attached",
		 url);
	return mg_reply_json(reply, 201, json, err);
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *docs = NULL;
	int rc = mg_catalogue_list(n->catalogue, MG_REPO, &docs, err);

	(void)req;
	return rc != 0 ? rc : mg_reply_json(reply, 200, docs, err);
}

static int show(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	json_t *json = NULL;
	int rc = show_repo(n, req->param[0], &json, err);

	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

static int remove_repo(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		       struct vs_error *err)
{
	int rc = mg_catalogue_delete(n->catalogue, MG_REPO, req->param[0], err);

	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "repo.removed", req->param[0], "the repository itself stays");
	return mg_reply_json(reply, 200, json_object(), err);
}

static int check(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		 struct vs_error *err)
{
	int read_data = 0, rc = mg_body(req, err, "{s?b}", "read_data", &read_data);

	if (rc != 0)
		return rc;
	return start_work(n, "check", req->param[0], req->param[0], "", read_data != 0, reply, err);
}

static int gc(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
	      struct vs_error *err)
{
	return start_work(n, "gc", req->param[0], req->param[0], "", false, reply, err);
}

static int verify(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	char repo[64], id[BK_ID_MAX];
	int rc = mg_backup_split(req->param[0], repo, id, err);

	return rc != 0 ? rc : start_work(n, "verify", req->param[0], repo, id, true, reply, err);
}

const struct mg_route mg_api_repo[] = {
    {"POST", "repos", NULL, add},
    {"GET", "repos", NULL, list},
    {"GET", "repos/?", NULL, show},
    {"DELETE", "repos/?", NULL, remove_repo},
    {"POST", "repos/?/check", NULL, check},
    {"POST", "repos/?/gc", NULL, gc},
    {"POST", "backups/?/verify", NULL, verify},
    {NULL, NULL, NULL, NULL},
};
