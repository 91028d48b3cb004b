/*
 * Reading the log back in large pieces: recovery looks at it page by page and unit by unit, and a
 * device request for each would make it wait for the device most of the time. In a fiber.
 */
#ifndef BS_LOGREAD_H
#define BS_LOGREAD_H

#include "common/err.h"

#include <stdint.h>

struct bs_engine;

#define BS_LOGREAD_WINDOW (1u << 20)
#define BS_LOGREAD_SIDES 4u /* of a mirror, read by turns */

struct bs_logread {
	struct bs_logread_window {
		uint8_t *mem;
		uint32_t seg, off, len; /* what of the log is in mem; len 0: nothing */
		uint16_t sides;
	} window[BS_LOGREAD_SIDES];
};

int bs_logread_init(struct bs_logread *r) vs_must_check;
void bs_logread_destroy(struct bs_logread *r);
/*
 * off and len: multiples of 4096 inside the segment. sides: of a mirror, the device to read from;
 * 0: any. VS_E_IO.
 */
int bs_logread(struct bs_engine *e, struct bs_logread *r, uint16_t sides, uint32_t seg,
	       uint32_t off, uint8_t *buf, uint32_t len) vs_must_check;
/* That device is being written to. */
void bs_logread_forget(struct bs_logread *r, uint16_t sides);

#endif
