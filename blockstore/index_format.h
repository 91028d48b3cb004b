/*
 * On-disk bytes of a saved dedup index (FORMAT.md, "Saved index"). Pure functions, any thread.
 *
 * What is decoded comes from a disk: lengths and numbers are checked against the buffer, checksums
 * say whether the bytes are those that were written. What the entries claim is a hint and is
 * verified by whoever uses them.
 */
#ifndef BS_INDEX_FORMAT_H
#define BS_INDEX_FORMAT_H

#include "blockstore/table_format.h"
#include "dedup/index.h"

struct bs_ixseg {
	uint64_t nonce;	  /* the same in the superblock and all segments of one saved index */
	uint32_t number;  /* of this segment in it, from 0 */
	uint32_t next;	  /* segment that follows; BS_SEG_NONE: the last one */
	uint64_t buckets; /* of the index */
	uint64_t leaf;	  /* place leaves from here on were not entered yet */
	bool complete;	  /* nothing had been left out */
	uint32_t words;	  /* of 8 bytes behind this page */
	uint64_t check;	  /* XXH3-64 of them */
};

/* Encodes the page; sets h->check from the words behind it in buf. */
void bs_ixseg_encode(uint8_t *buf, struct bs_ixseg *h);
/* page: 4096 bytes. VS_E_CORRUPT. Fields are within a segment of seg_size, words unverified. */
int bs_ixseg_decode(const uint8_t *page, uint32_t seg_size, struct bs_ixseg *out) vs_must_check;
/* Whether the words behind the page in buf are those that were written. */
bool bs_ixseg_whole(const uint8_t *buf, const struct bs_ixseg *h);

/* Appends a bucket's entries at word *at; false when fewer than BS_IXBUCKET_WORDS are left. */
#define BS_IXBUCKET_WORDS (1 + DD_BUCKET)
bool bs_ixbucket_put(uint8_t *buf, uint32_t seg_size, uint32_t *at, uint64_t bucket,
		     const uint64_t *e, unsigned n);
/* The bucket at word *at, which moves on: its number and entries. 0, VS_E_NOENT, VS_E_CORRUPT. */
int bs_ixbucket_get(const uint8_t *buf, const struct bs_ixseg *h, uint32_t *at, uint64_t *bucket,
		    uint64_t e[DD_BUCKET], unsigned *n) vs_must_check;

#endif
