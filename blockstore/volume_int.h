/*
 * What the calls on volumes share (volume.c, volume_change.c, snapshot.c). All run in fibers of the
 * engine; each failure fills err with its one line.
 *
 * Whatever names, opens, closes, changes or deletes a volume is a writer, and writers run one after
 * the other: what such a call has seen of names and handles holds until its step, however long it
 * waits in between.
 */
#ifndef BS_VOLUME_INT_H
#define BS_VOLUME_INT_H

#include "blockstore/store_int.h"
#include "blockstore/volop.h"

int bs_volume_split_name(const char *full, char name[BS_NAME_MAX], char snap[BS_NAME_MAX],
			 bool want_snap, struct vs_error *err) vs_must_check;
/* NAME or NAME@SNAP; want_snap refuses the first. */
int bs_volume_look(struct bs_engine *e, const char *full, bool want_snap, struct bs_vol **out,
		   struct vs_error *err) vs_must_check;
int bs_volume_look_volume(struct bs_engine *e, const char *name, struct bs_vol **out,
			  struct vs_error *err) vs_must_check;
int bs_volume_name_free(struct bs_engine *e, const char *name, struct vs_error *err) vs_must_check;
int bs_volume_writable(const struct bs_engine *e, struct vs_error *err) vs_must_check;
int bs_volume_size_ok(uint64_t size, struct vs_error *err) vs_must_check;
/* One more handle of v. VS_E_NOMEM. */
int bs_volume_handle(struct bs_engine *e, struct bs_vol *v, struct bs_store *s,
		     struct bs_volume **out, struct vs_error *err) vs_must_check;
/* objects: what it has to be, a volume of objects or another one; VS_E_NOTSUP. */
int bs_volume_open_as(struct bs_store *s, const char *full, bool objects, struct bs_volume **out,
		      struct vs_error *err) vs_must_check;
int bs_volume_not_in_use(const struct bs_vol *v, const char *name,
			 struct vs_error *err) vs_must_check;
/* Runs the changes in one step and makes them durable. */
int bs_volume_run(struct bs_engine *e, struct bs_volop *ops, size_t n, enum bs_need need,
		  struct vs_error *err) vs_must_check;
/* Keeps bytes for thick volume `name` until bs_thick_settle; err says what is lacking. */
int bs_volume_reserve(struct bs_engine *e, const char *name, uint64_t bytes,
		      struct vs_error *err) vs_must_check;
/* The failure of a reservation that `what` needed. */
int bs_volume_no_room(int rc, const char *what, const char *name, uint64_t lacking,
		      struct vs_error *err) vs_must_check;
void bs_volume_fill_info(struct bs_engine *e, const struct bs_vol *v, struct bs_volume_info *out);
/* The entry of a new volume of objects. */
int bs_objects_entry(struct bs_engine *e, const char *name, struct bs_volent *ent,
		     struct vs_error *err) vs_must_check;
void bs_volume_set_name(struct bs_volent *ent, const char *name);

/* Arguments of calls that change one volume or snapshot. */
struct bs_volume_change {
	const char *name, *to;
	uint64_t size;
	bool force;
	int compression;
	bool dedup, thick;
	enum bs_delete_mode mode;
};

#endif
