/* Snapshots of a datastore: seen through ".snapshots", rolled back to. */
#include "tests/unit/ds_scene.h"

#include <pthread.h>

static int setup(void **state)
{
	struct scene *x = calloc(1, sizeof(*x));

	scene_make(x, "dssnap", UINT64_C(256) << 20);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	scene_end(*state);
	free(*state);
	return 0;
}

static void snapshot(struct scene *x,
		     int (*what)(struct ds_store *, const char *, struct vs_error *),
		     const char *name)
{
	struct vs_error err = {0};

	if (what(x->d, name, &err))
		fail_msg("%s", err.text);
}

static struct ds_handle looked(struct scene *x, struct ds_handle dir, const char *name)
{
	assert_int_equal(do_lookup(x, dir, name), 0);
	return x->req.attr.handle;
}

static void test_what_was_is_seen(void **state)
{
	struct scene *x = *state;
	struct ds_handle dir, f, snaps, old, oldf;
	char buf[16];

	assert_int_equal(do_create(x, ds_root, "dir", DS_DIR, 0755), 0);
	dir = x->req.attr.handle;
	assert_int_equal(do_create(x, dir, "f", DS_REG, 0644), 0);
	f = x->req.attr.handle;
	assert_int_equal(do_symlink(x, ds_root, "l", "dir/f"), 0);
	assert_int_equal(do_create(x, ds_root, "p", DS_REG, 0644), 0);
	assert_int_equal(do_write(x, f, 0, "first", 5), 0);
	snapshot(x, ds_snapshot_create, "one");
	assert_int_equal(ds_snapshot_create(x->d, "one", NULL), VS_E_EXIST);
	assert_int_equal(ds_snapshot_create(x->d, "no/name", NULL), VS_E_INVAL);
	assert_int_equal(do_write(x, f, 0, "second", 6), 0);
	assert_int_equal(do_rename(x, dir, "f", ds_root, "g"), 0);
	assert_int_equal(do_rmdir(x, ds_root, "dir"), 0);

	snaps = looked(x, ds_root, ".snapshots");
	assert_int_equal(x->req.attr.type, DS_DIR);
	assert_int_equal(do_lookup(x, snaps, "two"), VS_E_NOENT);
	old = looked(x, snaps, "one");
	assert_int_not_equal(old.snapshot, 0);
	oldf = looked(x, looked(x, old, "dir"), "f");
	assert_int_equal(oldf.object, f.object);
	assert_int_equal(oldf.snapshot, old.snapshot);
	assert_int_equal(do_read(x, oldf, 0, buf, sizeof(buf)), 0);
	assert_int_equal(x->req.count, 5);
	assert_memory_equal(buf, "first", 5);
	assert_int_equal(do_read(x, f, 0, buf, sizeof(buf)), 0);
	assert_memory_equal(buf, "second", 6);
	assert_int_equal(looked(x, looked(x, old, "dir"), "..").snapshot, old.snapshot);
	assert_int_equal(looked(x, old, "..").object, snaps.object);
	assert_int_equal(looked(x, snaps, "..").object, ds_root.object);
	{
		struct iovec iov = {buf, sizeof(buf)};

		x->req = (struct ds_req){
		    .op = DS_READLINK, .file = looked(x, old, "l"), .iov = &iov, .iovcnt = 1};
		assert_int_equal(scene_run(x), 0);
		assert_memory_equal(buf, "dir/f", 5);
	}
}

static void test_nothing_in_it_changes(void **state)
{
	struct scene *x = *state;
	struct ds_handle snaps = looked(x, ds_root, ".snapshots"), old = looked(x, snaps, "one");
	struct ds_handle dir = looked(x, old, "dir"), f = looked(x, dir, "f");

	assert_int_equal(do_write(x, f, 0, "x", 1), VS_E_ROFS);
	assert_int_equal(do_truncate(x, f, 0), VS_E_ROFS);
	assert_int_equal(do_create(x, dir, "new", DS_REG, 0644), VS_E_ROFS);
	assert_int_equal(do_remove(x, dir, "f"), VS_E_ROFS);
	assert_int_equal(do_rename(x, dir, "f", ds_root, "f"), VS_E_ROFS);
	assert_int_equal(do_rename(x, ds_root, "g", dir, "g"), VS_E_ROFS);
	assert_int_equal(do_link(x, f, ds_root, "linked"), DS_CROSSES);
	assert_int_equal(do_create(x, snaps, "new", DS_DIR, 0755), VS_E_ROFS);
	assert_int_equal(do_rmdir(x, snaps, "one"), VS_E_ROFS);
	assert_int_equal(do_create(x, ds_root, ".snapshots", DS_DIR, 0755), VS_E_EXIST);
	assert_int_equal(do_rename(x, ds_root, "g", ds_root, ".snapshots"), VS_E_ROFS);
	assert_int_equal(do_write(x, snaps, 0, "x", 1), VS_E_ROFS);
	f.snapshot += 1000;
	assert_int_equal(do_getattr(x, f), VS_E_STALE);
}

static void test_a_file_comes_back_from_it(void **state)
{
	struct scene *x = *state;
	struct ds_handle old = looked(x, looked(x, ds_root, ".snapshots"), "one");
	struct ds_handle f = looked(x, looked(x, old, "dir"), "f");
	char buf[16];

	assert_int_equal(do_create(x, ds_root, "restored", DS_REG, 0644), 0);
	x->req = (struct ds_req){.op = DS_CLONE, .file = x->req.attr.handle, .other = f};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.attr.size, 5);
	assert_int_equal(do_read(x, looked(x, ds_root, "restored"), 0, buf, sizeof(buf)), 0);
	assert_int_equal(x->req.count, 5);
	assert_memory_equal(buf, "first", 5);
	assert_int_equal(do_remove(x, ds_root, "restored"), 0);
}

struct names {
	char name[32][BS_NAME_MAX];
	unsigned n;
};

static bool listed(struct ds_req *req, const struct ds_entry *e)
{
	struct names *l = (struct names *)(uintptr_t)req->verifier;

	if (e->name_len && e->name[0] == '.')
		return true;
	memcpy(l->name[l->n], e->name, e->name_len);
	l->name[l->n++][e->name_len] = 0;
	return true;
}

static void list(struct scene *x, struct ds_handle dir, struct names *out)
{
	memset(out, 0, sizeof(*out));
	x->req = (struct ds_req){.op = DS_READDIR,
				 .file = dir,
				 .plus = true,
				 .entry = listed,
				 .verifier = (uintptr_t)out};
	assert_int_equal(scene_run(x), 0);
	assert_true(x->req.eof);
}

/* More than are open at once. */
static void test_many(void **state)
{
	struct scene *x = *state;
	struct ds_handle snaps = looked(x, ds_root, ".snapshots"), f, root[12];
	uint64_t change = x->req.attr.change;
	struct names names;
	char name[16], buf[16];

	assert_int_equal(do_create(x, ds_root, "count", DS_REG, 0644), 0);
	f = x->req.attr.handle;
	for (unsigned i = 0; i < 12; i++) {
		(void)snprintf(name, sizeof(name), "s%02u", i);
		assert_int_equal(do_write(x, f, 0, name, 4), 0);
		snapshot(x, ds_snapshot_create, name);
	}
	list(x, snaps, &names);
	assert_int_equal(names.n, 13);
	assert_string_equal(names.name[0], "one");
	assert_string_equal(names.name[12], "s11");
	assert_int_equal(do_getattr(x, snaps), 0);
	assert_true(x->req.attr.change > change);
	for (unsigned i = 0; i < 24; i++) {
		(void)snprintf(name, sizeof(name), "s%02u", i % 12);
		root[i % 12] = looked(x, snaps, name);
		assert_int_equal(do_read(x, looked(x, root[i % 12], "count"), 0, buf, 16), 0);
		assert_string_equal(buf, name);
	}
	list(x, root[3], &names);
	assert_int_equal(names.n, 4); /* g, l, p, count */
	for (unsigned i = 0; i < 12; i++) {
		(void)snprintf(name, sizeof(name), "s%02u", i);
		snapshot(x, ds_snapshot_delete, name);
		assert_int_equal(do_getattr(x, root[i]), VS_E_STALE);
	}
	assert_int_equal(ds_snapshot_delete(x->d, "s00", NULL), VS_E_NOENT);
	assert_int_equal(do_remove(x, ds_root, "count"), 0);
}

/* ---- rollback ------------------------------------------------------------------------------- */

struct busy {
	struct scene *x;
	struct ds_handle f;
	atomic_bool stop;
	atomic_uint done;
};

/* Another client, which goes on writing. */
static void *write_on(void *arg)
{
	struct busy *b = arg;
	struct vs_loop *loop;
	struct ds_client *c;
	struct iovec iov = {(void *)(uintptr_t) "busy", 4};

	VS_ASSERT(vs_loop_new(&loop, NULL) == 0);
	VS_ASSERT(ds_client_open(b->x->d, loop, 4, &c, NULL) == 0);
	while (!atomic_load(&b->stop)) {
		struct ds_req req = {.op = DS_WRITE,
				     .file = b->f,
				     .offset = atomic_load(&b->done) % 64 * 4096,
				     .length = 4,
				     .iov = &iov,
				     .iovcnt = 1};
		int rc = ds_wait(c, &req);

		VS_ASSERT(rc == 0 || rc == VS_E_STALE);
		atomic_fetch_add(&b->done, 1);
	}
	ds_client_close(c);
	vs_loop_free(loop);
	return NULL;
}

/* The test's own client must turn its loop meanwhile. */
struct roll {
	struct scene *x;
	const char *name;
	int rc;
	atomic_bool done;
};

static void *roll_back(void *arg)
{
	struct roll *r = arg;

	r->rc = ds_snapshot_rollback(r->x->d, r->name, NULL);
	atomic_store(&r->done, true);
	return NULL;
}

static int rolled_back(struct scene *x, const char *name)
{
	struct roll r = {.x = x, .name = name};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, roll_back, &r), 0);
	while (!atomic_load(&r.done))
		vs_loop_turn(x->loop, 1);
	pthread_join(thread, NULL);
	vs_loop_turn(x->loop, 0);
	return r.rc;
}

static void goes_on(struct busy *b)
{
	unsigned before = atomic_load(&b->done);

	while (atomic_load(&b->done) < before + 3)
		usleep(100);
}

static void test_rolled_back_while_in_use(void **state)
{
	struct scene *x = *state;
	struct ds_handle old = looked(x, looked(x, ds_root, ".snapshots"), "one"), f, p, later;
	const struct ds_cred user = {.uid = 1000, .gid = 1000};
	struct busy b = {.x = x};
	pthread_t thread;
	char buf[16];

	f = looked(x, looked(x, old, "dir"), "f");
	p = looked(x, ds_root, "p");
	assert_int_equal(do_create(x, ds_root, "later", DS_REG, 0644), 0);
	later = x->req.attr.handle;
	b.f = later;
	assert_int_equal(pthread_create(&thread, NULL, write_on, &b), 0);
	goes_on(&b);
	assert_int_equal(ds_hold(x->d, later), 0);
	/* what is known of a file must be asked for again afterwards */
	assert_int_equal(do_set(x, p, (struct ds_set){.what = DS_SET_MODE, .mode = 0666}), 0);
	x->cred = &user;
	assert_int_equal(do_write(x, p, 0, "s", 1), 0);
	x->cred = NULL;
	assert_int_equal(do_remove(x, ds_root, "g"), 0);
	assert_int_equal(rolled_back(x, "none"), VS_E_NOENT);
	assert_int_equal(do_getattr(x, later), 0);
	assert_int_equal(rolled_back(x, "one"), 0);
	ds_release(x->d, later);
	assert_int_equal(do_getattr(x, later), VS_E_STALE);
	f.snapshot = 0;
	assert_int_equal(do_read(x, f, 0, buf, sizeof(buf)), 0);
	assert_int_equal(x->req.count, 5);
	assert_memory_equal(buf, "first", 5);
	assert_int_equal(looked(x, looked(x, ds_root, "dir"), "f").object, f.object);
	x->cred = &user;
	assert_int_equal(do_write(x, p, 0, "s", 1), VS_E_ACCESS);
	x->cred = NULL;
	assert_int_equal(do_lookup(x, ds_root, "later"), VS_E_NOENT);
	/* a new file is none of those that are gone */
	assert_int_equal(do_create(x, ds_root, "new", DS_REG, 0644), 0);
	assert_int_equal(do_write(x, x->req.attr.handle, 0, "new", 3), 0);
	assert_int_equal(do_getattr(x, later), VS_E_STALE);
	goes_on(&b);
	atomic_store(&b.stop, true);
	pthread_join(thread, NULL);
	snapshot(x, ds_snapshot_delete, "one");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_was_is_seen),
	    cmocka_unit_test(test_nothing_in_it_changes),
	    cmocka_unit_test(test_a_file_comes_back_from_it),
	    cmocka_unit_test(test_many),
	    cmocka_unit_test(test_rolled_back_while_in_use),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
