/*
 * The volume table in memory: all volumes and snapshots, by id and by name. Engine's thread, but
 * for what struct bs_volume (the public handle) says is atomic.
 */
#ifndef BS_VOLS_H
#define BS_VOLS_H

#include "blockstore/table_format.h"

#include <stdatomic.h>

struct bs_engine;
struct bs_store;
struct bs_origin;

/* What deleting it would free (exact.h). */
struct bs_vol_exact {
	uint64_t frees, changes; /* the figure, and the state of the store that it holds for */
	int64_t as_of_ns;
	uint64_t asked_ns; /* engine's clock; 0: never */
	bool known, wanted;
};

struct bs_vol {
	struct bs_volent ent;
	struct bs_vol *id_next, *name_next;
	struct bs_vol *parent;	/* of a snapshot */
	unsigned handles;	/* open */
	unsigned snapshots;	/* of a volume */
	unsigned busy;		/* a management call works on it */
	uint64_t near_group;	/* where its last duplicate was found (near.h) */
	_Atomic uint64_t size;	/* read by front ends */
	_Atomic uint64_t limit; /* objects: blocks that may be mapped; 0: none */
	struct bs_volume *public_handle;
	struct bs_vol_exact exact;
	struct bs_origin *origin; /* an origin: whoever fetches from it; NULL: nobody */
};

struct bs_vols {
	struct bs_vol **by_id, **by_name;
	size_t mask, count;
	uint64_t next_id;
	uint64_t volumes, snapshots;
};

int bs_vols_init(struct bs_vols *vs) vs_must_check;
void bs_vols_destroy(struct bs_vols *vs);
/* Reads the whole table, in a fiber. */
int bs_vols_load(struct bs_engine *e) vs_must_check;

/* A temporary volume or one of the node's own (object.h): no user's business. */
static inline bool bs_vol_hidden(const struct bs_volent *ent)
{
	return ent->name[0] == '.';
}

struct bs_vol *bs_vol_by_id(struct bs_engine *e, uint64_t id);
struct bs_vol *bs_vol_origin(struct bs_engine *e, uint32_t id); /* NULL: no origin has this id */
/* snap "" finds the volume, also a deleted one whose snapshots are kept. */
struct bs_vol *bs_vol_by_name(struct bs_engine *e, const char *name, const char *snap);
struct bs_vol *bs_vol_by_uuid(struct bs_engine *e, const struct vs_uuid *uuid);
/* The volume or snapshot with the smallest id above `after`; NULL at the end. */
struct bs_vol *bs_vol_next(struct bs_engine *e, uint64_t after);

/* Memory for one more; NULL when there is none. Entered by bs_vol_enter, else freed. */
struct bs_vol *bs_vol_new(struct bs_engine *e, const struct bs_volent *ent);
int bs_vol_ready(struct bs_engine *e, const struct bs_vol *v) vs_must_check; /* table page */
int bs_vol_ready_id(struct bs_engine *e, uint64_t id) vs_must_check;
/* (step) */
void bs_vol_enter(struct bs_engine *e, struct bs_vol *v);
void bs_vol_changed(struct bs_engine *e, struct bs_vol *v);
void bs_vol_rename(struct bs_engine *e, struct bs_vol *v, const char *name);
/* (step) Erases the entry; a volume with snapshots stays as GONE until the last one goes. */
void bs_vol_remove(struct bs_engine *e, struct bs_vol *v);

#endif
