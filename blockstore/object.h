/*
 * Volumes of objects: one volume holds up to 2^26 objects, each with bytes of its own and a record
 * of 16 words of 64 bits. A snapshot or a clone of it is one of all objects and records at one
 * instant; what words mean is the caller's business.
 *
 * An object is a part of the volume's map, so a request (io.h) names it beside the volume: offsets
 * and lengths are bytes of the object and need not be aligned. An object that was never written
 * reads as zeros and costs nothing; there is nothing to create or delete but its bytes (BS_TRIM)
 * and its record.
 *
 * A request may carry *changes* of records: what they check, set and tell is of the same instant as
 * the request's blocks, and what they set is as durable as these. READ only looks. A request that
 * is worked on in pieces (io.h) takes its changes along with each of them.
 */
#ifndef BS_OBJECT_H
#define BS_OBJECT_H

#include "blockstore/volume.h"

#define BS_OBJECTS (UINT32_C(1) << 26)	  /* ids 0 to BS_OBJECTS - 1 */
#define BS_OBJECT_MAX (UINT64_C(1) << 46) /* bytes of one: 64 TiB */
#define BS_OBJECT_WORDS 16u
#define BS_CHANGES_MAX 16u /* of one request */
#define BS_NO_WORD 0xffu

struct bs_object_change {
	uint32_t object;
	/* Unless this word has this value nothing of the request happens: VS_E_STALE. BS_NO_WORD */
	uint8_t check;
	uint64_t is;
	/* This word becomes the end of what is written, in bytes, if it was less. BS_NO_WORD */
	uint8_t end;
	uint16_t set, add;		/* bit i: word i */
	uint64_t word[BS_OBJECT_WORDS]; /* what is set or added */
	/* out: before and after; blocks of the object that are mapped after */
	uint64_t was[BS_OBJECT_WORDS], now[BS_OBJECT_WORDS];
	uint64_t mapped;
	bool done; /* private: was has been taken */
};

/* A volume of objects, empty. It has the name of a volume, and size 0. */
int bs_objects_create(struct bs_store *s, const char *name, struct bs_volume_info *out,
		      struct vs_error *err) vs_must_check;
/* As bs_volume_open, and closed as a volume is. VS_E_NOTSUP: it is no volume of objects. */
int bs_objects_open(struct bs_store *s, const char *full, struct bs_volume **out,
		    struct vs_error *err) vs_must_check;
/* Blocks that all objects of an open volume may have together; 0: no limit. Beyond it writes fail
 * with VS_E_NOSPC. Until the handle is closed. */
void bs_objects_limit(struct bs_volume *v, uint64_t blocks);
/* Blocks of all objects; waits for the engine. */
int bs_objects_mapped(struct bs_volume *v, uint64_t *blocks, struct vs_error *err) vs_must_check;

/*
 * Volumes of objects that are the node's own: what it remembers beside the users' volumes. Their
 * names begin with BS_OWN_MARK, which no other call takes, and they stand in no list: so nobody
 * snapshots, clones, exports, renames or deletes one. Their space is used space, but bs_store_info
 * counts them neither as volumes nor as their content; they share nothing with other volumes.
 * made NULL: VS_E_NOENT when there is none; else it is made then, and *made says so.
 */
#define BS_OWN_MARK '.'
int bs_own_open(struct bs_store *s, const char *name, bool *made, struct bs_volume **out,
		struct vs_error *err) vs_must_check;
/* For naming damage. VS_E_NOENT. */
int bs_own_info(struct bs_store *s, const char *name, struct bs_volume_info *out,
		struct vs_error *err) vs_must_check;
/* VS_E_BUSY: it is open. */
int bs_own_delete(struct bs_store *s, const char *name, struct vs_error *err) vs_must_check;

#endif
