/*
 * How many reads a device is given at once. Not for others than device_file.c.
 *
 * Some devices (virtual disks, mostly) do what they were given one after the other and say that
 * something is done only when all of it is. Given everything, such a device and those who work on
 * what it brings stand still in turn; given half, each works while the other does. Whether a device
 * is like that is seen from how its reads come back.
 * Threads: the device's one. No errors.
 */
#ifndef BS_DEVICE_PACE_H
#define BS_DEVICE_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct bs_device_pace {
	uint64_t bytes;	  /* of the reads that the device has */
	unsigned running; /* their number */
	unsigned came;	  /* of late; and how many of those came together with most others: */
	unsigned together;
	unsigned wanted; /* most reads there were of late, those that wait included */
};

/* Whether the device may be given one more read; `waiting` wait, this one included. */
bool bs_device_pace_may(struct bs_device_pace *p, uint64_t length, unsigned waiting);
void bs_device_pace_began(struct bs_device_pace *p, uint64_t length);
/* A read is back, or was not begun after all. */
void bs_device_pace_ended(struct bs_device_pace *p, uint64_t length);
/* One look at the device found that `done` reads had ended. */
void bs_device_pace_looked(struct bs_device_pace *p, unsigned done);

#endif
