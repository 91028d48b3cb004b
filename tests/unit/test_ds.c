/* Files and directories, one operation after the other. */
#include "tests/unit/ds_scene.h"

static int setup(void **state)
{
	struct scene *x = calloc(1, sizeof(*x));

	scene_make(x, "ds", UINT64_C(256) << 20);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	scene_end(*state);
	free(*state);
	return 0;
}

static void test_a_file_has_what_was_written(void **state)
{
	struct scene *x = *state;
	struct ds_handle f;
	char buf[64] = {0};

	assert_int_equal(do_create(x, ds_root, "a", DS_REG, 0644), 0);
	f = x->req.attr.handle;
	assert_true(x->req.created);
	assert_int_equal(x->req.before.size, 0);
	assert_int_equal(x->req.after.size, 1);
	assert_int_equal(x->req.after.change, x->req.before.change + 1);
	assert_int_equal(do_write(x, f, 10, "hello", 5), 0);
	assert_int_equal(x->req.count, 5);
	assert_int_equal(x->req.before.size, 0);
	assert_int_equal(x->req.after.size, 15);
	assert_int_equal(x->req.after.used, 4096);
	assert_int_equal(do_read(x, f, 8, buf, sizeof(buf)), 0);
	assert_int_equal(x->req.count, 7);
	assert_true(x->req.eof);
	assert_memory_equal(buf, "\0\0hello", 7);
	assert_int_equal(do_lookup(x, ds_root, "a"), 0);
	assert_int_equal(x->req.attr.handle.object, f.object);
	assert_int_equal(x->req.attr.size, 15);
	assert_int_equal(do_remove(x, ds_root, "a"), 0);
	assert_int_equal(do_lookup(x, ds_root, "a"), VS_E_NOENT);
}

static uint32_t links_of(struct scene *x, struct ds_handle h)
{
	assert_int_equal(do_getattr(x, h), 0);
	return x->req.attr.links;
}

static void test_names_that_are_none(void **state)
{
	struct scene *x = *state;
	char longest[DS_NAME_MAX + 2];
	struct ds_handle f = made(x, ds_root, "plain", DS_REG);

	memset(longest, 'n', sizeof(longest));
	longest[DS_NAME_MAX + 1] = 0;
	assert_int_equal(do_create(x, ds_root, longest, DS_REG, 0644), DS_NAME_TOO_LONG);
	assert_int_equal(do_lookup(x, ds_root, longest), DS_NAME_TOO_LONG);
	longest[DS_NAME_MAX] = 0;
	assert_int_equal(do_create(x, ds_root, longest, DS_REG, 0644), 0);
	assert_int_equal(do_remove(x, ds_root, longest), 0);
	assert_int_equal(do_create(x, ds_root, "", DS_REG, 0644), DS_BAD_NAME);
	assert_int_equal(do_create(x, ds_root, "a/b", DS_REG, 0644), DS_BAD_NAME);
	assert_int_equal(do_create(x, ds_root, ".", DS_DIR, 0755), DS_BAD_NAME);
	assert_int_equal(do_rmdir(x, ds_root, ".."), DS_BAD_NAME);
	assert_int_equal(do_rename(x, ds_root, "plain", ds_root, ".."), DS_BAD_NAME);
	x->req = (struct ds_req){.op = DS_CREATE,
				 .file = ds_root,
				 .name = "a\0b",
				 .name_len = 3,
				 .type = DS_REG,
				 .how = DS_GUARDED};
	assert_int_equal(scene_run(x), DS_BAD_NAME);
	assert_int_equal(do_create(x, f, "below", DS_REG, 0644), DS_NOT_DIR);
	assert_int_equal(do_lookup(x, f, "below"), DS_NOT_DIR);
	assert_int_equal(do_rmdir(x, ds_root, "plain"), DS_NOT_DIR);
	assert_int_equal(do_create(x, ds_root, "plain", DS_REG, 0644), VS_E_EXIST);
	assert_int_equal(do_remove(x, ds_root, "plain"), 0);
	assert_int_equal(do_remove(x, ds_root, "plain"), VS_E_NOENT);
}

static void test_directories_know_their_parent(void **state)
{
	struct scene *x = *state;
	struct ds_handle a = made(x, ds_root, "a", DS_DIR), b = made(x, a, "b", DS_DIR);

	assert_int_equal(links_of(x, a), 3);
	assert_int_equal(do_lookup(x, b, ".."), 0);
	assert_int_equal(x->req.attr.handle.object, a.object);
	assert_int_equal(do_lookup(x, b, "."), 0);
	assert_int_equal(x->req.attr.handle.object, b.object);
	assert_int_equal(do_lookup(x, ds_root, ".."), 0);
	assert_int_equal(x->req.attr.handle.object, ds_root.object);
	assert_int_equal(do_rmdir(x, ds_root, "a"), DS_NOT_EMPTY);
	assert_int_equal(do_remove(x, ds_root, "a"), DS_IS_DIR);
	assert_int_equal(do_rename(x, ds_root, "a", b, "below"), VS_E_INVAL);
	assert_int_equal(do_rename(x, ds_root, "a", a, "self"), VS_E_INVAL);
	assert_int_equal(do_rename(x, a, "b", ds_root, "b"), 0);
	assert_int_equal(links_of(x, a), 2);
	assert_int_equal(do_lookup(x, b, ".."), 0);
	assert_int_equal(x->req.attr.handle.object, ds_root.object);
	assert_int_equal(do_rename(x, ds_root, "a", ds_root, "b"), 0); /* b is empty */
	assert_int_equal(do_getattr(x, b), VS_E_STALE);
	assert_int_equal(do_lookup(x, b, "x"), VS_E_STALE);
	assert_int_equal(do_create(x, b, "x", DS_REG, 0644), VS_E_STALE);
	assert_int_equal(links_of(x, ds_root), 3);
	assert_int_equal(do_rmdir(x, ds_root, "b"), 0);
	assert_int_equal(do_getattr(x, a), VS_E_STALE);
}

static void test_a_name_is_replaced_at_once(void **state)
{
	struct scene *x = *state;
	struct ds_handle a = made(x, ds_root, "a", DS_REG), b = made(x, ds_root, "b", DS_REG),
			 d = made(x, ds_root, "d", DS_DIR);

	assert_int_equal(do_write(x, a, 0, "A", 1), 0);
	assert_int_equal(do_rename(x, ds_root, "a", ds_root, "d"), DS_IS_DIR);
	assert_int_equal(do_rename(x, ds_root, "d", ds_root, "a"), DS_NOT_DIR);
	assert_int_equal(do_rename(x, ds_root, "nothing", ds_root, "a"), VS_E_NOENT);
	assert_int_equal(do_rename(x, ds_root, "a", ds_root, "b"), 0);
	assert_int_equal(do_lookup(x, ds_root, "a"), VS_E_NOENT);
	assert_int_equal(do_lookup(x, ds_root, "b"), 0);
	assert_int_equal(x->req.attr.handle.object, a.object);
	assert_int_equal(x->req.attr.size, 1);
	assert_int_equal(do_link(x, a, d, "again"), 0);
	assert_int_equal(x->req.attr.links, 2);
	/* two names of one file: nothing happens */
	assert_int_equal(do_rename(x, ds_root, "b", d, "again"), 0);
	assert_int_equal(links_of(x, a), 2);
	assert_int_equal(do_remove(x, ds_root, "b"), 0);
	assert_int_equal(links_of(x, a), 1);
	assert_int_equal(do_link(x, d, ds_root, "d2"), DS_IS_DIR);
	assert_int_equal(do_remove(x, d, "again"), 0);
	assert_int_equal(do_rmdir(x, ds_root, "d"), 0);
	while (do_getattr(x, b) != VS_E_STALE)
		usleep(1000);
}

static void test_links_have_targets(void **state)
{
	struct scene *x = *state;
	char buf[DS_LINK_MAX], small[2];
	struct iovec iov = {buf, sizeof(buf)}, short_iov = {small, sizeof(small)};
	struct ds_handle l;

	assert_int_equal(do_symlink(x, ds_root, "l", "over/there"), 0);
	l = x->req.attr.handle;
	assert_int_equal(x->req.attr.size, 10);
	x->req = (struct ds_req){.op = DS_READLINK, .file = l, .iov = &iov, .iovcnt = 1};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.count, 10);
	assert_memory_equal(buf, "over/there", 10);
	x->req = (struct ds_req){.op = DS_READLINK, .file = l, .iov = &short_iov, .iovcnt = 1};
	assert_int_equal(scene_run(x), VS_E_TOOBIG);
	x->req = (struct ds_req){.op = DS_READLINK, .file = ds_root, .iov = &iov, .iovcnt = 1};
	assert_int_equal(scene_run(x), DS_WRONG_TYPE);
	assert_int_equal(do_symlink(x, ds_root, "empty", ""), VS_E_INVAL);
	assert_int_equal(do_write(x, l, 0, "x", 1), DS_WRONG_TYPE);
	assert_int_equal(do_write(x, ds_root, 0, "x", 1), DS_IS_DIR);
	assert_int_equal(do_remove(x, ds_root, "l"), 0);
	assert_int_equal(do_getattr(x, l), VS_E_STALE);
}

static void test_create_meets_what_is_there(void **state)
{
	struct scene *x = *state;
	struct ds_handle f = made(x, ds_root, "there", DS_REG);
	struct ds_req create = {.op = DS_CREATE,
				.file = ds_root,
				.name = "there",
				.name_len = 5,
				.type = DS_REG,
				.how = DS_UNCHECKED};

	assert_int_equal(do_write(x, f, 0, "12345", 5), 0);
	x->req = create;
	assert_int_equal(scene_run(x), 0);
	assert_false(x->req.created);
	assert_int_equal(x->req.attr.handle.object, f.object);
	assert_int_equal(x->req.attr.size, 5);
	x->req = create;
	x->req.set = (struct ds_set){.what = DS_SET_SIZE};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.attr.size, 0);
	create.how = DS_EXCLUSIVE;
	create.verifier = 77;
	x->req = create;
	assert_int_equal(scene_run(x), VS_E_EXIST);
	create.name = "there2";
	create.name_len = 6;
	x->req = create;
	assert_int_equal(scene_run(x), 0);
	assert_true(x->req.created);
	x->req = create; /* the same request again */
	assert_int_equal(scene_run(x), 0);
	assert_false(x->req.created);
	create.verifier = 78;
	x->req = create;
	assert_int_equal(scene_run(x), VS_E_EXIST);
	assert_int_equal(do_remove(x, ds_root, "there"), 0);
	assert_int_equal(do_remove(x, ds_root, "there2"), 0);
}

static void test_sizes(void **state)
{
	struct scene *x = *state;
	struct ds_handle f = made(x, ds_root, "s", DS_REG);
	char buf[10000], zero[10000] = {0};

	memset(buf, 'b', sizeof(buf));
	assert_int_equal(do_write(x, f, 0, buf, sizeof(buf)), 0);
	assert_int_equal(do_truncate(x, f, 5000), 0);
	assert_int_equal(x->req.before.size, 10000);
	assert_int_equal(x->req.after.size, 5000);
	assert_int_equal(do_truncate(x, f, 10000), 0);
	assert_int_equal(do_read(x, f, 0, buf, sizeof(buf)), 0);
	assert_int_equal(x->req.count, 10000);
	assert_memory_equal(buf + 5000, zero, 5000);
	assert_int_equal(buf[4999], 'b');
	assert_int_equal(x->req.attr.used, 8192);
	assert_int_equal(do_truncate(x, f, DS_FILE_MAX), 0);
	assert_int_equal(do_truncate(x, f, DS_FILE_MAX + 1), VS_E_TOOBIG);
	assert_int_equal(do_write(x, f, DS_FILE_MAX - 1, "end", 1), 0);
	assert_int_equal(do_write(x, f, DS_FILE_MAX - 1, "end", 2), VS_E_TOOBIG);
	assert_int_equal(do_read(x, f, DS_FILE_MAX - 3, buf, 100), 0);
	assert_int_equal(x->req.count, 3);
	assert_int_equal(do_read(x, f, UINT64_MAX, buf, 100), 0);
	assert_int_equal(x->req.count, 0);
	assert_true(x->req.eof);
	assert_int_equal(do_write(x, f, UINT64_MAX, "x", 1), VS_E_TOOBIG);
	assert_int_equal(do_write(x, f, 3, "", 0), 0);
	assert_int_equal(do_truncate(x, f, 0), 0);
	assert_int_equal(x->req.after.used, 0);
	assert_int_equal(do_truncate(x, ds_root, 0), DS_IS_DIR);
	assert_int_equal(do_remove(x, ds_root, "s"), 0);
}

static void test_setattr_keeps_to_its_guard(void **state)
{
	struct scene *x = *state;
	struct ds_handle f = made(x, ds_root, "g", DS_REG);
	int64_t ctime = x->req.attr.ctime;
	struct ds_req set = {.op = DS_SETATTR,
			     .file = f,
			     .set = {.what = DS_SET_MODE | DS_SET_MTIME, .mode = 0600, .mtime = -5},
			     .guarded = true,
			     .guard_ctime = ctime};

	x->req = set;
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.attr.mode, 0600);
	assert_true(x->req.attr.mtime == -5);
	assert_true(x->req.attr.ctime > ctime);
	x->req = set;
	assert_int_equal(scene_run(x), DS_NOT_SYNC);
	assert_int_equal(do_remove(x, ds_root, "g"), 0);
}

static void test_ranges(void **state)
{
	struct scene *x = *state;
	struct ds_handle f = made(x, ds_root, "r", DS_REG), g = made(x, ds_root, "r2", DS_REG);
	uint8_t buf[20000], back[20000];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i / 4096 + 1);
	assert_int_equal(do_write(x, f, 1 << 20, buf, sizeof(buf)), 0);
	x->req = (struct ds_req){.op = DS_SEEK, .file = f, .offset = 5};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.offset, 1 << 20);
	assert_false(x->req.eof);
	x->req = (struct ds_req){.op = DS_SEEK, .file = f, .offset = 1 << 20, .seek_hole = true};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.offset, (1 << 20) + sizeof(buf));
	assert_true(x->req.eof);
	x->req = (struct ds_req){.op = DS_SEEK, .file = f, .offset = (1 << 20) + sizeof(buf)};
	assert_int_equal(scene_run(x), VS_E_RANGE);
	x->req = (struct ds_req){
	    .op = DS_DEALLOCATE, .file = f, .offset = (1 << 20) + 4096, .length = 5000};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.attr.size, (1 << 20) + sizeof(buf));
	assert_int_equal(x->req.attr.used, 16384);
	memset(buf + 4096, 0, 5000);
	assert_int_equal(do_read(x, f, 1 << 20, back, sizeof(back)), 0);
	assert_memory_equal(buf, back, sizeof(buf));
	x->req = (struct ds_req){.op = DS_SEEK, .file = f, .offset = 1 << 20, .seek_hole = true};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.offset, (1 << 20) + 4096);
	x->req = (struct ds_req){.op = DS_ALLOCATE, .file = g, .offset = 100, .length = 100};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.attr.size, 200);
	x->req = (struct ds_req){.op = DS_ALLOCATE, .file = g, .offset = 50, .length = 100};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.attr.size, 200);
	x->req = (struct ds_req){.op = DS_CLONE, .file = g, .other = f}; /* all of it */
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.attr.size, (1 << 20) + sizeof(buf));
	assert_int_equal(x->req.attr.used, 16384);
	/* once more: over what is there, and where everything has been taken away */
	for (unsigned i = 0; i < 2; i++) {
		x->req = (struct ds_req){.op = DS_CLONE, .file = g, .other = f};
		assert_int_equal(scene_run(x), 0);
		assert_int_equal(x->req.attr.used, 16384);
		assert_int_equal(do_read(x, g, 1 << 20, back, sizeof(back)), 0);
		assert_memory_equal(buf, back, sizeof(buf));
		assert_int_equal(do_truncate(x, g, 0), 0);
	}
	x->req = (struct ds_req){.op = DS_CLONE, .file = g, .other = f};
	assert_int_equal(scene_run(x), 0);
	x->req = (struct ds_req){.op = DS_CLONE,
				 .file = g,
				 .offset = 4096,
				 .other = f,
				 .other_offset = 1 << 20,
				 .length = 4096};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(do_read(x, g, 4096, back, 4096), 0);
	assert_memory_equal(buf, back, 4096);
	x->req = (struct ds_req){.op = DS_CLONE, .file = g, .other = f, .other_offset = 2 << 20};
	assert_int_equal(scene_run(x), VS_E_INVAL);
	x->req =
	    (struct ds_req){.op = DS_CLONE, .file = f, .offset = 4096, .other = f, .length = 8192};
	assert_int_equal(scene_run(x), VS_E_INVAL); /* they overlap */
	assert_int_equal(do_remove(x, ds_root, "r"), 0);
	assert_int_equal(do_read(x, g, 1 << 20, back, sizeof(back)), 0);
	assert_memory_equal(buf, back, sizeof(buf));
	assert_int_equal(do_remove(x, ds_root, "r2"), 0);
}

struct listing {
	unsigned n, max;
	bool seen[600];
	uint64_t cookie;
};

static bool listed(struct ds_req *req, const struct ds_entry *e)
{
	struct listing *l = (struct listing *)(uintptr_t)req->verifier;
	char name[16] = {0};
	int i = 0;

	if (l->n == l->max)
		return false;
	assert_true(e->cookie > l->cookie);
	l->cookie = e->cookie;
	l->n++;
	if (e->name[0] == '.')
		return true;
	assert_true(e->name_len < sizeof(name));
	memcpy(name, e->name, e->name_len);
	i = (int)strtol(name + 1, NULL, 10);
	assert_true(name[0] == 'e' && i >= 0 && i < 600);
	assert_false(l->seen[i]);
	l->seen[i] = true;
	assert_int_equal(e->type, DS_REG);
	if (req->plus) {
		assert_non_null(e->attr);
		assert_int_equal(e->attr->handle.object, e->handle.object);
		assert_int_equal(e->attr->uid, i);
	}
	return true;
}

static int list(struct scene *x, struct ds_handle dir, struct listing *l, bool plus)
{
	x->req = (struct ds_req){.op = DS_READDIR,
				 .file = dir,
				 .cookie = l->cookie,
				 .plus = plus,
				 .entry = listed,
				 .verifier = (uintptr_t)l};
	l->n = 0;
	return scene_run(x);
}

static void test_directories_are_listed(void **state)
{
	struct scene *x = *state;
	struct ds_handle dir = made(x, ds_root, "many", DS_DIR);
	struct listing all = {.max = 1000}, some = {.max = 7};
	unsigned total = 0;
	char name[16];

	for (uint32_t i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "e%u", i);
		x->req = (struct ds_req){.op = DS_CREATE,
					 .file = dir,
					 .name = name,
					 .name_len = strlen(name),
					 .type = DS_REG,
					 .how = DS_GUARDED,
					 .set = {.what = DS_SET_UID, .uid = i}};
		assert_int_equal(scene_run(x), 0);
	}
	assert_int_equal(list(x, dir, &all, true), 0);
	assert_true(x->req.eof);
	assert_int_equal(all.n, 302);
	assert_int_equal(x->req.count, 302);
	/* entries come and go: each of the others is there once */
	do {
		assert_int_equal(list(x, dir, &some, total % 2), 0);
		total += some.n;
		if (total < 300) {
			(void)snprintf(name, sizeof(name), "e%u", 300 + total / 7);
			assert_int_equal(do_create(x, dir, name, DS_REG, 0644), 0);
			assert_int_equal(
			    do_set(x, x->req.attr.handle,
				   (struct ds_set){.what = DS_SET_UID, .uid = 300 + total / 7}),
			    0);
		}
	} while (!x->req.eof);
	for (unsigned i = 0; i < 300; i++)
		assert_true(some.seen[i]);
	some = (struct listing){.max = 5, .cookie = UINT64_MAX};
	assert_int_equal(list(x, dir, &some, false), DS_BAD_COOKIE);
}

static void test_each_operation_asks_who_it_is(void **state)
{
	static const struct ds_cred user = {.uid = 1000, .gid = 1000},
				    other = {.uid = 1001, .gid = 1001};
	struct scene *x = *state;
	struct ds_handle dir, f;
	struct listing l = {.max = 10};
	char buf[4];

	assert_int_equal(do_create(x, ds_root, "home", DS_DIR, 0750), 0);
	dir = x->req.attr.handle;
	assert_int_equal(do_set(x, dir, (struct ds_set){.what = DS_SET_UID, .uid = 1000}), 0);
	x->cred = &user;
	assert_int_equal(do_create(x, ds_root, "no", DS_REG, 0644), VS_E_ACCESS);
	assert_int_equal(do_create(x, dir, "f", DS_REG, 0640), 0);
	f = x->req.attr.handle;
	assert_int_equal(x->req.attr.uid, 1000);
	assert_int_equal(do_write(x, f, 0, "mine", 4), 0);
	assert_int_equal(do_rename(x, dir, "f", ds_root, "f"), VS_E_ACCESS);
	assert_int_equal(do_link(x, f, ds_root, "f"), VS_E_ACCESS);
	x->cred = &other;
	assert_int_equal(do_lookup(x, dir, "f"), VS_E_ACCESS);
	assert_int_equal(do_remove(x, dir, "f"), VS_E_ACCESS);
	assert_int_equal(list(x, dir, &l, false), VS_E_ACCESS);
	assert_int_equal(do_read(x, f, 0, buf, 4), VS_E_ACCESS);
	assert_int_equal(x->req.count, 0);
	assert_int_equal(do_write(x, f, 0, "his", 3), VS_E_ACCESS);
	assert_int_equal(do_truncate(x, f, 0), VS_E_ACCESS);
	assert_int_equal(do_set(x, f, (struct ds_set){.what = DS_SET_MODE, .mode = 0666}),
			 DS_NOT_OWNER);
	x->req = (struct ds_req){.op = DS_DEALLOCATE, .file = f, .length = 4};
	assert_int_equal(scene_run(x), VS_E_ACCESS);
	x->req = (struct ds_req){.op = DS_SEEK, .file = f};
	assert_int_equal(scene_run(x), VS_E_ACCESS);
	x->req = (struct ds_req){.op = DS_ACCESS, .file = f, .access = 63};
	assert_int_equal(scene_run(x), 0);
	assert_int_equal(x->req.access, 0);
	/* what others may do changes at once, also where it was known */
	x->cred = &user;
	assert_int_equal(do_set(x, f, (struct ds_set){.what = DS_SET_MODE, .mode = 06777}), 0);
	assert_int_equal(x->req.attr.mode, 06777);
	x->cred = &other;
	assert_int_equal(do_write(x, f, 0, "his", 3), 0);
	assert_int_equal(x->req.attr.mode, 0777); /* set-user-ID and set-group-ID have gone */
	x->cred = &user;
	assert_int_equal(do_set(x, f, (struct ds_set){.what = DS_SET_MODE, .mode = 0400}), 0);
	assert_int_equal(do_write(x, f, 0, "mine", 4), VS_E_ACCESS);
	{
		struct iovec iov = {buf, 4};

		x->req = (struct ds_req){.op = DS_WRITE,
					 .file = f,
					 .length = 4,
					 .iov = &iov,
					 .iovcnt = 1,
					 .owner_may = true};
		assert_int_equal(scene_run(x), 0);
	}
	assert_int_equal(do_remove(x, dir, "f"), 0);
	x->cred = NULL;
	assert_int_equal(do_rmdir(x, ds_root, "home"), 0);
}

/* Two datastores of one store on one loop, and one port; the one that opened it leaves first. */
static void test_two_share_a_port(void **state)
{
	struct scene *x = *state, y = *x;
	struct vs_error err = {0};
	struct ds_client *first = x->c;
	struct ds_handle f;
	char buf[8];

	assert_int_equal(ds_create(x->s, "d2", &err), 0);
	assert_int_equal(ds_create(x->s, "d2", &err), VS_E_EXIST);
	assert_int_equal(ds_open(x->s, "d2", &y.d, &err), 0);
	assert_int_equal(ds_client_open_beside(y.d, first, 4, &y.c, &err), 0);
	assert_int_equal(do_create(&y, ds_root, "y", DS_REG, 0644), 0);
	f = y.req.attr.handle;
	assert_int_equal(do_lookup(x, ds_root, "y"), VS_E_NOENT);
	assert_int_equal(ds_client_open_beside(x->d, first, 256, &x->c, &err), 0);
	ds_client_close(first);
	assert_int_equal(do_write(&y, f, 0, "yours", 5), 0);
	assert_int_equal(do_read(&y, f, 0, buf, sizeof(buf)), 0);
	assert_memory_equal(buf, "yours", 5);
	assert_int_equal(do_lookup(x, ds_root, "y"), VS_E_NOENT);
	ds_client_close(y.c);
	ds_close(y.d);
	assert_int_equal(bs_volume_delete(x->s, "d2", BS_DELETE_PLAIN, &err), 0);
	assert_int_equal(ds_open(x->s, "d2", &y.d, &err), VS_E_NOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_file_has_what_was_written),
	    cmocka_unit_test(test_names_that_are_none),
	    cmocka_unit_test(test_directories_know_their_parent),
	    cmocka_unit_test(test_a_name_is_replaced_at_once),
	    cmocka_unit_test(test_links_have_targets),
	    cmocka_unit_test(test_create_meets_what_is_there),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_setattr_keeps_to_its_guard),
	    cmocka_unit_test(test_ranges),
	    cmocka_unit_test(test_each_operation_asks_who_it_is),
	    cmocka_unit_test(test_two_share_a_port),
	    cmocka_unit_test(test_directories_are_listed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
