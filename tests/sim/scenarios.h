/*
 * Parts of cases: trees of clones, races, bad disks.
 */
#ifndef SIM_SCENARIOS_H
#define SIM_SCENARIOS_H

#include "tests/sim/world.h"

/* Whole cases. */
void sim_rot(struct world *w);
void sim_every_cut(struct world *w);
void sim_between_steps(struct world *w);
void sim_newest_rots(struct world *w);
void sim_stalled_reads(struct world *w);
void sim_bad_disk(struct world *w);
void sim_mirror(struct world *w);
void sim_joined(struct world *w);
void sim_extended(struct world *w);
void sim_saved_index(struct world *w);
void sim_merge(struct world *w);
void sim_cut_administration(struct world *w);
void sim_lying_reads(struct world *w);
void sim_exact_space(struct world *w);
void sim_thick(struct world *w);
void sim_filled_again(struct world *w);
void sim_crafted(struct world *w);
void sim_scrubbed(struct world *w);
void sim_late_drops(struct world *w);
void sim_origins(struct world *w);
void sim_objects(struct world *w);

/* Formats and opens. */
void sim_start(struct world *w);
/* A new volume of so many blocks. */
struct model_image *sim_volume(struct world *w, uint32_t blocks);
/* Verifies everything, deletes everything: neither references nor space may be left. */
void sim_end_empty(struct world *w);
/* Every block of every image reads right or gives an error; returns how many gave one. */
unsigned sim_read_all(struct world *w);
/* Whether it opened read-only, which shows an earlier state and must be said. */
bool sim_says_older(struct world *w);
/* Several compare-and-writes that expect the same: exactly one may succeed. */
void sim_compare_race(struct world *w, struct model_image *v);
/* Merges all duplicates while nobody changes anything; how many. */
uint64_t sim_merge_all(struct world *w);
/* A snapshot of some volume, or a clone of some snapshot. */
void sim_grow_tree(struct world *w);
/* Deletes a volume or a snapshot; the other stays. */
void sim_prune_tree(struct world *w);
/* The diff of all pairs of some snapshots equals brute force. */
void sim_diff_all(struct world *w);
/* Writes unique blocks one after another; each must succeed. */
void sim_write_much(struct world *w, struct model_image *v, uint32_t blocks);
/* Noise all over, so that few segments are left and those come round often. */
void sim_fill_up(struct world *w, struct model_image *v);

#endif
