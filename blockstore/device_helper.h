/*
 * The thread behind a file device, for what the kernel has no asynchronous call for: hints, and
 * flushes where it refuses IOCB_CMD_FDSYNC. Requests run in order, one at a time.
 *
 * Threads: all functions are called on the device's one thread. The thread starts with the first
 * request. Errors: io->status is set to 0 or VS_E_*.
 */
#ifndef BS_DEVICE_HELPER_H
#define BS_DEVICE_HELPER_H

#include "blockstore/device.h"

struct bs_device_helper;

/* event_fd is made readable for each request that is done. block: fd is a block device. */
int bs_device_helper_new(int fd, int event_fd, bool block, struct bs_device_helper **out,
			 struct vs_error *err) vs_must_check;
void bs_device_helper_free(struct bs_device_helper *h); /* only when nothing is in flight */

/* Takes a FLUSH or a hint: 0, or VS_E_NOMEM when the thread cannot be started. */
int bs_device_helper_submit(struct bs_device_helper *h, struct bs_devio *io) vs_must_check;
/* What is done since the last call, chained by next, oldest first; NULL: nothing. */
struct bs_devio *bs_device_helper_take(struct bs_device_helper *h);

#endif
