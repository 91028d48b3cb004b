/*
 * Opening an engine: superblock, owner, recovery; and what goes on in the background from then on.
 */
#ifndef BS_OPEN_H
#define BS_OPEN_H

#include "blockstore/engine.h"

void bs_open_heartbeat(struct bs_engine *e);	       /* rewrites the owner block when it is due */
int bs_open_disown(struct bs_engine *e) vs_must_check; /* in a fiber, at a clean close */

#endif
