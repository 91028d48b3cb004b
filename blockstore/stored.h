/*
 * The stored form of a block: as it is, or compressed. Pure functions, any thread.
 */
#ifndef BS_STORED_H
#define BS_STORED_H

#include "blockstore/table_format.h"

/* Plain bytes of stored ones. VS_E_CHECKSUM, VS_E_CORRUPT. */
int bs_stored_decode(const uint8_t *stored, const struct bs_place *p,
		     uint8_t plain[BS_BLOCK]) vs_must_check;
/* The stored form of plain bytes: coding, length and checksum go to p; to holds BS_BLOCK bytes. */
void bs_stored_encode(const uint8_t plain[BS_BLOCK], uint8_t *to, struct bs_place *p);

#endif
