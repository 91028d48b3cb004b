/*
 * A device that is a LUN of another array (lun.h). Threads: as blockstore/device.h says; the LUN is
 * driven on the engine's thread, by a loop of its own whose descriptor is the device's event_fd.
 */
#ifndef BS_DEVICE_ISCSI_H
#define BS_DEVICE_ISCSI_H

#include "blockstore/device.h"

/* Connects, and waits for that. */
int bs_device_iscsi_new(const char *url, unsigned flags, const struct bs_device_lun *how,
			struct bs_device **out, struct vs_error *err) vs_must_check;

#endif
