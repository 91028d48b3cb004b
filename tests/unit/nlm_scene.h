/* Locks of NFSv3 as calls ask for them, without a server. */
#ifndef TESTS_UNIT_NLM_SCENE_H
#define TESTS_UNIT_NLM_SCENE_H

#include "tests/unit/nfs4_state_scene.h"

#include "targets/nfs/nlm_wait.h"

#include <stdatomic.h>

static const struct nfs_address one = {"address one"}, two = {"address two"}, ours = {"server"};

static inline struct nfs4_where root_of(struct ds_store *store)
{
	return (struct nfs4_where){nfs_store_id(ds_uuid(store)), ds_root, store};
}

static inline struct nfs_nlm_lock bytes_of(const char *caller, uint32_t svid, uint64_t offset,
					   uint64_t length)
{
	return (struct nfs_nlm_lock){.caller = text(caller),
				     .owner = text("oh"),
				     .svid = svid,
				     .offset = offset,
				     .length = length};
}

static inline enum nfs_nlm_status lock_as(struct nfs4_state *s, const struct nfs_address *from,
					  const struct nfs_nlm_args *a, const struct nfs4_where *w)
{
	const struct nfs_nlm_ask q = {*from, ours, a, *w};
	struct nfs4_waiter kept;
	enum nfs_nlm_status status;
	bool wait;

	status = nfs_nlm_lock(s, &q, true, &kept, &wait);
	assert_false(wait);
	return status;
}

static inline enum nfs_nlm_status lock_now(struct nfs4_state *s, const struct nfs_address *from,
					   const struct nfs_nlm_lock *l, const struct nfs4_where *w,
					   bool exclusive)
{
	const struct nfs_nlm_args a = {.lock = *l, .exclusive = exclusive, .state = 5};

	return lock_as(s, from, &a, w);
}

static inline enum nfs_nlm_status lock_or_wait(struct nfs4_state *s, const struct nfs_address *from,
					       const struct nfs_nlm_lock *l,
					       const struct nfs4_where *w, bool exclusive)
{
	const struct nfs_nlm_args a = {
	    .lock = *l, .exclusive = exclusive, .block = true, .state = 5};

	return lock_as(s, from, &a, w);
}

static inline enum nfs_nlm_status unlock(struct nfs4_state *s, const struct nfs_address *from,
					 const struct nfs_nlm_lock *l, const struct nfs4_where *w)
{
	const struct nfs_nlm_args a = {.lock = *l};
	const struct nfs_nlm_ask q = {*from, ours, &a, *w};

	return nfs_nlm_unlock(s, &q);
}

static inline enum nfs_nlm_status cancel(struct nfs4_state *s, const struct nfs_address *from,
					 const struct nfs_nlm_lock *l, const struct nfs4_where *w,
					 bool exclusive)
{
	const struct nfs_nlm_args a = {.lock = *l, .exclusive = exclusive, .block = true};
	const struct nfs_nlm_ask q = {*from, ours, &a, *w};

	return nfs_nlm_cancel(s, &q);
}

static inline enum nfs_nlm_status look(struct nfs4_state *s, const struct nfs_address *from,
				       const struct nfs_nlm_lock *l, const struct nfs4_where *w,
				       bool exclusive, struct nfs_nlm_denied *out)
{
	const struct nfs_nlm_args a = {.lock = *l, .exclusive = exclusive};
	const struct nfs_nlm_ask q = {*from, ours, &a, *w};

	return nfs_nlm_test(s, &q, out);
}

/* As many locks, owners and hosts as there should be: nothing is left behind or lost. */
static inline void assert_counts(const struct nfs4_state *s, unsigned ranges, unsigned held,
				 unsigned hosts)
{
	assert_int_equal(s->nranges, ranges);
	assert_int_equal(s->nheld, held);
	assert_int_equal(s->nhosts, hosts);
}

#endif
