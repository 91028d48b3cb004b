/* A datastore in a store in a file, and its operations in one line each; an operation's status is
 * 0, VS_E_*, or, where there is one, enum ds_status. */
#ifndef TESTS_UNIT_DS_SCENE_H
#define TESTS_UNIT_DS_SCENE_H

#include "datastore/store_int.h"

#include "common/bytes.h"
#include "tests/unit/store_scene.h"

#include <string.h>

struct scene {
	char path[64];
	struct vs_loop *loop;
	struct bs_store *s;
	struct ds_store *d;
	struct ds_client *c;
	struct ds_tune tune;
	const struct ds_cred *cred;
	struct ds_req req; /* of the last operation */
};

static inline void scene_up(struct scene *x)
{
	struct bs_open_options opts = {.memory = UINT64_C(256) << 20};
	struct bs_device *dev;
	struct vs_error err = {0};

	if (bs_device_open(x->path, 0, 0, &dev, &err) || bs_store_open(dev, &opts, &x->s, &err))
		fail_msg("%s", err.text);
}

static inline void scene_open(struct scene *x)
{
	struct vs_error err = {0};

	if (ds_open_tuned(x->s, "d", &x->tune, &x->d, &err) ||
	    ds_client_open(x->d, x->loop, 256, &x->c, &err))
		fail_msg("%s", err.text);
}

static inline void scene_start(struct scene *x)
{
	struct vs_error err = {0};

	x->tune = ds_tune_default;
	assert_int_equal(vs_loop_new(&x->loop, &err), 0);
	scene_up(x);
	if (ds_create(x->s, "d", &err))
		fail_msg("%s", err.text);
	scene_open(x);
}

static inline void scene_make(struct scene *x, const char *name, uint64_t size)
{
	struct bs_init_options init = {.segment_size = 1 << 20, .compression = BS_CODING_LZ4};

	*x = (struct scene){0};
	store_make(x->path, name, size, &init);
	scene_start(x);
}

/* In memory: for what waits for the device longer than it works. */
static inline void scene_make_fast(struct scene *x, const char *name, uint64_t size)
{
	struct bs_init_options init = {.segment_size = 1 << 20, .compression = BS_CODING_LZ4};
	struct bs_device *dev;
	struct vs_error err = {0};

	*x = (struct scene){0};
	(void)snprintf(x->path, sizeof(x->path), "/dev/shm/vstore-%s-%d.img", name, getpid());
	unlink(x->path);
	if (bs_device_open(x->path, BS_DEVICE_CREATE, size, &dev, &err) ||
	    bs_store_init(dev, &init, &err))
		fail_msg("%s", err.text);
	bs_device_close(dev);
	scene_start(x);
}

static inline void scene_shut(struct scene *x)
{
	ds_client_close(x->c);
	ds_close(x->d);
}

static inline void scene_down(struct scene *x)
{
	struct vs_error err = {0};

	scene_shut(x);
	if (bs_store_close(x->s, &err))
		fail_msg("%s", err.text);
}

static inline void scene_end(struct scene *x)
{
	scene_down(x);
	assert_int_equal(store_problems(x->path), 0);
	vs_loop_free(x->loop);
	unlink(x->path);
}

/* Mapped blocks of an object. */
static inline uint64_t blocks_of(struct scene *x, uint32_t object)
{
	struct bs_object_change c = {.object = object, .check = BS_NO_WORD, .end = BS_NO_WORD};
	struct bs_req req = {
	    .op = BS_RECORDS, .volume = x->d->volume, .changes = &c, .nchanges = 1};
	struct bs_port *port;

	assert_int_equal(bs_port_open(x->s, x->loop, 1, &port, NULL), 0);
	assert_int_equal(bs_io_wait(port, &req), 0);
	bs_port_close(port);
	return c.mapped;
}

/* In all, once files that have no name any more are gone: `want`. */
static inline void scene_blocks(struct scene *x, uint64_t want)
{
	uint64_t mapped = 0, base = 0;

	for (unsigned i = 0; i < 3000; i++) {
		assert_int_equal(bs_objects_mapped(x->d->volume, &mapped, NULL), 0);
		base = blocks_of(x, 0);
		if (mapped == want + base)
			return;
		usleep(1000);
	}
	assert_int_equal(mapped, want + base);
}

static inline int scene_run(struct scene *x)
{
	int rc;

	x->req.cred = x->cred;
	rc = ds_wait(x->c, &x->req);
	return rc == VS_E_INVAL && x->req.why ? (int)x->req.why : rc;
}

static inline int do_getattr(struct scene *x, struct ds_handle h)
{
	x->req = (struct ds_req){.op = DS_GETATTR, .file = h};
	return scene_run(x);
}

static inline int do_lookup(struct scene *x, struct ds_handle dir, const char *name)
{
	x->req =
	    (struct ds_req){.op = DS_LOOKUP, .file = dir, .name = name, .name_len = strlen(name)};
	return scene_run(x);
}

static inline int do_create(struct scene *x, struct ds_handle dir, const char *name,
			    enum ds_type type, uint32_t mode)
{
	x->req = (struct ds_req){.op = DS_CREATE,
				 .file = dir,
				 .name = name,
				 .name_len = strlen(name),
				 .type = type,
				 .how = DS_GUARDED,
				 .set = {.what = DS_SET_MODE, .mode = mode}};
	return scene_run(x);
}

static inline struct ds_handle made(struct scene *x, struct ds_handle dir, const char *name,
				    enum ds_type type)
{
	assert_int_equal(do_create(x, dir, name, type, 0755), 0);
	return x->req.attr.handle;
}

static inline int do_symlink(struct scene *x, struct ds_handle dir, const char *name,
			     const char *target)
{
	struct iovec iov = {(void *)(uintptr_t)target, strlen(target)};

	x->req = (struct ds_req){.op = DS_CREATE,
				 .file = dir,
				 .name = name,
				 .name_len = strlen(name),
				 .type = DS_LNK,
				 .how = DS_GUARDED,
				 .iov = &iov,
				 .iovcnt = 1};
	return scene_run(x);
}

static inline int do_unname(struct scene *x, enum ds_op op, struct ds_handle dir, const char *name)
{
	x->req = (struct ds_req){.op = op, .file = dir, .name = name, .name_len = strlen(name)};
	return scene_run(x);
}

static inline int do_remove(struct scene *x, struct ds_handle dir, const char *name)
{
	return do_unname(x, DS_REMOVE, dir, name);
}

static inline int do_rmdir(struct scene *x, struct ds_handle dir, const char *name)
{
	return do_unname(x, DS_RMDIR, dir, name);
}

static inline int do_rename(struct scene *x, struct ds_handle dir, const char *name,
			    struct ds_handle to, const char *to_name)
{
	x->req = (struct ds_req){.op = DS_RENAME,
				 .file = dir,
				 .name = name,
				 .name_len = strlen(name),
				 .other = to,
				 .other_name = to_name,
				 .other_name_len = strlen(to_name)};
	return scene_run(x);
}

static inline int do_link(struct scene *x, struct ds_handle file, struct ds_handle dir,
			  const char *name)
{
	x->req = (struct ds_req){
	    .op = DS_LINK, .file = file, .other = dir, .name = name, .name_len = strlen(name)};
	return scene_run(x);
}

static inline int do_write(struct scene *x, struct ds_handle h, uint64_t at, const void *bytes,
			   size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, len};

	x->req = (struct ds_req){
	    .op = DS_WRITE, .file = h, .offset = at, .length = len, .iov = &iov, .iovcnt = 1};
	return scene_run(x);
}

static inline int do_read(struct scene *x, struct ds_handle h, uint64_t at, void *bytes, size_t len)
{
	struct iovec iov = {bytes, len};

	x->req = (struct ds_req){
	    .op = DS_READ, .file = h, .offset = at, .length = len, .iov = &iov, .iovcnt = 1};
	return scene_run(x);
}

static inline int do_set(struct scene *x, struct ds_handle h, struct ds_set set)
{
	x->req = (struct ds_req){.op = DS_SETATTR, .file = h, .set = set};
	return scene_run(x);
}

static inline int do_truncate(struct scene *x, struct ds_handle h, uint64_t size)
{
	return do_set(x, h, (struct ds_set){.what = DS_SET_SIZE, .size = size});
}

#endif
