#include "blockstore/device.h"
static void sync_done(struct bs_devio *io)
{
	*(bool *)io->arg = true;
}

int bs_device_sync(struct bs_device *dev, enum bs_devop op, uint64_t offset, void *buf,
		   uint64_t length)
{
	bool done = false;
	struct bs_devio io = {
	    .op = op, .offset = offset, .length = length, .done = sync_done, .arg = &done};

	if (op == BS_DEV_READ || op == BS_DEV_WRITE) {
		io.iov[0].iov_base = buf;
		io.iov[0].iov_len = length;
		io.iovcnt = 1;
	}
	bs_device_submit(dev, &io);
	bs_device_kick(dev);
	while (!done) {
		if (bs_device_poll(dev) == 0)
			dev->ops->wait(dev);
	}
	return io.status;
}
