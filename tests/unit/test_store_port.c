/* Large writes, made ready by two threads of each port: what they say and how they end. */
#include "blockstore/check.h"
#include "blockstore/io.h"
#include "common/bytes.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE (UINT64_C(256) << 20)
#define LEN (512u << 10)
#define REQUESTS 24u /* of a port */
#define PORTS 2u

static char path[64];

struct writer {
	pthread_t thread;
	struct bs_store *store;
	struct bs_volume *volume;
	struct vs_loop *loop;
	struct bs_port *port;
	unsigned index, done, failed;
	uint8_t *mem;
	struct iovec iov[REQUESTS];
	struct bs_req req[REQUESTS];
};

static struct bs_store *open_store(void)
{
	struct bs_open_options opts = {.memory = UINT64_C(256) << 20};
	struct bs_store *s = NULL;
	struct bs_device *dev;
	struct vs_error err = {0};

	if (bs_device_open(path, 0, 0, &dev, &err) || bs_store_open(dev, &opts, &s, &err))
		fail_msg("%s", err.text);
	return s;
}

static struct bs_volume *open_volume(struct bs_store *s)
{
	struct bs_volume *v = NULL;
	struct vs_error err = {0};

	if (bs_volume_open(s, "v", &v, &err))
		fail_msg("%s", err.text);
	return v;
}

static int setup(void **state)
{
	struct bs_init_options opts = {.segment_size = 1 << 20, .compression = BS_CODING_LZ4};
	struct bs_volume_spec spec = {.name = "v", .size = 128 << 20, .compression = -1};
	struct bs_device *dev;
	struct bs_store *s;
	struct vs_error err = {0};

	(void)state;
	snprintf(path, sizeof(path), "/tmp/vstore-port-%d.img", getpid());
	if (bs_device_open(path, BS_DEVICE_CREATE, SIZE, &dev, &err) ||
	    bs_store_init(dev, &opts, &err))
		fail_msg("%s", err.text);
	bs_device_close(dev);
	s = open_store();
	if (bs_volume_create(s, &spec, NULL, &err) || bs_store_close(s, &err))
		fail_msg("%s", err.text);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

/* A block of zeros, of text, one that others have too, or noise. */
static void fill(uint8_t *b, uint64_t block)
{
	uint64_t x = block % 4 == 2 ? 7 + block % 3 : block;

	memset(b, 0, BS_BLOCK);
	for (unsigned i = 0; block % 4 && i < BS_BLOCK; i += 8) {
		if (block % 4 != 1)
			x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
		vs_put_le64(b + i, x ^ x >> 29);
	}
}

static unsigned helpers(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned n = 0;

	while (d && (entry = readdir(d))) {
		char name[300], word[64] = "";
		FILE *f;

		(void)snprintf(name, sizeof(name), "/proc/self/task/%s/comm", entry->d_name);
		if (!(f = fopen(name, "r")))
			continue;
		n += fgets(word, sizeof(word), f) && strcmp(word, "port-helper\n") == 0;
		fclose(f);
	}
	if (d)
		closedir(d);
	return n;
}

static void done(struct bs_req *req)
{
	struct writer *w = req->arg;

	w->done++;
	w->failed += req->status != 0;
}

static uint64_t first_block(const struct writer *w)
{
	return (uint64_t)w->index * REQUESTS * LEN / BS_BLOCK;
}

static void *write_all(void *arg)
{
	struct writer *w = arg;
	struct vs_error err;

	if (vs_loop_new(&w->loop, &err) || bs_port_open(w->store, w->loop, 64, &w->port, &err)) {
		w->failed++;
		return NULL;
	}
	for (unsigned i = 0; i < REQUESTS; i++) {
		uint8_t *mem = w->mem + (size_t)i * LEN;
		uint64_t block = first_block(w) + (uint64_t)i * LEN / BS_BLOCK;

		for (unsigned k = 0; k < LEN / BS_BLOCK; k++)
			fill(mem + (size_t)k * BS_BLOCK, block + k);
		w->iov[i] = (struct iovec){mem, LEN};
		w->req[i] = (struct bs_req){.op = BS_WRITE,
					    .flags = i % 3 ? 0 : BS_UNSTABLE,
					    .volume = w->volume,
					    .offset = block * BS_BLOCK,
					    .length = LEN,
					    .iov = &w->iov[i],
					    .iovcnt = 1,
					    .done = done,
					    .arg = w};
		bs_submit(w->port, &w->req[i]);
	}
	return NULL;
}

static void expect(struct bs_store *s, struct bs_volume *v)
{
	uint8_t want[BS_BLOCK], *have = malloc(LEN);
	struct bs_port *port = NULL;
	struct vs_loop *loop = NULL;

	assert_int_equal(vs_loop_new(&loop, NULL), 0);
	assert_int_equal(bs_port_open(s, loop, 64, &port, NULL), 0);
	for (uint64_t at = 0; at < (uint64_t)PORTS * REQUESTS * LEN; at += LEN) {
		assert_int_equal(bs_io_read(port, v, at, have, LEN), 0);
		for (unsigned k = 0; k < LEN / BS_BLOCK; k++) {
			fill(want, at / BS_BLOCK + k);
			assert_memory_equal(want, have + (size_t)k * BS_BLOCK, BS_BLOCK);
		}
	}
	bs_port_close(port);
	vs_loop_free(loop);
	free(have);
}

/* Ports are closed while their helpers still work: all is written, and no helper stays. */
static void test_large_writes(void **state)
{
	struct bs_check_options opts = {.read_data = true};
	struct bs_check_result res;
	struct writer w[PORTS] = {0};
	struct bs_store *s = open_store();
	struct bs_volume *v = open_volume(s);
	struct bs_device *dev;
	struct vs_error err = {0};

	(void)state;
	for (unsigned i = 0; i < PORTS; i++) {
		w[i] = (struct writer){.store = s, .volume = v, .index = i};
		w[i].mem = malloc((size_t)REQUESTS * LEN);
		assert_int_equal(pthread_create(&w[i].thread, NULL, write_all, &w[i]), 0);
	}
	for (unsigned i = 0; i < PORTS; i++)
		pthread_join(w[i].thread, NULL);
	assert_int_equal(helpers(), sysconf(_SC_NPROCESSORS_ONLN) > 1 ? PORTS : 0);
	for (unsigned i = 0; i < PORTS; i++) {
		bs_port_close(w[i].port);
		vs_loop_free(w[i].loop);
		assert_int_equal(w[i].done, REQUESTS);
		assert_int_equal(w[i].failed, 0);
		free(w[i].mem);
	}
	assert_int_equal(helpers(), 0);
	expect(s, v);
	bs_volume_close(v);
	if (bs_store_close(s, &err))
		fail_msg("%s", err.text);
	if (bs_device_open(path, BS_DEVICE_READ_ONLY, 0, &dev, &err) ||
	    bs_check_run(dev, &opts, &res, &err))
		fail_msg("%s", err.text);
	assert_int_equal(res.problems, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_large_writes, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
