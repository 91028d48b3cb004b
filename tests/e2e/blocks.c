/*
 * blocks IMAGE [OLD...]: counts 4 KiB blocks of a raw image, without using anything of the store:
 * how many are not zero, how many of these differ from each other, and how many of those are in
 * none of the old images, with what LZ4 makes of them one by one. Prints one line of JSON.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lz4.h>
#include <openssl/sha.h>

#define BLOCK 4096

struct set {
	uint8_t (*slots)[32];
	size_t mask, used;
};

struct counts {
	uint64_t nonzero, unique, new_blocks, new_lz4;
};

static bool is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Whether d was not there before. The set is sized so that it never fills. */
static bool insert(struct set *s, const uint8_t d[32])
{
	size_t at;

	memcpy(&at, d, sizeof(at));
	for (at &= s->mask; !is_zero(s->slots[at], 32); at = (at + 1) & s->mask)
		if (memcmp(s->slots[at], d, 32) == 0)
			return false;
	memcpy(s->slots[at], d, 32);
	s->used++;
	return true;
}

static bool holds(const struct set *s, const uint8_t d[32])
{
	size_t at;

	memcpy(&at, d, sizeof(at));
	for (at &= s->mask; !is_zero(s->slots[at], 32); at = (at + 1) & s->mask)
		if (memcmp(s->slots[at], d, 32) == 0)
			return true;
	return false;
}

static bool take(struct set *s, const struct set *old, const uint8_t *block, struct counts *c)
{
	char packed[LZ4_COMPRESSBOUND(BLOCK)];
	uint8_t digest[32];
	int n;

	if (is_zero(block, BLOCK))
		return true;
	c->nonzero++;
	if (s->used > s->mask / 2)
		return false;
	SHA256(block, BLOCK, digest);
	if (!insert(s, digest))
		return true;
	c->unique++;
	if (old && holds(old, digest))
		return true;
	n = LZ4_compress_default((const char *)block, packed, BLOCK, (int)sizeof(packed));
	c->new_blocks++;
	c->new_lz4 += n > 0 && n < BLOCK ? (uint64_t)n : BLOCK;
	return true;
}

/* Holes are skipped by SEEK_DATA; what is left of the last block counts as zeros. */
static int scan(const char *path, struct set *s, const struct set *old, struct counts *c)
{
	static uint8_t data[256 * BLOCK];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t at = 0;

	if (fd < 0)
		return -1;
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		ssize_t n;

		at -= at % BLOCK;
		memset(data, 0, sizeof(data));
		n = pread(fd, data, sizeof(data), at);
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i += BLOCK)
			if (!take(s, old, data + i, c)) {
				errno = E2BIG;
				close(fd);
				return -1;
			}
		at += n;
	}
	close(fd);
	return errno == ENXIO || errno == 0 ? 0 : -1;
}

static bool set_new(struct set *s, size_t slots)
{
	s->slots = calloc(slots, 32);
	s->mask = slots - 1;
	s->used = 0;
	return s->slots != NULL;
}

int main(int argc, char **argv)
{
	static struct set old, now;
	struct counts c = {0}, ignored = {0};

	if (argc < 2) {
		fputs("blocks IMAGE [OLD...]\n", stderr);
		return 2;
	}
	if (!set_new(&old, 1 << 22) || !set_new(&now, 1 << 22))
		return 1;
	for (int i = 2; i < argc; i++) {
		errno = 0;
		if (scan(argv[i], &old, NULL, &ignored) < 0) {
			perror(argv[i]);
			return 1;
		}
	}
	errno = 0;
	if (scan(argv[1], &now, &old, &c) < 0) {
		perror(argv[1]);
		return 1;
	}
	printf("{\"nonzero\": %lu, \"unique\": %lu, \"new\": %lu, \"new_lz4_bytes\": %lu}\n",
	       c.nonzero, c.unique, c.new_blocks, c.new_lz4);
	return 0;
}
