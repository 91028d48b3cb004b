/*
 * nfs_instant FOLDER STOP: changes files in an order that every state of all files together shows,
 * round after round until there is a file STOP. nfs_instant FOLDER: looks at such files, tells the
 * round, and fails when they were never so at one instant.
 *
 * Round n: n goes into a, b and c, each durable before the next. Then new/n is made, gets n,
 * becomes done/n, and done/(n-1) goes. So at any instant a >= b >= c >= a - 1; there are one or two
 * of these names and none is missing or there twice; and while there are two, all counters are n.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 1;
}

static bool put(int fd, uint64_t n)
{
	return pwrite(fd, &n, sizeof(n), 0) == (ssize_t)sizeof(n) && fdatasync(fd) == 0;
}

static bool change_names(uint64_t n)
{
	char made[32], done[32], last[32];
	bool ok;
	int fd;

	(void)snprintf(made, sizeof(made), "new/%" PRIu64, n);
	(void)snprintf(done, sizeof(done), "done/%" PRIu64, n);
	(void)snprintf(last, sizeof(last), "done/%" PRIu64, n - 1);
	fd = open(made, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		return false;
	ok = put(fd, n);
	return close(fd) == 0 && ok && rename(made, done) == 0 && unlink(last) == 0;
}

static int change(const char *stop)
{
	const char *const name[] = {"a", "b", "c"};
	int fd[3], first;
	uint64_t n = 0;

	if (mkdir("new", 0755) || mkdir("done", 0755))
		return fail("mkdir");
	for (int i = 0; i < 3; i++) {
		fd[i] = open(name[i], O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd[i] < 0 || !put(fd[i], 0))
			return fail(name[i]);
	}
	first = open("done/0", O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (first < 0 || !put(first, 0) || close(first))
		return fail("done/0");
	printf("running\n");
	(void)fflush(stdout);
	while (access(stop, F_OK)) {
		n++;
		for (int i = 0; i < 3; i++)
			if (!put(fd[i], n))
				return fail(name[i]);
		if (!change_names(n))
			return fail("names");
	}
	printf("ended after %" PRIu64 "\n", n);
	return 0;
}

static bool get(const char *name, uint64_t *n, ssize_t *len)
{
	int fd = open(name, O_RDONLY);

	*n = 0;
	*len = fd < 0 ? -1 : read(fd, n, sizeof(*n));
	if (fd >= 0)
		(void)close(fd);
	return *len == (ssize_t)sizeof(*n);
}

struct named {
	unsigned count;
	uint64_t low, high;
	bool bad;
};

/* Each file's name is what it has; one that is just made may have nothing yet. */
static void look(const char *folder, bool empty_may, struct named *s)
{
	DIR *dir = opendir(folder);
	struct dirent *e;

	if (!dir)
		s->bad = true;
	while (dir && (e = readdir(dir))) {
		uint64_t number = strtoull(e->d_name, NULL, 10), n;
		char path[300];
		ssize_t len;

		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (!get(path, &n, &len) ? !(empty_may && len == 0) : n != number)
			s->bad = true;
		s->low = s->count == 0 || number < s->low ? number : s->low;
		s->high = number > s->high ? number : s->high;
		s->count++;
	}
	if (dir)
		(void)closedir(dir);
}

static int check(void)
{
	struct named made = {0}, done = {0};
	uint64_t a = 0, b = 0, c = 0, last;
	ssize_t len;
	bool ok = get("a", &a, &len) && get("b", &b, &len) && get("c", &c, &len);

	ok = ok && a >= b && b >= c && c + 1 >= a;
	look("new", true, &made);
	look("done", false, &done);
	last = made.count ? made.high : done.high;
	ok = ok && !made.bad && !done.bad;
	if (made.count) /* new/n beside done/(n-1) */
		ok = ok && made.count == 1 && done.count == 1 && done.high + 1 == last;
	else /* done/n, perhaps beside done/(n-1) */
		ok = ok && (done.count == 1 || (done.count == 2 && done.low + 1 == last));
	if (made.count + done.count == 2)
		ok = ok && a == last && c == last;
	else
		ok = ok && c >= last && a <= last + 1;
	printf("a %" PRIu64 " b %" PRIu64 " c %" PRIu64 " new %u done %u last %" PRIu64 "\n", a, b,
	       c, made.count, done.count, last);
	return !ok;
}

int main(int argc, char **argv)
{
	if (argc < 2 || chdir(argv[1]))
		return 2;
	return argc > 2 ? change(argv[2]) : check();
}
