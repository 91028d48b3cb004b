/*
 * Devices that leave a store without a mirror of theirs: their group's segments are *shut*, so
 * nothing new goes there; the cleaner moves what lives in them; when all of them are free the table
 * says that nobody holds them, and the devices are wiped. It goes on by itself, also after a
 * restart: the state of such devices is LEAVING, and nobody of their group has another.
 *
 * Engine's thread, in fibers.
 */
#ifndef BS_EVACUATE_H
#define BS_EVACUATE_H

#include "blockstore/engine.h"

/*
 * Shuts the segments of a group, after the others have been cleaned as far as is needed. Otherwise
 * nothing has changed: VS_E_NOSPC (the others have no room for what lives in it), VS_E_FAILED,
 * VS_E_CANCELED (the store is being closed).
 */
int bs_evacuate_shut(struct bs_engine *e, uint16_t group) vs_must_check;
void bs_evacuate_start(struct bs_engine *e); /* the fiber, when there is something to do */

#endif
