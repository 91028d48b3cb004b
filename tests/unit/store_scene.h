/* A store in a file, made, opened, closed and checked; whatever goes wrong fails the test. */
#ifndef TESTS_UNIT_STORE_SCENE_H
#define TESTS_UNIT_STORE_SCENE_H

#include "blockstore/check.h"
#include "blockstore/io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* A new store of `size` bytes in a file of this process; path is its name. */
static inline void store_make(char path[64], const char *name, uint64_t size,
			      const struct bs_init_options *init)
{
	struct bs_device *dev;
	struct vs_error err = {0};

	(void)snprintf(path, 64, "/tmp/vstore-%s-%d.img", name, getpid());
	unlink(path);
	if (bs_device_open(path, BS_DEVICE_CREATE, size, &dev, &err) ||
	    bs_store_init(dev, init, &err))
		fail_msg("%s", err.text);
	bs_device_close(dev);
}

static inline void store_open(const char *path, const struct bs_open_options *opts,
			      struct vs_loop *loop, unsigned depth, struct bs_store **s,
			      struct bs_port **port)
{
	struct bs_device *dev;
	struct vs_error err = {0};

	if (bs_device_open(path, 0, 0, &dev, &err) || bs_store_open(dev, opts, s, &err) ||
	    bs_port_open(*s, loop, depth, port, &err))
		fail_msg("%s", err.text);
}

static inline void store_close(struct bs_store *s, struct bs_port *port)
{
	struct vs_error err = {0};

	bs_port_close(port);
	if (bs_store_close(s, &err))
		fail_msg("%s", err.text);
}

/* What an offline check of the closed store, data included, finds. */
static inline uint64_t store_problems(const char *path)
{
	const struct bs_check_options opts = {.read_data = true};
	struct bs_check_result res = {0};
	struct bs_device *dev;
	struct vs_error err = {0};

	if (bs_device_open(path, BS_DEVICE_READ_ONLY, 0, &dev, &err) ||
	    bs_check_run(dev, &opts, &res, &err))
		fail_msg("%s", err.text);
	return res.problems;
}

#endif
