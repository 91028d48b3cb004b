/* Who has locks of NFSv3 is remembered over a restart, and what he may claim after it. */
#include "tests/unit/nlm_scene.h"

/* ---- the time after a restart ---- */

static struct nfs4_state *restarted(unsigned nhosts)
{
	static const struct nfs_address *const hosts[] = {&one, &two};
	struct nfs4_kept *known = calloc(1, sizeof(*known));
	struct nfs4_state *s = state_new();

	for (known->nhosts = 0; known->nhosts < nhosts; known->nhosts++)
		known->hosts[known->nhosts] = (struct nfs4_kept_host){*hosts[known->nhosts], ours};
	assert_int_equal(nfs4_grace_new(known, clock_ns, &s->grace), 0);
	free(known);
	return s;
}

static enum nfs_nlm_status reclaim(struct nfs4_state *s, const struct nfs_address *from,
				   const struct nfs_nlm_lock *l, const struct nfs4_where *w)
{
	const struct nfs_nlm_args a = {.lock = *l, .exclusive = true, .reclaim = true, .state = 5};

	return lock_as(s, from, &a, w);
}

static bool due(const struct nfs4_state *s)
{
	return nfs4_grace_due(s->grace, clock_ns);
}

static void claims(void **state)
{
	const struct scene *x = *state;
	struct nfs4_state *s = restarted(2);
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 1), b = bytes_of("a", 1, 1, 1);
	const struct nfs_address stranger = {"nobody"};

	s->stir.call = NULL;
	assert_int_equal(lock_now(s, &one, &a, &w, true), NFS_NLM_DENIED_GRACE_PERIOD);
	assert_int_equal(lock_or_wait(s, &one, &a, &w, true), NFS_NLM_DENIED_GRACE_PERIOD);
	assert_int_equal(reclaim(s, &stranger, &a, &w), NFS_NLM_DENIED);
	assert_int_equal(reclaim(s, &one, &a, &w), NFS_NLM_OK);
	assert_int_equal(reclaim(s, &two, &a, &w), NFS_NLM_DENIED); /* it is taken */
	assert_int_equal(unlock(s, &one, &a, &w), NFS_NLM_OK);
	assert_int_equal(reclaim(s, &one, &a, &w), NFS_NLM_OK);
	/* The one that lost its locks itself claims none. */
	nfs_nlm_restarted(s, &two, text("b"), 9);
	assert_int_equal(reclaim(s, &two, &b, &w), NFS_NLM_DENIED);
	nfs4_grace_end(s->grace);
	assert_int_equal(reclaim(s, &one, &b, &w), NFS_NLM_DENIED);
	assert_int_equal(lock_now(s, &two, &b, &w, true), NFS_NLM_OK);
	nfs4_state_free(s);
}

/* Nobody says that he is done. */
static void ends(void **state)
{
	const struct scene *x = *state;
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 1), b = bytes_of("a", 1, 5, 1);
	struct nfs4_state *s = restarted(2);

	assert_int_equal(reclaim(s, &one, &a, &w), NFS_NLM_OK);
	clock_ns += NFS4_GRACE_QUIET_NS - 1;
	assert_int_equal(reclaim(s, &one, &b, &w), NFS_NLM_OK);
	nfs4_grace_find_host(s->grace, &two)->answered_ns = clock_ns;
	clock_ns += NFS4_GRACE_QUIET_NS;
	assert_false(due(s)); /* the other one may only begin */
	clock_ns += NFS4_GRACE_SILENT_NS - NFS4_GRACE_QUIET_NS - 1;
	assert_false(due(s));
	clock_ns++;
	assert_true(due(s));
	nfs4_state_free(s);
	/* The one that was not reached is waited for. */
	s = restarted(2);
	assert_int_equal(reclaim(s, &one, &a, &w), NFS_NLM_OK);
	clock_ns += NFS4_GRACE_NS - 1;
	assert_false(due(s));
	clock_ns++;
	assert_true(due(s));
	nfs4_state_free(s);
	/* Those that have restarted are not. */
	s = restarted(2);
	nfs_nlm_restarted(s, &one, text("a"), 9);
	assert_false(due(s));
	nfs_nlm_restarted(s, &two, text("a"), 9);
	assert_true(due(s));
	nfs4_state_free(s);
}

/* ---- the list ---- */

struct kept {
	pthread_mutex_t lock;
	uint8_t bytes[NFS_KEPT_MAX];
	size_t len;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int save(void *arg, const uint8_t *bytes, size_t len, struct vs_error *err)
{
	(void)arg;
	(void)err;
	(void)pthread_mutex_lock(&kept.lock);
	memcpy(kept.bytes, bytes, len);
	kept.len = len;
	(void)pthread_mutex_unlock(&kept.lock);
	return 0;
}

static int load(void *arg, uint8_t *bytes, size_t max, size_t *len, struct vs_error *err)
{
	(void)arg;
	(void)err;
	assert_true(kept.len <= max);
	memcpy(bytes, kept.bytes, kept.len);
	*len = kept.len;
	return 0;
}

/* How many hosts are on it; the state number with them. */
static unsigned kept_hosts(uint32_t *nsm_state)
{
	static struct nfs4_kept list;

	(void)pthread_mutex_lock(&kept.lock);
	assert_int_equal(nfs4_kept_decode(kept.bytes, kept.len, &list), 0);
	(void)pthread_mutex_unlock(&kept.lock);
	*nsm_state = list.nsm_state;
	if (list.nhosts) {
		assert_memory_equal(&list.hosts[0].client, &one, sizeof(one));
		assert_memory_equal(&list.hosts[0].server, &ours, sizeof(ours));
	}
	return list.nhosts;
}

static void woken(struct vs_post *post)
{
	*(bool *)post->arg = true;
}

/* Whether the answer had to wait for the list. */
static bool lock_kept(struct nfs4_state *s, struct vs_loop *loop, const struct nfs_nlm_lock *l,
		      const struct nfs4_where *w, bool monitored)
{
	const struct nfs_nlm_args a = {.lock = *l, .state = 5};
	const struct nfs_nlm_ask q = {one, ours, &a, *w};
	bool wait, done = false;
	struct nfs4_waiter kept_waiter = {.loop = loop, .woken = {.call = woken, .arg = &done}};

	assert_int_equal(nfs_nlm_lock(s, &q, monitored, &kept_waiter, &wait), NFS_NLM_OK);
	while (wait && !done)
		vs_loop_turn(loop, -1);
	return wait;
}

static void all_kept(struct nfs4_state *s)
{
	bool done = false;

	while (!done) {
		usleep(1000);
		(void)pthread_mutex_lock(&s->lock);
		done = nfs4_keep_has_locked(s, nfs4_keep_number_locked(s));
		(void)pthread_mutex_unlock(&s->lock);
	}
}

static void list(void **state)
{
	const struct scene *x = *state;
	const struct nfs4_where w = root_of(x->one);
	const struct nfs_nlm_lock a = bytes_of("a", 1, 0, 1), b = bytes_of("a", 1, 5, 1);
	const struct nfs_keeper keeper = {save, load, NULL};
	struct nfs4_state *s = state_new();
	struct vs_loop *loop;
	uint32_t first, then;

	assert_int_equal(vs_loop_new(&loop, NULL), 0);
	assert_int_equal(nfs4_keep_start(s, &keeper, NULL), 0);
	assert_false(nfs4_grace_on(s->grace));
	/* A client without a status monitor would not hear of a restart. */
	assert_false(lock_kept(s, loop, &a, &w, false));
	assert_true(lock_kept(s, loop, &a, &w, true));
	assert_int_equal(kept_hosts(&first), 1);
	assert_false(lock_kept(s, loop, &b, &w, true));
	/* It stays for a while, and is known by then. */
	assert_int_equal(unlock(s, &one, &a, &w), NFS_NLM_OK);
	assert_int_equal(unlock(s, &one, &b, &w), NFS_NLM_OK);
	assert_counts(s, 0, 0, 1);
	assert_false(lock_kept(s, loop, &a, &w, true));
	assert_int_equal(unlock(s, &one, &a, &w), NFS_NLM_OK);
	(void)pthread_mutex_lock(&s->lock);
	clock_ns += NFS_NLM_LINGER_NS - 1;
	assert_true(nfs_nlm_host_sweep_locked(s));
	clock_ns++;
	assert_false(nfs_nlm_host_sweep_locked(s));
	(void)pthread_mutex_unlock(&s->lock);
	assert_counts(s, 0, 0, 0);
	all_kept(s);
	assert_int_equal(kept_hosts(&first), 0);
	assert_true(lock_kept(s, loop, &a, &w, true));
	/* One that has nothing is not on a list that is saved for another reason. */
	assert_int_equal(unlock(s, &one, &a, &w), NFS_NLM_OK);
	(void)pthread_mutex_lock(&s->lock);
	nfs4_keep_changed_locked(s);
	(void)pthread_mutex_unlock(&s->lock);
	all_kept(s);
	assert_int_equal(kept_hosts(&first), 0);
	assert_true(lock_kept(s, loop, &a, &w, true));
	nfs4_keep_stop(s);
	nfs4_state_free(s);
	/* After the restart it may come, until it is forgotten; the state is another, and kept. */
	assert_int_equal(kept_hosts(&first), 1);
	s = state_new();
	assert_int_equal(nfs4_keep_start(s, &keeper, NULL), 0);
	assert_true(nfs4_grace_on(s->grace));
	all_kept(s);
	assert_int_equal(kept_hosts(&then), 1);
	assert_int_equal(then, first + 2);
	assert_int_equal(then, s->nsm_state);
	(void)pthread_mutex_lock(&s->lock);
	clock_ns += NFS4_GRACE_NS;
	nfs4_keep_changed_locked(s);
	(void)pthread_mutex_unlock(&s->lock);
	all_kept(s);
	assert_int_equal(kept_hosts(&then), 0);
	nfs4_keep_stop(s);
	nfs4_state_free(s);
	vs_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(claims),
	    cmocka_unit_test(ends),
	    cmocka_unit_test(list),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
