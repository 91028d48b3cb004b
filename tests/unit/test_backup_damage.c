/* Damaged packs, killed jobs, full remotes. */
#include "tests/unit/backup_scene.h"

#include "common/secret.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

static void flip_byte(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

struct lines {
	unsigned n;
	const char *name;
	bool named;
};

static void take_line(void *arg, const char *line)
{
	struct lines *l = arg;

	l->n++;
	l->named = l->named || strstr(line, l->name);
}

static void damaged_pack_is_named(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "d"), *s = snap_new(&e->a, "d@1"), *r;
	struct bk_backup_result b, again;
	struct bk_restore_result rr;
	struct bk_check_result c;
	struct lines l = {0};
	struct node far = {0};
	char path[192];

	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	first_pack(e, path, sizeof(path), &l.name);
	flip_byte(path, 4000);
	node_up(&far, e->dir, "far");
	r = volume_new(&far, "r", SIZE);
	fails(VS_E_CORRUPT, bk_restore_run(far.s, e->repo, b.id, r, NULL, &rr, &err));
	assert_non_null(strstr(err.text, l.name));
	ok(bk_backup_verify(e->repo, b.id, false, take_line, &l, NULL, &c, &err));
	assert_int_equal(c.problems, 0); /* places are right, bytes were not asked for */
	ok(bk_backup_verify(e->repo, b.id, true, take_line, &l, NULL, &c, &err));
	assert_true(c.problems > 0 && l.named);
	l.named = false;
	ok(bk_repo_check(e->repo, true, take_line, &l, NULL, &c, &err));
	assert_true(c.problems > 0 && l.named);

	/* The pack deleted: named as missing, and the next backup sends its blocks again. */
	unlink(path);
	l.named = false;
	ok(bk_repo_check(e->repo, false, take_line, &l, NULL, &c, &err));
	assert_true(c.problems > 0 && l.named);
	fails(VS_E_CORRUPT,
	      bk_restore_run(far.s, e->repo, b.id, r,
			     &(struct bk_restore_options){.overwrite = true}, &rr, &err));
	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &again, &err));
	assert_true(again.blocks_sent > 0);
	ok(bk_restore_run(far.s, e->repo, b.id, r, &(struct bk_restore_options){.overwrite = true},
			  &rr, &err));
	same_content(&e->a, s, &far, r);
	bs_volume_close(r);
	node_down(&far);
	bs_volume_close(s);
	bs_volume_close(v);
}

/* Backs up, deletes and cleans up until it is killed; tells of each backup that is done. */
static void work_for_ever(struct env *e, unsigned round, int tell)
{
	char id[2][BK_ID_MAX] = {"", ""}, full[16];
	struct bk_backup_result b;
	struct bk_gc_result gc;
	struct bs_volume *v, *s;

	ok(bk_repo_open(e->url, NULL, &e->repo, &err));
	snprintf(full, sizeof(full), "child%u", round);
	node_up(&e->a, e->dir, full);
	v = volume_new(&e->a, "v", SIZE);
	for (unsigned i = 0;; i++) {
		for (uint64_t k = 0; k < 300; k++)
			block_write(&e->a, v, (k * 7 + i * 100) % BLOCKS,
				    ((round * 1000 + i) << 16) + k);
		snprintf(full, sizeof(full), "v@%u", i);
		s = snap_new(&e->a, full);
		ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
		if (write(tell, b.id, sizeof(b.id)) != sizeof(b.id))
			_exit(1);
		if (id[i % 2][0])
			ok(bk_repo_forget(e->repo, id[i % 2], &err));
		memcpy(id[i % 2], b.id, sizeof(b.id));
		if (i % 3 == 2)
			ok(bk_repo_gc(e->repo, false, NULL, &gc, &err));
		bs_volume_close(s);
	}
}

/* Killed at any moment of backup, deletion or clean-up: what is there is whole. */
static void killed_at_any_moment(void **state)
{
	struct env *e = *state;

	for (unsigned round = 0; round < 12; round++) {
		int tell[2], status;
		char id[BK_ID_MAX];
		pid_t pid;

		assert_int_equal(pipe(tell), 0);
		pid = fork();
		if (pid == 0)
			work_for_ever(e, round, tell[1]);
		close(tell[1]);
		for (unsigned i = 0; i <= round % 4; i++)
			assert_int_equal(read(tell[0], id, sizeof(id)), sizeof(id));
		usleep(round * 1700); /* where the kill comes, not whether it is right */
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		close(tell[0]);
		check_clean(e);
	}
	assert_true(count(e, "backups") >= 12);
}

/* In a mount namespace of its own: a repository on 24 MiB. Exit 0 right, 77 cannot be tried. */
static int full_child(struct env *e)
{
	struct bk_backup_result b;
	struct bk_check_result c;
	struct bs_volume *v, *s;
	struct bk_gc_result gc;
	uint8_t block[BS_BLOCK];
	char repo[96];

	snprintf(repo, sizeof(repo), "%s/repo", e->dir);
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", repo, "tmpfs", 0, "size=24m") != 0)
		return 77;
	ok(bk_repo_attach(e->url, NULL, &e->repo, NULL, &err));
	node_up(&e->a, e->dir, "child");
	v = volume_new(&e->a, "v", UINT64_C(48) << 20);
	for (uint64_t i = 0; i < (48u << 20) / BS_BLOCK; i++) {
		assert_int_equal(vs_random(block, sizeof(block)), 0);
		ok(bs_io_write(e->a.port, v, i * BS_BLOCK, block, sizeof(block)));
	}
	s = snap_new(&e->a, "v@1");
	fails(VS_E_NOSPC, bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	if (!strstr(err.text, "packs/") || !strstr(err.text, "no space"))
		return 1;
	ok(bk_repo_check(e->repo, true, NULL, NULL, NULL, &c, &err));
	if (c.problems || c.backups)
		return 2;
	ok(bk_repo_gc(e->repo, false, NULL, &gc, &err));
	return gc.freed_bytes < (16u << 20) ? 3 : 0;
}

static void full_remote(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(full_child(*state));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("# no mount namespace here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(damaged_pack_is_named, scene_up, scene_down),
	    cmocka_unit_test_setup_teardown(killed_at_any_moment, scene_up_bare, scene_down_bare),
	    cmocka_unit_test_setup_teardown(full_remote, scene_up_bare, scene_down_bare),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
