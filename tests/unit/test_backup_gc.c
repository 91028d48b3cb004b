/* Clean-up of repositories, and the locks that keep it apart from backups. */
#include "tests/unit/backup_scene.h"

#include "backup/lock.h"

#include <sys/wait.h>

/* Two backups of which the first is deleted; the second keeps `kept` blocks of its 1024. */
static void gc_after_forget(struct env *e, unsigned kept, struct bk_gc_result *gc)
{
	struct bs_volume *v = make_source(e, "v"), *s1 = snap_new(&e->a, "v@1"), *s2;
	struct bk_backup_result b1, b2;
	struct bk_gc_result dry, none;
	struct bk_repo_info before, after;

	ok(bk_backup_run(e->a.s, s1, e->repo, NULL, &b1, &err));
	for (uint64_t i = 0; i < 2048; i++)
		if (i % 1024 >= kept)
			block_write(&e->a, v, i * 3, i + 100000);
	s2 = snap_new(&e->a, "v@2");
	const struct bk_backup_options o = {.parent = s1, .parent_id = b1.id};

	ok(bk_backup_run(e->a.s, s2, e->repo, &o, &b2, &err));
	ok(bk_repo_gc(e->repo, false, NULL, &none, &err));
	assert_int_equal(none.freed_bytes, 0);
	ok(bk_repo_forget(e->repo, b1.id, &err));
	ok(bk_repo_info(e->repo, &before, &err));
	ok(bk_repo_gc(e->repo, true, NULL, &dry, &err));
	assert_true(dry.freed_bytes > 0);
	ok(bk_repo_info(e->repo, &after, &err));
	assert_int_equal(before.stored_bytes, after.stored_bytes);
	ok(bk_repo_gc(e->repo, false, NULL, gc, &err));
	ok(bk_repo_info(e->repo, &after, &err));
	assert_true(after.stored_bytes < before.stored_bytes);
	assert_int_equal(after.unindexed_bytes, 0);
	check_clean(e);
	restores_as(e, b2.id, s2);
	ok(bk_repo_gc(e->repo, false, NULL, &none, &err));
	assert_int_equal(none.freed_bytes, 0);
	assert_int_equal(none.packs_rewritten + none.packs_deleted, 0);
	/* What was freed is sent again when it comes back. */
	ok(bk_backup_run(e->a.s, s1, e->repo, NULL, &b1, &err));
	assert_int_equal(b1.blocks_sent, 1024 - kept);
	restores_as(e, b1.id, s1);
	bs_volume_close(s2);
	bs_volume_close(s1);
	bs_volume_close(v);
}

static void gc_deletes_packs_without_use(void **state)
{
	struct bk_gc_result gc;

	gc_after_forget(*state, 0, &gc);
	assert_true(gc.packs_deleted >= 2); /* blocks and pages */
	assert_int_equal(gc.packs_rewritten, 0);
}

static void gc_writes_sparse_packs_anew(void **state)
{
	struct bk_gc_result gc;

	gc_after_forget(*state, 100, &gc);
	assert_true(gc.packs_rewritten >= 1);
}

static void gc_merges_index_objects(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "m"), *s = NULL;
	struct bk_backup_result b;
	struct bk_gc_result gc;
	char ids[12][BK_ID_MAX], full[16];

	for (unsigned i = 0; i < 12; i++) {
		if (s)
			bs_volume_close(s);
		block_write(&e->a, v, i, 4000 + i);
		snprintf(full, sizeof(full), "m@%u", i);
		s = snap_new(&e->a, full);
		ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
		assert_int_equal(b.blocks_sent, i ? 1 : 1025);
		memcpy(ids[i], b.id, sizeof(b.id));
	}
	assert_int_equal(count(e, "index"), 12);
	ok(bk_repo_gc(e->repo, false, NULL, &gc, &err));
	assert_int_equal(count(e, "index"), 1);
	assert_int_equal(count(e, "locks"), 0);
	check_clean(e);
	restores_as(e, ids[11], s);
	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	assert_int_equal(b.blocks_sent, 0);
	bs_volume_close(s);
	bs_volume_close(v);
}

static void gc_refuses_what_it_cannot_follow(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "q"), *s = snap_new(&e->a, "q@1");
	struct bk_backup_result b;
	struct bk_gc_result gc;
	struct dd_digest orphan;
	const char *name;
	char path[192];
	uint64_t packs;

	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	first_pack(e, path, sizeof(path), &name);
	unlink(path);
	packs = count(e, "packs");
	fails(VS_E_CORRUPT, bk_repo_gc(e->repo, false, NULL, &gc, &err));
	assert_non_null(strstr(err.text, b.id));
	assert_int_equal(count(e, "packs"), packs);
	/* Without that backup it can, and a pack that nobody mentions goes too. */
	ok(bk_repo_forget(e->repo, b.id, &err));
	memset(&orphan, 0xaa, sizeof(orphan));
	bk_pack_name(&orphan, path);
	ok(bk_remote_put(e->repo->remote, path, "left by a killed job", 20, 0, &err));
	ok(bk_repo_gc(e->repo, false, NULL, &gc, &err));
	assert_int_equal(count(e, "packs"), 0);
	bs_volume_close(s);
	bs_volume_close(v);
}

static void locks(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "l"), *s = snap_new(&e->a, "l@1");
	struct bk_lock *shared, *second, *alone;
	struct bk_backup_result b;
	struct bk_gc_result gc;
	int status;
	pid_t pid;

	ok(bk_lock_take(e->repo->remote, false, &shared, &err));
	fails(VS_E_BUSY, bk_repo_gc(e->repo, false, NULL, &gc, &err));
	assert_non_null(strstr(err.text, "a backup"));
	ok(bk_lock_take(e->repo->remote, false, &second, &err));
	bk_lock_release(second);
	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	ok(bk_lock_refresh(shared, &err));
	bk_lock_release(shared);
	ok(bk_lock_take(e->repo->remote, true, &alone, &err));
	fails(VS_E_BUSY, bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	fails(VS_E_BUSY, bk_repo_gc(e->repo, false, NULL, &gc, &err));
	bk_lock_release(alone);
	/* The lock of a process that is gone does not count. */
	pid = fork();
	if (pid == 0)
		_exit(bk_lock_take(e->repo->remote, false, &shared, NULL) ? 1 : 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(count(e, "locks"), 1);
	ok(bk_repo_gc(e->repo, false, NULL, &gc, &err));
	assert_int_equal(count(e, "locks"), 0);
	bs_volume_close(s);
	bs_volume_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(gc_deletes_packs_without_use, scene_up, scene_down),
	    cmocka_unit_test_setup_teardown(gc_writes_sparse_packs_anew, scene_up, scene_down),
	    cmocka_unit_test_setup_teardown(gc_merges_index_objects, scene_up, scene_down),
	    cmocka_unit_test_setup_teardown(gc_refuses_what_it_cannot_follow, scene_up, scene_down),
	    cmocka_unit_test_setup_teardown(locks, scene_up, scene_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
