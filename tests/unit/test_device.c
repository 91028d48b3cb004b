#include "blockstore/device.h"
#include "common/bytes.h"

#include "tests/unit/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)
#define SIZE (16 * MIB)

static char dir[] = "/var/tmp/test_device.XXXXXX";
static char shm[] = "/dev/shm/test_device.XXXXXX";

static const char *in(const char *where, const char *name)
{
	static char path[4][PATH_MAX];
	static unsigned turn;
	char joined[PATH_MAX]; /* where may be one of the four */

	snprintf(joined, sizeof(joined), "%s/%s", where, name);
	return memcpy(path[turn++ % 4], joined, sizeof(joined));
}

static void *page_alloc(size_t n)
{
	void *p = NULL;

	assert_int_equal(posix_memalign(&p, BS_DEV_ALIGN, n), 0);
	return p;
}

static struct bs_device *must_open(const char *path, unsigned flags)
{
	struct bs_device *dev = NULL;
	struct vs_error err = {0};
	int rc = bs_device_open(path, flags, SIZE, &dev, &err);

	if (rc < 0)
		print_message("# %s\n", err.text);
	assert_int_equal(rc, 0);
	return dev;
}

static void must_refuse(const char *path, unsigned flags, uint64_t size, int code,
			const char *words)
{
	struct bs_device *dev = NULL;
	struct vs_error err = {0};

	assert_int_equal(bs_device_open(path, flags, size, &dev, &err), code);
	assert_int_equal(err.code, code);
	assert_non_null(strstr(err.text, path));
	if (!strstr(err.text, words))
		fail_msg("'%s' does not say '%s'", err.text, words);
}

static void make_file(const char *path, uint64_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static void round_trip(const char *path)
{
	struct bs_device *dev = must_open(path, BS_DEVICE_CREATE);
	unsigned char *a = page_alloc(MIB), *b = page_alloc(MIB);

	assert_int_equal(dev->size, SIZE);
	for (size_t i = 0; i < MIB; i++)
		a[i] = (unsigned char)(i * 7 + i / 4096);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 3 * MIB + 4096, a, MIB), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READ, 3 * MIB + 4096, b, MIB), 0);
	assert_memory_equal(a, b, MIB);
	bs_device_close(dev);

	dev = must_open(path, 0);
	memset(b, 0, MIB);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READ, 3 * MIB + 4096, b, MIB), 0);
	assert_memory_equal(a, b, MIB);
	bs_device_close(dev);
	free(a);
	free(b);
}

static void test_direct(void **state)
{
	(void)state;
	round_trip(in(dir, "direct"));
}

static void test_tmpfs(void **state)
{
	(void)state;
	round_trip(in(shm, "tmpfs"));
}

/* ramfs has no direct I/O on any kernel. */
static void test_without_direct(void **state)
{
	const char *at = in(dir, "ramfs");

	(void)state;
	assert_int_equal(mkdir(at, 0700), 0);
	if (mount("none", at, "ramfs", 0, NULL) < 0) {
		print_message("# cannot mount a ramfs: %s\n", strerror(errno));
		skip();
	}
	round_trip(in(at, "file"));
	assert_int_equal(umount(at), 0);
}

struct counter {
	unsigned done, failed;
};

static void count(struct bs_devio *io)
{
	struct counter *c = io->arg;

	c->done++;
	c->failed += io->status != 0;
}

static void wait_for(struct bs_device *dev, struct counter *c, unsigned n)
{
	while (c->done < n) {
		if (bs_device_poll(dev) == 0) {
			struct pollfd p = {.fd = dev->event_fd, .events = POLLIN};

			assert_int_equal(poll(&p, 1, 60000), 1);
		}
	}
}

#define MANY 700u

/* More than the depth, in pieces of 1 to 8, each block saying which request wrote it. */
static void test_many(void **state)
{
	struct bs_device *dev = must_open(in(dir, "many"), BS_DEVICE_CREATE);
	struct bs_devio *ios = calloc(MANY, sizeof(*ios));
	unsigned char *buf = page_alloc((size_t)MANY * 8 * 4096), *back = page_alloc(8 * 4096);
	struct counter c = {0};

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		unsigned n = 1 + i % 8;

		ios[i] = (struct bs_devio){.op = BS_DEV_WRITE,
					   .offset = (uint64_t)(i % 500) * 8 * 4096,
					   .length = n * 4096,
					   .iovcnt = (int)n,
					   .durable = i < 500 && i % 3 == 0,
					   .done = count,
					   .arg = &c};
		if (i >= 500)
			ios[i].op = BS_DEV_READ;
		for (unsigned k = 0; k < n; k++) {
			ios[i].iov[k].iov_base = buf + ((size_t)i * 8 + (n - 1 - k)) * 4096;
			ios[i].iov[k].iov_len = 4096;
			memset(ios[i].iov[k].iov_base, (int)(i + k), 4096);
		}
		bs_device_submit(dev, &ios[i]);
		if (i % 100 == 99)
			bs_device_kick(dev);
	}
	assert_int_equal(c.done, 0);
	bs_device_kick(dev);
	wait_for(dev, &c, MANY);
	assert_int_equal(c.failed, 0);
	for (unsigned i = 0; i < 500; i++) {
		unsigned n = 1 + i % 8;

		assert_int_equal(bs_device_sync(dev, BS_DEV_READ, ios[i].offset, back, n * 4096),
				 0);
		for (unsigned k = 0; k < n; k++)
			assert_int_equal(back[k * 4096 + 99], (unsigned char)(i + k));
	}
	bs_device_close(dev);
	free(ios);
	free(buf);
	free(back);
}

/* When all is done and polled, the descriptor does not keep a loop awake. */
#define READS 64u
#define READ_LEN (128u << 10)

struct line_io {
	struct bs_devio io;
	struct line *line;
	unsigned place; /* in the order of done */
};

struct line {
	struct counter c;
	struct line_io ios[READS + 1];
};

static void take_place(struct bs_devio *io)
{
	struct line_io *l = vs_container_of(io, struct line_io, io);

	l->place = l->line->c.done;
	count(io);
}

/* The kernel does not have all of many long reads at once, and a write does not wait behind those
 * that it does not have. On tmpfs, where what is given to the kernel is done in that order. */
static void test_line(void **state)
{
	struct bs_device *dev = must_open(in(shm, "line"), BS_DEVICE_CREATE);
	struct line *l = calloc(1, sizeof(*l));
	unsigned char *buf = page_alloc(SIZE);

	(void)state;
	for (uint64_t at = 0; at < SIZE; at += 4096)
		memset(buf + at, (int)(at / READ_LEN + 1), 4096);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 0, buf, SIZE), 0);
	for (unsigned i = 0; i <= READS; i++) {
		struct line_io *io = &l->ios[i];

		io->line = l;
		io->io = (struct bs_devio){.op = i < READS ? BS_DEV_READ : BS_DEV_WRITE,
					   .offset = (uint64_t)i * READ_LEN,
					   .length = READ_LEN,
					   .iovcnt = 1,
					   .iov = {{buf + (size_t)i * READ_LEN, READ_LEN}},
					   .done = take_place,
					   .arg = &l->c};
		memset(io->io.iov[0].iov_base, 0xee, READ_LEN);
		bs_device_submit(dev, &io->io);
	}
	bs_device_kick(dev);
	wait_for(dev, &l->c, READS + 1);
	assert_int_equal(l->c.failed, 0);
	assert_true(l->ios[READS].place <= 8); /* a MiB of reads */
	for (unsigned i = 0; i < READS; i++)
		for (unsigned k = 0; k < READ_LEN; k += 4096)
			assert_int_equal(buf[(size_t)i * READ_LEN + k], (unsigned char)(i + 1));
	bs_device_close(dev);
	free(buf);
	free(l);
}

static void test_quiet(void **state)
{
	struct bs_device *dev = must_open(in(dir, "quiet"), BS_DEVICE_CREATE);
	struct bs_devio io = {.op = BS_DEV_FLUSH, .done = count};
	struct counter c = {0};
	struct pollfd p = {.fd = dev->event_fd, .events = POLLIN};

	(void)state;
	io.arg = &c;
	bs_device_submit(dev, &io);
	bs_device_kick(dev);
	wait_for(dev, &c, 1);
	for (unsigned turns = 0; poll(&p, 1, 0) == 1; turns++) {
		bs_device_poll(dev);
		assert_true(turns < 1000);
	}
	assert_int_equal(c.failed, 0);
	bs_device_close(dev);
}

static void test_discard(void **state)
{
	const char *path = in(dir, "discard");
	struct bs_device *dev = must_open(path, BS_DEVICE_CREATE);
	unsigned char *a = page_alloc(MIB);
	struct stat before, after;

	(void)state;
	memset(a, 0x5a, MIB);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, MIB, a, MIB), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_DISCARD, MIB, NULL, MIB), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	assert_true(after.st_blocks + 1024 <= before.st_blocks);
	bs_device_close(dev);
	free(a);
}

/* A hole gets space; what is written stays where it is. */
static void test_ready(void **state)
{
	const char *path = in(dir, "ready");
	struct bs_device *dev = must_open(path, BS_DEVICE_CREATE);
	unsigned char *a = page_alloc(MIB), *b = page_alloc(MIB);
	struct stat st;

	(void)state;
	memset(a, 0x5a, MIB);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 4 * MIB, a, MIB), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READY, MIB, NULL, 2 * MIB), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READY, 4 * MIB, NULL, MIB), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= 3 * MIB);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READ, 4 * MIB, b, MIB), 0);
	assert_memory_equal(a, b, MIB);
	bs_device_close(dev);
	free(a);
	free(b);
}

static void test_outside(void **state)
{
	struct bs_device *dev = must_open(in(dir, "outside"), BS_DEVICE_CREATE);
	unsigned char *a = page_alloc(8192);

	(void)state;
	assert_int_equal(bs_device_sync(dev, BS_DEV_READ, SIZE - 4096, a, 8192), VS_E_IO);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, UINT64_MAX - 4095, a, 4096), VS_E_IO);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READ, SIZE - 4096, a, 4096), 0);
	bs_device_close(dev);
	free(a);
}

/* The file was cut behind our back: an error, not a hang and not zeros. */
static void test_shrunk(void **state)
{
	const char *path = in(dir, "shrunk");
	struct bs_device *dev = must_open(path, BS_DEVICE_CREATE);
	unsigned char *a = page_alloc(8192);

	(void)state;
	assert_int_equal(truncate(path, 8 * MIB + 4096), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READ, 8 * MIB, a, 8192), VS_E_IO);
	bs_device_close(dev);
	free(a);
}

static void test_no_space(void **state)
{
	struct bs_device *dev = must_open(in(dir, "limit"), BS_DEVICE_CREATE);
	struct rlimit old, low;
	unsigned char *a = page_alloc(8192);
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = old;
	low.rlim_cur = 4 * MIB;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 8 * MIB, a, 8192), VS_E_NOSPC);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 4 * MIB - 4096, a, 8192), VS_E_NOSPC);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 2 * MIB, a, 8192), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, handler);
	bs_device_close(dev);
	free(a);
}

static void test_busy(void **state)
{
	const char *path = in(dir, "busy");
	struct bs_device *dev = must_open(path, BS_DEVICE_CREATE);

	(void)state;
	must_refuse(path, 0, 0, VS_E_BUSY, "in use");
	must_refuse(path, BS_DEVICE_READ_ONLY, 0, VS_E_BUSY, "in use");
	must_refuse(path, BS_DEVICE_CREATE, SIZE, VS_E_BUSY, "in use");
	bs_device_close(dev);
	bs_device_close(must_open(path, 0));
}

static void test_read_only(void **state)
{
	const char *path = in(dir, "ro");
	struct bs_device *dev;
	unsigned char *a = page_alloc(4096);

	(void)state;
	must_refuse(path, BS_DEVICE_READ_ONLY | BS_DEVICE_CREATE, SIZE, VS_E_NOENT, "cannot open");
	make_file(path, SIZE);
	dev = must_open(path, BS_DEVICE_READ_ONLY);
	assert_true(dev->read_only);
	assert_int_equal(bs_device_sync(dev, BS_DEV_READ, 0, a, 4096), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 0, a, 4096), VS_E_IO);
	bs_device_close(dev);
	free(a);
}

static void test_refused(void **state)
{
	const char *fifo = in(dir, "fifo"), *small = in(dir, "small"), *none = in(dir, "none");

	(void)state;
	assert_int_equal(mkfifo(fifo, 0600), 0);
	make_file(small, SIZE - 1);
	must_refuse(dir, 0, 0, VS_E_INVAL, "directory");
	must_refuse("/dev/null", 0, 0, VS_E_INVAL, "character device");
	must_refuse(fifo, 0, 0, VS_E_INVAL, "pipe");
	must_refuse(small, 0, 0, VS_E_INVAL, "too small");
	must_refuse(none, 0, 0, VS_E_NOENT, "No such file");
	must_refuse(none, BS_DEVICE_CREATE, SIZE - 1, VS_E_INVAL, "too small");
	assert_int_equal(access(none, F_OK), -1);
	must_refuse(none, BS_DEVICE_CREATE, UINT64_C(1) << 63, VS_E_INVAL, "size");
	assert_int_equal(access(none, F_OK), -1);
}

static void test_odd_size(void **state)
{
	const char *path = in(dir, "odd");
	struct bs_device *dev;

	(void)state;
	make_file(path, SIZE + 4096 + 513);
	dev = must_open(path, 0);
	assert_int_equal(dev->size, SIZE + 4096);
	bs_device_close(dev);
}

static int attach_loop(int backing, char *name, size_t len)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), no, fd;

	if (control < 0)
		return -1;
	for (int tries = 0; tries < 8; tries++) {
		no = ioctl(control, LOOP_CTL_GET_FREE);
		if (no < 0)
			break;
		snprintf(name, len, "/dev/loop%d", no);
		fd = open(name, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_SET_FD, backing) == 0) {
			close(control);
			return fd;
		}
		if (fd >= 0)
			close(fd);
	}
	close(control);
	return -1;
}

static void test_block_device(void **state)
{
	const char *path = in(dir, "backing");
	unsigned char *a = page_alloc(8192), *b = page_alloc(8192);
	struct bs_device *dev;
	char name[64];
	int backing, loop;

	(void)state;
	make_file(path, SIZE);
	backing = open(path, O_RDWR | O_CLOEXEC);
	loop = attach_loop(backing, name, sizeof(name));
	if (loop < 0) {
		print_message("# no loop device: %s\n", strerror(errno));
		close(backing);
		skip();
	}
	dev = must_open(name, 0);
	assert_int_equal(dev->size, SIZE);
	must_refuse(name, 0, 0, VS_E_BUSY, "in use");
	memset(a, 0x33, 8192);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, MIB, a, 8192), 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(pread(backing, b, 8192, MIB), 8192);
	assert_memory_equal(a, b, 8192);
	assert_int_equal(bs_device_sync(dev, BS_DEV_DISCARD, MIB, NULL, 8192), 0);
	/* The device loses its end: what lies there fails, the rest works. */
	assert_int_equal(ftruncate(backing, 8 * (off_t)MIB), 0);
	assert_int_equal(ioctl(loop, LOOP_SET_CAPACITY, 0), 0);
	assert_true(bs_device_sync(dev, BS_DEV_WRITE, 12 * MIB, a, 8192) < 0);
	assert_int_equal(bs_device_sync(dev, BS_DEV_WRITE, 4 * MIB, a, 8192), 0);
	bs_device_close(dev);
	assert_int_equal(ioctl(loop, LOOP_CLR_FD, 0), 0);
	close(loop);
	close(backing);
	free(a);
	free(b);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(dir) && mkdtemp(shm) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return files_remove(dir) | files_remove(shm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_direct),	   cmocka_unit_test(test_tmpfs),
	    cmocka_unit_test(test_without_direct), cmocka_unit_test(test_many),
	    cmocka_unit_test(test_line),	   cmocka_unit_test(test_quiet),
	    cmocka_unit_test(test_discard),	   cmocka_unit_test(test_ready),
	    cmocka_unit_test(test_outside),	   cmocka_unit_test(test_shrunk),
	    cmocka_unit_test(test_no_space),	   cmocka_unit_test(test_busy),
	    cmocka_unit_test(test_read_only),	   cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_odd_size),	   cmocka_unit_test(test_block_device),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
