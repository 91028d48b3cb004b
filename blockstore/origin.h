/*
 * Origins: something outside the store (a LUN, a file, a backup) that still has blocks of volumes.
 *
 * bs_volume_create with an origin makes a volume all of which is there. A content or a map page
 * that is at an origin is *filled*, or *expanded*, in place, so whatever shares it profits, and
 * what a guest writes meanwhile is never touched. Reads that need what is there wait, at most
 * for the time that the store was opened with, then fail with VS_E_IO; writes of whole blocks,
 * trims, snapshots and deletions never wait. When nothing is left there the origin goes.
 *
 * Whoever fetches (the *runner*, one for each origin) attaches to it, is woken for what reads wait
 * for, asks for the rest piece by piece, and gives bytes through a port (BS_FILL in io.h). The
 * store knows neither where the origin is nor how it is reached.
 *
 * Threads: all functions may be called from any thread but the engine's, and wait for the engine.
 * Ownership: what bs_origin_attach gives, bs_origin_detach or bs_origin_remove takes back; no
 * BS_FILL of it may be outstanding then. Errors: VS_E_NOENT, VS_E_BUSY, VS_E_ROFS, VS_E_NOSPC,
 * VS_E_FAILED, VS_E_IO.
 */
#ifndef BS_ORIGIN_H
#define BS_ORIGIN_H

#include "blockstore/volume.h"

#define BS_ORIGIN_FAN 512u /* what one page of a map leads to */

struct bs_origin;

struct bs_origin_info {
	struct vs_uuid uuid;
	uint64_t id;	    /* within the store, never reused */
	uint64_t size;	    /* bytes, of the volume when it was made */
	int64_t created_ns; /* Unix time */
	uint64_t contents_left,
	    pages_left; /* still there: blocks, and pages of maps with all below them */
	bool attached;
};

/* A block that is at an origin: the content there, and which block of the origin that is. */
struct bs_want {
	uint64_t cid, block;
};

/* Up to max origins with id > after, in the order of ids. */
int bs_origin_list(struct bs_store *s, uint64_t after, struct bs_origin_info *out, size_t max,
		   size_t *n, struct vs_error *err) vs_must_check;
int bs_origin_find(struct bs_store *s, const struct vs_uuid *uuid, struct bs_origin_info *out,
		   struct vs_error *err) vs_must_check;

/*
 * wake (with arg) is called on the engine's thread when reads begin to wait for something; it must
 * not block. VS_E_BUSY: somebody is attached.
 */
int bs_origin_attach(struct bs_store *s, const struct vs_uuid *uuid, void (*wake)(void *arg),
		     void *arg, struct bs_origin **out, struct vs_error *err) vs_must_check;
void bs_origin_detach(struct bs_origin *o);
/* For requests of BS_FILL. */
struct bs_volume *bs_origin_volume(struct bs_origin *o);

/* What reads wait for and was not given since bs_origin_attach; *n 0: nothing. */
int bs_origin_wants(struct bs_origin *o, struct bs_want *out, size_t max, size_t *n,
		    struct vs_error *err) vs_must_check;
/* Reads that wait for one of these fail with VS_E_IO; they stay at the origin. */
int bs_origin_fail(struct bs_origin *o, const struct bs_want *wants, size_t n,
		   struct vs_error *err) vs_must_check;

/*
 * From now on reads wait so long for what is at an origin; 0: not at all, and those that wait fail
 * at once (the node shuts down).
 */
int bs_origin_set_hold(struct bs_store *s, uint64_t ms, struct vs_error *err) vs_must_check;

enum bs_origin_part_kind {
	BS_ORIGIN_PAGE,	    /* a page of a map: bs_origin_expand */
	BS_ORIGIN_CONTENTS, /* blocks */
	BS_ORIGIN_LOOKED,   /* nothing so far: ask again */
	BS_ORIGIN_PASS,	    /* all was looked at once: begin anew when what is under way is done */
	BS_ORIGIN_END,	    /* nothing is left: bs_origin_remove */
};
struct bs_origin_part {
	enum bs_origin_part_kind kind;
	uint64_t cid;		/* PAGE */
	uint64_t block, blocks; /* PAGE: the origin's that are below it */
	uint64_t each;		/* PAGE: blocks below each of its entries, 1: they are contents */
	size_t n;		/* CONTENTS */
	struct bs_want wants[BS_ORIGIN_FAN];
};
/*
 * The next of what is there, mostly in the order of the origin's blocks. *cursor is 0 at the
 * beginning of a pass.
 */
int bs_origin_next(struct bs_origin *o, uint64_t *cursor, struct bs_origin_part *out,
		   struct vs_error *err) vs_must_check;
/*
 * The page is here from now on. zeros (may be NULL): bit i is set where all blocks below entry i
 * are zeros. Where its entries are contents, those still at the origin are listed, also when
 * somebody else has expanded it. *n 0: the page has gone.
 */
int bs_origin_expand(struct bs_origin *o, uint64_t cid, const uint8_t zeros[BS_ORIGIN_FAN / 8],
		     struct bs_want out[BS_ORIGIN_FAN], size_t *n,
		     struct vs_error *err) vs_must_check;
/* VS_E_BUSY: something is left there. Detaches where it returns 0. */
int bs_origin_remove(struct bs_origin *o, struct vs_error *err) vs_must_check;

#endif
