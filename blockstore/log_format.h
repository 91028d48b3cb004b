/*
 * On-disk bytes of units: the log's and those that hold a checkpoint's pages (FORMAT.md, "Units").
 *
 * Decoders take bytes from a disk: they check every length against the buffer. Pure functions.
 */
#ifndef BS_LOG_FORMAT_H
#define BS_LOG_FORMAT_H

#include "blockstore/table_format.h"

#define BS_UNIT_HEAD 128u
#define BS_LOG_AHEAD 2u /* segments named ahead at a segment's start */

enum bs_unit_kind { BS_UNIT_LOG = 1, BS_UNIT_META = 2 };

struct bs_unit_head {
	uint8_t kind;
	bool first; /* at a segment's start */
	uint64_t epoch, seq, durable_seq;
	uint64_t chain;	   /* header checksum of the unit before */
	uint32_t unit_len; /* bytes, multiple of 4096 */
	uint32_t head_len; /* bytes to the payload, multiple of 4096 */
	uint32_t payload_len;
	uint32_t records_len;
	uint32_t records;
	uint32_t ahead[BS_LOG_AHEAD]; /* first: the segments that follow; else BS_SEG_NONE */
	uint64_t check;		      /* of head and records; set by encode */
};

/* Fills buf[0, head_len): records already stand at buf + BS_UNIT_HEAD. Sets h->check. */
void bs_unit_encode(uint8_t *buf, struct bs_unit_head *h);
/*
 * Decodes a header of which `have` bytes are there. VS_E_NOENT: no unit here; VS_E_RANGE: more
 * bytes are needed to verify (out->head_len of them); VS_E_CORRUPT: checksum or fields wrong.
 */
int bs_unit_decode(const uint8_t *buf, size_t have, uint32_t seg_size, uint64_t store_tag,
		   struct bs_unit_head *out) vs_must_check;
void bs_unit_set_tag(uint8_t *buf, uint64_t store_tag); /* before bs_unit_encode */

enum bs_rec_type {
	BS_REC_CONTENT = 1, /* new content; its bytes are next in the payload */
	BS_REC_MAP,	    /* blocks of a volume now map to other contents */
	BS_REC_PAGES,	    /* ids that this unit gave to new map pages, in order */
	BS_REC_TRIM,
	BS_REC_VOL_PUT, /* create, rename, resize, set */
	BS_REC_VOL_DELETE,
	BS_REC_VOL_SHARE, /* snapshot or clone */
	BS_REC_VOL_ROLLBACK,
	BS_REC_RELEASE,	   /* a map page without references is taken apart */
	BS_REC_ABSORB,	   /* a base held by one copy only is dissolved */
	BS_REC_MOVE,	   /* content moved by the cleaner; its bytes are next in the payload */
	BS_REC_PAGE,	   /* META units: the table page that is next in the payload */
	BS_REC_MAPPAGE,	   /* META units: the map page that is next in the payload */
	BS_REC_DROP_TURN,  /* the gathering run of drops becomes the draining one */
	BS_REC_DROP_DRAIN, /* those of its next place leaf are taken off */
	BS_REC_ALIAS,	   /* a content is stored by another one from now on */
	BS_REC_ORIGIN,	   /* a new volume all of which is at a new origin */
	BS_REC_EXPAND,	   /* a map page that is at an origin is here from now on */
	BS_REC_ZEROS,	   /* a content that is at an origin is found to be zeros */
	BS_REC_WORDS,	   /* words of an object's record */
	BS_REC_GRAFT,	   /* an object of which nothing is mapped becomes what another one is */
	BS_REC_END	   /* no type */
};

#define BS_REC_CONTENT_SIZE 52u
#define BS_REC_MOVE_SIZE 20u
#define BS_REC_MAP_HEAD 19u
#define BS_REC_MAP_EACH 16u
#define BS_REC_PAGES_HEAD 3u
#define BS_REC_TRIM_SIZE 25u
#define BS_REC_VOL_SIZE 257u
#define BS_REC_SHARE_SIZE 265u
#define BS_REC_ROLLBACK_SIZE 17u
#define BS_REC_RELEASE_SIZE 9u
#define BS_REC_ABSORB_SIZE 17u
#define BS_REC_ALIAS_SIZE 17u
#define BS_REC_ORIGIN_SIZE 265u
#define BS_REC_EXPAND_HEAD 11u
#define BS_REC_ZEROS_SIZE 9u
#define BS_REC_WORDS_HEAD 15u
#define BS_REC_WORDS_SIZE (BS_REC_WORDS_HEAD + 8u * 16u) /* at most */
#define BS_REC_GRAFT_SIZE 25u
#define BS_REC_PAGE_SIZE 11u
#define BS_REC_MAPPAGE_SIZE 9u
#define BS_REC_DROP_TURN_SIZE 1u
#define BS_REC_DROP_DRAIN_SIZE 10u

struct bs_rec {
	enum bs_rec_type type;
	uint64_t cid;	 /* CONTENT, MOVE, RELEASE, ABSORB (base), MAPPAGE, ALIAS, EXPAND,
			    ZEROS */
	uint64_t other;	 /* ABSORB: the copy; ALIAS: what stores it; VOL_SHARE: source id;
			    VOL_ROLLBACK: snapshot id; ORIGIN: the origin's id; GRAFT:
			    source volume */
	uint64_t volume; /* MAP, TRIM, VOL_DELETE, VOL_ROLLBACK, WORDS, GRAFT */
	uint32_t object, other_object; /* WORDS, GRAFT: of volume, and of other */
	uint64_t block, count; /* WORDS: which, bit i for word i, in count; DROP_DRAIN: leaf; 1 when
				  its drops are gathered once more */
	struct dd_digest digest;
	uint8_t coding;
	bool private; /* CONTENT */
	uint32_t len;
	uint64_t check;
	uint8_t tree, level;  /* PAGE; its index is in block */
	struct bs_volent vol; /* VOL_PUT, VOL_SHARE, ORIGIN: the volume */
	/* MAP: count pairs {old, new}; PAGES, EXPAND: count ids; WORDS: one for each bit */
	const uint8_t *array;
};

/* Appends at buf; returns bytes used. The caller has made sure of the room. */
uint32_t bs_rec_put(uint8_t *buf, const struct bs_rec *r);
/* MAP, PAGES, EXPAND: the pairs or ids are written by the caller behind the head. */
uint32_t bs_rec_put_array_head(uint8_t *buf, const struct bs_rec *r);
/* Decodes the record at *pos of buf[0, len) and moves *pos. VS_E_CORRUPT. */
int bs_rec_get(const uint8_t *buf, uint32_t len, uint32_t *pos, struct bs_rec *out) vs_must_check;

#endif
