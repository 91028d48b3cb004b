/*
 * Raw files and block devices from and to volumes, holes skipped, a few requests in flight on a
 * port of its own. Threads: those of tasks.
 */
#ifndef MG_RAWCOPY_H
#define MG_RAWCOPY_H

#include "blockstore/volume.h"
#include "mgmt/task.h"

struct mg_rawcopy {
	struct bs_store *store;
	struct bs_volume *volume;
	int fd;
	uint64_t size; /* bytes of the file: not more than the volume's size */
	struct mg_task *task;
	uint64_t bytes; /* out: really copied */
};

/* The file into a volume of zeros; what it has beyond its last whole block is filled with zeros. */
int mg_rawcopy_in(struct mg_rawcopy *c, struct vs_error *err) vs_must_check;
/* The volume's first `size` bytes into a file of zeros; write_zeros: into one that may hold others.
 */
int mg_rawcopy_out(struct mg_rawcopy *c, bool write_zeros, struct vs_error *err) vs_must_check;

#endif
