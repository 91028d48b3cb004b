#include "targets/vhost/inflight.h"

#include "common/bytes.h"
#include "targets/vhost/mem.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* struct QueueRegionSplit: features 64, version 16, desc_num 16, last_batch_head 16, used_idx 16,
 * then struct DescStateSplit: inflight 8, padding 40, next 16, counter 64. */
#define HEAD_SIZE 16u
#define AT_VERSION 8u
#define AT_DESC_NUM 10u
#define AT_LAST_BATCH 12u
#define AT_USED_IDX 14u
#define DESC_SIZE 16u
#define AT_INFLIGHT 0u
#define AT_NEXT 6u
#define AT_COUNTER 8u
#define VERSION 1u
#define QUEUES_MAX 256u

static size_t queue_bytes(unsigned queue_size)
{
	return VS_ALIGN_UP(HEAD_SIZE + (size_t)queue_size * DESC_SIZE, 64);
}

static void barrier(void)
{
	__sync_synchronize();
}

int vhost_inflight_create(unsigned queues, unsigned queue_size, int *fd,
			  struct vhost_inflight_desc *d, struct vs_error *err)
{
	size_t size;
	int rc;

	if (queues == 0 || queues > QUEUES_MAX || queue_size == 0 || queue_size > VHOST_RING_MAX)
		return vs_fail(err, VS_E_INVAL, "in-flight region for %u queues of %u entries",
			       queues, queue_size);
	size = VS_ALIGN_UP(queues * queue_bytes(queue_size), 4096);
	*fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0)
		return vs_fail_errno(err, "cannot create the in-flight region");
	if (ftruncate(*fd, (off_t)size) < 0 ||
	    fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		rc = vs_fail_errno(err, "cannot create the in-flight region");
		close(*fd);
		*fd = -1;
		return rc;
	}
	*d = (struct vhost_inflight_desc){
	    .size = size, .queues = (uint16_t)queues, .queue_size = (uint16_t)queue_size};
	return 0;
}

int vhost_inflight_map(const struct vhost_inflight_desc *d, int fd, struct vhost_inflight *out,
		       struct vs_error *err)
{
	uint64_t end, start;
	void *map;
	int rc;

	if (d->queues == 0 || d->queues > QUEUES_MAX || d->queue_size == 0 ||
	    d->queue_size > VHOST_RING_MAX || __builtin_add_overflow(d->offset, d->size, &end) ||
	    d->size < d->queues * queue_bytes(d->queue_size) || d->size > 64u << 20 ||
	    d->offset % 8 != 0)
		return vs_fail(err, VS_E_INVAL, "in-flight region does not fit its queues");
	rc = vhost_mem_check_file(fd, end, err);
	if (rc)
		return rc;
	start = VS_ALIGN_DOWN(d->offset, 4096);
	map = mmap(NULL, end - start, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
	if (map == MAP_FAILED)
		return vs_fail_errno(err, "cannot map the in-flight region");
	out->map = map;
	out->map_len = end - start;
	out->base = (uint8_t *)map + (d->offset - start);
	out->queues = d->queues;
	out->queue_size = d->queue_size;
	return 0;
}

void vhost_inflight_unmap(struct vhost_inflight *f)
{
	if (f->map)
		munmap(f->map, f->map_len);
	memset(f, 0, sizeof(*f));
}

static uint8_t *desc_at(const struct vhost_inflight_queue *q, uint16_t head)
{
	return q->desc + (size_t)head * DESC_SIZE;
}

/* The daemon died between moving the used index and clearing the marks of that batch. */
static void finish_batch(struct vhost_inflight_queue *q, uint16_t used_idx)
{
	uint16_t count = (uint16_t)(used_idx - vs_get_le16(q->head + AT_USED_IDX));
	uint16_t head = vs_get_le16(q->head + AT_LAST_BATCH);

	for (unsigned i = 0; i < count && i < q->num && head < q->num; i++) {
		uint8_t *d = desc_at(q, head);

		d[AT_INFLIGHT] = 0;
		head = vs_get_le16(d + AT_NEXT);
	}
	barrier();
	vs_put_le16(q->head + AT_USED_IDX, used_idx);
}

struct entry {
	uint64_t counter;
	uint16_t head;
};

static int by_counter(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->counter < y->counter ? -1 : x->counter > y->counter;
}

int vhost_inflight_start(const struct vhost_inflight *f, unsigned index, unsigned num,
			 uint16_t used_idx, struct vhost_inflight_queue *q, uint16_t *heads,
			 unsigned *n, bool *fresh)
{
	struct entry *entries;

	if (index >= f->queues || num > f->queue_size)
		return VS_E_INVAL;
	q->head = f->base + index * queue_bytes(f->queue_size);
	q->desc = q->head + HEAD_SIZE;
	q->num = num;
	q->counter = 0;
	*n = 0;
	*fresh = vs_get_le16(q->head + AT_VERSION) == 0;
	if (*fresh) {
		vs_put_le16(q->head + AT_DESC_NUM, (uint16_t)num);
		vs_put_le16(q->head + AT_USED_IDX, used_idx);
		barrier();
		vs_put_le16(q->head + AT_VERSION, VERSION);
		return 0;
	}
	if (vs_get_le16(q->head + AT_VERSION) != VERSION)
		return VS_E_VERSION;
	finish_batch(q, used_idx);
	entries = calloc(num, sizeof(*entries));
	if (!entries)
		return VS_E_NOMEM;
	for (unsigned i = 0; i < num; i++) {
		const uint8_t *d = desc_at(q, (uint16_t)i);

		if (d[AT_INFLIGHT] != 1)
			continue;
		entries[*n].head = (uint16_t)i;
		entries[(*n)++].counter = vs_get_le64(d + AT_COUNTER);
	}
	qsort(entries, *n, sizeof(*entries), by_counter);
	for (unsigned i = 0; i < *n; i++)
		heads[i] = entries[i].head;
	if (*n)
		q->counter = entries[*n - 1].counter + 1;
	free(entries);
	return 0;
}

void vhost_inflight_take(struct vhost_inflight_queue *q, uint16_t head)
{
	uint8_t *d;

	if (!q->desc)
		return;
	d = desc_at(q, head);
	vs_put_le64(d + AT_COUNTER, q->counter++);
	barrier();
	d[AT_INFLIGHT] = 1;
}

void vhost_inflight_give_begin(struct vhost_inflight_queue *q, uint16_t head)
{
	if (!q->desc)
		return;
	vs_put_le16(desc_at(q, head) + AT_NEXT, vs_get_le16(q->head + AT_LAST_BATCH));
	barrier();
	vs_put_le16(q->head + AT_LAST_BATCH, head);
	barrier();
}

void vhost_inflight_give_end(struct vhost_inflight_queue *q, uint16_t head, uint16_t used_idx)
{
	if (!q->desc)
		return;
	barrier();
	desc_at(q, head)[AT_INFLIGHT] = 0;
	barrier();
	vs_put_le16(q->head + AT_USED_IDX, used_idx);
}
