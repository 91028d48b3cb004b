#include "mgmt/api.h"
#include "mgmt/backup_task.h"
#include "mgmt/repo.h"

#include <stdio.h>
#include <string.h>

static int backup(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	const char *source, *repo, *tag = NULL;
	json_t *task = NULL;
	int rc =
	    mg_body(req, err, "{s:s, s:s, s?s}", "source", &source, "repo", &repo, "tag", &tag);

	if (rc != 0)
		return rc;
	rc = mg_backup_start(n, source, repo, tag, &task, err);
	return mg_reply_task(rc, task, reply, err);
}

static int restore(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		   struct vs_error *err)
{
	const char *from, *name;
	json_t *task = NULL;
	int overwrite = 0;
	int rc = mg_body(req, err, "{s:s, s:s, s?b}", "backup", &from, "name", &name, "overwrite",
			 &overwrite);

	if (rc != 0)
		return rc;
	rc = mg_restore_start(n, from, name, overwrite != 0, &task, err);
	return mg_reply_task(rc, task, reply, err);
}

struct listing {
	const char *repo, *volume;
	json_t *list;
};

static int list_one(void *arg, const struct bk_backup_info *b)
{
	struct listing *l = arg;

	if (l->volume && strcmp(l->volume, b->volume) != 0)
		return 0;
	return json_array_append_new(l->list, mg_backup_json(l->repo, b)) == 0 ? 0 : VS_E_NOMEM;
}

/* One whose description cannot be read is listed as that. */
static void list_damaged(void *arg, const char *id, const struct vs_error *e)
{
	struct listing *l = arg;
	char full[64 + BK_ID_MAX];

	(void)snprintf(full, sizeof(full), "%s:%s", l->repo, id);
	json_array_append_new(
	    l->list, json_pack("{s:s, s:s, s:s}", "id", full, "repo", l->repo, "error", e->text));
}

static int list_repo(struct mg_node *n, struct listing *l, struct vs_error *err)
{
	struct bk_repo *repo;
	int rc = mg_repo_use(n, l->repo, &repo, err);

	if (rc != 0)
		return rc;
	rc = bk_repo_list(repo, list_one, list_damaged, l, err);
	bk_repo_close(repo);
	return rc;
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	struct listing l = {
	    .repo = mg_query(req, "repo"), .volume = mg_query(req, "volume"), .list = json_array()};
	json_t *docs = NULL, *doc;
	size_t i;
	int rc = 0;

	if (l.repo) {
		rc = list_repo(n, &l, err);
	} else {
		rc = mg_catalogue_list(n->catalogue, MG_REPO, &docs, err);
		json_array_foreach(docs, i, doc)
		{
			l.repo = json_string_value(json_object_get(doc, "name"));
			if (rc == 0)
				rc = list_repo(n, &l, err);
		}
		json_decref(docs);
	}
	if (rc == 0)
		return mg_reply_json(reply, 200, l.list, err);
	json_decref(l.list);
	return rc;
}

static int open_of(struct mg_node *n, const struct mg_request *req, char repo[64],
		   char id[BK_ID_MAX], struct bk_repo **out, struct vs_error *err)
{
	int rc = mg_backup_split(req->param[0], repo, id, err);

	return rc != 0 ? rc : mg_repo_use(n, repo, out, err);
}

static int show(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	char name[64], id[BK_ID_MAX];
	struct bk_backup_info info;
	struct bk_repo *repo;
	int rc = open_of(n, req, name, id, &repo, err);

	if (rc != 0)
		return rc;
	rc = bk_repo_show(repo, id, &info, err);
	bk_repo_close(repo);
	return rc != 0 ? rc : mg_reply_json(reply, 200, mg_backup_json(name, &info), err);
}

static int forget(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		  struct vs_error *err)
{
	char name[64], id[BK_ID_MAX];
	struct bk_repo *repo;
	int rc = open_of(n, req, name, id, &repo, err);

	if (rc != 0)
		return rc;
	rc = bk_repo_forget(repo, id, err);
	bk_repo_close(repo);
	if (rc != 0)
		return rc;
	mg_event(n->events, MG_INFO, "backup.deleted", req->param[0], "by request");
	return mg_reply_json(reply, 200, json_object(), err);
}

const struct mg_route mg_api_backup[] = {
    {"POST", "backups", NULL, backup},	 {"GET", "backups", " repo volume ", list},
    {"GET", "backups/?", NULL, show},	 {"DELETE", "backups/?", NULL, forget},
    {"POST", "restores", NULL, restore}, {NULL, NULL, NULL, NULL},
};
