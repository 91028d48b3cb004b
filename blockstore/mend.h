/*
 * Reading what carries a checksum: when one side of a mirror has it damaged or unreadable, another
 * side's bytes are returned and the bad side is rewritten ("healed"). Of one device it is a read
 * and a check. Engine's thread, in fibers; may allocate, which only damage leads to.
 */
#ifndef BS_MEND_H
#define BS_MEND_H

#include "blockstore/op.h"

struct bs_mend {
	uint32_t seg, off, len; /* any bytes of a segment */
	uint64_t check;		/* their XXH3-64, as far as mask goes */
	uint64_t mask;		/* UINT64_MAX or BS_CHECK56 */
};

/*
 * Reads the whole pages that hold the bytes. 0, VS_E_CHECKSUM (no side has them), VS_E_IO. Only the
 * bytes that the checksum covers are healed: of the rest nobody knows which side is right.
 */
int bs_mend_read(struct bs_engine *e, const struct bs_mend *m, uint8_t *pages) vs_must_check;
/* The same, and all sides are looked at: those that have it wrong are healed. */
int bs_mend_check(struct bs_engine *e, const struct bs_mend *m, uint8_t *pages) vs_must_check;
/* Whether all sides in sync read as buf does: whole pages of a segment that is held. */
bool bs_mend_same(struct bs_engine *e, uint32_t seg, uint32_t off, const uint8_t *buf,
		  uint32_t len);
/* [off, off + len) of side `bit` becomes what good has, unless it reads so already. */
void bs_mend_heal(struct bs_engine *e, const struct bs_mend *m, uint16_t bit, const uint8_t *good);
/* Looks again at what one device could not read and another could. */
void bs_mend_start(struct bs_engine *e);
/* Pieces of a read that arrived damaged: mended in place, or read again. Then as bs_op_read. */
int bs_op_mend(struct bs_engine *e, struct bs_iop *op) vs_must_check;

#endif
