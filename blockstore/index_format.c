#include "blockstore/index_format.h"

static const uint8_t magic[8] = "VSINDEX1";

enum {
	I_MAGIC = 0,
	I_NONCE = 8,
	I_NUMBER = 16,
	I_NEXT = 20,
	I_BUCKETS = 24,
	I_LEAF = 32,
	I_COMPLETE = 40,
	I_WORDS = 44,
	I_DATA_CHECK = 48,
	I_CHECK = 4088,
};

/* A bucket is a word of its number, with the number of entries in the highest byte, and those. */
#define NUMBER_BITS 56
#define NUMBER_MASK ((UINT64_C(1) << NUMBER_BITS) - 1)

void bs_ixseg_encode(uint8_t *b, struct bs_ixseg *h)
{
	h->check = bs_checksum(b + BS_PAGE, (size_t)h->words * 8);
	memset(b, 0, BS_PAGE);
	memcpy(b + I_MAGIC, magic, sizeof(magic));
	vs_put_le64(b + I_NONCE, h->nonce);
	vs_put_le32(b + I_NUMBER, h->number);
	vs_put_le32(b + I_NEXT, h->next);
	vs_put_le64(b + I_BUCKETS, h->buckets);
	vs_put_le64(b + I_LEAF, h->leaf);
	b[I_COMPLETE] = h->complete;
	vs_put_le32(b + I_WORDS, h->words);
	vs_put_le64(b + I_DATA_CHECK, h->check);
	vs_put_le64(b + I_CHECK, bs_checksum(b, I_CHECK));
}

int bs_ixseg_decode(const uint8_t *b, uint32_t seg_size, struct bs_ixseg *h)
{
	if (memcmp(b + I_MAGIC, magic, sizeof(magic)) != 0 ||
	    vs_get_le64(b + I_CHECK) != bs_checksum(b, I_CHECK))
		return VS_E_CORRUPT;
	h->nonce = vs_get_le64(b + I_NONCE);
	h->number = vs_get_le32(b + I_NUMBER);
	h->next = vs_get_le32(b + I_NEXT);
	h->buckets = vs_get_le64(b + I_BUCKETS);
	h->leaf = vs_get_le64(b + I_LEAF);
	h->complete = b[I_COMPLETE] != 0;
	h->words = vs_get_le32(b + I_WORDS);
	h->check = vs_get_le64(b + I_DATA_CHECK);
	return seg_size < BS_PAGE || h->words > (seg_size - BS_PAGE) / 8 ? VS_E_CORRUPT : 0;
}

bool bs_ixseg_whole(const uint8_t *b, const struct bs_ixseg *h)
{
	return bs_checksum(b + BS_PAGE, (size_t)h->words * 8) == h->check;
}

static uint8_t *word(uint8_t *b, uint32_t at)
{
	return b + BS_PAGE + (size_t)at * 8;
}

bool bs_ixbucket_put(uint8_t *b, uint32_t seg_size, uint32_t *at, uint64_t bucket,
		     const uint64_t *e, unsigned n)
{
	if (BS_IXBUCKET_WORDS > (seg_size - BS_PAGE) / 8 - *at)
		return false;
	vs_put_le64(word(b, (*at)++), bucket | (uint64_t)n << NUMBER_BITS);
	for (unsigned i = 0; i < n; i++)
		vs_put_le64(word(b, (*at)++), e[i]);
	return true;
}

int bs_ixbucket_get(const uint8_t *b, const struct bs_ixseg *h, uint32_t *at, uint64_t *bucket,
		    uint64_t e[DD_BUCKET], unsigned *n)
{
	uint64_t head;

	if (*at >= h->words)
		return VS_E_NOENT;
	head = vs_get_le64(b + BS_PAGE + (size_t)(*at)++ * 8);
	*bucket = head & NUMBER_MASK;
	*n = (unsigned)(head >> NUMBER_BITS);
	if (*n > DD_BUCKET || *n > h->words - *at || *bucket >= h->buckets)
		return VS_E_CORRUPT;
	for (unsigned i = 0; i < *n; i++)
		e[i] = vs_get_le64(b + BS_PAGE + (size_t)(*at)++ * 8);
	return 0;
}
