/*
 * On-disk bytes of table pages: entries and page pointers (FORMAT.md, "Tables").
 *
 * A content id (CID) is 48 bits of slot and 16 of generation; 0 is "no content, reads as zeros".
 * Slot 0 is never given out. Pure functions, any thread.
 */
#ifndef BS_TABLE_FORMAT_H
#define BS_TABLE_FORMAT_H

#include "blockstore/checksum.h"
#include "blockstore/volume.h"
#include "common/bytes.h"

#define BS_PAGE 4096u
#define BS_SEG_NONE UINT32_MAX
#define BS_CHECK56 ((UINT64_C(1) << 56) - 1)

static inline uint64_t bs_cid(uint64_t slot, uint16_t gen)
{
	return slot | (uint64_t)gen << 48;
}
static inline uint64_t bs_cid_slot(uint64_t cid)
{
	return cid & ((UINT64_C(1) << 48) - 1);
}
static inline uint16_t bs_cid_gen(uint64_t cid)
{
	return (uint16_t)(cid >> 48);
}

/* The trees of table pages. */
enum bs_tree_id {
	BS_TREE_PLACE,	 /* content slot -> place, references */
	BS_TREE_DIGEST,	 /* content slot -> SHA-256 */
	BS_TREE_MAP,	 /* map page slot -> place, references, base */
	BS_TREE_VOLUME,	 /* volume id -> volume */
	BS_TREE_WORK,	 /* release queue */
	BS_TREE_SEGMENT, /* segment number -> device place, live bytes, state */
	BS_TREE_DROP,	 /* references that nothing holds any more, in two runs */
	BS_TREES
};

struct bs_place {
	uint32_t seg; /* BS_SEG_NONE: no bytes on the device (yet) */
	union {
		uint32_t off;	 /* bytes in the segment, 24 bits */
		uint32_t origin; /* BS_CODING_ORIGIN: its id */
	};
	uint32_t len;	/* stored bytes, 24 bits */
	uint8_t coding; /* enum bs_coding */
	uint64_t alias; /* CID of the content that stores this one too; 0: none */
	bool aliased;	/* others are its aliases, or were */
	bool private;	/* of a volume without deduplication: found by nobody */
	uint16_t gen;	/* of the slot's present or last owner */
	uint32_t refs;	/* 0: the slot is free (map pages: or waits in the release queue) */
	union {
		uint64_t check; /* low 56 bits of XXH3-64 of the stored bytes */
		uint64_t block; /* BS_CODING_ORIGIN: there, 48 bits */
	};
};
/* Beside the coding, on the device. */
#define BS_CODING_PRIVATE 0x80u
#define BS_CODING_ALIASED 0x40u
#define BS_CODING_ORIGIN 4u /* not here: at an origin from a block on */
#define BS_CODING_ALIAS 5u
#define BS_CODING_ZEROS 6u /* a content of zeros, of which nothing is stored */
#define BS_PLACE_SIZE 24u
#define BS_PLACES_PER_PAGE (BS_PAGE / BS_PLACE_SIZE)
#define BS_DIGESTS_PER_PAGE (BS_PAGE / 32u)

void bs_place_get(const uint8_t *p, struct bs_place *out);
void bs_place_put(uint8_t *p, const struct bs_place *in);
static inline bool bs_place_at_origin(const struct bs_place *p)
{
	return p->coding == BS_CODING_ORIGIN;
}
/* Whether there are bytes that are its own: neither an alias's nor at an origin, nor zeros. */
static inline bool bs_place_stored(const struct bs_place *p)
{
	return p->coding <= BS_CODING_ZSTD && !p->alias;
}

/* A map page: where it lies and how it is shared (DESIGN.md, "Maps"). */
struct bs_mapent {
	struct bs_place place;
	uint64_t base;	/* CID of the page that it was copied from; 0: none */
	uint64_t xors;	/* XOR of the CIDs of the copies that have this page as base */
	uint64_t era;	/* when it was born */
	uint64_t count; /* mapped blocks below it */
	uint64_t blank; /* of these, zeros that were found when it was expanded (origin.h) */
	uint8_t level;	/* 0: entries are contents, or words of records; else map pages */
	bool records;	/* of level 0: its entries are words (object.h), no references */
	bool live;	/* allocated */
};
#define BS_MAPENT_SIZE 64u
#define BS_MAPENTS_PER_PAGE (BS_PAGE / BS_MAPENT_SIZE)

void bs_mapent_get(const uint8_t *p, struct bs_mapent *out);
void bs_mapent_put(uint8_t *p, const struct bs_mapent *in);

/* Pointer to a table page. Inner pages and the segment and volume tables lie in two places. */
struct bs_ptr {
	uint32_t seg[2], off[2]; /* seg BS_SEG_NONE: not there */
	uint64_t check;		 /* XXH3-64 of the page */
	uint32_t used;		 /* entries in use at or below; 32 bits, saturating */
};
#define BS_PTR_SIZE 32u
#define BS_PTRS_PER_PAGE (BS_PAGE / BS_PTR_SIZE)

void bs_ptr_get(const uint8_t *p, struct bs_ptr *out);
void bs_ptr_put(uint8_t *p, const struct bs_ptr *in);

static inline uint64_t bs_map_entry(const uint8_t *page, unsigned i)
{
	return vs_get_le64(page + 8u * i);
}
static inline void bs_map_entry_put(uint8_t *page, unsigned i, uint64_t cid)
{
	vs_put_le64(page + 8u * i, cid);
}
#define BS_MAP_FAN 512u

enum bs_seg_state {
	BS_SEG_FREE,
	BS_SEG_LOG,	/* holds units of the log */
	BS_SEG_META,	/* holds pages written by checkpoints */
	BS_SEG_FREEING, /* empty as of checkpoint `stamp`; usable once the next one is durable */
};
struct bs_segent {
	uint8_t state;
	uint32_t live;	/* bytes of contents and pages that something points to */
	uint64_t stamp; /* FREEING: checkpoint number */
	uint8_t copies;
	uint16_t dev[2];
	uint32_t slot[2]; /* physical segment on dev */
};
#define BS_SEGENT_SIZE 32u
#define BS_SEGENTS_PER_PAGE (BS_PAGE / BS_SEGENT_SIZE)

void bs_segent_get(const uint8_t *p, struct bs_segent *out);
void bs_segent_put(uint8_t *p, const struct bs_segent *in);

enum bs_vol_kind { BS_VOL_FREE, BS_VOL_VOLUME, BS_VOL_SNAPSHOT, BS_VOL_GONE, BS_VOL_ORIGIN };
/*
 * One volume, snapshot, deleted volume whose snapshots are kept (GONE), or origin: something
 * outside the store that still has blocks of volumes (origin.h).
 */
struct bs_volent {
	uint8_t kind;
	uint8_t height;	     /* levels of map pages, 1 to 5; of objects 7 */
	uint8_t compression; /* enum bs_coding */
	uint8_t origin_set;
	uint32_t sector;
	uint32_t flags;	     /* BS_VOL_* */
	uint32_t origin_id;  /* that it, or what it came from, was made with; 0: none. A hint */
	uint64_t id, parent; /* parent: of a snapshot, its volume's id */
	uint64_t size;	     /* bytes */
	uint64_t root;	     /* CID of the top map page; 0: nothing mapped */
	uint64_t frozen;     /* pages of an era before this one are shared: copy before changing */
	int64_t created;     /* Unix ns */
	struct vs_uuid uuid, origin;
	char name[BS_NAME_MAX]; /* of the volume, or of the snapshot without its volume */
	/* An origin: contents and map pages that are still there. */
	uint64_t contents_left, pages_left;
};
#define BS_VOL_NO_DEDUP (1u << 4)  /* flags: what is written is private */
#define BS_VOL_TEMPORARY (1u << 6) /* goes with its handle */
#define BS_VOL_THICK (1u << 5)	   /* its size is reserved; what is written is private */
#define BS_VOL_OBJECTS (1u << 7)   /* holds objects: see BS_OBJECT_SHIFT */
/*
 * The map of a volume of objects: object i has the blocks from i << BS_OBJECT_SHIFT on, and the
 * words of its record are the entries from BS_RECORDS_FROM + i * BS_OBJECT_WORDS on.
 */
#define BS_VOLUME_HEIGHT 5u /* of other volumes at most */
#define BS_OBJECTS_HEIGHT 7u
#define BS_OBJECT_SHIFT 36u
#define BS_OBJECT_LEVEL 3u /* of the page that covers one object */
#define BS_RECORDS_FROM (UINT64_C(1) << 62)
#define BS_VOLENT_SIZE 256u
#define BS_VOLENTS_PER_PAGE (BS_PAGE / BS_VOLENT_SIZE)

/* Blocks that it has, mapped or not. */
static inline uint64_t bs_volent_blocks(const struct bs_volent *ent)
{
	return ent->flags & BS_VOL_OBJECTS ? BS_RECORDS_FROM : ent->size / BS_BLOCK;
}
/* VS_E_CORRUPT when a field is outside its range. */
int bs_volent_get(const uint8_t *p, struct bs_volent *out) vs_must_check;
void bs_volent_put(uint8_t *p, const struct bs_volent *in);

/* Release queue: what is to be done with a map page. */
enum bs_work_kind { BS_WORK_RELEASE = 1, BS_WORK_ABSORB = 2 };
#define BS_DROPS_PER_PAGE (BS_PAGE / 8u) /* CIDs, read and written as those of a map page */
#define BS_WORK_SIZE 16u
#define BS_WORKS_PER_PAGE (BS_PAGE / BS_WORK_SIZE)
struct bs_work {
	uint64_t cid;
	uint8_t kind;
};
void bs_work_get(const uint8_t *p, struct bs_work *out);
void bs_work_put(uint8_t *p, const struct bs_work *in);

#endif
