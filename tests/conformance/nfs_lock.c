/*
 * nfs_lock FILE KIND HOW SAID: locks bytes of a file (fcntl), or all of it (flock), and holds the
 * lock until it is killed. KIND: read or write (bytes 0 to 99), across (50 to 149, to write),
 * behind (100 to 199, to write) or flock; HOW: wait, or try. What becomes of it is written to the
 * file SAID, one word at a time: waits, then locked, refused (somebody has it) or interrupted
 * (SIGUSR1). With "-" for SAID it ends at once; the exit status says the same: 0, 1, 2.
 *
 * HOW may be count or trycount: 100 times it locks, adds one to the number in the file and unlocks.
 * trycount asks again and again instead of waiting. SAID: counts, then counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define COUNTS 100

enum outcome { LOCKED, REFUSED, INTERRUPTED, FAILED, COUNTED };

static const char *const words[] = {"locked", "refused", "interrupted", "failed", "counted"};

static const struct {
	const char *name;
	short type;
	off_t first;
} kinds[] = {
    {"read", F_RDLCK, 0},
    {"write", F_WRLCK, 0},
    {"across", F_WRLCK, 50},
    {"behind", F_WRLCK, 100},
};

/* Whoever reads sees a whole word. */
static bool say(const char *path, const char *word)
{
	char beside[256];
	FILE *f;

	if (strcmp(path, "-") == 0)
		return true;
	if (snprintf(beside, sizeof(beside), "%s.new", path) >= (int)sizeof(beside))
		return false;
	f = fopen(beside, "w");
	if (!f)
		return false;
	(void)fprintf(f, "%s\n", word);
	return fclose(f) == 0 && rename(beside, path) == 0;
}

/* System calls that wait end with EINTR. */
static void interrupt(int number)
{
	(void)number;
}

static int lock(int fd, const char *kind, bool wait)
{
	struct flock f = {.l_whence = SEEK_SET, .l_len = 100};

	if (strcmp(kind, "flock") == 0)
		return flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kind, kinds[i].name) == 0) {
			f.l_type = kinds[i].type;
			f.l_start = kinds[i].first;
			return fcntl(fd, wait ? F_SETLKW : F_SETLK, &f);
		}
	}
	errno = EINVAL;
	return -1;
}

static enum outcome outcome_of(int status)
{
	if (status == 0)
		return LOCKED;
	switch (errno) {
	case EAGAIN:
	case EACCES:
		return REFUSED;
	case EINTR:
		return INTERRUPTED;
	default:
		perror("nfs_lock");
		return FAILED;
	}
}

/* ---- counting ---- */

/* The number is as long each time: who reads without a lock sees an old or a new one. */
static bool add_one(int fd)
{
	char text[16] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	int len = snprintf(text, sizeof(text), "%08ld\n", strtol(text, NULL, 10) + 1);

	return n >= 0 && pwrite(fd, text, (size_t)len, 0) == len;
}

static int lock_to_count(int fd, const char *kind, bool wait)
{
	int status = lock(fd, kind, wait);

	while (!wait && status && (errno == EAGAIN || errno == EACCES)) {
		(void)usleep(5000);
		status = lock(fd, kind, false);
	}
	return status;
}

static enum outcome count(int fd, const char *kind, bool wait)
{
	struct flock none = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	for (int i = 0; i < COUNTS; i++) {
		if (lock_to_count(fd, kind, wait) || !add_one(fd) || fcntl(fd, F_SETLK, &none)) {
			perror("nfs_lock");
			return FAILED;
		}
	}
	return COUNTED;
}

/* ---- what is asked for ---- */

static bool counts(const char *how)
{
	return strcmp(how, "count") == 0 || strcmp(how, "trycount") == 0;
}

static enum outcome carry_out(int fd, const char *kind, const char *how)
{
	if (counts(how))
		return count(fd, kind, strcmp(how, "count") == 0);
	return outcome_of(lock(fd, kind, strcmp(how, "wait") == 0));
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = interrupt};
	enum outcome outcome;
	int fd;

	if (argc != 5)
		return FAILED;
	fd = open(argv[1], O_RDWR | O_CREAT, 0644);
	if (fd < 0 || sigaction(SIGUSR1, &action, NULL) ||
	    !say(argv[4], counts(argv[3]) ? "counts" : "waits")) {
		perror(argv[1]);
		return FAILED;
	}
	outcome = carry_out(fd, argv[2], argv[3]);
	if (!say(argv[4], words[outcome]))
		return FAILED;
	while (outcome == LOCKED && strcmp(argv[4], "-") != 0)
		(void)pause();
	return outcome;
}
