/* Backups and restores between real stores in files and a repository in a directory. */
#include "tests/unit/backup_scene.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void full_and_increment(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "v"), *s1, *s2, *r1, *r2;
	struct bk_backup_result b1, b2;
	struct bk_restore_result r;
	struct bk_backup_info info;
	struct node far = {0};

	s1 = snap_new(&e->a, "v@1");
	ok(bk_backup_run(e->a.s, s1, e->repo, NULL, &b1, &err));
	assert_int_equal(b1.blocks_total, BLOCKS);
	assert_int_equal(b1.blocks_changed, 2048);
	assert_int_equal(b1.blocks_sent, 1024);
	assert_false(b1.incremental);

	/* 20 blocks: 5 unique new ones, 5 equal to one of them, 5 known, 5 trimmed. */
	for (uint64_t i = 0; i < 5; i++) {
		block_write(&e->a, v, 30 * i, 5000 + i);
		block_write(&e->a, v, 30 * i + 1, 5000);
		block_write(&e->a, v, 30 * i + 3, 700 + i);
	}
	for (uint64_t i = 0; i < 5; i++) {
		struct bs_req z = {.op = BS_ZERO,
				   .volume = v,
				   .offset = (30 * i + 6) * BS_BLOCK,
				   .length = BS_BLOCK};

		ok(bs_io_wait(e->a.port, &z));
	}
	s2 = snap_new(&e->a, "v@2");
	const struct bk_backup_options o = {.parent = s1, .parent_id = b1.id, .tag = "nightly"};

	ok(bk_backup_run(e->a.s, s2, e->repo, &o, &b2, &err));
	assert_true(b2.incremental);
	assert_int_equal(b2.blocks_changed, 20);
	assert_int_equal(b2.blocks_sent, 5);
	ok(bk_repo_show(e->repo, b2.id, &info, &err));
	assert_string_equal(info.parent, b1.id);
	assert_string_equal(info.tag, "nightly");
	assert_string_equal(info.volume, "v");
	assert_string_equal(info.snapshot, "2");
	check_clean(e);

	/* Here everything is still in the store. */
	r1 = volume_new(&e->a, "r1", SIZE);
	ok(bk_restore_run(e->a.s, e->repo, b1.id, r1, NULL, &r, &err));
	assert_int_equal(r.blocks_fetched, 0);
	assert_int_equal(r.blocks_local, 2048);
	same_content(&e->a, s1, &e->a, r1);

	/* Elsewhere everything is fetched once. */
	node_up(&far, e->dir, "far");
	r2 = volume_new(&far, "r2", SIZE);
	ok(bk_restore_run(far.s, e->repo, b2.id, r2, NULL, &r, &err));
	assert_true(r.blocks_fetched > 1000);
	assert_true(r.bytes_fetched > 0);
	same_content(&e->a, s2, &far, r2);
	/* Over it the older one: only what differs. */
	fails(VS_E_EXIST, bk_restore_run(far.s, e->repo, b1.id, r2, NULL, &r, &err));
	ok(bk_restore_run(far.s, e->repo, b1.id, r2,
			  &(struct bk_restore_options){.overwrite = true}, &r, &err));
	assert_in_range(r.blocks_fetched, 0, 20);
	same_content(&e->a, s1, &far, r2);
	bs_volume_close(r2);
	node_down(&far);
	bs_volume_close(r1);
	bs_volume_close(s2);
	bs_volume_close(s1);
	bs_volume_close(v);
}

/* Without the base snapshot, or with a wrong one, only lacking blocks are sent. */
static void without_a_base(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "w"), *s1, *s2, *other;
	struct bk_backup_result b1, b2, b3;

	s1 = snap_new(&e->a, "w@1");
	ok(bk_backup_run(e->a.s, s1, e->repo, NULL, &b1, &err));
	block_write(&e->a, v, 17, 9001);
	s2 = snap_new(&e->a, "w@2");
	ok(bk_backup_run(e->a.s, s2, e->repo, NULL, &b2, &err));
	assert_false(b2.incremental);
	assert_int_equal(b2.blocks_changed, 2049);
	assert_int_equal(b2.blocks_sent, 1);
	other = snap_new(&e->a, "w@3");
	const struct bk_backup_options o = {.parent = other, .parent_id = b1.id};

	ok(bk_backup_run(e->a.s, s2, e->repo, &o, &b3, &err));
	assert_false(b3.incremental);
	assert_int_equal(b3.blocks_sent, 0);
	check_clean(e);
	bs_volume_close(other);
	bs_volume_close(s2);
	bs_volume_close(s1);
	fails(VS_E_INVAL, bk_backup_run(e->a.s, v, e->repo, NULL, &b3, &err));
	bs_volume_close(v);
}

static void grown_and_shrunk(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "g"), *s1, *s2, *s3, *r;
	struct bk_backup_result b;
	struct bk_restore_result rr;
	char id1[BK_ID_MAX];

	s1 = snap_new(&e->a, "g@1");
	ok(bk_backup_run(e->a.s, s1, e->repo, NULL, &b, &err));
	memcpy(id1, b.id, sizeof(id1));
	bs_volume_close(v);
	ok(bs_volume_resize(e->a.s, "g", UINT64_C(2) << 30, false, &err));
	ok(bs_volume_open(e->a.s, "g", &v, &err));
	block_write(&e->a, v, (UINT64_C(2) << 30) / BS_BLOCK - 1, 77777);
	s2 = snap_new(&e->a, "g@2");
	const struct bk_backup_options o2 = {.parent = s1, .parent_id = id1};

	ok(bk_backup_run(e->a.s, s2, e->repo, &o2, &b, &err));
	assert_true(b.incremental);
	assert_int_equal(b.blocks_sent, 1);
	memcpy(id1, b.id, sizeof(id1));
	bs_volume_close(v);
	ok(bs_volume_resize(e->a.s, "g", UINT64_C(8) << 20, true, &err));
	ok(bs_volume_open(e->a.s, "g", &v, &err));
	s3 = snap_new(&e->a, "g@3");
	const struct bk_backup_options o3 = {.parent = s2, .parent_id = id1};

	ok(bk_backup_run(e->a.s, s3, e->repo, &o3, &b, &err));
	assert_true(b.incremental);
	assert_int_equal(b.blocks_sent, 0);
	check_clean(e);
	r = volume_new(&e->a, "g3", UINT64_C(8) << 20);
	ok(bk_restore_run(e->a.s, e->repo, b.id, r, NULL, &rr, &err));
	same_content(&e->a, s3, &e->a, r);
	fails(VS_E_INVAL, bk_restore_run(e->a.s, e->repo, id1, r, NULL, &rr, &err));
	bs_volume_close(r);
	bs_volume_close(s3);
	bs_volume_close(s2);
	bs_volume_close(s1);
	bs_volume_close(v);
}

static void to_a_file_and_a_pipe(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "f"), *s = snap_new(&e->a, "f@1");
	uint8_t *want = read_all(&e->a, s), *got = malloc(SIZE);
	struct bk_backup_result b;
	struct bk_restore_result r;
	char path[128];
	int fd, pipes[2], status;
	struct stat st;
	pid_t pid;

	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	snprintf(path, sizeof(path), "%s/out.img", e->dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, want, 4096), 4096);
	ok(bk_restore_to_file(e->repo, b.id, fd, NULL, &r, &err));
	assert_int_equal(r.blocks_fetched, 1024);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_true((uint64_t)st.st_blocks * 512 < SIZE); /* holes */
	assert_int_equal(pread(fd, got, SIZE, 0), SIZE);
	assert_memory_equal(got, want, SIZE);
	close(fd);

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		size_t n = 0;
		ssize_t k;

		close(pipes[1]);
		while ((k = read(pipes[0], got + n, SIZE - n)) > 0)
			n += (size_t)k;
		_exit(n == SIZE && memcmp(got, want, SIZE) == 0 ? 0 : 1);
	}
	close(pipes[0]);
	ok(bk_restore_to_file(e->repo, b.id, pipes[1], NULL, &r, &err));
	close(pipes[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	free(want);
	free(got);
	bs_volume_close(s);
	bs_volume_close(v);
}

struct canceler {
	atomic_bool flag;
	unsigned calls;
};

static void cancel_it(void *arg, uint64_t done, uint64_t total)
{
	struct canceler *c = arg;

	assert_true(done <= total);
	c->calls++;
	atomic_store(&c->flag, true);
}

static void canceled_then_again(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "c"), *s = snap_new(&e->a, "c@1");
	struct canceler c = {0};
	const struct bk_backup_options o = {
	    .watch = {.progress = cancel_it, .arg = &c, .cancel = &c.flag}};
	struct bk_backup_result b;
	struct bk_repo_info i1, i2;

	ok(bk_repo_info(e->repo, &i1, &err));
	atomic_store(&c.flag, true);
	fails(VS_E_CANCELED, bk_backup_run(e->a.s, s, e->repo, &o, &b, &err));
	ok(bk_repo_info(e->repo, &i2, &err));
	assert_int_equal(i1.backups, i2.backups);
	check_clean(e);
	atomic_store(&c.flag, false);
	c.calls = 0;
	ok(bk_backup_run(e->a.s, s, e->repo, NULL, &b, &err));
	assert_int_equal(b.blocks_sent, 1024);
	ok(bk_repo_forget(e->repo, b.id, &err));
	fails(VS_E_NOENT, bk_repo_forget(e->repo, b.id, &err));
	bs_volume_close(s);
	bs_volume_close(v);
}

struct second {
	struct env *e;
	struct bs_volume *snap;
	struct bk_backup_result b;
	struct vs_error err;
	int rc;
};

static void *second_job(void *arg)
{
	struct second *s = arg;

	s->rc = bk_backup_run(s->e->a.s, s->snap, s->e->repo, NULL, &s->b, &s->err);
	return NULL;
}

static void two_at_once(void **state)
{
	struct env *e = *state;
	struct bs_volume *v = make_source(e, "t"), *s = snap_new(&e->a, "t@1"), *r;
	struct second two[2] = {{.e = e, .snap = s}, {.e = e, .snap = s}};
	struct bk_restore_result rr;
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, second_job, &two[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 2; i++) {
		char name[16];

		assert_int_equal(two[i].rc, 0);
		snprintf(name, sizeof(name), "t%d", i + 1);
		r = volume_new(&e->a, name, SIZE);
		ok(bk_restore_run(e->a.s, e->repo, two[i].b.id, r, NULL, &rr, &err));
		same_content(&e->a, s, &e->a, r);
		bs_volume_close(r);
	}
	check_clean(e);
	bs_volume_close(s);
	bs_volume_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(full_and_increment, scene_up, scene_down),
	    cmocka_unit_test_setup_teardown(without_a_base, scene_up, scene_down),
	    cmocka_unit_test_setup_teardown(grown_and_shrunk, scene_up, scene_down),
	    cmocka_unit_test_setup_teardown(to_a_file_and_a_pipe, scene_up, scene_down),
	    cmocka_unit_test_setup_teardown(canceled_then_again, scene_up, scene_down),
	    cmocka_unit_test_setup_teardown(two_at_once, scene_up, scene_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
