/*
 * What a LUN says about itself, decoded. Pure functions, any thread; each takes the bytes that
 * came, n of them, and fails with VS_E_PROTO when they are too few or make no sense.
 */
#ifndef BS_LUN_FORMAT_H
#define BS_LUN_FORMAT_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bs_lun_caps {
	char vendor[9], product[17];
	uint64_t blocks; /* of `sector` bytes */
	uint32_t sector; /* 512 or 4096 */
	bool thin;	 /* LBPME */
	bool zeros;	 /* LBPRZ: what is not mapped reads as zeros */
	bool unmap, same_unmap;
	bool read_only, fua;
	uint32_t max_transfer; /* blocks of a READ or WRITE; 0: not said */
	uint32_t max_unmap;    /* blocks of an UNMAP; 0: not said */
	uint64_t max_same;     /* blocks of a WRITE SAME; 0: not said */
	uint64_t identity; /* of the logical unit, whichever port it is seen through; 0: not said */
};

struct bs_lba_status {
	uint64_t lba;
	uint32_t blocks;
	bool mapped;
};

int bs_lun_decode_inquiry(const uint8_t *p, size_t n, struct bs_lun_caps *c) vs_must_check;
int bs_lun_decode_identity(const uint8_t *p, size_t n, struct bs_lun_caps *c) vs_must_check;
int bs_lun_decode_capacity(const uint8_t *p, size_t n, struct bs_lun_caps *c) vs_must_check;
int bs_lun_decode_limits(const uint8_t *p, size_t n, struct bs_lun_caps *c) vs_must_check;
int bs_lun_decode_provisioning(const uint8_t *p, size_t n, struct bs_lun_caps *c) vs_must_check;
int bs_lun_decode_mode(const uint8_t *p, size_t n, struct bs_lun_caps *c) vs_must_check;
/* Descriptor number i of GET LBA STATUS: 1, or 0 when there are no more. */
int bs_lun_decode_status(const uint8_t *p, size_t n, unsigned i,
			 struct bs_lba_status *out) vs_must_check;
/* LUN number i of REPORT LUNS that is addressed plainly: 1; 0: no more; VS_E_NOTSUP: not such. */
int bs_lun_decode_luns(const uint8_t *p, size_t n, unsigned i, uint32_t *lun) vs_must_check;

#endif
