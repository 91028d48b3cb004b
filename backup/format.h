/*
 * The repository's bytes: encode and decode. FORMAT.md describes every field.
 *
 * Pure functions, any thread. Encoders write into buffers of the size that the matching *_SIZE
 * macro or *_size function gives. Decoders accept any bytes and return VS_E_CORRUPT (damaged or
 * truncated), VS_E_VERSION (a later format), VS_E_FEATURE (unknown incompatible feature, coding or
 * sealing); `what` names the object in messages.
 */
#ifndef BK_FORMAT_H
#define BK_FORMAT_H

#include "backup/repo.h"
#include "common/err.h"
#include "common/uuid.h"
#include "dedup/digest.h"

#include <stddef.h>
#include <stdint.h>

#define BK_FORMAT_VERSION 1u

#define BK_PAGE_ENTRIES 512u
#define BK_PAGE_BYTES (BK_PAGE_ENTRIES * 32u)
#define BK_LEVELS_MAX 4u /* 512^4 blocks are 256 TiB */

#define BK_FRAME_RAW_MAX (256u << 10)
#define BK_FRAME_RAW_MIN (64u << 10)
#define BK_FRAME_STORED_MAX (BK_FRAME_RAW_MAX + (4u << 10))
#define BK_PACK_BYTES_MAX (64u << 20)
#define BK_PACK_TARGET_MIN (1u << 20)
#define BK_PACK_FRAMES_MAX 16384u
#define BK_PACK_ITEMS_MAX (1u << 18)
#define BK_INDEX_ENTRIES_MAX (1u << 18)
#define BK_INDEX_PACKS_MAX 65535u
#define BK_OBJECT_MAX (128u << 20) /* no object is larger */

enum bk_obj_type {
	BK_OBJ_CONFIG = 1,
	BK_OBJ_PACK = 2,
	BK_OBJ_INDEX = 3,
	BK_OBJ_BACKUP = 4,
	BK_OBJ_LOCK = 5,
};
enum bk_kind { BK_KIND_BLOCK = 1, BK_KIND_PAGE = 2 };
enum bk_coding { BK_CODING_PLAIN = 0, BK_CODING_ZSTD = 1 };

static inline uint32_t bk_kind_bytes(enum bk_kind kind)
{
	return kind == BK_KIND_PAGE ? BK_PAGE_BYTES : 4096u;
}

/* Object header: the first 128 bytes of every object. */
#define BK_HEADER_SIZE 128u
void bk_header_encode(uint8_t *obj, enum bk_obj_type type, uint64_t payload);
/* Checks header and length; whether the payload's checksum holds only with whole. */
int bk_header_decode(const uint8_t *obj, uint64_t size, enum bk_obj_type type, bool whole,
		     const char *what, struct vs_error *err) vs_must_check;

/* Config. */
struct bk_config {
	struct vs_uuid uuid;
	int64_t created_ns;
	uint32_t pack_target; /* bytes, BK_PACK_TARGET_MIN to BK_PACK_BYTES_MAX / 2 */
	uint32_t frame_raw;   /* bytes, BK_FRAME_RAW_MIN to BK_FRAME_RAW_MAX, multiple of 16 KiB */
	uint64_t compat, ro_compat, incompat;
};
#define BK_CONFIG_SIZE (BK_HEADER_SIZE + 256u)
void bk_config_encode(const struct bk_config *c, uint8_t *obj);
int bk_config_decode(const uint8_t *obj, uint64_t size, struct bk_config *c, const char *what,
		     struct vs_error *err) vs_must_check;

/* Backup descriptor; its fields are those of struct bk_backup_info. */
#define BK_BACKUP_SIZE (BK_HEADER_SIZE + 1024u)
void bk_backup_encode(const struct bk_backup_info *b, uint8_t *obj);
int bk_backup_decode(const uint8_t *obj, uint64_t size, struct bk_backup_info *b, const char *what,
		     struct vs_error *err) vs_must_check;
/* Levels of the page tree over so many blocks, 1 to BK_LEVELS_MAX. */
unsigned bk_levels(uint64_t blocks);

/* Pack: header, frames, frame table, digests, footer. */
struct bk_frame {
	uint32_t pack;	 /* index objects only: number in the pack table */
	uint32_t offset; /* from the object's start */
	uint32_t stored; /* bytes in the object */
	uint32_t raw;	 /* bytes decoded; multiple of the item's size */
	enum bk_coding coding;
};
#define BK_FRAME_ENTRY 16u
void bk_frame_put(uint8_t *rec, const struct bk_frame *f);
void bk_frame_get(const uint8_t *rec, struct bk_frame *f);
/* Whether such a frame can be: sizes in range, inside [BK_HEADER_SIZE, end) of its object. */
bool bk_frame_ok(const struct bk_frame *f, enum bk_kind kind, uint64_t end);
#define BK_FOOTER_SIZE 32u
uint64_t bk_pack_tail_size(uint32_t frames, uint32_t items);
/* Writes table, digests and footer at obj + at, then the header; size is at + tail size. */
void bk_pack_finish(uint8_t *obj, uint64_t at, enum bk_kind kind, const struct bk_frame *frames,
		    uint32_t nframes, const struct dd_digest *items, uint32_t nitems);
struct bk_pack {
	enum bk_kind kind;
	uint32_t frames, items;
	const uint8_t *table, *digests; /* into the object */
};
int bk_pack_decode(const uint8_t *obj, uint64_t size, struct bk_pack *p, const char *what,
		   struct vs_error *err) vs_must_check;
void bk_pack_frame(const struct bk_pack *p, uint32_t i, struct bk_frame *f);

/* Decodes one frame's stored bytes into f->raw bytes at out. */
struct ZSTD_DCtx_s;
int bk_frame_decode(struct ZSTD_DCtx_s *ctx, const struct bk_frame *f, const uint8_t *stored,
		    uint8_t *out, const char *what, struct vs_error *err) vs_must_check;

/* Index object: header, counts, pack table, frame table, entries sorted by digest. */
struct bk_index_pack {
	struct dd_digest name; /* of the pack object */
	uint64_t size;	       /* of the pack object */
	enum bk_kind kind;
};
struct bk_index_entry {
	struct dd_digest digest;
	uint32_t frame; /* number in the frame table */
	uint16_t pack;	/* number in the pack table */
	uint8_t pos;	/* item within the frame */
	uint8_t kind;	/* enum bk_kind */
};
#define BK_INDEX_PACK_SIZE 48u
#define BK_INDEX_ENTRY_SIZE 40u
struct bk_index_layout {
	uint32_t packs, frames, entries;
	uint64_t packs_at, frames_at, entries_at, size; /* from the object's start */
};
void bk_index_layout(uint32_t packs, uint32_t frames, uint32_t entries, struct bk_index_layout *l);
/* entries must be sorted by digest. obj has l->size bytes. */
void bk_index_encode(uint8_t *obj, const struct bk_index_layout *l,
		     const struct bk_index_pack *packs, const struct bk_frame *frames,
		     const struct bk_index_entry *entries);
/* Checks the whole object: order, ranges, every reference. */
int bk_index_decode(const uint8_t *obj, uint64_t size, struct bk_index_layout *l, const char *what,
		    struct vs_error *err) vs_must_check;
void bk_index_get_pack(const uint8_t *rec, struct bk_index_pack *p);   /* BK_INDEX_PACK_SIZE */
void bk_index_get_entry(const uint8_t *rec, struct bk_index_entry *e); /* BK_INDEX_ENTRY_SIZE */

/* Lock: who works on the repository. */
#define BK_WHERE_MAX 96
struct bk_lock_info {
	bool exclusive;
	uint32_t pid;
	int64_t created_ns, refreshed_ns; /* Unix time */
	uint64_t process_start;		  /* clock ticks since boot */
	char host[64];
	char where[BK_WHERE_MAX]; /* boot id and PID namespace; "": unknown */
};
#define BK_LOCK_SIZE (BK_HEADER_SIZE + 256u)
void bk_lock_encode(const struct bk_lock_info *l, uint8_t *obj);
int bk_lock_decode(const uint8_t *obj, uint64_t size, struct bk_lock_info *l, const char *what,
		   struct vs_error *err) vs_must_check;

/* Names of objects: "packs/ab/abcd...", "index/abcd...", "backups/ID". */
#define BK_NAME_MAX 128
void bk_pack_name(const struct dd_digest *d, char name[BK_NAME_MAX]);
void bk_index_name(const struct dd_digest *d, char name[BK_NAME_MAX]);
int bk_index_name_parse(const char *name, struct dd_digest *d) vs_must_check;
int bk_pack_name_parse(const char *name, struct dd_digest *d) vs_must_check;

static inline bool bk_digest_null(const struct dd_digest *d)
{
	static const struct dd_digest null;

	return dd_digest_equal(d, &null);
}

#endif
