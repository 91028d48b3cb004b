/*
 * What a round of operations will look at first, on its way into the CPU's caches: the digest
 * index's line, the bottom map page's entry and, for reads, the content's place. Each hangs on
 * memory that is not in a cache either; the chains of several operations are followed at once.
 *
 * Engine's thread. Only hints: nothing is waited for, read from the device or kept.
 */
#ifndef BS_WARM_H
#define BS_WARM_H

#include "blockstore/op.h"

#define BS_WARM 8u /* operations at once */

void bs_warm(struct bs_engine *e, struct bs_iop *const *ops, unsigned n); /* n: up to BS_WARM */

#endif
