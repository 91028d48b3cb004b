/*
 * A device that is a LUN of another array (lun.h) or a file of an NFS server (nfs_file.h). Threads:
 * as blockstore/device.h says; the other side is driven on the engine's thread, by a loop of its
 * own whose descriptor is the device's event_fd.
 */
#ifndef BS_DEVICE_FAR_H
#define BS_DEVICE_FAR_H

#include "blockstore/device.h"

bool bs_device_far_is(const char *path); /* begins like a URL of either kind */
/* Connects, and waits for that. size: of a file that is made, with BS_DEVICE_CREATE. */
int bs_device_far_new(const char *url, unsigned flags, uint64_t size,
		      const struct bs_device_lun *how, struct bs_device **out,
		      struct vs_error *err) vs_must_check;
/* Takes away a file that was made so. */
int bs_device_far_unmake(const char *url, struct vs_error *err) vs_must_check;

#endif
