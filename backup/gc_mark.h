/*
 * What the backups of a repository need: its packs and index objects with what is used of them.
 * Threads: one at a time. Memory: 72 bytes a pack, one bit an entry.
 */
#ifndef BK_GC_MARK_H
#define BK_GC_MARK_H

#include "backup/repo_impl.h"

#define BK_GC_ENTRIES_MAX (1u << 21) /* of one merged index object */

enum bk_fate { BK_PACK_KEEP, BK_PACK_REWRITE, BK_PACK_DROP };

struct bk_gc_pack {
	struct dd_digest name;
	uint64_t size;	      /* 0: not there */
	uint32_t total, live; /* entries of index objects */
	enum bk_fate fate;
};

struct bk_gc_object { /* an index object */
	struct dd_digest name;
	uint8_t *marks; /* bit i: entry i is in use */
	bool rewrite;
};

struct bk_gc_state {
	struct bk_gc_pack *packs; /* by name */
	size_t npacks, packs_room;
	struct bk_gc_object *objects;
	size_t nobjects, objects_room;
};

/* Fills st; VS_E_CORRUPT when any backup cannot be followed to all its blocks. */
int bk_gc_mark(struct bk_repo *r, const struct bk_watch *watch, struct bk_gc_state *st,
	       struct vs_error *err) vs_must_check;
void bk_gc_free(struct bk_gc_state *st);
/* NULL: no such pack. */
struct bk_gc_pack *bk_gc_find(const struct bk_gc_state *st, const struct dd_digest *name);
/* Loads and decodes an index object; *obj is the caller's to free. */
int bk_gc_load(struct bk_repo *r, const struct dd_digest *name, uint8_t **obj,
	       struct bk_index_layout *l, struct vs_error *err) vs_must_check;

static inline bool bk_gc_marked(const struct bk_gc_object *o, uint32_t entry)
{
	return o->marks[entry / 8] >> entry % 8 & 1;
}

#endif
