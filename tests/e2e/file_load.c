/*
 * Files in a directory, changed at random in every way that a program can, and compared with a copy
 * in memory all the while. For guests without libraries: it needs nothing but a kernel.
 *
 *     file_load DIR SEED OPERATIONS
 *
 * Says "done N operations" at the end, after everything was read back through fresh descriptors;
 * "wrong ..." or "failed ..." and exit status 1 at once when something is not as it must be.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 8u
#define LARGEST ((size_t)1 << 20)
#define PIECE ((size_t)40000)

struct file {
	char name[32];
	int fd; /* -1: the file is not there */
	size_t size;
	uint8_t *bytes;
};

static struct file files[FILES];
static uint64_t state;
static unsigned punched, names;

static void die(const char *what, const char *fmt, ...)
{
	va_list ap;

	(void)printf("%s ", what);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)printf("\n");
	exit(1);
}

static void must(int rc, const char *what, const struct file *f)
{
	if (rc < 0)
		die("failed", "%s %s: %s", what, f->name, strerror(errno));
}

static uint64_t next_random(void)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return state >> 20;
}

static size_t below(size_t n)
{
	return (size_t)(next_random() % n);
}

static void fill(uint8_t *p, size_t len)
{
	uint64_t style = next_random() % 3, word = next_random();

	for (size_t i = 0; i < len; i++)
		p[i] = style == 0
			   ? 0
			   : (uint8_t)(word >> (i % 8 * 8)) + (style == 1 ? (uint8_t)(i >> 8) : 0);
}

static void make(struct file *f)
{
	(void)snprintf(f->name, sizeof(f->name), "f%u", ++names);
	f->fd = open(f->name, O_RDWR | O_CREAT | O_EXCL, 0644);
	must(f->fd, "create", f);
	f->size = 0;
}

static void reopen(struct file *f)
{
	must(close(f->fd), "close", f);
	f->fd = open(f->name, O_RDWR);
	must(f->fd, "open", f);
}

static void compare(const struct file *f, size_t at, size_t len)
{
	static uint8_t have[PIECE];
	ssize_t got = pread(f->fd, have, len, (off_t)at);
	size_t want = at >= f->size ? 0 : f->size - at < len ? f->size - at : len;

	must((int)(got < 0 ? -1 : 0), "read", f);
	if ((size_t)got != want)
		die("wrong", "%s: %zd bytes at %zu of %zu, not %zu", f->name, got, at, f->size,
		    want);
	for (size_t i = 0; i < want; i++)
		if (have[i] != f->bytes[at + i])
			die("wrong", "%s: byte %zu is %u, not %u", f->name, at + i, have[i],
			    f->bytes[at + i]);
}

static void op_write(struct file *f)
{
	size_t at = below(LARGEST - PIECE), len = 1 + below(PIECE);
	size_t done = 0;

	fill(f->bytes + at, len);
	while (done < len) {
		ssize_t k = pwrite(f->fd, f->bytes + at + done, len - done, (off_t)(at + done));

		must((int)(k < 0 ? -1 : 0), "write", f);
		done += (size_t)k;
	}
	if (at + len > f->size)
		f->size = at + len;
}

static void op_read(struct file *f)
{
	compare(f, below(LARGEST), 1 + below(PIECE));
}

static void op_map(struct file *f)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), at, len;
	uint8_t *p;

	if (f->size < page)
		return;
	at = below(f->size / page) * page;
	len = f->size - at < 3 * page ? f->size - at : 3 * page;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, (off_t)at);
	if (p == MAP_FAILED)
		must(-1, "map", f);
	if (memcmp(p, f->bytes + at, len) != 0)
		die("wrong", "%s: what is mapped at %zu", f->name, at);
	fill(f->bytes + at, len / 2 + 1);
	memcpy(p, f->bytes + at, len / 2 + 1);
	must(msync(p, len, MS_SYNC), "msync", f);
	must(munmap(p, len), "unmap", f);
}

static void op_truncate(struct file *f)
{
	size_t to = below(LARGEST);

	must(ftruncate(f->fd, (off_t)to), "truncate", f);
	if (to < f->size)
		memset(f->bytes + to, 0, f->size - to);
	f->size = to;
}

static void op_punch(struct file *f)
{
	size_t at, len;

	if (!f->size)
		return;
	at = below(f->size);
	len = 1 + below(f->size - at);
	if (fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)len) <
	    0) {
		if (errno != EOPNOTSUPP)
			must(-1, "punch", f);
		return;
	}
	memset(f->bytes + at, 0, len);
	punched++;
}

static void op_sync(struct file *f)
{
	must(fsync(f->fd), "fsync", f);
}

static void op_stat(struct file *f)
{
	struct stat st;

	must(fstat(f->fd, &st), "stat", f);
	if ((size_t)st.st_size != f->size)
		die("wrong", "%s: size %lld, not %zu", f->name, (long long)st.st_size, f->size);
}

static void op_rename(struct file *f)
{
	char to[32];

	(void)snprintf(to, sizeof(to), "r%u", ++names);
	must(rename(f->name, to), "rename", f);
	memcpy(f->name, to, sizeof(to));
}

static void op_replace(struct file *f)
{
	struct file *other = &files[below(FILES)];

	if (other == f)
		return;
	must(close(other->fd), "close", other);
	must(rename(f->name, other->name), "rename", f);
	memcpy(f->name, other->name, sizeof(f->name));
	memset(other->bytes, 0, LARGEST);
	make(other);
}

static void op_link(struct file *f)
{
	char to[32];

	(void)snprintf(to, sizeof(to), "l%u", ++names);
	must(link(f->name, to), "link", f);
	must(unlink(f->name), "unlink", f);
	memcpy(f->name, to, sizeof(to));
}

/* Goes on to be used when its name has gone. */
static void op_unlink(struct file *f)
{
	must(unlink(f->name), "unlink", f);
	compare(f, below(LARGEST), 1 + below(PIECE));
	must(close(f->fd), "close", f);
	memset(f->bytes, 0, LARGEST);
	make(f);
}

static void check_all(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		reopen(&files[i]);
		op_stat(&files[i]);
		for (size_t at = 0; at < LARGEST; at += PIECE)
			compare(&files[i], at, PIECE);
	}
}

int main(int argc, char **argv)
{
	static void (*const ops[])(struct file *) = {
	    op_write, op_write,	 op_write,    op_write, op_read,   op_read,
	    op_read,  op_map,	 op_truncate, op_punch, op_sync,   op_stat,
	    reopen,   op_rename, op_replace,  op_link,	op_unlink,
	};
	unsigned long n;

	if (argc != 4 || chdir(argv[1]) != 0) {
		(void)printf("usage: file_load DIR SEED OPERATIONS\n");
		return 2;
	}
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	state = strtoull(argv[2], NULL, 10);
	n = strtoul(argv[3], NULL, 10);
	for (unsigned i = 0; i < FILES; i++) {
		files[i].bytes = calloc(1, LARGEST);
		if (!files[i].bytes)
			die("failed", "memory");
		make(&files[i]);
	}
	for (unsigned long i = 0; i < n; i++) {
		ops[below(sizeof(ops) / sizeof(ops[0]))](&files[below(FILES)]);
		if (i % 1000 == 999)
			(void)printf("at %lu\n", i + 1);
	}
	check_all();
	for (unsigned i = 0; i < FILES; i++)
		must(unlink(files[i].name), "unlink", &files[i]);
	(void)printf("done %lu operations, %u holes\n", n, punched);
	return 0;
}
