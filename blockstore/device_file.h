/*
 * A device over an open descriptor of a regular file or a block device, by Linux AIO.
 * Ownership: takes fd over when it succeeds. Threads: as blockstore/device.h says.
 */
#ifndef BS_DEVICE_FILE_H
#define BS_DEVICE_FILE_H

#include "blockstore/device.h"

struct bs_device_file_spec {
	const char *name; /* for messages */
	int fd;
	uint64_t size;
	bool block; /* a block device, else a regular file */
	bool read_only;
};

int bs_device_file_new(const struct bs_device_file_spec *spec, struct bs_device **out,
		       struct vs_error *err) vs_must_check;

#endif
