#include "dedup/index.h"

#include "common/bytes.h"

#include <stdlib.h>
#include <sys/mman.h>

#define SLOT_BITS 48
#define SLOT_MASK ((UINT64_C(1) << SLOT_BITS) - 1)
#define BYTES_MIN 4096u
#define HUGE ((uint64_t)2 << 20)
#define GROUP 64u /* buckets of which one byte says whether they were used: a page */

/*
 * One cache line. An entry is tag << 48 | content slot; 0 is empty, which no entry equals as
 * content slots are never 0. Entries stand without gaps from e[0] on, the newest first.
 */
struct bucket {
	uint64_t e[DD_BUCKET];
};

struct dd_index {
	struct bucket *buckets; /* mapped zero pages: page aligned, touched only when used */
	uint8_t *used;		/* by group: an entry was put into an empty bucket of it */
	uint64_t nbuckets;
	uint64_t count;
	enum dd_keep keep;
	bool dropped;
};

static uint64_t groups(const struct dd_index *ix)
{
	return VS_DIV_UP(ix->nbuckets, GROUP);
}

int dd_index_new(struct dd_index **out, uint64_t bytes, enum dd_keep keep, struct vs_error *err)
{
	struct dd_index *ix;

	*out = NULL;
	if (bytes < BYTES_MIN || bytes > SIZE_MAX / 2)
		return vs_fail(err, VS_E_INVAL, "a digest index of %llu bytes is not possible",
			       (unsigned long long)bytes);
	ix = calloc(1, sizeof(*ix));
	if (!ix)
		return vs_fail(err, VS_E_NOMEM, "no memory for a digest index");
	ix->keep = keep;
	ix->nbuckets = bytes / sizeof(struct bucket);
	ix->used = calloc(groups(ix), 1);
	ix->buckets = mmap(NULL, dd_index_bytes(ix), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ix->buckets == MAP_FAILED || !ix->used) {
		if (ix->buckets != MAP_FAILED)
			munmap(ix->buckets, dd_index_bytes(ix));
		free(ix->used);
		free(ix);
		return vs_fail(err, VS_E_NOMEM, "no memory for a digest index of %llu bytes",
			       (unsigned long long)bytes);
	}
	if (dd_index_bytes(ix) >= HUGE)
		(void)madvise(ix->buckets, dd_index_bytes(ix), MADV_HUGEPAGE); /* only a wish */
	*out = ix;
	return 0;
}

void dd_index_free(struct dd_index *ix)
{
	if (!ix)
		return;
	munmap(ix->buckets, dd_index_bytes(ix));
	free(ix->used);
	free(ix);
}

/* The digest's first 8 bytes as a fraction of 2^64 choose the bucket: no power of two is needed. */
static struct bucket *bucket_of(const struct dd_index *ix, const struct dd_digest *d)
{
	return &ix->buckets[(unsigned __int128)vs_get_le64(d->b) * ix->nbuckets >> 64];
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

	for (i = 0; i < DD_BUCKET && n < max && b->e[i]; i++)
		if ((b->e[i] & ~SLOT_MASK) == tag)
			slots[n++] = b->e[i] & SLOT_MASK;
	return n;
}

void dd_index_warm(const struct dd_index *ix, const struct dd_digest *d)
{
	__builtin_prefetch(bucket_of(ix, d));
}

/* Where entry stands; otherwise the first empty place; DD_BUCKET when there is none. */
static unsigned find(const struct bucket *b, uint64_t entry)
{
	unsigned i;

	for (i = 0; i < DD_BUCKET && b->e[i]; i++)
		if (b->e[i] == entry)
			break;
	return i;
}

/* The entry of a full bucket that goes: the oldest, or the oldest of those with the highest tag. */
static unsigned victim(const struct dd_index *ix, const struct bucket *b)
{
	unsigned worst = DD_BUCKET - 1;

	if (ix->keep == DD_KEEP_SAMPLE)
		for (unsigned i = DD_BUCKET - 1; i-- > 0;)
			if (b->e[i] >> SLOT_BITS > b->e[worst] >> SLOT_BITS)
				worst = i;
	return worst;
}

/* One entry more, at i of b. */
static void enter(struct dd_index *ix, const struct bucket *b, unsigned i)
{
	ix->count++;
	if (i == 0)
		ix->used[(uint64_t)(b - ix->buckets) / GROUP] = 1;
}

void dd_index_insert(struct dd_index *ix, const struct dd_digest *d, uint64_t slot)
{
	struct bucket *b = bucket_of(ix, d);
	uint64_t entry = tag_of(d) | slot;
	unsigned i = find(b, entry);

	VS_ASSERT(slot != 0 && slot <= SLOT_MASK);
	if (i == DD_BUCKET) {
		ix->dropped = true;
		i = victim(ix, b);
		if (ix->keep == DD_KEEP_SAMPLE && entry >> SLOT_BITS > b->e[i] >> SLOT_BITS)
			return;
	} else if (!b->e[i]) {
		enter(ix, b, i);
	}
	memmove(&b->e[1], &b->e[0], i * sizeof(b->e[0]));
	b->e[0] = entry;
}

void dd_index_remove(struct dd_index *ix, const struct dd_digest *d, uint64_t slot)
{
	struct bucket *b = bucket_of(ix, d);
	unsigned i = find(b, tag_of(d) | slot);

	VS_ASSERT(slot != 0 && slot <= SLOT_MASK);
	if (i == DD_BUCKET || !b->e[i])
		return;
	memmove(&b->e[i], &b->e[i + 1], (DD_BUCKET - 1 - i) * sizeof(b->e[0]));
	b->e[DD_BUCKET - 1] = 0;
	ix->count--;
}

void dd_index_clear(struct dd_index *ix)
{
	/* Gives the pages back; they read as zeros from then on. */
	if (madvise(ix->buckets, dd_index_bytes(ix), MADV_DONTNEED) != 0)
		memset(ix->buckets, 0, dd_index_bytes(ix));
	memset(ix->used, 0, groups(ix));
	ix->count = 0;
	ix->dropped = false;
}

uint64_t dd_index_count(const struct dd_index *ix)
{
	return ix->count;
}

uint64_t dd_index_bytes(const struct dd_index *ix)
{
	return ix->nbuckets * sizeof(struct bucket);
}

bool dd_index_complete(const struct dd_index *ix)
{
	return !ix->dropped;
}

uint64_t dd_index_buckets(const struct dd_index *ix)
{
	return ix->nbuckets;
}

uint64_t dd_index_next(const struct dd_index *ix, uint64_t b)
{
	const uint8_t *used;
	uint64_t group = b / GROUP;

	if (b >= ix->nbuckets)
		return ix->nbuckets;
	if (ix->used[group])
		return b;
	used = memchr(ix->used + group, 1, groups(ix) - group);
	return used ? (uint64_t)(used - ix->used) * GROUP : ix->nbuckets;
}

unsigned dd_index_save(const struct dd_index *ix, uint64_t b, uint64_t e[DD_BUCKET])
{
	const struct bucket *from = &ix->buckets[b];
	unsigned n = 0;

	VS_ASSERT(b < ix->nbuckets);
	for (; n < DD_BUCKET && from->e[n]; n++)
		e[n] = from->e[n];
	return n;
}

void dd_index_restore(struct dd_index *ix, uint64_t b, const uint64_t *e, unsigned n)
{
	struct bucket *to = &ix->buckets[b];

	VS_ASSERT(b < ix->nbuckets);
	for (unsigned k = 0; k < n; k++) {
		unsigned i = find(to, e[k]);

		if (!(e[k] & SLOT_MASK) || (i < DD_BUCKET && to->e[i]))
			continue;
		if (i < DD_BUCKET) {
			to->e[i] = e[k];
			enter(ix, to, i);
			continue;
		}
		ix->dropped = true;
		i = victim(ix, to);
		if (ix->keep == DD_KEEP_SAMPLE && e[k] >> SLOT_BITS < to->e[i] >> SLOT_BITS)
			to->e[i] = e[k];
	}
}

void dd_index_restore_incomplete(struct dd_index *ix)
{
	ix->dropped = true;
}
