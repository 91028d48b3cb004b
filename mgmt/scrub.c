#include "mgmt/scrub_impl.h"

#include "common/bytes.h"
#include "common/loop.h"
#include "common/text.h"
#include "mgmt/volume.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAVE_NS UINT64_C(5000000000)
#define BATCH_NS UINT64_C(30000000000) /* damage is named at the latest after this */
/*
 * Of the time, a step takes a tenth while others use the store and half while nobody does; the
 * rest is left to them.
 */
#define REST_BUSY 9u
#define REST_IDLE 1u
#define REST_MIN_NS UINT64_C(1000000)
#define REST_MAX_NS UINT64_C(500000000)

#define NAME "scrub"

static const char *const state_names[] = {[MG_SCRUB_NEVER] = "never",
					  [MG_SCRUB_RUNNING] = "running",
					  [MG_SCRUB_STOPPED] = "stopped",
					  [MG_SCRUB_DONE] = "done"};

static const char *const counts_names[] = {[BS_COUNTS_OPEN] = NULL,
					   [BS_COUNTS_RIGHT] = "right",
					   [BS_COUNTS_WRONG] = "wrong",
					   [BS_COUNTS_PUT_OFF] = "put off",
					   [BS_COUNTS_LOST] = "lost"};

static json_t *doc_json(struct mg_scrub *s)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s?, s:O, s:O, s:O}",
			 "state", state_names[s->state], "part", (json_int_t)s->at.part, "at",
			 (json_int_t)s->at.at, "checked", (json_int_t)s->checked, "pages",
			 (json_int_t)s->pages, "total", (json_int_t)s->total, "started",
			 (json_int_t)s->started_ns, "finished", (json_int_t)s->finished_ns, "lost",
			 s->lost, "counts", counts_names[s->counts], "healed", s->healed,
			 "unhealed", s->unhealed, "damaged", s->damaged);
}

static int save(struct mg_scrub *s, struct vs_error *err)
{
	json_t *doc;
	int rc;

	pthread_mutex_lock(&s->lock);
	doc = doc_json(s);
	pthread_mutex_unlock(&s->lock);
	if (!doc)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = mg_catalogue_update(s->node->catalogue, MG_SCRUB, NAME, doc, NULL, 0, err);
	if (rc == VS_E_NOENT)
		rc = mg_catalogue_insert(s->node->catalogue, MG_SCRUB, NAME, doc, NULL, 0, err);
	json_decref(doc);
	return rc;
}

static enum mg_scrub_state state_of(const char *name)
{
	for (unsigned i = 0; name && i < VS_ARRAY_LEN(state_names); i++)
		if (strcmp(name, state_names[i]) == 0)
			return (enum mg_scrub_state)i;
	return MG_SCRUB_NEVER;
}

static enum bs_scrub_counts counts_of(const char *name)
{
	for (unsigned i = 1; name && i < VS_ARRAY_LEN(counts_names); i++)
		if (strcmp(name, counts_names[i]) == 0)
			return (enum bs_scrub_counts)i;
	return BS_COUNTS_OPEN;
}

static uint64_t number(const json_t *doc, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(doc, key));
}

static void take_array(json_t **to, const json_t *doc, const char *key)
{
	json_t *a = json_object_get(doc, key);

	if (json_is_array(a)) {
		json_decref(*to);
		*to = json_incref(a);
	}
}

static void load(struct mg_scrub *s, const json_t *doc)
{
	s->state = state_of(json_string_value(json_object_get(doc, "state")));
	s->at.part = (uint32_t)number(doc, "part");
	s->at.at = number(doc, "at");
	s->checked = number(doc, "checked");
	s->pages = number(doc, "pages");
	s->total = number(doc, "total");
	s->started_ns = (int64_t)number(doc, "started");
	s->finished_ns = (int64_t)number(doc, "finished");
	s->lost = json_is_true(json_object_get(doc, "lost"));
	s->counts = counts_of(json_string_value(json_object_get(doc, "counts")));
	take_array(&s->healed, doc, "healed");
	take_array(&s->unhealed, doc, "unhealed");
	take_array(&s->damaged, doc, "damaged");
}

/* Tells the store what the last daemon knew. */
static int mark(struct mg_scrub *s, struct vs_error *err)
{
	uint64_t *cids = calloc(MG_SCRUB_DAMAGED, sizeof(*cids));
	size_t n;
	int rc;

	if (!cids)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	n = mg_scrub_damaged(s->damaged, cids, MG_SCRUB_DAMAGED);
	rc = n ? bs_scrub_mark(s->node->store, cids, n, err) : 0;
	free(cids);
	return rc;
}

static bool leaving(struct mg_scrub *s)
{
	bool l;

	pthread_mutex_lock(&s->lock);
	l = s->leaving;
	pthread_mutex_unlock(&s->lock);
	return l;
}

/* In slices, so that a stop shows at once. */
static void rest(const struct mg_task *t, uint64_t ns)
{
	while (ns && !mg_task_cancelled(t)) {
		uint64_t slice = VS_MIN(ns, UINT64_C(50000000));
		const struct timespec ts = {.tv_nsec = (long)slice};

		(void)nanosleep(&ts, NULL);
		ns -= slice;
	}
}

static void count(struct mg_scrub *s, const struct bs_scrub_position *at,
		  const struct bs_scrub_result *r)
{
	pthread_mutex_lock(&s->lock);
	s->at = *at;
	s->checked += r->contents;
	s->pages += r->pages;
	s->total = VS_MAX(r->total, s->checked);
	s->counts = r->counts ? r->counts : s->counts;
	pthread_mutex_unlock(&s->lock);
}

/* To the end, or until it is told to stop. */
static int pass(struct mg_scrub *s, struct mg_task *t, struct bs_scrub *sc, struct vs_error *err)
{
	struct mg_scrub_batch *b = calloc(1, sizeof(*b));
	struct bs_scrub_result *r = calloc(1, sizeof(*r));
	struct bs_scrub_position at = s->at;
	uint64_t saved = vs_now_ns();
	int rc = b && r ? 0 : vs_fail(err, VS_E_NOMEM, "out of memory");

	while (rc == 0 && at.part < BS_SCRUB_END && !mg_task_cancelled(t)) {
		uint64_t began = vs_now_ns(), now;

		if (b->n + BS_SCRUB_FOUND_MAX > MG_SCRUB_PENDING && b->n)
			mg_scrub_settle(s, sc, b);
		rc = bs_scrub_step(sc, &at, r, err);
		now = vs_now_ns();
		if (rc)
			break;
		mg_scrub_note(s, b, r, now);
		count(s, &at, r);
		mg_task_progress(t, s->checked * BS_BLOCK, s->total * BS_BLOCK);
		if ((b->n || b->map) && now - b->since_ns > BATCH_NS)
			mg_scrub_settle(s, sc, b);
		if (now - saved > SAVE_NS) {
			saved = now;
			rc = save(s, err);
		}
		rest(t,
		     VS_MIN(VS_MAX((now - began) * (r->busy ? REST_BUSY : REST_IDLE), REST_MIN_NS),
			    REST_MAX_NS));
	}
	if (b && (b->n || b->map))
		mg_scrub_settle(s, sc, b);
	free(b);
	free(r);
	return rc;
}

static void ended(struct mg_scrub *s, int rc)
{
	pthread_mutex_lock(&s->lock);
	s->task = 0;
	if (!s->leaving) {
		s->state = rc == 0 && s->at.part >= BS_SCRUB_END ? MG_SCRUB_DONE : MG_SCRUB_STOPPED;
		s->finished_ns = vs_unix_ns();
	}
	pthread_mutex_unlock(&s->lock);
}

static int run(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct mg_scrub *s = arg;
	struct vs_error ignored;
	struct bs_scrub *sc = NULL;
	int rc = bs_scrub_new(s->node->store, &sc);

	rc = rc ? vs_fail(err, rc, "cannot scrub: %s", vs_err_text(rc)) : pass(s, t, sc, err);
	bs_scrub_free(sc);
	ended(s, rc);
	if (save(s, rc ? &ignored : err) && rc == 0)
		rc = err->code;
	if (rc == 0 && s->at.part < BS_SCRUB_END)
		return vs_fail(err, VS_E_CANCELED, leaving(s) ? "the daemon stops" : "stopped");
	if (rc == 0) {
		size_t n = json_array_size(s->unhealed);
		bool bad = n || s->counts == BS_COUNTS_WRONG;

		*result = mg_scrub_json(s);
		mg_event(s->node->events, bad ? MG_ERROR : MG_INFO, "scrub", "store",
			 "scrub done: %llu blocks and %llu pages, %zu damaged ranges, counts %s",
			 (unsigned long long)s->checked, (unsigned long long)s->pages, n,
			 counts_names[s->counts] ? counts_names[s->counts] : "open");
	}
	return rc;
}

/* With the lock held: what an earlier pass found will be found again. */
static void begin(struct mg_scrub *s)
{
	if (s->state == MG_SCRUB_RUNNING || s->state == MG_SCRUB_STOPPED)
		return;
	s->at = (struct bs_scrub_position){0};
	s->checked = s->pages = s->total = 0;
	s->lost = false;
	s->counts = BS_COUNTS_OPEN;
	s->started_ns = vs_unix_ns();
	json_array_clear(s->healed);
	json_array_clear(s->unhealed);
	json_array_clear(s->damaged);
}

/* Also of a task that never ran. */
static void gone(void *arg)
{
	struct mg_scrub *s = arg;

	pthread_mutex_lock(&s->lock);
	if (s->task && !s->leaving)
		s->state = MG_SCRUB_STOPPED;
	s->task = 0;
	pthread_mutex_unlock(&s->lock);
}

static int start(struct mg_scrub *s, json_t **task, struct vs_error *err)
{
	struct mg_task_spec ts = {
	    .kind = "scrub", .subject = "store", .run = run, .free = gone, .arg = s};
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = s->task ? vs_fail(err, VS_E_BUSY, "a scrub is running: task %lld", (long long)s->task)
		     : 0;
	if (rc == 0) {
		begin(s);
		s->state = MG_SCRUB_RUNNING;
		s->finished_ns = 0;
		s->task = -1;
	}
	pthread_mutex_unlock(&s->lock);
	if (rc)
		return rc;
	rc = mg_task_start(s->node->tasks, &ts, task, err);
	pthread_mutex_lock(&s->lock);
	if (rc == 0 && s->task == -1)
		s->task = (int64_t)json_integer_value(json_object_get(*task, "id"));
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int mg_scrub_start(struct mg_scrub *s, json_t **task, struct vs_error *err)
{
	int rc = start(s, task, err);

	return rc ? rc : save(s, err);
}

int mg_scrub_stop(struct mg_scrub *s, struct vs_error *err)
{
	json_t *task = NULL;
	int64_t id;
	int rc;

	pthread_mutex_lock(&s->lock);
	id = s->task;
	pthread_mutex_unlock(&s->lock);
	if (id <= 0)
		return vs_fail(err, VS_E_NOENT,
			       "no scrub is running: vstore scrub start begins one");
	rc = mg_task_cancel(s->node->tasks, id, &task, err);
	json_decref(task);
	task = NULL;
	if (rc == 0)
		rc = mg_task_wait(s->node->tasks, id, MG_TASK_WAIT_MAX, &task, err);
	json_decref(task);
	return rc;
}

static json_t *time_or_null(int64_t ns)
{
	return ns ? mg_time_json(ns) : json_null();
}

json_t *mg_scrub_json(struct mg_scrub *s)
{
	json_t *errors, *out;

	pthread_mutex_lock(&s->lock);
	errors = json_copy(s->unhealed);
	json_array_extend(errors, s->healed);
	out = json_pack("{s:s, s:I, s:I, s:I, s:s?, s:o, s:o, s:o, s:o}", "state",
			state_names[s->state], "checked_blocks", (json_int_t)s->checked,
			"total_blocks", (json_int_t)s->total, "checked_pages", (json_int_t)s->pages,
			"counts", counts_names[s->counts], "started", time_or_null(s->started_ns),
			"finished", time_or_null(s->finished_ns), "task",
			s->task > 0 ? json_integer(s->task) : json_null(), "errors", errors);
	pthread_mutex_unlock(&s->lock);
	return out;
}

static int resume(struct mg_scrub *s, struct vs_error *err)
{
	json_t *task = NULL;
	int rc = mark(s, err);

	if (rc == 0 && s->state == MG_SCRUB_RUNNING)
		rc = start(s, &task, err);
	json_decref(task);
	return rc;
}

int mg_scrub_open(struct mg_node *n, struct mg_scrub **out, struct vs_error *err)
{
	struct mg_scrub *s = calloc(1, sizeof(*s));
	json_t *doc = NULL;
	int rc;

	if (!s)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	s->node = n;
	s->healed = json_array();
	s->unhealed = json_array();
	s->damaged = json_array();
	pthread_mutex_init(&s->lock, NULL);
	rc = mg_catalogue_get(n->catalogue, MG_SCRUB, NAME, &doc, err);
	if (rc == 0)
		load(s, doc);
	json_decref(doc);
	if (rc == 0 || rc == VS_E_NOENT)
		rc = resume(s, err);
	if (rc) {
		mg_scrub_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void mg_scrub_leave(struct mg_scrub *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->leaving = true;
	pthread_mutex_unlock(&s->lock);
}

void mg_scrub_close(struct mg_scrub *s)
{
	if (!s)
		return;
	json_decref(s->healed);
	json_decref(s->unhealed);
	json_decref(s->damaged);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
