#include "dedup/index.h"

#include "common/bytes.h"

#include <stdlib.h>
#include <sys/mman.h>

#define BUCKET_SLOTS 8u
#define SLOT_BITS 48
#define SLOT_MASK ((UINT64_C(1) << SLOT_BITS) - 1)
#define BYTES_MIN 4096u

/*
 * One cache line. A slot is tag << 48 | content slot; 0 is empty, which no entry equals as content
 * slots are never 0. Entries stand without gaps from e[0] on, the newest first.
 */
struct bucket {
	uint64_t e[BUCKET_SLOTS];
};

struct dd_index {
	struct bucket *buckets; /* mapped zero pages: page aligned, touched only when used */
	uint64_t mask;		/* buckets - 1 */
	uint64_t count;
};

int dd_index_new(struct dd_index **out, uint64_t bytes, struct vs_error *err)
{
	struct dd_index *ix;
	uint64_t size;

	*out = NULL;
	if (bytes < BYTES_MIN || bytes > SIZE_MAX / 2)
		return vs_fail(err, VS_E_INVAL, "a digest index of %llu bytes is not possible",
			       (unsigned long long)bytes);
	size = UINT64_C(1) << (63 - __builtin_clzll(bytes));
	ix = calloc(1, sizeof(*ix));
	if (!ix)
		return vs_fail(err, VS_E_NOMEM, "no memory for a digest index");
	ix->buckets = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ix->buckets == MAP_FAILED) {
		free(ix);
		return vs_fail(err, VS_E_NOMEM, "no memory for a digest index of %llu bytes",
			       (unsigned long long)size);
	}
	ix->mask = size / sizeof(struct bucket) - 1;
	*out = ix;
	return 0;
}

void dd_index_free(struct dd_index *ix)
{
	if (!ix)
		return;
	munmap(ix->buckets, (ix->mask + 1) * sizeof(struct bucket));
	free(ix);
}

static struct bucket *bucket_of(const struct dd_index *ix, const struct dd_digest *d)
{
	return &ix->buckets[vs_get_le64(d->b) & ix->mask];
}

/* From bytes that do not choose the bucket. */
static uint64_t tag_of(const struct dd_digest *d)
{
	return (uint64_t)vs_get_le16(d->b + 8) << SLOT_BITS;
}

unsigned dd_index_lookup(const struct dd_index *ix, const struct dd_digest *d, uint64_t *slots,
			 unsigned max)
{
	const struct bucket *b = bucket_of(ix, d);
	uint64_t tag = tag_of(d);
	unsigned i, n = 0;

	for (i = 0; i < BUCKET_SLOTS && n < max && b->e[i]; i++)
		if ((b->e[i] & ~SLOT_MASK) == tag)
			slots[n++] = b->e[i] & SLOT_MASK;
	return n;
}

/* Where entry stands; otherwise the first empty place; BUCKET_SLOTS when there is none. */
static unsigned find(const struct bucket *b, uint64_t entry)
{
	unsigned i;

	for (i = 0; i < BUCKET_SLOTS && b->e[i]; i++)
		if (b->e[i] == entry)
			break;
	return i;
}

void dd_index_insert(struct dd_index *ix, const struct dd_digest *d, uint64_t slot)
{
	struct bucket *b = bucket_of(ix, d);
	uint64_t entry = tag_of(d) | slot;
	unsigned i = find(b, entry);

	VS_ASSERT(slot != 0 && slot <= SLOT_MASK);
	if (i == BUCKET_SLOTS)
		i--;
	else if (!b->e[i])
		ix->count++;
	memmove(&b->e[1], &b->e[0], i * sizeof(b->e[0]));
	b->e[0] = entry;
}

void dd_index_remove(struct dd_index *ix, const struct dd_digest *d, uint64_t slot)
{
	struct bucket *b = bucket_of(ix, d);
	unsigned i = find(b, tag_of(d) | slot);

	VS_ASSERT(slot != 0 && slot <= SLOT_MASK);
	if (i == BUCKET_SLOTS || !b->e[i])
		return;
	memmove(&b->e[i], &b->e[i + 1], (BUCKET_SLOTS - 1 - i) * sizeof(b->e[0]));
	b->e[BUCKET_SLOTS - 1] = 0;
	ix->count--;
}

void dd_index_clear(struct dd_index *ix)
{
	size_t size = (ix->mask + 1) * sizeof(struct bucket);

	/* Gives the pages back; they read as zeros from then on. */
	if (madvise(ix->buckets, size, MADV_DONTNEED) != 0)
		memset(ix->buckets, 0, size);
	ix->count = 0;
}

uint64_t dd_index_count(const struct dd_index *ix)
{
	return ix->count;
}
