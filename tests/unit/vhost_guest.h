/*
 * A guest's memory for tests: a sealed memfd of two regions that touch in guest address space but
 * not in the front end's, with one split virtqueue in the first.
 */
#ifndef TEST_VHOST_GUEST_H
#define TEST_VHOST_GUEST_H

#include "common/bytes.h"
#include "targets/vhost/ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUEST_REGION 0x100000u
#define GUEST_SIZE (2 * GUEST_REGION)
#define GUEST_USER_1 UINT64_C(0x7f0000000000)
#define GUEST_USER_2 UINT64_C(0x7f1000000000)
#define GUEST_DESC 0x1000u
#define GUEST_AVAIL 0x5000u
#define GUEST_USED 0x6000u
#define GUEST_NUM 16u

#define DESC_NEXT 1u
#define DESC_WRITE 2u
#define DESC_INDIRECT 4u

struct guest {
	int fd;
	uint8_t *ram; /* guest physical address 0 */
	uint16_t avail;
};

static inline struct vhost_mem_table guest_table(void)
{
	return (struct vhost_mem_table){
	    .n = 2,
	    .regions = {{0, GUEST_REGION, GUEST_USER_1, 0},
			{GUEST_REGION, GUEST_REGION, GUEST_USER_2, GUEST_REGION}},
	};
}

static inline struct vhost_vring_addr guest_rings(void)
{
	return (struct vhost_vring_addr){.desc = GUEST_USER_1 + GUEST_DESC,
					 .avail = GUEST_USER_1 + GUEST_AVAIL,
					 .used = GUEST_USER_1 + GUEST_USED};
}

static inline int guest_open(struct guest *g)
{
	g->avail = 0;
	g->fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (g->fd < 0 || ftruncate(g->fd, GUEST_SIZE) < 0 ||
	    fcntl(g->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		return -1;
	g->ram = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);
	return g->ram == MAP_FAILED ? -1 : 0;
}

static inline void guest_close(struct guest *g)
{
	munmap(g->ram, GUEST_SIZE);
	close(g->fd);
}

static inline void guest_desc_at(uint8_t *d, uint64_t addr, uint32_t len, uint16_t flags,
				 uint16_t next)
{
	vs_put_le64(d, addr);
	vs_put_le32(d + 8, len);
	vs_put_le16(d + 12, flags);
	vs_put_le16(d + 14, next);
}

static inline void guest_desc(struct guest *g, unsigned i, uint64_t addr, uint32_t len,
			      uint16_t flags, uint16_t next)
{
	guest_desc_at(g->ram + GUEST_DESC + 16 * i, addr, len, flags, next);
}

static inline void guest_offer(struct guest *g, uint16_t head)
{
	vs_put_le16(g->ram + GUEST_AVAIL + 4 + 2 * (g->avail % GUEST_NUM), head);
	g->avail++;
	__atomic_store_n((uint16_t *)(void *)(g->ram + GUEST_AVAIL + 2), g->avail,
			 __ATOMIC_RELEASE);
}

static inline uint16_t guest_used(const struct guest *g)
{
	return __atomic_load_n((const uint16_t *)(const void *)(g->ram + GUEST_USED + 2),
			       __ATOMIC_ACQUIRE);
}

static inline uint16_t guest_used_head(const struct guest *g, uint16_t at)
{
	return (uint16_t)vs_get_le32(g->ram + GUEST_USED + 4 + 8 * (at % GUEST_NUM));
}

#endif
