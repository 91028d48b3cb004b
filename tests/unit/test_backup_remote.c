/* The directory remote: whole objects or none, named errors. */
#include "backup/remote.h"

#include "common/bytes.h"

#include "tests/unit/files.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static struct vs_error err;

struct env {
	char dir[64], url[80];
	struct bk_remote *r;
};

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	enum bk_remote_state at;

	snprintf(e->dir, sizeof(e->dir), "/tmp/vstore-remote-XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->url, sizeof(e->url), "dir://%s", e->dir);
	assert_int_equal(bk_remote_open(e->url, false, &e->r, &at, &err), 0);
	assert_int_equal(at, BK_REMOTE_EMPTY);
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	bk_remote_close(e->r);
	assert_int_equal(files_remove(e->dir), 0);
	free(e);
	return 0;
}

struct seen {
	unsigned n;
	uint64_t bytes;
	char last[128];
};

static int see(void *arg, const char *name, uint64_t size)
{
	struct seen *s = arg;

	s->n++;
	s->bytes += size;
	snprintf(s->last, sizeof(s->last), "%s", name);
	return 0;
}

static struct seen list(struct env *e, const char *prefix)
{
	struct seen s = {0};

	assert_int_equal(bk_remote_list(e->r, prefix, see, &s, &err), 0);
	return s;
}

static void put_get_list_delete(void **state)
{
	struct env *e = *state;
	enum bk_remote_state at;
	struct bk_remote *again;
	char buf[16];
	uint64_t size;

	assert_int_equal(list(e, "packs/").n, 0);
	assert_int_equal(bk_remote_put(e->r, "packs/ab/abcd", "0123456789", 10, 0, &err), 0);
	assert_int_equal(bk_remote_put(e->r, "index/x", "", 0, 0, &err), 0);
	assert_int_equal(bk_remote_put(e->r, "config", "c", 1, BK_PUT_EXCLUSIVE, &err), 0);
	assert_int_equal(bk_remote_get(e->r, "packs/ab/abcd", 3, buf, 4, &err), 0);
	assert_memory_equal(buf, "3456", 4);
	assert_int_equal(bk_remote_stat(e->r, "packs/ab/abcd", &size, &err), 0);
	assert_int_equal(size, 10);
	assert_string_equal(list(e, "packs/").last, "packs/ab/abcd");
	assert_int_equal(list(e, "").n, 3);
	assert_int_equal(list(e, "tmp/").n, 0);
	/* The same content-named object again; an exclusive one again. */
	assert_int_equal(bk_remote_put(e->r, "packs/ab/abcd", "0123456789", 10, 0, &err), 0);
	assert_int_equal(bk_remote_put(e->r, "config", "d", 1, BK_PUT_EXCLUSIVE, &err), VS_E_EXIST);
	assert_int_equal(bk_remote_get(e->r, "config", 0, buf, 1, &err), 0);
	assert_int_equal(buf[0], 'c');
	assert_int_equal(list(e, "tmp/").n, 0);
	assert_int_equal(bk_remote_del(e->r, "packs/ab/abcd", &err), 0);
	assert_int_equal(bk_remote_del(e->r, "packs/ab/abcd", &err), 0);
	assert_int_equal(list(e, "packs/").n, 0);
	assert_int_equal(bk_remote_open(e->url, false, &again, &at, &err), 0);
	assert_int_equal(at, BK_REMOTE_FILLED);
	bk_remote_close(again);
}

static void errors_name_the_object(void **state)
{
	struct env *e = *state;
	char buf[16];
	uint64_t size;

	assert_int_equal(bk_remote_put(e->r, "index/short", "12345", 5, 0, &err), 0);
	assert_int_equal(bk_remote_get(e->r, "index/short", 2, buf, 4, &err), VS_E_CORRUPT);
	assert_non_null(strstr(err.text, "index/short"));
	assert_int_equal(bk_remote_get(e->r, "index/none", 0, buf, 1, &err), VS_E_NOENT);
	assert_non_null(strstr(err.text, "index/none"));
	assert_int_equal(bk_remote_stat(e->r, "index/none", &size, &err), VS_E_NOENT);
	assert_int_equal(bk_remote_get(e->r, "index/short", UINT64_MAX - 2, buf, 4, &err),
			 VS_E_RANGE);
}

static void names_stay_inside(void **state)
{
	static const char *const bad[] = {"../x", "/etc/x", "a/../../x", "", "a//b", "a/", ".x"};
	struct env *e = *state;
	char buf[4];

	for (unsigned i = 0; i < VS_ARRAY_LEN(bad); i++) {
		assert_int_equal(bk_remote_put(e->r, bad[i], "x", 1, 0, &err), VS_E_INVAL);
		assert_int_equal(bk_remote_get(e->r, bad[i], 0, buf, 1, &err), VS_E_INVAL);
		assert_int_equal(bk_remote_del(e->r, bad[i], &err), VS_E_INVAL);
	}
}

static void symbolic_links_are_not_followed(void **state)
{
	struct env *e = *state;
	char path[128], buf[4];

	snprintf(path, sizeof(path), "%s/link", e->dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_true(bk_remote_get(e->r, "link", 0, buf, 1, &err) < 0);
	assert_int_equal(list(e, "").n, 0);
}

static void wrong_urls(void **state)
{
	struct env *e = *state;
	enum bk_remote_state at;
	struct bk_remote *r;
	char url[128];

	assert_int_equal(bk_remote_open("/tmp/x", false, &r, &at, &err), VS_E_INVAL);
	assert_int_equal(bk_remote_open("ftp://host/x", false, &r, &at, &err), VS_E_INVAL);
	assert_int_equal(bk_remote_open("dir://tmp/x", false, &r, &at, &err), VS_E_INVAL);
	assert_int_equal(bk_remote_open("s3://bucket/x", false, &r, &at, &err), VS_E_NOTSUP);
	snprintf(url, sizeof(url), "%s/none", e->url);
	assert_int_equal(bk_remote_open(url, false, &r, &at, &err), VS_E_NOENT);
	snprintf(url, sizeof(url), "%s/none/deeper", e->url);
	assert_int_equal(bk_remote_open(url, true, &r, &at, &err), VS_E_NOENT);
	assert_int_equal(bk_remote_put(e->r, "file", "x", 1, 0, &err), 0);
	snprintf(url, sizeof(url), "%s/file", e->url);
	assert_true(bk_remote_open(url, true, &r, &at, &err) < 0);
}

/* Objects of 200 KiB whose bytes follow from their number. */
#define KILL_SIZE (200u << 10)

static void object_fill(uint8_t *p, unsigned number)
{
	for (unsigned i = 0; i < KILL_SIZE; i++)
		p[i] = (uint8_t)(i * 31 + number * 7);
}

static void put_for_ever(struct env *e, int tell)
{
	uint8_t *p = malloc(KILL_SIZE);
	char name[64];

	for (unsigned i = 0;; i++) {
		object_fill(p, i);
		snprintf(name, sizeof(name), "packs/%02u/%u", i % 10, i);
		if (bk_remote_put(e->r, name, p, KILL_SIZE, 0, NULL) != 0 ||
		    write(tell, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

static int whole(void *arg, const char *name, uint64_t size)
{
	struct env *e = arg;
	uint8_t *want = malloc(KILL_SIZE), *got = malloc(KILL_SIZE);

	assert_int_equal(size, KILL_SIZE);
	object_fill(want, (unsigned)strtoul(strrchr(name, '/') + 1, NULL, 10));
	assert_int_equal(bk_remote_get(e->r, name, 0, got, KILL_SIZE, &err), 0);
	assert_memory_equal(want, got, KILL_SIZE);
	free(want);
	free(got);
	return 0;
}

/* A writer killed at any moment: what is listed is whole, what was acknowledged is there. */
static void interrupted_put(void **state)
{
	struct env *e = *state;
	unsigned round, i, done;

	for (round = 0; round < 12; round++) {
		int tell[2], status;
		pid_t pid;

		assert_int_equal(pipe(tell), 0);
		pid = fork();
		if (pid == 0)
			put_for_ever(e, tell[1]);
		close(tell[1]);
		for (i = 0; i <= round; i++)
			assert_int_equal(read(tell[0], &done, sizeof(done)), sizeof(done));
		usleep(round * 300); /* where in a put the kill comes, not whether it is right */
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		while (read(tell[0], &done, sizeof(done)) == sizeof(done))
			;
		close(tell[0]);
		assert_true(list(e, "packs/").n >= done + 1);
		assert_int_equal(bk_remote_list(e->r, "packs/", whole, e, &err), 0);
	}
}

/* In a mount namespace of its own: a file system of 1 MiB. Exit 0 right, 77 cannot be tried. */
static int full_child(struct env *e)
{
	uint8_t *p = calloc(1, 2u << 20);
	struct seen s = {0};
	struct bk_remote *r;
	enum bk_remote_state at;

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", e->dir, "tmpfs", 0, "size=1m") != 0)
		return 77;
	if (bk_remote_open(e->url, false, &r, &at, &err) != 0 ||
	    bk_remote_put(r, "packs/aa/small", p, 1000, 0, &err) != 0)
		return 1;
	if (bk_remote_put(r, "packs/aa/large", p, 2u << 20, 0, &err) != VS_E_NOSPC ||
	    !strstr(err.text, "packs/aa/large") || !strstr(err.text, "no space"))
		return 2;
	if (bk_remote_list(r, "", see, &s, &err) != 0 || s.n != 1)
		return 3; /* neither the object nor its beginning stays */
	return bk_remote_put(r, "packs/aa/again", p, 500u << 10, 0, &err) ? 4 : 0;
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
	    cmocka_unit_test_setup_teardown(put_get_list_delete, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(errors_name_the_object, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(names_stay_inside, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(symbolic_links_are_not_followed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(wrong_urls, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(interrupted_put, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(full_remote, set_up, tear_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
