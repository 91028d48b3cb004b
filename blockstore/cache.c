#include "blockstore/cache.h"

#include "blockstore/mem.h"
#include "blockstore/store.h"
#include "common/bytes.h"

#define AHEAD 8u /* blocks whose turn to be reused comes soon */

static unsigned slot_of(const struct bs_cache *c, uint64_t cid)
{
	return (unsigned)((cid * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & c->mask;
}

int bs_cache_init(struct bs_cache *c, unsigned blocks)
{
	unsigned buckets = 16;

	while (buckets < blocks)
		buckets *= 2;
	c->count = blocks;
	c->mask = buckets - 1;
	if (!blocks)
		return 0;
	c->all = bs_mem_new(blocks * sizeof(*c->all));
	c->hash = bs_mem_new(buckets * sizeof(struct bs_cblock *));
	c->mem = bs_mem_new((size_t)blocks * BS_BLOCK);
	if (!c->all || !c->hash || !c->mem)
		return VS_E_NOMEM;
	for (unsigned i = 0; i < blocks; i++)
		c->all[i].data = c->mem + (size_t)i * BS_BLOCK;
	return 0;
}

void bs_cache_destroy(struct bs_cache *c)
{
	bs_mem_free(c->all, c->count * sizeof(*c->all));
	bs_mem_free(c->hash, (c->mask + (size_t)1) * sizeof(struct bs_cblock *));
	bs_mem_free(c->mem, (size_t)c->count * BS_BLOCK);
}

static struct bs_cblock *find(struct bs_cache *c, uint64_t cid)
{
	struct bs_cblock *b = c->count ? c->hash[slot_of(c, cid)] : NULL;

	while (b && b->cid != cid)
		b = b->next;
	return b;
}

void bs_cache_expect(const struct bs_cache *c, uint64_t cid)
{
	if (c->count)
		__builtin_prefetch(&c->hash[slot_of(c, cid)]);
}

struct bs_cblock *bs_cache_get(struct bs_cache *c, uint64_t cid)
{
	struct bs_cblock *b = find(c, cid);

	if (b) {
		b->pins++;
		b->recent = true;
	}
	return b;
}

void bs_cache_forget(struct bs_cache *c, uint64_t cid)
{
	struct bs_cblock *b = find(c, cid), **p;

	if (!b)
		return;
	p = &c->hash[slot_of(c, cid)];
	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
	b->cid = 0;
}

struct bs_cblock *bs_cache_new(struct bs_cache *c)
{
	for (unsigned n = 0; n < 2 * c->count; n++) {
		struct bs_cblock *b = &c->all[c->hand];

		c->hand = (c->hand + 1) % c->count;
		bs_cache_expect(c, c->all[(c->hand + AHEAD) % c->count].cid);
		if (b->pins)
			continue;
		if (b->recent) {
			b->recent = false;
			continue;
		}
		if (b->cid)
			bs_cache_forget(c, b->cid);
		b->pins = 1;
		return b;
	}
	return NULL;
}

void bs_cache_put(struct bs_cache *c, struct bs_cblock *b)
{
	(void)c;
	VS_ASSERT(b->pins);
	b->pins--;
}

void bs_cache_insert(struct bs_cache *c, struct bs_cblock *b, uint64_t cid)
{
	unsigned h = slot_of(c, cid);

	if (find(c, cid))
		return; /* another read was faster */
	b->cid = cid;
	b->next = c->hash[h];
	c->hash[h] = b;
}
