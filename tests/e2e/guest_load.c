/*
 * guest_load DISK MIB: runs inside a guest. Threads write random blocks of the disk past its page
 * cache, and flush now and then; standard input takes commands, standard output says:
 *   "running"             the first write was acknowledged
 *   verify -> "verified WRITES FLUSHES WRONG"   after rereading every block from the disk
 *   quit   -> "done"
 * Any error of the disk is printed as "error ..." and ends the program.
 */
#include "tests/load/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4
#define FLUSH_EVERY 50
#define RUN 8 /* blocks of one write, at most */

static struct journal journal;
static int disk;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool paused;
static unsigned idle;
static uint64_t writes, flushes;

static _Noreturn void fail(const char *what, uint64_t block)
{
	printf("error: %s of block %lu: %s\n", what, block, strerror(errno));
	fflush(stdout);
	exit(1);
}

/* Waits while the main thread verifies. */
static void pass_gate(void)
{
	pthread_mutex_lock(&lock);
	if (paused) {
		idle++;
		pthread_cond_broadcast(&changed);
		while (paused)
			pthread_cond_wait(&changed, &lock);
		idle--;
	}
	pthread_mutex_unlock(&lock);
}

static void count(uint64_t *counter)
{
	bool first;

	pthread_mutex_lock(&lock);
	first = ++*counter == 1 && counter == &writes;
	pthread_mutex_unlock(&lock);
	if (first) {
		printf("running\n");
		fflush(stdout);
	}
}

/* Each thread has a slice of the disk to itself. */
static void *writer(void *arg)
{
	uint64_t slice = journal.blocks / THREADS, base = slice * (uintptr_t)arg, n, first;
	unsigned seed = (unsigned)(uintptr_t)arg + 1;
	uint8_t *data = aligned_alloc(JOURNAL_BLOCK, RUN * JOURNAL_BLOCK);

	for (unsigned turn = 1; data; turn++) {
		pass_gate();
		n = 1 + (unsigned)rand_r(&seed) % RUN;
		first = base + (uint64_t)rand_r(&seed) % (slice - RUN);
		for (uint64_t i = 0; i < n; i++)
			journal_content(&journal, first + i, ++journal.newest[first + i],
					data + i * JOURNAL_BLOCK);
		if (pwrite(disk, data, n * JOURNAL_BLOCK, (off_t)(first * JOURNAL_BLOCK)) !=
		    (ssize_t)(n * JOURNAL_BLOCK))
			fail("write", first);
		for (uint64_t i = 0; i < n; i++)
			journal.acked[first + i] = journal.newest[first + i];
		count(&writes);
		if (turn % FLUSH_EVERY == 0) {
			if (fdatasync(disk) < 0)
				fail("flush", first);
			count(&flushes);
		}
	}
	return NULL;
}

static void set_paused(bool on)
{
	pthread_mutex_lock(&lock);
	paused = on;
	pthread_cond_broadcast(&changed);
	while (on && idle < THREADS)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	sync();
	if (fd < 0 || write(fd, "3", 1) != 1)
		fail("dropping caches", 0);
	close(fd);
}

static uint64_t count_wrong(void)
{
	static uint8_t want[JOURNAL_BLOCK];
	uint8_t *data = aligned_alloc(JOURNAL_BLOCK, JOURNAL_BLOCK);
	uint64_t wrong = 0;

	for (uint64_t b = 0; b < journal.blocks; b++) {
		if (!journal.acked[b])
			continue;
		if (!data ||
		    pread(disk, data, JOURNAL_BLOCK, (off_t)(b * JOURNAL_BLOCK)) != JOURNAL_BLOCK)
			fail("read", b);
		journal_content(&journal, b, journal.acked[b], want);
		wrong += memcmp(data, want, JOURNAL_BLOCK) != 0;
	}
	free(data);
	return wrong;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	char line[64];

	if (argc != 3 || journal_new(&journal, 1, strtoull(argv[2], NULL, 10) << 8) < 0)
		return 2;
	disk = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk < 0)
		fail("opening", 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, writer, (void *)i))
			return 1;
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "verify", 6) == 0) {
			set_paused(true);
			drop_caches();
			printf("verified %lu %lu %lu\n", writes, flushes, count_wrong());
			set_paused(false);
		} else if (strncmp(line, "quit", 4) == 0) {
			set_paused(true);
			printf("done\n");
			return 0;
		}
		fflush(stdout);
	}
	return 1;
}
