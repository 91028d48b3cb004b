/* The duplicate request cache, alone and from several threads. */
#include "targets/nfs/drc.h"

#include "common/bytes.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct nfs_address client = {{1}}, other = {{2}};

struct scene {
	struct nfs_drc *drc;
	struct vs_loop *loop;
	struct nfs_drc_wait wait;
	unsigned woken;
};

static void woken(struct vs_post *p)
{
	struct scene *s = p->arg;

	s->woken++;
}

static struct scene *setup(unsigned entries)
{
	struct scene *s = calloc(1, sizeof(*s));

	assert_int_equal(nfs_drc_new(entries, &s->drc), 0);
	assert_int_equal(vs_loop_new(&s->loop, NULL), 0);
	s->wait.loop = s->loop;
	s->wait.woken = (struct vs_post){.call = woken, .arg = s};
	return s;
}

static void teardown(struct scene *s)
{
	nfs_drc_free(s->drc);
	vs_loop_free(s->loop);
	free(s);
}

static enum nfs_drc_verdict begin(struct scene *s, const struct nfs_address *from, uint32_t xid,
				  const char *call, struct nfs_drc_entry **e)
{
	return nfs_drc_begin(s->drc, from, xid, call, strlen(call), &s->wait, e);
}

static void repeats(void **state)
{
	struct scene *s = setup(8);
	struct nfs_drc_entry *e, *none;

	(void)state;
	assert_int_equal(begin(s, &client, 1, "remove a", &e), NFS_DRC_NEW);
	nfs_drc_done(s->drc, e, "gone", 4);
	assert_int_equal(begin(s, &client, 1, "remove a", &none), NFS_DRC_SEEN);
	assert_int_equal(s->wait.len, 4);
	assert_memory_equal(s->wait.reply, "gone", 4);
	/* Another client, another xid, another call with the same xid: all are new. */
	assert_int_equal(begin(s, &other, 1, "remove a", &e), NFS_DRC_NEW);
	assert_int_equal(begin(s, &client, 2, "remove a", &e), NFS_DRC_NEW);
	assert_int_equal(begin(s, &client, 1, "remove b", &e), NFS_DRC_NEW);
	teardown(s);
}

static void waits_for_the_first(void **state)
{
	struct scene *s = setup(8);
	struct nfs_drc_entry *e, *none;
	struct nfs_drc_wait third = s->wait;

	(void)state;
	assert_int_equal(begin(s, &client, 1, "rename", &e), NFS_DRC_NEW);
	assert_int_equal(begin(s, &client, 1, "rename", &none), NFS_DRC_WAIT);
	assert_int_equal(nfs_drc_begin(s->drc, &client, 1, "rename", 6, &third, &none),
			 NFS_DRC_DROP);
	vs_loop_turn(s->loop, 0);
	assert_int_equal(s->woken, 0);
	nfs_drc_done(s->drc, e, "ok", 2);
	vs_loop_turn(s->loop, 0);
	assert_int_equal(s->woken, 1);
	assert_int_equal(s->wait.len, 2);
	assert_memory_equal(s->wait.reply, "ok", 2);
	teardown(s);
}

static void oldest_makes_room(void **state)
{
	struct scene *s = setup(4);
	struct nfs_drc_entry *e, *kept;
	char call[16];

	(void)state;
	assert_int_equal(begin(s, &client, 1, "under way", &kept), NFS_DRC_NEW);
	for (uint32_t i = 0; i < 100; i++) {
		(void)snprintf(call, sizeof(call), "call %u", i);
		assert_int_equal(begin(s, &client, i, call, &e), NFS_DRC_NEW);
		nfs_drc_done(s->drc, e, call, (uint32_t)strlen(call));
	}
	/* Three are left beside the one that is under way, and that one is as it was. */
	for (uint32_t i = 97; i < 100; i++) {
		(void)snprintf(call, sizeof(call), "call %u", i);
		assert_int_equal(begin(s, &client, i, call, &e), NFS_DRC_SEEN);
		assert_memory_equal(s->wait.reply, call, strlen(call));
	}
	assert_int_equal(begin(s, &client, 96, "call 96", &e), NFS_DRC_NEW);
	nfs_drc_done(s->drc, e, "", 0);
	nfs_drc_done(s->drc, kept, "kept", 4);
	assert_int_equal(begin(s, &client, 1, "under way", &e), NFS_DRC_SEEN);
	assert_memory_equal(s->wait.reply, "kept", 4);
	teardown(s);
}

static void all_under_way(void **state)
{
	struct scene *s = setup(2);
	struct nfs_drc_entry *a, *b, *c;

	(void)state;
	assert_int_equal(begin(s, &client, 1, "a", &a), NFS_DRC_NEW);
	assert_int_equal(begin(s, &client, 2, "b", &b), NFS_DRC_NEW);
	assert_int_equal(begin(s, &client, 3, "c", &c), NFS_DRC_NEW);
	assert_null(c);
	nfs_drc_done(s->drc, c, "c", 1);
	nfs_drc_done(s->drc, a, "a", 1);
	nfs_drc_done(s->drc, b, "b", 1);
	assert_int_equal(begin(s, &client, 2, "b", &c), NFS_DRC_SEEN);
	teardown(s);
}

#define CALLS 2000
#define THREADS 3

struct race {
	struct nfs_drc *drc;
	struct vs_loop *loop;
	unsigned carried_out, answered, dropped; /* of this thread */
	unsigned waiting;
};

static void race_woken(struct vs_post *p)
{
	struct race *r = p->arg;

	r->waiting--;
	r->answered++;
}

/* Each thread sends the same calls; of each one is carried out and the others hear what came. */
static void *race(void *arg)
{
	struct race *r = arg;
	struct nfs_drc_wait *waits = calloc(CALLS, sizeof(*waits));

	for (uint32_t i = 0; i < CALLS; i++) {
		struct nfs_drc_entry *e;

		waits[i].loop = r->loop;
		waits[i].woken = (struct vs_post){.call = race_woken, .arg = r};
		r->waiting++;
		switch (nfs_drc_begin(r->drc, &client, i, &i, sizeof(i), &waits[i], &e)) {
		case NFS_DRC_NEW:
			r->waiting--;
			r->carried_out++;
			nfs_drc_done(r->drc, e, &i, sizeof(i));
			break;
		case NFS_DRC_SEEN:
			r->waiting--;
			r->answered++;
			break;
		case NFS_DRC_WAIT:
			break;
		case NFS_DRC_DROP:
			r->waiting--;
			r->dropped++;
			break;
		}
	}
	while (r->waiting)
		vs_loop_turn(r->loop, -1);
	for (uint32_t i = 0; i < CALLS; i++)
		VS_ASSERT(waits[i].len == 0 || memcmp(waits[i].reply, &i, sizeof(i)) == 0);
	free(waits);
	return NULL;
}

static void threads(void **state)
{
	struct race r[THREADS] = {{0}};
	pthread_t t[THREADS];
	unsigned carried_out = 0, answered = 0, dropped = 0;
	struct nfs_drc *drc;

	(void)state;
	assert_int_equal(nfs_drc_new(CALLS, &drc), 0);
	for (int i = 0; i < THREADS; i++) {
		r[i].drc = drc;
		assert_int_equal(vs_loop_new(&r[i].loop, NULL), 0);
		assert_int_equal(pthread_create(&t[i], NULL, race, &r[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	for (int i = 0; i < THREADS; i++) {
		carried_out += r[i].carried_out;
		answered += r[i].answered;
		dropped += r[i].dropped;
		vs_loop_free(r[i].loop);
	}
	assert_int_equal(carried_out, CALLS);
	assert_int_equal(carried_out + answered + dropped, THREADS * CALLS);
	nfs_drc_free(drc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(repeats),		 cmocka_unit_test(waits_for_the_first),
	    cmocka_unit_test(oldest_makes_room), cmocka_unit_test(all_under_way),
	    cmocka_unit_test(threads),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
