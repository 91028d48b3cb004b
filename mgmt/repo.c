#include "mgmt/repo.h"

#include "common/text.h"
#include "mgmt/copy.h"
#include "mgmt/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE_NAME (2 * VS_UUID_TEXT + 1)

int mg_repo_use(struct mg_node *n, const char *name, struct bk_repo **out, struct vs_error *err)
{
	struct bk_repo_options o = {.index_memory = MG_REPO_INDEX};
	json_t *doc = NULL;
	const char *url;
	int rc = mg_catalogue_get(n->catalogue, MG_REPO, name, &doc, err);

	if (rc == 0) {
		url = json_string_value(json_object_get(doc, "url"));
		rc = bk_repo_open(url ? url : "", &o, out, err);
	}
	json_decref(doc);
	return rc;
}

int mg_backup_split(const char *text, char repo[64], char id[BK_ID_MAX], struct vs_error *err)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!colon || len == 0 || len >= 64 || colon[1] == '\0' || strlen(colon + 1) >= BK_ID_MAX)
		return vs_fail(err, VS_E_INVAL, "'%s' is not a backup's name; say REPO:ID", text);
	memcpy(repo, text, len);
	repo[len] = '\0';
	mg_copy(id, BK_ID_MAX, colon + 1);
	return 0;
}

json_t *mg_backup_json(const char *repo, const struct bk_backup_info *b)
{
	char id[64 + BK_ID_MAX];

	(void)snprintf(id, sizeof(id), "%s:%s", repo, b->id);
	return json_pack(
	    "{s:s, s:s, s:s, s:s?, s:s?, s:s?, s:o, s:I, s:I, s:I, s:I, s:I, s:f}", "id", id,
	    "repo", repo, "volume", b->volume, "snapshot", b->snapshot[0] ? b->snapshot : NULL,
	    "tag", b->tag[0] ? b->tag : NULL, "parent", b->parent[0] ? b->parent : NULL, "time",
	    mg_time_json(b->created_ns), "size", (json_int_t)b->size, "blocks_total",
	    (json_int_t)b->blocks_total, "blocks_changed", (json_int_t)b->blocks_changed,
	    "blocks_sent", (json_int_t)b->blocks_sent, "bytes_sent", (json_int_t)b->bytes_sent,
	    "seconds", (double)b->duration_ns / 1e9);
}

static void base_name(const struct vs_uuid *repo, const struct vs_uuid *volume,
		      char name[BASE_NAME])
{
	vs_uuid_format(repo, name);
	name[VS_UUID_TEXT - 1] = '/';
	vs_uuid_format(volume, name + VS_UUID_TEXT);
}

static int decode_base(const json_t *doc, struct mg_base *out)
{
	const char *repo, *volume, *snapshot, *backup;
	int own;

	memset(out, 0, sizeof(*out));
	if (json_unpack((json_t *)(uintptr_t)doc, "{s:s, s:s, s:s, s:s, s:b}", "repo", &repo,
			"volume", &volume, "snapshot", &snapshot, "backup", &backup, "own",
			&own) != 0 ||
	    vs_uuid_parse(repo, &out->repo) != 0 || vs_uuid_parse(volume, &out->volume) != 0 ||
	    vs_uuid_parse(snapshot, &out->snapshot) != 0 || strlen(backup) >= BK_ID_MAX)
		return VS_E_CORRUPT;
	mg_copy(out->backup, sizeof(out->backup), backup);
	out->own = own != 0;
	return 0;
}

int mg_base_get(struct mg_node *n, const struct vs_uuid *repo, const struct vs_uuid *volume,
		struct mg_base *out, struct vs_error *err)
{
	char name[BASE_NAME];
	json_t *doc = NULL;
	int rc;

	base_name(repo, volume, name);
	rc = mg_catalogue_get(n->catalogue, MG_BASE, name, &doc, err);
	if (decode_base(doc, out) != 0)
		rc = vs_fail(err, VS_E_CORRUPT, "catalogue: a backup's base is damaged");
	json_decref(doc);
	return rc;
}

int mg_base_put(struct mg_node *n, const struct mg_base *b, struct vs_error *err)
{
	char name[BASE_NAME], repo[VS_UUID_TEXT], volume[VS_UUID_TEXT], snapshot[VS_UUID_TEXT];
	json_t *doc;
	int rc;

	base_name(&b->repo, &b->volume, name);
	vs_uuid_format(&b->repo, repo);
	vs_uuid_format(&b->volume, volume);
	vs_uuid_format(&b->snapshot, snapshot);
	doc = json_pack("{s:s, s:s, s:s, s:s, s:b}", "repo", repo, "volume", volume, "snapshot",
			snapshot, "backup", b->backup, "own", b->own);
	if (!doc)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = mg_catalogue_update(n->catalogue, MG_BASE, name, doc, &b->snapshot, 1, err);
	if (rc == VS_E_NOENT)
		rc = mg_catalogue_insert(n->catalogue, MG_BASE, name, doc, &b->snapshot, 1, err);
	json_decref(doc);
	return rc;
}

/* Deletes one base's snapshot and forgets the base. */
static int drop_base(struct mg_node *n, const struct mg_base *b, struct vs_error *err)
{
	char full[BS_FULL_NAME_MAX], name[BASE_NAME];
	int rc;

	mg_volume_name(n, &b->snapshot, full);
	rc = bs_snapshot_delete(n->store, full, err);
	if (rc != 0 && rc != VS_E_NOENT)
		return rc;
	base_name(&b->repo, &b->volume, name);
	return mg_catalogue_delete(n->catalogue, MG_BASE, name, err);
}

int mg_base_drop_all(struct mg_node *n, const struct bs_volume_info *volume, struct vs_error *err)
{
	struct mg_base *bases;
	json_t *docs = NULL, *doc;
	size_t i, count = 0;
	int rc = mg_catalogue_list(n->catalogue, MG_BASE, &docs, err);

	if (rc != 0)
		return rc;
	bases = calloc(json_array_size(docs) + 1, sizeof(*bases));
	if (!bases) {
		json_decref(docs);
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	json_array_foreach(docs, i, doc) if (decode_base(doc, &bases[count]) == 0 &&
					     bases[count].own &&
					     vs_uuid_equal(&bases[count].volume, &volume->uuid) &&
					     bs_volume_find_uuid(n->store, &bases[count].snapshot,
								 NULL, NULL) == 0) count++;
	if (rc == 0 && count == volume->snapshots)
		for (i = 0; i < count && rc == 0; i++)
			rc = drop_base(n, &bases[i], err);
	free(bases);
	json_decref(docs);
	return rc;
}

void mg_repo_progress(void *arg, uint64_t done, uint64_t total)
{
	struct mg_repo_watch *w = arg;

	mg_task_progress(w->task, done * w->unit, total * w->unit);
}

void mg_repo_report(void *arg, const char *line)
{
	struct mg_repo_watch *w = arg;

	char text[VS_ERROR_TEXT_MAX];

	if (json_array_size(w->lines) == MG_REPO_LINES)
		return;
	(void)snprintf(text, sizeof(text), "%s", line);
	vs_clean_line(text);
	json_array_append_new(w->lines, json_string(text));
}
