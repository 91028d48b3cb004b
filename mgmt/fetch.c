#include "common/bytes.h"
#include "mgmt/fetch_impl.h"

#include <stdlib.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define PAUSE_MAX (10 * SECOND)
#define TELL (SECOND / 5)
#define PART_BLOCKS BS_ORIGIN_FAN /* 2 MiB: what a bottom page leads to */
#define WANT_BLOCKS BS_FILL_MAX

/* ---- trouble --------------------------------------------------------------------------------- */

/* Parts wait, longer each time. Of what fails together the first counts. */
static void fail(struct mg_fetch *f, const char *why)
{
	uint64_t now = vs_now_ns();

	if (!f->trouble)
		f->spec.trouble(f->spec.arg, why);
	f->trouble = true;
	if (now < f->pause_ns)
		return;
	f->pause_ns = now + VS_MIN(SECOND << f->failures, PAUSE_MAX);
	f->failures += f->failures < 8;
}

static void works(struct mg_fetch *f)
{
	f->failures = 0;
	if (f->trouble)
		f->spec.trouble(f->spec.arg, NULL);
	f->trouble = false;
}

static int by_block(const void *a, const void *b)
{
	const struct bs_want *x = a, *y = b;

	return (x->block > y->block) - (x->block < y->block);
}

/* Where space may come, reads wait on, until the store's time for that is over. */
static void give_back(struct mg_fetch_job *j, int status)
{
	struct mg_fetch *f = j->fetch;
	const struct bs_want *wants = j->wants + j->next;
	size_t n = j->n - j->next;

	if (status == VS_E_NOSPC && n <= BS_ORIGIN_FAN - f->queued) {
		memcpy(f->queue + f->queued, wants, n * sizeof(*wants));
		f->queued += n;
		qsort(f->queue, f->queued, sizeof(f->queue[0]), by_block);
		f->wants_ns = vs_now_ns() + SECOND;
	} else if (bs_origin_fail(f->origin, wants, n, NULL) != 0) {
		return; /* the store has failed: so do its reads */
	}
}

void mg_fetch_job_over(struct mg_fetch_job *j, int status)
{
	struct mg_fetch *f = j->fetch;

	if (atomic_load(&f->stop))
		return;
	if (status == 0) {
		works(f);
		return;
	}
	if (j->what == MG_FETCH_WANTED)
		give_back(j, status);
	fail(f, status == VS_E_NOSPC ? "the store is full" : vs_err_text(status));
}

/* ---- what is to be done ---------------------------------------------------------------------- */

static struct mg_fetch_job *idle(struct mg_fetch *f, bool want)
{
	struct mg_fetch_job *j = f->job + (want ? MG_FETCH_PARTS : 0);
	const struct mg_fetch_job *end = f->job + (want ? MG_FETCH_JOBS : MG_FETCH_PARTS);

	while (j < end && j->busy)
		j++;
	return j < end ? j : NULL;
}

static bool busy(const struct mg_fetch *f, unsigned jobs)
{
	for (unsigned i = 0; i < jobs; i++)
		if (f->job[i].busy)
			return true;
	return false;
}

static void ask_wants(struct mg_fetch *f)
{
	int rc = bs_origin_wants(f->origin, f->queue, BS_ORIGIN_FAN, &f->queued, NULL);

	if (rc != 0)
		f->queued = 0;
	f->asked = f->queued == BS_ORIGIN_FAN; /* there may be more */
	qsort(f->queue, f->queued, sizeof(f->queue[0]), by_block);
}

static void begin_wants(struct mg_fetch *f, uint64_t now)
{
	struct mg_fetch_job *j;

	while (now >= f->wants_ns && (j = idle(f, true))) {
		size_t k;

		if (!f->queued && f->asked)
			ask_wants(f);
		k = VS_MIN(f->queued, (size_t)WANT_BLOCKS);
		if (!k)
			return;
		mg_fetch_job_wants(j, f->queue, k);
		f->queued -= k;
		memmove(f->queue, f->queue + k, f->queued * sizeof(f->queue[0]));
	}
}

static bool end(struct mg_fetch *f)
{
	struct vs_error err;
	int rc;

	if (busy(f, MG_FETCH_JOBS))
		return false;
	rc = bs_origin_remove(f->origin, &err);
	if (rc == 0) {
		f->origin = NULL;
		return false;
	}
	f->ending = false;
	if (rc == VS_E_BUSY)
		f->pause_ns = vs_now_ns() + SECOND;
	else
		fail(f, err.text);
	return false;
}

/* What the pass has begun is done: the next one, soon if that was of any use. */
static bool end_pass(struct mg_fetch *f, uint64_t now)
{
	if (busy(f, MG_FETCH_PARTS))
		return false;
	if (!f->moved)
		f->pause_ns = now + SECOND;
	f->passing = f->moved = false;
	f->cursor = 0;
	return f->pause_ns <= now;
}

static void begin_part(struct mg_fetch *f, struct mg_fetch_job *j)
{
	struct vs_error err;
	int rc = bs_origin_next(f->origin, &f->cursor, &f->part, &err);

	if (rc != 0) {
		fail(f, err.text);
		return;
	}
	switch (f->part.kind) {
	case BS_ORIGIN_PAGE:
	case BS_ORIGIN_CONTENTS:
		if (f->part.kind == BS_ORIGIN_CONTENTS || f->part.each == 1)
			f->rough = false;
		mg_fetch_job_part(j, &f->part);
		break;
	case BS_ORIGIN_LOOKED:
		break;
	case BS_ORIGIN_PASS:
		f->passing = true;
		break;
	case BS_ORIGIN_END:
		f->ending = true;
		break;
	}
}

/* One step; true: there may be another one at once. */
static bool step(struct mg_fetch *f, uint64_t now)
{
	struct mg_fetch_job *j;

	if (now < f->pause_ns)
		return false;
	if (f->ending)
		return end(f);
	if (f->passing)
		return end_pass(f, now);
	j = idle(f, false);
	if (j)
		begin_part(f, j);
	return j != NULL;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int open_source(struct mg_fetch *f, struct vs_error *err)
{
	struct mg_source *s;
	json_t *doc = NULL;
	int rc = f->spec.document(f->spec.arg, &doc, err);

	if (rc == 0)
		rc = f->spec.kind->open(doc, f->loop, &f->stop, &s, err);
	mg_source_wipe(doc);
	json_decref(doc);
	if (rc != 0)
		return rc;
	if (s->identity != f->spec.identity)
		rc = vs_fail(err, VS_E_INVAL, "another one is there now");
	else if (s->size < f->spec.size)
		rc = vs_fail(err, VS_E_RANGE, "it has become smaller: %llu bytes of %llu",
			     (unsigned long long)s->size, (unsigned long long)f->spec.size);
	if (rc == 0)
		f->source = s;
	else
		s->kind->close(s);
	return rc;
}

static bool connected(struct mg_fetch *f, uint64_t now)
{
	struct vs_error err;
	int rc;

	if (f->source)
		return true;
	if (now < f->pause_ns)
		return false;
	rc = f->port ? 0 : bs_port_open(f->spec.store, f->loop, 2 * MG_FETCH_JOBS, &f->port, &err);
	if (rc == 0)
		rc = open_source(f, &err);
	if (rc != 0 && !atomic_load(&f->stop))
		fail(f, err.text);
	return rc == 0;
}

/* How much is left; when nothing is, that is the end, also without a source. */
static void tell(struct mg_fetch *f, uint64_t now)
{
	struct bs_origin_info info;
	uint64_t left;

	if (now - f->told_ns < TELL ||
	    bs_origin_find(f->spec.store, &f->spec.origin, &info, NULL) != 0)
		return;
	f->told_ns = now;
	f->ending |= !info.contents_left && !info.pages_left;
	left = (info.contents_left + info.pages_left * PART_BLOCKS) * BS_BLOCK;
	left = f->rough ? info.size : VS_MIN(left, info.size);
	atomic_store(&f->left, left);
	f->spec.progress(f->spec.arg, left);
}

static int patience(const struct mg_fetch *f, uint64_t now)
{
	return now < f->pause_ns ? (int)(VS_MIN(f->pause_ns - now, SECOND) / 1000000 + 1) : 1000;
}

static void close_all(struct mg_fetch *f)
{
	atomic_store(&f->stop, true); /* what is under way ends with its present request */
	if (f->source)
		f->source->kind->close(f->source);
	if (f->port)
		bs_port_close(f->port);
	bs_origin_detach(f->origin);
}

static void *run(void *arg)
{
	struct mg_fetch *f = arg;

	while (f->origin && !atomic_load(&f->stop)) {
		uint64_t now = vs_now_ns();
		bool more = false;

		if (connected(f, now)) {
			begin_wants(f, now);
			more = step(f, now);
		} else if (f->ending) { /* the volume was deleted */
			more = end(f);
		}
		if (f->origin)
			tell(f, now);
		vs_loop_turn(f->loop, more || !f->origin ? 0 : patience(f, now));
	}
	if (!f->origin) {
		atomic_store(&f->left, 0);
		f->spec.finished(f->spec.arg);
	}
	close_all(f);
	return NULL;
}

static void posted(struct vs_post *p)
{
	struct mg_fetch *f = p->arg;

	atomic_store(&f->posted, false);
	f->asked = true;
}

static void wake(void *arg)
{
	struct mg_fetch *f = arg;

	if (!atomic_exchange(&f->posted, true))
		vs_loop_post(f->loop, &f->post);
}

static void free_fetch(struct mg_fetch *f)
{
	for (unsigned i = 0; i < MG_FETCH_JOBS; i++)
		free(f->job[i].buf);
	vs_loop_free(f->loop);
	free(f);
}

static int make_jobs(struct mg_fetch *f, struct vs_error *err)
{
	for (unsigned i = 0; i < MG_FETCH_JOBS; i++) {
		struct mg_fetch_job *j = &f->job[i];

		j->fetch = f;
		j->room = i < MG_FETCH_PARTS ? PART_BLOCKS : WANT_BLOCKS;
		j->buf = aligned_alloc(BS_BLOCK, j->room * BS_BLOCK);
		if (!j->buf)
			return vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	return 0;
}

int mg_fetch_start(const struct mg_fetch_spec *spec, struct mg_fetch **out, struct vs_error *err)
{
	struct mg_fetch *f = calloc(1, sizeof(*f));
	int rc, no;

	if (!f)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	f->spec = *spec;
	f->post = (struct vs_post){.call = posted, .arg = f};
	f->asked = f->rough = true;
	atomic_store(&f->left, spec->size);
	rc = make_jobs(f, err);
	if (rc == 0)
		rc = vs_loop_new(&f->loop, err);
	if (rc == 0)
		rc = bs_origin_attach(spec->store, &spec->origin, wake, f, &f->origin, err);
	if (rc == 0 && (no = pthread_create(&f->thread, NULL, run, f)) != 0) {
		rc = vs_fail(err, vs_err_from_errno(no), "cannot start a thread");
		bs_origin_detach(f->origin);
	}
	if (rc != 0)
		free_fetch(f);
	else
		*out = f;
	return rc;
}

void mg_fetch_stop(struct mg_fetch *f)
{
	atomic_store(&f->stop, true);
	wake(f);
	pthread_join(f->thread, NULL);
	free_fetch(f);
}

uint64_t mg_fetch_left(const struct mg_fetch *f)
{
	return atomic_load(&f->left);
}
