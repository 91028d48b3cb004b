/*
 * Exact space: what the deletion of a volume or a snapshot gives back, to the byte.
 *
 * `frees` is by how much the stored bytes of all contents plus 4096 for each map page shrink when
 * this one alone is deleted (the volume without its snapshots) and the release queue has been
 * worked off: what no other volume, snapshot or clone shares, and the map pages that the deletion
 * dissolves. Pages of the content tables do not count: they stay, and their entries are used again.
 *
 * A dry run of the deletion gives the figure; it changes nothing and runs in the background, in
 * slices. The result is kept with the state of the store that it holds for: any change of a map,
 * also of another volume (which may share content since), makes it stale. Stale figures that were
 * asked for within the hour are renewed when the store has been quiet for some seconds.
 *
 * Threads: any but the engine's. Errors: VS_E_FAILED, VS_E_IO, VS_E_CHECKSUM.
 */
#ifndef BS_EXACT_H
#define BS_EXACT_H

#include "blockstore/volume.h"

struct bs_exact_info {
	bool known;	  /* false: not computed so far, or the volume is gone */
	bool stale;	  /* the store has changed since */
	int64_t as_of_ns; /* Unix time of the state that the figure holds for */
	uint64_t frees;	  /* bytes */
};

/*
 * The figures of n volumes or snapshots by id (struct bs_volume_info). Those that are stale or not
 * known are computed, and waited for at most wait_ms; the computation goes on after that. With
 * wait_ms 0 only what is there is told and nothing is computed.
 */
int bs_exact_get(struct bs_store *s, const uint64_t *ids, size_t n, unsigned wait_ms,
		 struct bs_exact_info *out, struct vs_error *err) vs_must_check;

#endif
