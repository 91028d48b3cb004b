/*
 * What a guest or its QEMU can make the vhost-user back end decode. The first byte chooses: a
 * message (what is decoded must encode to the same again), or a virtqueue in memory made of the
 * input, with the chain of every head it offers; all that comes out must lie inside that memory.
 */
#include "common/bytes.h"
#include "targets/vhost/blk_format.h"
#include "targets/vhost/ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM 65536u
#define USER UINT64_C(0x10000000)
#define NUM 16u
#define DESC 0u
#define AVAIL 256u
#define USED 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *ram;
static struct vhost_mem *mem;

static void fuzz_message(const uint8_t *data, size_t size)
{
	uint8_t payload[VHOST_PAYLOAD_MAX] = {0}, again[VHOST_MESSAGE_MAX];
	struct vhost_header h;
	struct vhost_msg m, n;
	size_t len;

	if (size < VHOST_HEADER_SIZE || vhost_msg_header_decode(data, &h))
		return;
	if (h.size > size - VHOST_HEADER_SIZE)
		return;
	memcpy(payload, data + VHOST_HEADER_SIZE, h.size);
	if (vhost_msg_decode(&h, payload, &m))
		return;
	len = vhost_msg_encode(&m, again);
	VS_ASSERT(len <= VHOST_HEADER_SIZE + h.size || m.kind == VHOST_P_INFLIGHT);
	VS_ASSERT(vhost_msg_header_decode(again, &h) == 0);
	VS_ASSERT(vhost_msg_decode(&h, again + VHOST_HEADER_SIZE, &n) == 0 && n.kind == m.kind);
	VS_ASSERT(m.kind != VHOST_P_MEM || n.mem.n == m.mem.n);
	VS_ASSERT(m.kind != VHOST_P_CONFIG ||
		  vs_range_ok(m.config.offset, m.config.size, VHOST_CONFIG_MAX));
}

static void open_memory(void)
{
	struct vhost_mem_table t = {.n = 1, .regions = {{0, RAM, USER, 0}}};
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	VS_ASSERT(fd >= 0 && ftruncate(fd, RAM) == 0);
	VS_ASSERT(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
	VS_ASSERT(vhost_mem_new(&t, &fd, &mem, NULL) == 0);
	ram = vhost_mem_user(mem, USER, RAM);
	close(fd);
}

static void check_chain(const struct vhost_chain *c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < c->nread + c->nwrite; i++) {
		const uint8_t *at = c->iov[i].iov_base;

		VS_ASSERT(at >= ram && vs_range_ok((uint64_t)(at - ram), c->iov[i].iov_len, RAM));
		sum += c->iov[i].iov_len;
	}
	VS_ASSERT(sum == c->read_len + c->write_len);
}

static void fuzz_ring(const uint8_t *data, size_t size)
{
	const struct vhost_vring_addr a = {
	    .desc = USER + DESC, .avail = USER + AVAIL, .used = USER + USED};
	static struct vhost_chain c;
	struct vhost_ring r = {0};
	uint16_t head;

	if (!mem)
		open_memory();
	memset(ram, 0, RAM);
	memcpy(ram, data, VS_MIN(size, RAM));
	VS_ASSERT(vhost_ring_map(&r, mem, NUM, &a) == 0);
	for (unsigned i = 0; i < 4 * NUM && vhost_ring_pop(&r, &head) == 1; i++) {
		VS_ASSERT(head < NUM);
		if (vhost_ring_chain(&r, mem, head, &c) == 0)
			check_chain(&c);
		if (i % 2)
			vhost_ring_push(&r, head, 1);
	}
	(void)vhost_ring_must_signal(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		fuzz_ring(data + 1, size - 1);
	else
		fuzz_message(data + 1, size - 1);
	return 0;
}
