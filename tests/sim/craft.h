/*
 * Stores whose checksums are right and whose tables say what cannot be: as a bug or a forger leaves
 * them. Changes fields on a disk that no engine has, and the checksums above them up to the
 * superblock or, in the log, of all units that follow.
 */
#ifndef SIM_CRAFT_H
#define SIM_CRAFT_H

#include "tests/sim/simdev.h"

/* Changes something of the newest checkpoint or of the log behind it, chosen by chance. All is
 * flushed. */
void craft_something(struct sim_disk *d, struct sim_rng *rng);

/* Rots a leaf of a table; false when the newest checkpoint has none there. */
bool craft_rot_leaf(struct sim_disk *d, unsigned tree, uint64_t leaf);

#endif
