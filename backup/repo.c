#include "backup/repo_impl.h"

#include "common/bytes.h"
#include "common/secret.h"
#include "common/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONFIG_NAME "config"
#define BACKUPS "backups/"
#define INDEX_MEMORY_DEFAULT (UINT64_C(256) << 20)
#define INDEX_MEMORY_MIN (UINT64_C(1) << 20)
#define PACK_TARGET (16u << 20)
#define FRAME_RAW (128u << 10)
#define LIST_MAX 1000000u

static int config_read(struct bk_repo *r, enum bk_remote_state state, struct vs_error *err)
{
	char what[640];
	uint8_t *obj;
	uint64_t size;
	int rc = bk_remote_load(r->remote, CONFIG_NAME, BK_OBJECT_MAX, &obj, &size, err);

	if (rc == VS_E_NOENT)
		return vs_fail(err, state == BK_REMOTE_EMPTY ? VS_E_NOENT : VS_E_NOTSTORE,
			       "%s is not a vstore repository (%s): check the URL", r->remote->url,
			       state == BK_REMOTE_EMPTY ? "it is empty"
							: "it has no config object");
	if (rc)
		return rc;
	snprintf(what, sizeof(what), "%s/" CONFIG_NAME, r->remote->url);
	rc = bk_config_decode(obj, size, &r->config, what, err);
	free(obj);
	r->read_only = rc == 0 && r->config.ro_compat != 0;
	return rc;
}

static int config_create(struct bk_repo *r, struct vs_error *err)
{
	uint8_t obj[BK_CONFIG_SIZE];
	struct bk_config c = {
	    .created_ns = vs_unix_ns(), .pack_target = PACK_TARGET, .frame_raw = FRAME_RAW};
	int rc = vs_uuid_new(&c.uuid);

	if (rc)
		return vs_fail(err, rc, "no random bytes for the repository's UUID");
	bk_config_encode(&c, obj);
	return bk_remote_put(r->remote, CONFIG_NAME, obj, sizeof(obj), BK_PUT_EXCLUSIVE, err);
}

static int repo_open(const char *url, const struct bk_repo_options *opts, bool create,
		     struct bk_repo **out, bool *created, struct vs_error *err)
{
	uint64_t memory = opts && opts->index_memory ? opts->index_memory : INDEX_MEMORY_DEFAULT;
	enum bk_remote_state state = BK_REMOTE_EMPTY;
	struct bk_repo *r = calloc(1, sizeof(*r));
	bool made = false;
	int rc;

	*out = NULL;
	if (!r)
		return vs_fail(err, VS_E_NOMEM, "no memory to open %s", url);
	rc = memory < INDEX_MEMORY_MIN
		 ? vs_fail(err, VS_E_INVAL, "the index needs at least 1 MiB of memory")
		 : bk_remote_open(url, create, &r->remote, &state, err);
	if (rc == 0)
		rc = config_read(r, state, err);
	if (rc == VS_E_NOENT && r->remote && create) {
		rc = config_create(r, err);
		made = rc == 0;
		if (rc == 0 || rc == VS_E_EXIST)
			rc = config_read(r, state, err);
	}
	if (rc == 0)
		rc = bk_index_new(r->remote, memory, &r->index, err);
	if (rc) {
		bk_repo_close(r);
		return rc;
	}
	if (created)
		*created = made;
	*out = r;
	return 0;
}

int bk_repo_open(const char *url, const struct bk_repo_options *opts, struct bk_repo **out,
		 struct vs_error *err)
{
	return repo_open(url, opts, false, out, NULL, err);
}

int bk_repo_attach(const char *url, const struct bk_repo_options *opts, struct bk_repo **out,
		   bool *created, struct vs_error *err)
{
	return repo_open(url, opts, true, out, created, err);
}

void bk_repo_close(struct bk_repo *r)
{
	if (!r)
		return;
	bk_index_free(r->index);
	bk_remote_close(r->remote);
	free(r);
}

int bk_repo_backup_name(const char *id, char name[BK_NAME_MAX], struct vs_error *err)
{
	if (!vs_name_ok(id) || strlen(id) >= BK_ID_MAX)
		return vs_fail(err, VS_E_INVAL, "'%.80s' cannot be a backup's id: see backup list",
			       id);
	snprintf(name, BK_NAME_MAX, BACKUPS "%s", id);
	return 0;
}

int bk_repo_new_id(int64_t unix_ns, char id[BK_ID_MAX], struct vs_error *err)
{
	time_t s = (time_t)(unix_ns / 1000000000);
	uint64_t fraction = (uint64_t)(unix_ns % 1000000000) * 65536 / 1000000000;
	uint8_t tail[4];
	struct tm tm;
	size_t n;

	if (!gmtime_r(&s, &tm) || vs_random(tail + 2, 2) != 0)
		return vs_fail(err, VS_E_IO, "no clock or no random bytes for a backup's id");
	n = strftime(id, BK_ID_MAX, "%Y%m%d-%H%M%S-", &tm);
	vs_put_be16(tail, (uint16_t)fraction);
	vs_format_hex(tail, sizeof(tail), id + n);
	return 0;
}

int bk_repo_show(struct bk_repo *r, const char *id, struct bk_backup_info *out,
		 struct vs_error *err)
{
	char name[BK_NAME_MAX], what[BK_NAME_MAX + 512];
	uint8_t *obj;
	uint64_t size;
	int rc = bk_repo_backup_name(id, name, err);

	if (rc)
		return rc;
	rc = bk_remote_load(r->remote, name, BK_OBJECT_MAX, &obj, &size, err);
	if (rc == VS_E_NOENT)
		return vs_fail(err, rc, "there is no backup %s in %s: see backup list", id,
			       r->remote->url);
	if (rc)
		return rc;
	snprintf(what, sizeof(what), "%s/%s", r->remote->url, name);
	rc = bk_backup_decode(obj, size, out, what, err);
	free(obj);
	if (rc == 0 && strcmp(out->id, id) != 0)
		rc = vs_fail(err, VS_E_CORRUPT, "%s: describes another backup (%s)", what, out->id);
	return rc;
}

/* Ids of all backups, in a growing array. */
struct ids {
	char (*id)[BK_ID_MAX];
	size_t n, room;
};

static int see_backup(void *arg, const char *name, uint64_t size)
{
	struct ids *l = arg;
	const char *id = name + strlen(BACKUPS);

	(void)size;
	if (!vs_name_ok(id))
		return 0;
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		void *all = room > LIST_MAX ? NULL : reallocarray(l->id, room, sizeof(*l->id));

		if (!all)
			return VS_E_NOMEM;
		l->id = all;
		l->room = room;
	}
	snprintf(l->id[l->n++], BK_ID_MAX, "%s", id);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

int bk_repo_list(struct bk_repo *r, int (*each)(void *arg, const struct bk_backup_info *b),
		 void (*bad)(void *arg, const char *id, const struct vs_error *e), void *arg,
		 struct vs_error *err)
{
	struct bk_backup_info b;
	struct vs_error one = {0};
	struct ids l = {0};
	size_t i;
	int rc = bk_remote_list(r->remote, BACKUPS, see_backup, &l, err);

	if (rc == VS_E_NOMEM)
		vs_fail(err, rc, "%s: too many backups to list", r->remote->url);
	if (l.n)
		qsort(l.id, l.n, sizeof(*l.id), by_text); /* an id begins with its time */
	for (i = 0; rc == 0 && i < l.n; i++) {
		rc = bk_repo_show(r, l.id[i], &b, &one);
		if (rc == 0) {
			rc = each(arg, &b);
		} else if (rc == VS_E_NOENT) { /* deleted meanwhile */
			rc = 0;
		} else if (rc == VS_E_CORRUPT && bad) {
			bad(arg, l.id[i], &one);
			rc = 0;
		} else {
			vs_fail(err, rc, "%s", one.text);
		}
	}
	free(l.id);
	return rc;
}

int bk_repo_forget(struct bk_repo *r, const char *id, struct vs_error *err)
{
	char name[BK_NAME_MAX];
	uint64_t size;
	int rc = bk_repo_backup_name(id, name, err);

	if (rc)
		return rc;
	if (r->read_only)
		return vs_fail(err, VS_E_ROFS,
			       "%s uses features of a later vstore: it can only be read",
			       r->remote->url);
	rc = bk_remote_stat(r->remote, name, &size, NULL);
	if (rc == VS_E_NOENT)
		return vs_fail(err, rc, "there is no backup %s in %s: see backup list", id,
			       r->remote->url);
	return bk_remote_del(r->remote, name, err);
}

static int sum_all(void *arg, const char *name, uint64_t size)
{
	struct bk_repo_info *i = arg;

	i->stored_bytes += size;
	if (strncmp(name, BACKUPS, strlen(BACKUPS)) == 0)
		i->backups++;
	if (strncmp(name, "packs/", 6) == 0) {
		i->packs++;
		i->pack_bytes += size;
	}
	return 0;
}

static int sum_indexed(void *arg, const char *index_name, const struct bk_index_pack *p, bool found)
{
	uint64_t *bytes = arg;

	(void)index_name;
	if (found)
		*bytes += p->size;
	return 0;
}

int bk_repo_info(struct bk_repo *r, struct bk_repo_info *out, struct vs_error *err)
{
	uint64_t indexed = 0;
	int rc = bk_index_refresh(r->index, NULL, NULL, err);

	if (rc)
		return rc;
	memset(out, 0, sizeof(*out));
	out->uuid = r->config.uuid;
	out->format_version = BK_FORMAT_VERSION;
	out->created_ns = r->config.created_ns;
	out->read_only = r->read_only;
	rc = bk_remote_list(r->remote, "", sum_all, out, err);
	if (rc)
		return rc;
	bk_index_each_pack(r->index, sum_indexed, &indexed);
	out->unindexed_bytes = out->pack_bytes > indexed ? out->pack_bytes - indexed : 0;
	return 0;
}
