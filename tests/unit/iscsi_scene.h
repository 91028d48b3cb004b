/*
 * A node's iSCSI side over a device that holds requests back when the test says so: a store with
 * volume v, two I/O threads, and the target IQN that has v as LUN 0.
 */
#ifndef TESTS_UNIT_ISCSI_SCENE_H
#define TESTS_UNIT_ISCSI_SCENE_H

#include "targets/iscsi/server.h"

#include "blockstore/device.h"
#include "blockstore/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define IQN "iqn.2026-11.org.example:held"
#define BLOCK 4096
#define SIZE (16 << 20)
#define HELD_MAX 4096

/* In front of the file. Engine's thread, but for what is atomic. */
struct turnstile {
	struct bs_device dev;
	struct bs_device *file;
	atomic_bool shut;  /* reads wait */
	atomic_bool all;   /* writes too */
	atomic_uint let;   /* of them, may go */
	atomic_uint waits; /* that are held now */
	atomic_uint bytes; /* of them */
	atomic_uint gone;  /* the last one's, that was let go */
	struct bs_devio *held[HELD_MAX];
	unsigned first, n;
};

static inline void submit(struct bs_device *dev, struct bs_devio *io)
{
	struct turnstile *t = (struct turnstile *)dev;

	if (!atomic_load(&t->shut) || (io->op != BS_DEV_READ && !atomic_load(&t->all))) {
		bs_device_submit(t->file, io);
		return;
	}
	assert_true(t->n < HELD_MAX);
	t->held[(t->first + t->n++) % HELD_MAX] = io;
	atomic_fetch_add(&t->bytes, (unsigned)io->length);
	atomic_store(&t->waits, t->n);
}

static inline void kick(struct bs_device *dev)
{
	bs_device_kick(((struct turnstile *)dev)->file);
}

static inline void let_go(struct turnstile *t)
{
	while (t->n && (atomic_load(&t->let) || !atomic_load(&t->shut))) {
		struct bs_devio *io = t->held[t->first++ % HELD_MAX];

		atomic_fetch_sub(&t->bytes, (unsigned)io->length);
		atomic_store(&t->gone, (unsigned)io->length);
		bs_device_submit(t->file, io);
		t->n--;
		if (atomic_load(&t->let))
			atomic_fetch_sub(&t->let, 1);
	}
	atomic_store(&t->waits, t->n);
	bs_device_kick(t->file);
}

static inline unsigned poll_device(struct bs_device *dev)
{
	struct turnstile *t = (struct turnstile *)dev;

	let_go(t);
	return bs_device_poll(t->file);
}

static inline void wait_device(struct bs_device *dev)
{
	struct turnstile *t = (struct turnstile *)dev;

	t->file->ops->wait(t->file);
}

static inline void close_device(struct bs_device *dev)
{
	struct turnstile *t = (struct turnstile *)dev;

	bs_device_close(t->file);
	free(t);
}

static const struct bs_device_ops turnstile_ops = {.submit = submit,
						   .kick = kick,
						   .poll = poll_device,
						   .wait = wait_device,
						   .close = close_device};

struct scene {
	char folder[32], path[48];
	struct turnstile *device;
	struct bs_store *store;
	struct iscsi_server *server;
};

static inline void wake_device(struct scene *s)
{
	const uint64_t one = 1;

	assert_int_equal(write(s->device->dev.event_fd, &one, sizeof(one)), sizeof(one));
}

static inline void shut(struct scene *s)
{
	atomic_store(&s->device->shut, true);
}

static inline void open_wide(struct scene *s)
{
	atomic_store(&s->device->shut, false);
	wake_device(s);
}

static inline struct bs_device *wrap(struct scene *s, struct bs_device *file)
{
	s->device = calloc(1, sizeof(*s->device));
	s->device->dev = *file;
	s->device->dev.ops = &turnstile_ops;
	s->device->file = file;
	return &s->device->dev;
}

static inline int setup(void **state)
{
	const struct iscsi_portal portal = {.tag = 1, .address = "127.0.0.1"};
	const struct iscsi_lun_config lun = {.lun = 0, .volume = "v"};
	const struct iscsi_target_config target = {.iqn = IQN, .luns = &lun, .nluns = 1};
	const struct bs_init_options init = {.segment_size = 1 << 20};
	const struct bs_open_options open = {.memory = UINT64_C(256) << 20};
	const struct bs_volume_spec volume = {.name = "v", .size = SIZE, .sector = BLOCK};
	struct scene *s = calloc(1, sizeof(*s));
	struct bs_device *dev;
	struct vs_error err = {0};

	snprintf(s->folder, sizeof(s->folder), "/var/tmp/iscsi-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->path, sizeof(s->path), "%s/store.img", s->folder);
	if (bs_device_open(s->path, BS_DEVICE_CREATE, UINT64_C(192) << 20, &dev, &err) ||
	    bs_store_init(dev, &init, &err) ||
	    bs_store_open(wrap(s, dev), &open, &s->store, &err) ||
	    bs_volume_create(s->store, &volume, NULL, &err) ||
	    iscsi_server_start(
		&(struct iscsi_server_options){
		    .store = s->store, .portals = &portal, .nportals = 1, .threads = 2},
		&s->server, &err) ||
	    iscsi_server_set_target(s->server, &target, &err))
		fail_msg("%s", err.text);
	*state = s;
	return 0;
}

static inline int teardown(void **state)
{
	struct scene *s = *state;
	struct vs_error err = {0};

	open_wide(s);
	iscsi_server_stop(s->server);
	if (bs_store_close(s->store, &err))
		fail_msg("%s", err.text);
	unlink(s->path);
	rmdir(s->folder);
	free(s);
	return 0;
}

#endif
