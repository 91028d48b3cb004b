/*
 * Where the repository's blocks and pages are: the loaded index objects.
 *
 * Threads: any; lookups run side by side, refresh and add one at a time. Memory is bounded by the
 * figure given to bk_index_new: up to half of it is a hash table (8 bytes a slot, filled to 70%),
 * up to a quarter keeps index objects, the rest is room for growing the table. Index objects beyond
 * that are searched in place on the remote. Each loaded object also costs 48 bytes a pack.
 */
#ifndef BK_INDEX_H
#define BK_INDEX_H

#include "backup/format.h"
#include "backup/remote.h"

struct bk_index;

struct bk_place {
	struct dd_digest pack;
	struct bk_frame frame;
	unsigned pos; /* item within the frame */
};

int bk_index_new(struct bk_remote *r, uint64_t memory, struct bk_index **out,
		 struct vs_error *err) vs_must_check;
void bk_index_free(struct bk_index *ix);

/*
 * Loads the index objects that are not loaded yet and lists the packs: entries whose pack is gone
 * or has the wrong length count as absent. A damaged index object is an error that names it, or,
 * with each_bad, is reported there and left out.
 */
int bk_index_refresh(struct bk_index *ix, void (*each_bad)(void *arg, const struct vs_error *e),
		     void *arg, struct vs_error *err) vs_must_check;
/* An index object that was just written: bytes as bk_index_encode made them. */
int bk_index_add(struct bk_index *ix, const struct dd_digest *name, const uint8_t *obj,
		 uint64_t size, struct vs_error *err) vs_must_check;

/* *place may be NULL. VS_E_NOENT when the repository does not hold it. */
int bk_index_find(struct bk_index *ix, const struct dd_digest *digest, enum bk_kind kind,
		  struct bk_place *place, struct vs_error *err) vs_must_check;

/*
 * Marks on entries, for gc: none are set after begin (VS_E_BUSY between another's begin and end).
 * mark: sets the mark of the entry that bk_index_find would use; *was says whether it was set.
 * each_object: bit i of marks is that of entry i. An object loaded after begin has no marks: mark
 * and each_object return VS_E_AGAIN then.
 */
int bk_index_marks_begin(struct bk_index *ix, struct vs_error *err) vs_must_check;
void bk_index_marks_end(struct bk_index *ix);
int bk_index_mark(struct bk_index *ix, const struct dd_digest *digest, enum bk_kind kind, bool *was,
		  struct vs_error *err) vs_must_check;
int bk_index_each_object(struct bk_index *ix,
			 int (*each)(void *arg, const struct dd_digest *name, const uint8_t *marks,
				     uint32_t entries),
			 void *arg);

/* Every pack of every loaded index object: found says whether it is there with the right length. */
int bk_index_each_pack(struct bk_index *ix,
		       int (*each)(void *arg, const char *index_name, const struct bk_index_pack *p,
				   bool found),
		       void *arg);
uint64_t bk_index_entries(struct bk_index *ix);

#endif
