/*
 * Inside of the index, for index*.c. The lock guards everything: who changes it holds it for
 * writing, who looks something up for reading.
 */
#ifndef BK_INDEX_IMPL_H
#define BK_INDEX_IMPL_H

#include "backup/index.h"

#include <pthread.h>

#define BK_INDEX_SEGMENTS_MAX 65536u

/* One loaded index object. */
struct bk_index_segment {
	struct dd_digest name;
	struct bk_index_layout l;
	struct bk_index_pack *packs;
	bool *found;  /* one per pack: it is there with the right length */
	uint8_t *obj; /* the whole object, or NULL: read from the remote */
	bool hashed;  /* its entries are in the table under base + their number */
	uint32_t base;
	bool listed;	/* seen by the last listing */
	uint8_t *marks; /* one bit per entry, or NULL */
};

struct listed_pack {
	struct dd_digest name;
	uint64_t size;
};

/*
 * slots[]: tag << 32 | record + 1, 0 is empty; open addressing, probed upwards from the place that
 * the tag's top bits give. Equal digests in several objects have a slot each.
 */
struct bk_index {
	struct bk_remote *r;
	pthread_rwlock_t lock; /* guards everything below */
	uint64_t *slots;
	unsigned bits;
	uint64_t used, table_max, objects_max, objects_bytes;
	struct bk_index_segment *segments;
	size_t nsegments, room;
	uint64_t next_record, entries;
	bool marking;
	struct listed_pack *listed;
	size_t nlisted, listed_room;
};

/* An entry that was found. */
struct bk_index_hit {
	struct bk_index_segment *s;
	uint32_t i;
	struct bk_index_entry e;
};

/* All with the lock held. */
void bk_index_drop(struct bk_index *ix); /* all objects */
/* Takes a decoded object in. present: its packs were just written by the caller. */
int bk_index_take(struct bk_index *ix, const struct dd_digest *name, const uint8_t *obj,
		  const struct bk_index_layout *l, bool present, struct vs_error *err);
bool bk_index_pack_listed(const struct bk_index *ix, const struct bk_index_pack *p);
/* 1 found, 0 not. */
int bk_index_look(struct bk_index *ix, const struct dd_digest *digest, enum bk_kind kind,
		  struct bk_index_hit *hit, struct vs_error *err);

#endif
