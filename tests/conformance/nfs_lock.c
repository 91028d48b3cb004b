/*
 * nfs_lock FILE KIND HOW SAID: locks bytes 0 to 99 of a file (fcntl), or all of it (flock), and
 * holds the lock until it is killed. KIND: read, write or flock; HOW: wait, or try. What becomes of
 * it is written to the file SAID, one word at a time: waits, then locked, refused (somebody has it)
 * or interrupted (SIGUSR1). With "-" for SAID it ends at once; the exit status says the same: 0,
 * 1, 2.
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

enum outcome { LOCKED, REFUSED, INTERRUPTED, FAILED };

static const char *const words[] = {"locked", "refused", "interrupted", "failed"};

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
	struct flock f = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 100};

	if (strcmp(kind, "flock") == 0)
		return flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
	if (strcmp(kind, "read") == 0)
		f.l_type = F_RDLCK;
	return fcntl(fd, wait ? F_SETLKW : F_SETLK, &f);
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

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = interrupt};
	enum outcome outcome;
	int fd;

	if (argc != 5)
		return FAILED;
	fd = open(argv[1], O_RDWR | O_CREAT, 0644);
	if (fd < 0 || sigaction(SIGUSR1, &action, NULL) || !say(argv[4], "waits")) {
		perror(argv[1]);
		return FAILED;
	}
	outcome = outcome_of(lock(fd, argv[2], strcmp(argv[3], "wait") == 0));
	if (!say(argv[4], words[outcome]))
		return FAILED;
	while (outcome == LOCKED && strcmp(argv[4], "-") != 0)
		(void)pause();
	return outcome;
}
