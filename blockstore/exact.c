#include "blockstore/exact.h"

#include "blockstore/drop.h"
#include "blockstore/dry.h"
#include "blockstore/exact_int.h"
#include "blockstore/op.h"
#include "blockstore/store_int.h"

#include <stdlib.h>

#define SLOTS 65536u
#define TRIES 3
#define QUIET_NS UINT64_C(5000000000)	 /* without a change: stale figures are renewed */
#define ASKED_NS UINT64_C(3600000000000) /* those that somebody asked for since */

struct bs_exact {
	struct bs_dry *dry;
	struct bs_waitq wait;	/* for figures */
	bool running;		/* the fiber that computes */
	bool wanted;		/* some volume may be */
	bool asked;		/* some figure was asked for since open */
	uint64_t wait_ns;	/* when the first of those that wait gives up; UINT64_MAX: none */
	uint64_t seen, seen_ns; /* the last change, and when it was seen */
	uint64_t renewed;	/* the state for which stale figures were renewed */
};

int bs_exact_init(struct bs_engine *e)
{
	e->exact = calloc(1, sizeof(*e->exact));
	if (e->exact)
		e->exact->wait_ns = UINT64_MAX;
	return e->exact
		   ? bs_dry_new(e->cfg.exact_slots ? e->cfg.exact_slots : SLOTS, &e->exact->dry)
		   : VS_E_NOMEM;
}

void bs_exact_destroy(struct bs_engine *e)
{
	if (e->exact)
		bs_dry_free(e->exact->dry);
	free(e->exact);
}

bool bs_exact_busy(const struct bs_engine *e)
{
	return e->exact->running;
}

static bool fresh(const struct bs_engine *e, const struct bs_vol *v)
{
	return v->exact.known && v->exact.changes == e->changes;
}

/* Exact means after the release queue; where nothing works it off the figures count as stale. */
static bool settled(const struct bs_engine *e)
{
	return !e->works || e->read_only || e->work_stuck;
}

static struct bs_vol *next_wanted(struct bs_engine *e)
{
	for (size_t i = 0; i <= e->vols.mask; i++)
		for (struct bs_vol *v = e->vols.by_id[i]; v; v = v->id_next)
			if (v->exact.wanted)
				return v;
	return NULL;
}

static void compute(struct bs_engine *e, struct bs_vol *v)
{
	uint64_t id = v->ent.id, changes, frees;
	int rc = VS_E_CORRUPT;

	for (unsigned i = 0; i < TRIES && v && rc == VS_E_CORRUPT; i++) {
		int64_t at = e->env.unix_ns(e->env.arg);

		changes = e->works || bs_drops_pending(e) ? UINT64_MAX : e->changes;
		frees = 0;
		rc = v->ent.root
			 ? bs_dry_run(e, e->exact->dry, v->ent.root, v->ent.height - 1u, &frees)
			 : 0;
		v = bs_vol_by_id(e, id);
		if (v && rc == 0)
			v->exact = (struct bs_vol_exact){.frees = frees,
							 .changes = changes,
							 .as_of_ns = at,
							 .asked_ns = v->exact.asked_ns,
							 .known = true};
		if (rc == VS_E_CORRUPT && e->changes == changes)
			break; /* nothing moved: the map is damaged */
	}
	if (v)
		v->exact.wanted = false;
}

static void exact_fiber(void *arg)
{
	struct bs_engine *e = arg;
	struct bs_exact *x = e->exact;
	struct bs_vol *v;

	while (!e->stopping && !e->failed && settled(e)) {
		/* both runs as they are now; what writes let go meanwhile makes the figure stale */
		for (unsigned i = 0; i < 2 && bs_drops_relieve(e) == 0; i++)
			;
		v = next_wanted(e);
		x->wanted = v != NULL;
		if (!v)
			break;
		compute(e, v);
		bs_frames_unkeep(e);
		bs_fiber_wake_all(e->fibers, &x->wait);
	}
	x->running = false;
	bs_fiber_wake_all(e->fibers, &x->wait);
}

/* After a quiet time, what was asked for not long ago is computed again. */
static void renew(struct bs_engine *e, uint64_t now)
{
	struct bs_exact *x = e->exact;

	if (x->seen != e->changes) {
		x->seen = e->changes;
		x->seen_ns = now;
	}
	if (now < x->seen_ns + QUIET_NS)
		return;
	x->renewed = e->changes;
	for (size_t i = 0; i <= e->vols.mask; i++) {
		for (struct bs_vol *v = e->vols.by_id[i]; v; v = v->id_next) {
			if (!v->exact.asked_ns || fresh(e, v) || now > v->exact.asked_ns + ASKED_NS)
				continue;
			v->exact.wanted = x->wanted = true;
		}
	}
}

void bs_exact_start(struct bs_engine *e)
{
	struct bs_exact *x = e->exact;

	if (!x->asked)
		return;
	if (x->wait_ns != UINT64_MAX || x->renewed != e->changes) {
		uint64_t now = e->env.now_ns(e->env.arg);

		if (x->renewed != e->changes)
			renew(e, now);
		if (now >= x->wait_ns) {
			x->wait_ns = UINT64_MAX;
			bs_fiber_wake_all(e->fibers, &x->wait);
		}
	}
	if (x->running || !x->wanted || e->stopping || e->failed || !settled(e) ||
	    e->op_fibers >= bs_ops_limit(e))
		return;
	x->running = true;
	if (!bs_fiber_start(e->fibers, exact_fiber, e))
		x->running = false;
}

uint64_t bs_exact_wake(const struct bs_engine *e)
{
	const struct bs_exact *x = e->exact;
	uint64_t quiet = x->asked && x->renewed != e->changes ? x->seen_ns + QUIET_NS : UINT64_MAX;

	return VS_MIN(x->wait_ns, quiet);
}

struct get_args {
	const uint64_t *ids;
	size_t n;
	unsigned wait_ms;
	struct bs_exact_info *out;
};

/* Marks what is to be computed; whether there is anything. */
static bool want(struct bs_engine *e, const struct get_args *a, uint64_t now)
{
	bool any = false;

	for (size_t i = 0; i < a->n; i++) {
		struct bs_vol *v = bs_vol_by_id(e, a->ids[i]);

		if (!v)
			continue;
		v->exact.asked_ns = now;
		if (!fresh(e, v))
			any = v->exact.wanted = true;
	}
	e->exact->asked = true;
	e->exact->wanted |= any;
	return any;
}

static bool waits_for(struct bs_engine *e, const struct get_args *a)
{
	for (size_t i = 0; i < a->n; i++) {
		struct bs_vol *v = bs_vol_by_id(e, a->ids[i]);

		if (v && v->exact.wanted)
			return true;
	}
	return false;
}

static int do_get(struct bs_engine *e, struct bs_call *c)
{
	struct get_args *a = c->arg;
	struct bs_exact *x = e->exact;
	uint64_t now = e->env.now_ns(e->env.arg), until = now + a->wait_ms * UINT64_C(1000000);

	if (a->wait_ms && want(e, a, now)) {
		while (now < until && !e->failed && !e->stopping && waits_for(e, a)) {
			x->wait_ns = VS_MIN(x->wait_ns, until);
			bs_fiber_block(e->fibers, &x->wait);
			now = e->env.now_ns(e->env.arg);
		}
	}
	for (size_t i = 0; i < a->n; i++) {
		const struct bs_vol *v = bs_vol_by_id(e, a->ids[i]);

		a->out[i] = (struct bs_exact_info){0};
		if (v && !v->ent.root) /* nothing was ever written to it */
			a->out[i] = (struct bs_exact_info){.known = true,
							   .as_of_ns = e->env.unix_ns(e->env.arg)};
		if (!v || !v->ent.root || !v->exact.known)
			continue;
		a->out[i] = (struct bs_exact_info){.known = true,
						   .stale = !fresh(e, v),
						   .as_of_ns = v->exact.as_of_ns,
						   .frees = v->exact.frees};
	}
	return e->failed ? VS_E_FAILED : 0;
}

int bs_exact_get(struct bs_store *s, const uint64_t *ids, size_t n, unsigned wait_ms,
		 struct bs_exact_info *out, struct vs_error *err)
{
	struct get_args a = {ids, n, wait_ms, out};

	return n ? bs_store_call(s, false, do_get, &a, err) : 0;
}
