#include "tests/sim/image.h"

#include "common/bytes.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define PAGE 4096u

struct sim_page {
	unsigned char bytes[PAGE]; /* first: aligned for copies */
	uint32_t refs;
};

void sim_image_init(struct sim_image *m, uint64_t size)
{
	m->count = size / PAGE;
	m->held = 0;
	m->pages = calloc(m->count, sizeof(struct sim_page *));
	VS_ASSERT(m->pages);
}

static void drop(struct sim_image *m, uint64_t i)
{
	struct sim_page *p = m->pages[i];

	if (!p)
		return;
	m->pages[i] = NULL;
	m->held--;
	if (--p->refs == 0)
		free(p);
}

void sim_image_free(struct sim_image *m)
{
	for (uint64_t i = 0; i < m->count; i++)
		drop(m, i);
	free(m->pages);
	memset(m, 0, sizeof(*m));
}

void sim_image_copy(struct sim_image *to, const struct sim_image *from)
{
	sim_image_init(to, from->count * PAGE);
	for (uint64_t i = 0; i < from->count; i++) {
		to->pages[i] = from->pages[i];
		if (to->pages[i])
			to->pages[i]->refs++;
	}
	to->held = from->held;
}

void sim_image_read(const struct sim_image *m, uint64_t offset, void *buf, uint64_t length)
{
	unsigned char *out = buf;

	while (length) {
		uint64_t in = offset % PAGE, n = VS_MIN(length, PAGE - in);
		const struct sim_page *p = m->pages[offset / PAGE];

		if (p)
			memcpy(out, p->bytes + in, n);
		else
			memset(out, 0, n);
		out += n;
		offset += n;
		length -= n;
	}
}

/* The page, there and this image's own. whole: all of it will be written. */
static unsigned char *own(struct sim_image *m, uint64_t i, bool whole)
{
	struct sim_page *p = m->pages[i], *copy;

	if (p && p->refs == 1)
		return p->bytes;
	copy = malloc(sizeof(*copy));
	VS_ASSERT(copy);
	if (p && !whole)
		memcpy(copy->bytes, p->bytes, PAGE);
	else if (!whole)
		memset(copy->bytes, 0, PAGE);
	copy->refs = 1;
	drop(m, i);
	m->pages[i] = copy;
	m->held++;
	return copy->bytes;
}

void sim_image_write(struct sim_image *m, uint64_t offset, const void *data, uint64_t length)
{
	const unsigned char *from = data;

	while (length) {
		uint64_t in = offset % PAGE, n = VS_MIN(length, PAGE - in);

		memcpy(own(m, offset / PAGE, n == PAGE) + in, from, n);
		from += n;
		offset += n;
		length -= n;
	}
}

/* A page of one byte throughout, of which all images share one. NULL: zeros. */
static struct sim_page *filled(unsigned char byte)
{
	static struct sim_page *pages[UCHAR_MAX + 1];
	struct sim_page *p = pages[byte];

	if (byte && !p) {
		p = pages[byte] = malloc(sizeof(*p));
		VS_ASSERT(p);
		memset(p->bytes, byte, PAGE);
		p->refs = 1;
	}
	return p;
}

void sim_image_fill(struct sim_image *m, uint64_t offset, unsigned char byte, uint64_t length)
{
	while (length) {
		uint64_t in = offset % PAGE, n = VS_MIN(length, PAGE - in), i = offset / PAGE;

		if (n == PAGE) {
			drop(m, i);
			m->pages[i] = filled(byte);
			if (m->pages[i]) {
				m->pages[i]->refs++;
				m->held++;
			}
		} else if (byte || m->pages[i]) {
			memset(own(m, i, false) + in, byte, n);
		}
		offset += n;
		length -= n;
	}
}

bool sim_image_holds(const struct sim_image *m, uint64_t offset)
{
	return m->pages[offset / PAGE] != NULL;
}

void sim_image_flip(struct sim_image *m, uint64_t offset, unsigned bit)
{
	own(m, offset / PAGE, false)[offset % PAGE] ^= (unsigned char)(1u << bit % 8);
}

uint64_t sim_image_sum(const struct sim_image *m)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < m->count; i++)
		if (m->pages[i])
			sum = XXH3_64bits_withSeed(m->pages[i]->bytes, PAGE, sum ^ i);
	return sum;
}

uint64_t sim_image_would_hold(const struct sim_image *m, uint64_t offset, uint64_t length)
{
	uint64_t held = m->held;

	for (uint64_t i = offset / PAGE; i < VS_DIV_UP(offset + length, PAGE); i++)
		held += !m->pages[i];
	return held * PAGE;
}
