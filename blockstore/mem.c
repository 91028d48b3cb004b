#include "blockstore/mem.h"

#include <sys/mman.h>

#define HUGE ((size_t)2 << 20)

void *bs_mem_new(size_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	if (bytes >= HUGE)
		(void)madvise(mem, bytes, MADV_HUGEPAGE); /* only a wish */
	return mem;
}

void bs_mem_free(void *mem, size_t bytes)
{
	if (mem)
		(void)munmap(mem, bytes);
}
