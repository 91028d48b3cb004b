#include "blockstore/lun_redo.h"

#include <stdlib.h>

static uint32_t chunks_of(enum bs_redo_kind kind, uint64_t length)
{
	return kind == BS_REDO_WRITE ? (uint32_t)VS_DIV_UP(length, BS_REDO_CHUNK) : 0;
}

int bs_redo_init(struct bs_redo *r, uint64_t bytes)
{
	memset(r, 0, sizeof(*r));
	if (bytes == 0)
		return 0;
	r->cap = (uint32_t)VS_MIN(VS_MAX(bytes / BS_REDO_CHUNK, 2 * BS_REDO_CHUNKS), 1u << 20);
	r->mem = malloc((size_t)r->cap * BS_REDO_CHUNK);
	r->next = calloc(r->cap, sizeof(*r->next));
	r->entry = calloc(r->cap, sizeof(*r->entry));
	if (!r->mem || !r->next || !r->entry) {
		bs_redo_free(r);
		return VS_E_NOMEM;
	}
	for (uint32_t i = 0; i < r->cap; i++)
		r->next[i] = i + 1;
	r->nfree = r->slots = r->cap;
	return 0;
}

void bs_redo_free(struct bs_redo *r)
{
	free(r->mem);
	free(r->next);
	free(r->entry);
	memset(r, 0, sizeof(*r));
}

bool bs_redo_reserve(struct bs_redo *r, enum bs_redo_kind kind, uint64_t length)
{
	uint32_t n = chunks_of(kind, length);

	VS_ASSERT(n <= BS_REDO_CHUNKS);
	if (n > r->nfree || r->slots == 0)
		return false;
	r->nfree -= n;
	r->slots--;
	return true;
}

void bs_redo_unreserve(struct bs_redo *r, enum bs_redo_kind kind, uint64_t length)
{
	r->nfree += chunks_of(kind, length);
	r->slots++;
	VS_ASSERT(r->nfree <= r->cap && r->slots <= r->cap);
}

static void copy_in(uint8_t *to, size_t n, const struct iovec **iov, size_t *at)
{
	while (n) {
		size_t k = VS_MIN(n, (*iov)->iov_len - *at);

		if (k)
			memcpy(to, (const uint8_t *)(*iov)->iov_base + *at, k);
		to += k;
		n -= k;
		*at += k;
		if (*at == (*iov)->iov_len) {
			(*iov)++;
			*at = 0;
		}
	}
}

void bs_redo_keep(struct bs_redo *r, enum bs_redo_kind kind, uint64_t offset, uint64_t length,
		  const struct iovec *iov)
{
	struct bs_redo_entry *e = &r->entry[r->tail % r->cap];
	uint32_t n = chunks_of(kind, length), *link = &e->chunk;
	size_t at = 0;

	*e = (struct bs_redo_entry){.kind = kind, .offset = offset, .length = length};
	for (uint64_t done = 0; n--; done += BS_REDO_CHUNK) {
		uint32_t c = r->first_free;

		VS_ASSERT(c < r->cap);
		r->first_free = r->next[c];
		*link = c;
		link = &r->next[c];
		copy_in(r->mem + (size_t)c * BS_REDO_CHUNK,
			(size_t)VS_MIN(length - done, BS_REDO_CHUNK), &iov, &at);
	}
	r->tail++;
	VS_ASSERT(r->tail - r->head <= r->cap);
}

bool bs_redo_filling(const struct bs_redo *r)
{
	return r->cap && r->tail != r->head && VS_MIN(r->nfree, r->slots) < r->cap / 2;
}

static void forget_one(struct bs_redo *r)
{
	struct bs_redo_entry *e = &r->entry[r->head++ % r->cap];
	uint32_t n = chunks_of(e->kind, e->length), last = e->chunk;

	r->nfree += n;
	r->slots++;
	if (n == 0)
		return;
	while (--n)
		last = r->next[last];
	r->next[last] = r->first_free;
	r->first_free = e->chunk;
}

void bs_redo_forget(struct bs_redo *r, uint64_t mark)
{
	VS_ASSERT(mark <= r->tail);
	while (r->head < mark)
		forget_one(r);
}

bool bs_redo_overlaps(const struct bs_redo *r, uint64_t offset, uint64_t length)
{
	for (uint64_t n = r->head; n < r->tail; n++) {
		const struct bs_redo_entry *e = &r->entry[n % r->cap];

		if (e->offset < offset + length && offset < e->offset + e->length)
			return true;
	}
	return false;
}

const struct bs_redo_entry *bs_redo_at(const struct bs_redo *r, uint64_t number)
{
	VS_ASSERT(number >= r->head && number < r->tail);
	return &r->entry[number % r->cap];
}

int bs_redo_iov(const struct bs_redo *r, const struct bs_redo_entry *e, struct iovec *iov)
{
	uint32_t n = chunks_of(e->kind, e->length), c = e->chunk;
	uint64_t left = e->length;

	for (uint32_t i = 0; i < n; i++, c = r->next[c]) {
		iov[i].iov_base = r->mem + (size_t)c * BS_REDO_CHUNK;
		iov[i].iov_len = (size_t)VS_MIN(left, BS_REDO_CHUNK);
		left -= iov[i].iov_len;
	}
	return (int)n;
}
