/*
 * Changing which devices a store consists of, while it runs. In fibers of the engine, one change at
 * a time (writer calls).
 */
#ifndef BS_POOL_CHANGE_H
#define BS_POOL_CHANGE_H

#include "blockstore/devices.h"
#include "blockstore/engine.h"

/*
 * dev becomes a device of the pool; label is its superblock, NULL when it has none. The device
 * stays the caller's, who keeps it open until bs_pool_leave or the engine's end.
 */
int bs_pool_join(struct bs_engine *e, struct bs_device *dev, const struct bs_super *label,
		 const struct bs_device_add *how, struct vs_error *err) vs_must_check;
/*
 * *gone: the device, which the pool no longer uses; NULL when it was not here, or when it is being
 * emptied, because no other device of its group has its data (evacuate.h).
 */
int bs_pool_leave(struct bs_engine *e, const char *name, struct bs_device **gone,
		  struct vs_error *err) vs_must_check;
/* Gives back a device that has failed and was left out; VS_E_NOENT: there is none of that name. */
int bs_pool_let_go(struct bs_engine *e, const char *name, struct bs_device **gone) vs_must_check;
/* Devices that were to leave and whose data another one has now do so. */
void bs_pool_release(struct bs_engine *e);
/* Groups that leave, and all of whose segments are free, are gone. */
void bs_pool_part(struct bs_engine *e);
bool bs_pool_parting(const struct bs_pool *p); /* some group leaves */
int bs_pool_grow(struct bs_engine *e, uint64_t *bytes, struct vs_error *err) vs_must_check;
void bs_pool_list(struct bs_engine *e, struct bs_device_info *out, size_t max, size_t *n);

#endif
