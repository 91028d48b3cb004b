#include "mgmt/scrub_impl.h"

#include "blockstore/object.h"
#include "common/text.h"
#include "mgmt/repo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS 20u /* of ranges, in one batch */
#define LIST 64u
#define RANGES 256u

static json_t *entry_json(const char *volume, const char *snapshot, uint64_t offset,
			  uint64_t length, bool healed, const char *what)
{
	return json_pack("{s:s?, s:s?, s:I, s:I, s:b, s:s?}", "volume", volume, "snapshot",
			 snapshot, "offset", (json_int_t)offset, "length", (json_int_t)length,
			 "healed", healed, "what", what);
}

static void append(json_t *to, json_t *entry)
{
	if (json_array_size(to) < MG_SCRUB_ERRORS)
		json_array_append_new(to, entry);
	else
		json_decref(entry);
}

static void add_damaged(struct mg_scrub *s, uint64_t cid)
{
	char text[20];

	(void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)cid);
	if (json_array_size(s->damaged) < MG_SCRUB_DAMAGED)
		json_array_append_new(s->damaged, json_string(text));
}

static void remove_damaged(struct mg_scrub *s, uint64_t cid)
{
	char text[20];

	(void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)cid);
	for (size_t i = json_array_size(s->damaged); i-- > 0;)
		if (strcmp(json_string_value(json_array_get(s->damaged, i)), text) == 0)
			json_array_remove(s->damaged, i);
}

size_t mg_scrub_damaged(const json_t *damaged, uint64_t *cids, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(damaged) && n < max; i++) {
		const char *text = json_string_value(json_array_get(damaged, i));
		char *end;

		if (!text)
			continue;
		cids[n] = strtoull(text, &end, 16);
		n += *end == '\0';
	}
	return n;
}

void mg_scrub_note(struct mg_scrub *s, struct mg_scrub_batch *b, const struct bs_scrub_result *r,
		   uint64_t now_ns)
{
	for (unsigned i = 0; i < r->nfound; i++) {
		const struct bs_scrub_found *f = &r->found[i];

		mg_event(s->node->events, f->healed ? MG_WARNING : MG_ERROR, "scrub", "store",
			 f->part == BS_SCRUB_COUNTS ? "%s%s" : "%s is damaged%s", f->what,
			 f->healed ? " and written again" : "");
		if (!b->n && !b->map)
			b->since_ns = now_ns;
		pthread_mutex_lock(&s->lock);
		if (f->part == BS_SCRUB_CONTENTS) {
			add_damaged(s, f->id);
		} else if (f->healed || f->part == BS_SCRUB_COUNTS) {
			append(s->healed, entry_json(NULL, NULL, 0, 0, f->healed, f->what));
		} else {
			s->lost |= f->part == BS_SCRUB_TABLES;
			b->map = true;
		}
		pthread_mutex_unlock(&s->lock);
		if (f->part == BS_SCRUB_CONTENTS && b->n < MG_SCRUB_PENDING)
			b->found[b->n++] = *f;
	}
}

/* What of one volume or snapshot cannot be read, as entries that are not healed. */
static int name_volume(struct mg_scrub *s, struct bs_scrub *sc, const struct bs_volume_info *v,
		       json_t *out, struct vs_error *err)
{
	struct bs_scrub_range ranges[RANGES];
	uint64_t cursor = 0;
	int rc = 0;

	while (rc == 0 && cursor != UINT64_MAX && json_array_size(out) < MG_SCRUB_ERRORS) {
		size_t n = 0;

		rc = bs_scrub_name(sc, v->id, s->lost, &cursor, ranges, RANGES, &n, err);
		for (size_t i = 0; i < n; i++)
			append(out, entry_json(v->name, v->snapshot ? v->snap : NULL,
					       ranges[i].offset, ranges[i].length, false, NULL));
	}
	return rc;
}

static int name_all(struct mg_scrub *s, struct bs_scrub *sc, json_t *out, struct vs_error *err)
{
	struct bs_volume_info *infos = calloc(LIST, sizeof(*infos));
	uint64_t after = 0;
	size_t n = LIST;
	int rc = infos ? 0 : vs_fail(err, VS_E_NOMEM, "out of memory");

	while (rc == 0 && n == LIST) {
		rc = bs_volume_list(s->node->store, after, infos, LIST, &n, err);
		for (size_t i = 0; i < n && rc == 0; i++) {
			after = infos[i].id;
			rc = name_volume(s, sc, &infos[i], out, err);
		}
	}
	if (rc == 0 && bs_own_info(s->node->store, MG_CATALOGUE_VOLUME, infos, NULL) == 0)
		rc = name_volume(s, sc, infos, out, err);
	free(infos);
	return rc;
}

/* Asks one repository for all that is still damaged. */
static void heal_from(struct mg_scrub *s, struct bs_scrub *sc, struct mg_scrub_batch *b,
		      const char *name)
{
	struct vs_error err = {0};
	struct bk_repo *repo;
	uint8_t plain[BS_BLOCK];
	unsigned healed = 0;
	int rc;

	if (mg_repo_use(s->node, name, &repo, &err))
		return; /* a repository that is away is none of the scrub's business */
	rc = bk_repo_refresh(repo, &err);
	for (unsigned i = 0; i < b->n && rc == 0; i++) {
		struct bs_scrub_found *f = &b->found[i];

		if (f->healed || bk_repo_block(repo, &f->digest, plain, &err) ||
		    bs_scrub_heal(sc, f->id, plain, &err))
			continue;
		f->healed = true;
		healed++;
		pthread_mutex_lock(&s->lock);
		remove_damaged(s, f->id);
		pthread_mutex_unlock(&s->lock);
	}
	bk_repo_close(repo);
	if (healed)
		mg_event(s->node->events, MG_WARNING, "scrub", "store",
			 "%u damaged contents were healed from repository %s", healed, name);
}

static void heal(struct mg_scrub *s, struct bs_scrub *sc, struct mg_scrub_batch *b)
{
	struct vs_error err = {0};
	json_t *repos = NULL, *doc;
	size_t i;

	if (!b->n || mg_catalogue_list(s->node->catalogue, MG_REPO, &repos, &err))
		return;
	json_array_foreach(repos, i, doc)
	{
		const char *name = json_string_value(json_object_get(doc, "name"));

		if (name)
			heal_from(s, sc, b, name);
	}
	json_decref(repos);
}

static bool same_place(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "volume"), json_object_get(b, "volume")) &&
	       json_equal(json_object_get(a, "snapshot"), json_object_get(b, "snapshot"));
}

static uint64_t field(const json_t *e, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(e, key));
}

/* What of entry e is no longer among `left`, as healed. Entries of a place are in order. */
static void add_healed(struct mg_scrub *s, const json_t *e, const json_t *left)
{
	uint64_t at = field(e, "offset"), end = at + field(e, "length");
	const char *volume = json_string_value(json_object_get(e, "volume"));
	const char *snapshot = json_string_value(json_object_get(e, "snapshot"));
	const json_t *l;
	size_t i;

	json_array_foreach(left, i, l)
	{
		uint64_t from = field(l, "offset"), to = from + field(l, "length");

		if (!same_place(e, l) || to <= at || from >= end)
			continue;
		if (from > at)
			append(s->healed, entry_json(volume, snapshot, at, from - at, true, NULL));
		at = to;
	}
	if (at < end)
		append(s->healed, entry_json(volume, snapshot, at, end - at, true, NULL));
}

static void say(struct mg_scrub *s, const json_t *e)
{
	const char *snapshot = json_string_value(json_object_get(e, "snapshot"));

	mg_event(s->node->events, MG_ERROR, "scrub", "store",
		 "%s%s%s: %llu bytes at %llu are damaged: write them again, or restore a backup",
		 json_string_value(json_object_get(e, "volume")), snapshot ? "@" : "",
		 snapshot ? snapshot : "", (unsigned long long)field(e, "length"),
		 (unsigned long long)field(e, "offset"));
}

static bool known(const json_t *entries, const json_t *e)
{
	const json_t *k;
	size_t i;

	json_array_foreach(entries, i, k) if (json_equal(k, e)) return true;
	return false;
}

/* left becomes what is damaged now; new ranges are said. */
static void replace(struct mg_scrub *s, json_t *found, json_t *left)
{
	json_t *before, *e;
	unsigned said = 0;
	size_t i;

	pthread_mutex_lock(&s->lock);
	json_array_foreach(found, i, e) add_healed(s, e, left);
	before = s->unhealed;
	s->unhealed = json_incref(left);
	pthread_mutex_unlock(&s->lock);
	json_array_foreach(left, i, e) if (said < EVENTS && !known(before, e))
	{
		say(s, e);
		said++;
	}
	json_decref(before);
}

void mg_scrub_settle(struct mg_scrub *s, struct bs_scrub *sc, struct mg_scrub_batch *b)
{
	json_t *found = json_array(), *left = json_array();
	struct vs_error err = {0};
	int rc = found && left ? name_all(s, sc, found, &err) : VS_E_NOMEM;

	heal(s, sc, b);
	if (rc == 0)
		rc = name_all(s, sc, left, &err);
	if (rc == 0)
		replace(s, found, left);
	else
		mg_event(s->node->events, MG_ERROR, "scrub", "store",
			 "cannot say which volumes are damaged: %s", vs_err_text(rc));
	json_decref(found);
	json_decref(left);
	b->n = 0;
	b->map = false;
}
