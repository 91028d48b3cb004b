#include "targets/iscsi/pr.h"

#include <stdlib.h>
#include <string.h>

static bool for_registrants(uint8_t type)
{
	return type == ISCSI_PR_WRITE_REGISTRANTS || type == ISCSI_PR_ALL_REGISTRANTS;
}

static bool for_any(uint8_t type)
{
	return type == ISCSI_PR_WRITE_ANY || type == ISCSI_PR_ALL_ANY;
}

bool iscsi_pr_type_ok(uint8_t type)
{
	return type == ISCSI_PR_WRITE || type == ISCSI_PR_ALL || for_registrants(type) ||
	       for_any(type);
}

bool iscsi_pr_same(const struct iscsi_pr_nexus *a, const struct iscsi_pr_nexus *b)
{
	return a->tag == b->tag && strcmp(a->port, b->port) == 0 &&
	       strcmp(a->target, b->target) == 0;
}

static struct iscsi_pr_registrant *find(const struct iscsi_pr *pr, const struct iscsi_pr_nexus *who)
{
	for (unsigned i = 0; i < pr->n; i++)
		if (iscsi_pr_same(&pr->r[i].nexus, who))
			return &pr->r[i];
	return NULL;
}

bool iscsi_pr_holds(const struct iscsi_pr *pr, unsigned registrant)
{
	return pr->type && (for_any(pr->type) || pr->holder == registrant);
}

bool iscsi_pr_allows(const struct iscsi_pr *pr, const struct iscsi_pr_nexus *who, bool write)
{
	const struct iscsi_pr_registrant *r;
	bool writes_only = pr->type == ISCSI_PR_WRITE || pr->type == ISCSI_PR_WRITE_REGISTRANTS ||
			   pr->type == ISCSI_PR_WRITE_ANY;

	if (!pr->type || (writes_only && !write))
		return true;
	r = find(pr, who);
	return r && (for_registrants(pr->type) || iscsi_pr_holds(pr, (unsigned)(r - pr->r)));
}

static void tell_others(struct iscsi_pr *pr, const struct iscsi_pr_nexus *who,
			enum iscsi_pr_news what, const struct iscsi_pr_ops *ops)
{
	for (unsigned i = 0; i < pr->n; i++)
		if (!iscsi_pr_same(&pr->r[i].nexus, who))
			ops->tell(ops->arg, &pr->r[i].nexus, what);
}

static void release(struct iscsi_pr *pr, const struct iscsi_pr_nexus *who,
		    const struct iscsi_pr_ops *ops)
{
	if (for_registrants(pr->type) || for_any(pr->type))
		tell_others(pr, who, ISCSI_PR_RELEASED, ops);
	pr->type = ISCSI_PR_NONE;
}

/* The reservation of who alone held it is gone; nobody is told. */
static void drop(struct iscsi_pr *pr, unsigned i)
{
	if (pr->type && !for_any(pr->type) && pr->holder == i)
		pr->type = ISCSI_PR_NONE;
	pr->n--;
	memmove(&pr->r[i], &pr->r[i + 1], (pr->n - i) * sizeof(*pr->r));
	if (pr->holder > i)
		pr->holder--;
	if (!pr->n)
		pr->type = ISCSI_PR_NONE;
}

static enum iscsi_pr_result make_room(struct iscsi_pr *pr, unsigned n)
{
	if (!pr->r)
		pr->r = calloc(ISCSI_PR_MAX, sizeof(*pr->r));
	return pr->r && n <= ISCSI_PR_MAX - pr->n ? ISCSI_PR_OK : ISCSI_PR_NO_ROOM;
}

static void add(struct iscsi_pr *pr, const struct iscsi_pr_nexus *who, uint64_t key)
{
	pr->r[pr->n].nexus = *who;
	pr->r[pr->n++].key = key;
}

static void unregister(struct iscsi_pr *pr, unsigned i, const struct iscsi_pr_ops *ops)
{
	struct iscsi_pr_nexus who = pr->r[i].nexus;

	if (iscsi_pr_holds(pr, i) && (!for_any(pr->type) || pr->n == 1))
		release(pr, &who, ops);
	drop(pr, i);
}

/* Gives the nexus the key, whether it has one or not; 0 takes it away. */
static void set_key(struct iscsi_pr *pr, const struct iscsi_pr_nexus *who, uint64_t key,
		    const struct iscsi_pr_ops *ops)
{
	struct iscsi_pr_registrant *r = find(pr, who);

	if (r && key)
		r->key = key;
	else if (r)
		unregister(pr, (unsigned)(r - pr->r), ops);
	else if (key)
		add(pr, who, key);
}

static enum iscsi_pr_result do_register(struct iscsi_pr *pr, const struct iscsi_pr_nexus *who,
					const struct iscsi_pr_request *req,
					const struct iscsi_pr_ops *ops)
{
	const struct iscsi_pr_registrant *r = find(pr, who);
	unsigned fresh = r == NULL;

	if (req->action == ISCSI_PR_REGISTER && req->key != (r ? r->key : 0))
		return ISCSI_PR_CONFLICT;
	if (r && req->nothers && req->others_are_new)
		return ISCSI_PR_BAD_LIST;
	for (unsigned i = 0; i < req->nothers; i++) {
		bool known = find(pr, &req->others[i]) || iscsi_pr_same(&req->others[i], who);

		if (known && req->others_are_new)
			return ISCSI_PR_BAD_LIST;
		fresh += !known;
	}
	if (!r && !req->sa_key)
		return ISCSI_PR_OK; /* nothing to take away */
	if (req->sa_key && make_room(pr, fresh) != ISCSI_PR_OK)
		return ISCSI_PR_NO_ROOM;
	set_key(pr, who, req->sa_key, ops);
	for (unsigned i = 0; i < req->nothers; i++)
		set_key(pr, &req->others[i], req->sa_key, ops);
	pr->generation++;
	pr->aptpl = req->aptpl;
	return ISCSI_PR_OK;
}

/* SPC-4, 5.12.8: the holder registers another nexus and makes it the holder. */
static enum iscsi_pr_result do_move(struct iscsi_pr *pr, unsigned me,
				    const struct iscsi_pr_request *req,
				    const struct iscsi_pr_ops *ops)
{
	const struct iscsi_pr_nexus *to = req->others;

	if (!iscsi_pr_holds(pr, me) || for_any(pr->type))
		return ISCSI_PR_CONFLICT;
	if (!req->sa_key || iscsi_pr_same(&pr->r[me].nexus, to))
		return ISCSI_PR_BAD_LIST;
	if (!find(pr, to) && make_room(pr, 1) != ISCSI_PR_OK)
		return ISCSI_PR_NO_ROOM;
	set_key(pr, to, req->sa_key, ops);
	pr->holder = (unsigned)(find(pr, to) - pr->r);
	if (req->unregister)
		drop(pr, me);
	pr->generation++;
	pr->aptpl = req->aptpl;
	return ISCSI_PR_OK;
}

static enum iscsi_pr_result do_reserve(struct iscsi_pr *pr, unsigned me, uint8_t type)
{
	if (pr->type)
		return iscsi_pr_holds(pr, me) && pr->type == type ? ISCSI_PR_OK : ISCSI_PR_CONFLICT;
	pr->type = type;
	pr->holder = me;
	return ISCSI_PR_OK;
}

static enum iscsi_pr_result do_release(struct iscsi_pr *pr, unsigned me, uint8_t type,
				       const struct iscsi_pr_ops *ops)
{
	if (!iscsi_pr_holds(pr, me))
		return ISCSI_PR_OK;
	if (pr->type != type)
		return ISCSI_PR_BAD_RELEASE;
	release(pr, &pr->r[me].nexus, ops);
	return ISCSI_PR_OK;
}

static enum iscsi_pr_result do_clear(struct iscsi_pr *pr, unsigned me,
				     const struct iscsi_pr_ops *ops)
{
	tell_others(pr, &pr->r[me].nexus, ISCSI_PR_RESERVATION_PREEMPTED, ops);
	pr->n = 0;
	pr->type = ISCSI_PR_NONE;
	pr->generation++;
	return ISCSI_PR_OK;
}

/* Removes the others with the key (all: with any) and tells them; how many there were. */
static unsigned remove_others(struct iscsi_pr *pr, const struct iscsi_pr_nexus *who, uint64_t key,
			      bool all, const struct iscsi_pr_ops *ops)
{
	unsigned removed = 0;

	for (unsigned i = pr->n; i-- > 0;) {
		if (iscsi_pr_same(&pr->r[i].nexus, who) || (!all && pr->r[i].key != key))
			continue;
		ops->tell(ops->arg, &pr->r[i].nexus, ISCSI_PR_REGISTRATION_PREEMPTED);
		drop(pr, i);
		removed++;
	}
	return removed;
}

static enum iscsi_pr_result do_preempt(struct iscsi_pr *pr, unsigned me,
				       const struct iscsi_pr_request *req,
				       const struct iscsi_pr_ops *ops)
{
	struct iscsi_pr_nexus who = pr->r[me].nexus;
	bool all = for_any(pr->type) && !req->sa_key, takes;
	uint8_t was = pr->type;

	takes = all || (pr->type && !for_any(pr->type) && pr->r[pr->holder].key == req->sa_key);
	if (pr->type && !takes && !req->sa_key)
		return ISCSI_PR_BAD_LIST;
	if (!remove_others(pr, &who, req->sa_key, all, ops) && !takes)
		return ISCSI_PR_CONFLICT;
	pr->generation++;
	if (!takes)
		return ISCSI_PR_OK;
	if (was != req->type && (for_registrants(was) || for_any(was)))
		tell_others(pr, &who, ISCSI_PR_RELEASED, ops);
	pr->type = req->type;
	pr->holder = (unsigned)(find(pr, &who) - pr->r);
	return ISCSI_PR_OK;
}

enum iscsi_pr_result iscsi_pr_do(struct iscsi_pr *pr, const struct iscsi_pr_nexus *who,
				 const struct iscsi_pr_request *req, const struct iscsi_pr_ops *ops)
{
	struct iscsi_pr_registrant *r;
	unsigned me;

	if (req->action == ISCSI_PR_REGISTER || req->action == ISCSI_PR_REGISTER_IGNORE)
		return do_register(pr, who, req, ops);
	r = find(pr, who);
	if (!r || r->key != req->key)
		return ISCSI_PR_CONFLICT;
	me = (unsigned)(r - pr->r);
	switch (req->action) {
	case ISCSI_PR_RESERVE:
		return do_reserve(pr, me, req->type);
	case ISCSI_PR_RELEASE:
		return do_release(pr, me, req->type, ops);
	case ISCSI_PR_CLEAR:
		return do_clear(pr, me, ops);
	case ISCSI_PR_REGISTER_MOVE:
		return do_move(pr, me, req, ops);
	default:
		return do_preempt(pr, me, req, ops);
	}
}

void iscsi_pr_destroy(struct iscsi_pr *pr)
{
	free(pr->r);
	*pr = (struct iscsi_pr){0};
}
