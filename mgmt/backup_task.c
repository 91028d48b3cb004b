/* Backups and restores as tasks. */
#include "mgmt/backup_task.h"

#include "common/bytes.h"
#include "common/text.h"
#include "mgmt/copy.h"
#include "mgmt/draft.h"
#include "mgmt/repo.h"
#include "mgmt/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct backup {
	struct mg_node *node;
	char source[BS_FULL_NAME_MAX], repo[64], tag[BK_TAG_MAX];
};

struct restore {
	struct mg_node *node;
	char repo[64], id[BK_ID_MAX], name[BS_NAME_MAX];
	bool overwrite;
};

/* The snapshot to back up: the one asked for, or a new one of the volume. */
static int take_snapshot(struct backup *b, struct mg_task *t, struct bs_volume_info *info,
			 bool *own, struct vs_error *err)
{
	char full[BS_FULL_NAME_MAX];

	*own = !strchr(b->source, '@');
	if (!*own)
		return bs_volume_find(b->node->store, b->source, info, err);
	(void)snprintf(full, sizeof(full), "%.63s@backup-%lld", b->source,
		       (long long)mg_task_id(t));
	return mg_draft_snapshot(b->node, full, info, err);
}

/* Opens the base of the last backup when it is still there; otherwise there is no parent. */
static void open_parent(struct backup *b, const struct mg_base *base, struct bs_volume **out)
{
	char full[BS_FULL_NAME_MAX];

	*out = NULL;
	mg_volume_name(b->node, &base->snapshot, full);
	if (bs_volume_open(b->node->store, full, out, NULL) != 0)
		*out = NULL;
}

static int copy(struct backup *b, struct mg_task *t, struct bk_repo *repo,
		const struct bs_volume_info *snap, const struct mg_base *base,
		struct bk_backup_result *out, struct vs_error *err)
{
	struct mg_repo_watch w = {.task = t, .unit = BS_BLOCK};
	struct bk_backup_options o = {
	    .tag = b->tag[0] ? b->tag : NULL,
	    .watch = {mg_repo_progress, &w, mg_task_cancel_flag(t)},
	};
	struct bs_volume *v = NULL, *parent = NULL;
	char full[BS_FULL_NAME_MAX];
	int rc = bs_volume_open(b->node->store, mg_full_name(snap, full), &v, err);

	if (rc != 0)
		return rc;
	if (base)
		open_parent(b, base, &parent);
	if (parent) {
		o.parent = parent;
		o.parent_id = base->backup;
	}
	rc = bk_backup_run(b->node->store, v, repo, &o, out, err);
	if (parent)
		bs_volume_close(parent);
	bs_volume_close(v);
	return rc;
}

/*
 * The snapshot becomes the base of the next backup; the base until now, which another backup may
 * have put there meanwhile, has served. A draft in between, it also goes after a daemon's death.
 */
static int move_base(struct backup *b, const struct mg_base *next, struct vs_error *err)
{
	struct mg_node *n = b->node;
	struct mg_base old;
	bool drop;
	int rc;

	pthread_mutex_lock(&n->config);
	drop = mg_base_get(n, &next->repo, &next->volume, &old, NULL) == 0 && old.own &&
	       !vs_uuid_equal(&old.snapshot, &next->snapshot);
	rc = mg_base_put(n, next, err);
	if (rc == 0 && next->own)
		rc = mg_draft_keep(n, &next->snapshot, err);
	pthread_mutex_unlock(&n->config);
	if (rc == 0 && drop && mg_draft_note(n, &old.snapshot, NULL) == 0)
		mg_draft_drop(n, &old.snapshot);
	return rc;
}

static int run_with(struct backup *b, struct mg_task *t, struct bk_repo *repo,
		    struct bk_backup_result *out, struct vs_error *err)
{
	struct mg_base old, next = {0};
	struct bs_volume_info snap;
	struct bk_repo_info info;
	bool have = false;
	int rc = bk_repo_info(repo, &info, err);

	if (rc == 0)
		rc = take_snapshot(b, t, &snap, &next.own, err);
	if (rc != 0)
		return rc;
	next.repo = info.uuid;
	next.volume = snap.origin;
	next.snapshot = snap.uuid;
	have = mg_base_get(b->node, &next.repo, &next.volume, &old, NULL) == 0;
	rc = copy(b, t, repo, &snap, have ? &old : NULL, out, err);
	if (rc == 0) {
		mg_copy(next.backup, sizeof(next.backup), out->id);
		rc = move_base(b, &next, err);
	}
	if (rc != 0 && next.own)
		mg_draft_drop(b->node, &snap.uuid);
	return rc;
}

static int run_backup(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct backup *b = arg;
	struct bk_backup_info info;
	struct bk_backup_result out;
	struct bk_repo *repo;
	int rc = mg_repo_use(b->node, b->repo, &repo, err);

	if (rc != 0)
		return rc;
	rc = run_with(b, t, repo, &out, err);
	if (rc == 0)
		rc = bk_repo_show(repo, out.id, &info, err);
	if (rc == 0) {
		*result = mg_backup_json(b->repo, &info);
		json_object_set_new(*result, "incremental", json_boolean(out.incremental));
		mg_event(b->node->events, MG_INFO, "backup.made", b->source,
			 "%s:%s, %llu blocks sent", b->repo, out.id,
			 (unsigned long long)out.blocks_sent);
	}
	bk_repo_close(repo);
	return rc;
}

int mg_backup_start(struct mg_node *n, const char *source, const char *repo, const char *tag,
		    json_t **task, struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = "backup", .subject = source, .run = run_backup, .free = free};
	struct bs_volume_info info;
	struct backup *b;
	json_t *doc = NULL;
	int rc = mg_catalogue_get(n->catalogue, MG_REPO, repo, &doc, err);

	json_decref(doc);
	if (rc == 0)
		rc = mg_draft_find(n, source, &info, err);
	if (rc == 0 && tag && strlen(tag) >= BK_TAG_MAX)
		rc = vs_fail(err, VS_E_INVAL, "tag is longer than %d bytes", BK_TAG_MAX - 1);
	if (rc != 0)
		return rc;
	b = calloc(1, sizeof(*b));
	if (!b)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	b->node = n;
	(void)snprintf(b->source, sizeof(b->source), "%s", source);
	(void)snprintf(b->repo, sizeof(b->repo), "%s", repo);
	(void)snprintf(b->tag, sizeof(b->tag), "%s", tag ? tag : "");
	ts.arg = b;
	return mg_task_start(n->tasks, &ts, task, err);
}

static int fill(struct restore *r, struct mg_task *t, struct bk_repo *repo,
		struct bk_restore_result *out, struct vs_error *err)
{
	struct mg_repo_watch w = {.task = t, .unit = BS_BLOCK};
	struct bk_restore_options o = {
	    .overwrite = r->overwrite,
	    .watch = {mg_repo_progress, &w, mg_task_cancel_flag(t)},
	};
	struct bs_volume *v;
	int rc = bs_volume_open(r->node->store, r->name, &v, err);

	if (rc != 0)
		return rc;
	rc = bk_restore_run(r->node->store, repo, r->id, v, &o, out, err);
	bs_volume_close(v);
	return rc;
}

static int into_new(struct restore *r, struct mg_task *t, struct bk_repo *repo,
		    const struct bk_backup_info *b, struct bk_restore_result *out,
		    struct vs_error *err)
{
	struct bs_volume_spec spec = {
	    .name = r->name, .size = b->size, .sector = b->sector, .compression = -1};
	struct bs_volume_info info;
	int rc = mg_draft_volume(r->node, &spec, &info, err);

	if (rc != 0)
		return rc;
	rc = fill(r, t, repo, out, err);
	if (rc == 0)
		rc = mg_draft_keep(r->node, &info.uuid, err);
	if (rc != 0)
		mg_draft_drop(r->node, &info.uuid);
	return rc;
}

static int into_old(struct restore *r, struct mg_task *t, struct bk_repo *repo,
		    const struct bk_backup_info *b, struct bk_restore_result *out,
		    struct vs_error *err)
{
	struct bs_volume_info info;
	int rc = mg_volume_idle(r->node, r->name, "overwrite", err);

	if (rc == 0)
		rc = bs_volume_find(r->node->store, r->name, &info, err);
	if (rc == 0 && info.size != b->size)
		rc = vs_fail(err, VS_E_INVAL,
			     "%s has %llu bytes, the backup %llu; resize the volume first", r->name,
			     (unsigned long long)info.size, (unsigned long long)b->size);
	if (rc != 0)
		return rc;
	rc = fill(r, t, repo, out, err);
	if (rc != 0)
		mg_event(r->node->events, MG_ERROR, "restore.broken", r->name,
			 "a restore over it did not end: it is part old, part new");
	return rc;
}

static int run_restore(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct restore *r = arg;
	struct bk_restore_result out = {0};
	struct bk_backup_info info;
	char id[64 + BK_ID_MAX];
	struct bk_repo *repo;
	int rc = mg_repo_use(r->node, r->repo, &repo, err);

	if (rc != 0)
		return rc;
	rc = bk_repo_show(repo, r->id, &info, err);
	if (rc == 0)
		rc = r->overwrite ? into_old(r, t, repo, &info, &out, err)
				  : into_new(r, t, repo, &info, &out, err);
	bk_repo_close(repo);
	if (rc != 0)
		return rc;
	(void)snprintf(id, sizeof(id), "%s:%s", r->repo, r->id);
	mg_event(r->node->events, MG_INFO, "volume.restored", r->name, "from %s", id);
	*result =
	    json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:f}", "id", id, "volume", r->name,
		      "blocks_total", (json_int_t)out.blocks_total, "blocks_fetched",
		      (json_int_t)out.blocks_fetched, "blocks_local", (json_int_t)out.blocks_local,
		      "bytes_fetched", (json_int_t)out.bytes_fetched, "seconds", out.seconds);
	return 0;
}

int mg_restore_start(struct mg_node *n, const char *backup, const char *name, bool overwrite,
		     json_t **task, struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = "restore", .subject = name, .run = run_restore, .free = free};
	struct restore *r;
	int rc;

	if (!vs_name_ok(name))
		return vs_fail(err, VS_E_INVAL, "'%s' is not a name", name);
	rc = bs_volume_find(n->store, name, NULL, err);
	if (rc == 0 && !overwrite)
		return vs_fail(err, VS_E_EXIST,
			       "volume %s exists; choose another name or overwrite", name);
	if (rc != 0 && (rc != VS_E_NOENT || overwrite))
		return rc;
	r = calloc(1, sizeof(*r));
	if (!r)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	r->node = n;
	r->overwrite = overwrite;
	mg_copy(r->name, sizeof(r->name), name);
	rc = mg_backup_split(backup, r->repo, r->id, err);
	if (rc != 0) {
		free(r);
		return rc;
	}
	ts.arg = r;
	return mg_task_start(n->tasks, &ts, task, err);
}
