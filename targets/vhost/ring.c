#include "targets/vhost/ring.h"

#include "common/bytes.h"

#define DESC_SIZE 16u
#define F_NEXT 1u
#define F_WRITE 2u
#define F_INDIRECT 4u
#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY 1u
/* Offsets in the available and the used ring. */
#define AT_FLAGS 0u
#define AT_IDX 2u
#define AT_RING 4u

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static uint16_t load16(const uint8_t *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE));
}

static void store16(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)p, htole16(v), __ATOMIC_RELEASE);
}

static const uint8_t *used_event(const struct vhost_ring *r)
{
	return r->avail + AT_RING + 2 * r->num;
}

static uint8_t *avail_event(const struct vhost_ring *r)
{
	return r->used + AT_RING + 8 * r->num;
}

int vhost_ring_map(struct vhost_ring *r, const struct vhost_mem *m, unsigned num,
		   const struct vhost_vring_addr *addr)
{
	uint8_t *desc, *avail, *used;

	if (num == 0 || num > VHOST_RING_MAX || (num & (num - 1)) != 0)
		return VS_E_INVAL;
	desc = vhost_mem_user(m, addr->desc, (uint64_t)num * DESC_SIZE);
	avail = vhost_mem_user(m, addr->avail, 6 + 2 * (uint64_t)num);
	used = vhost_mem_user(m, addr->used, 6 + 8 * (uint64_t)num);
	if (!desc || !avail || !used)
		return VS_E_RANGE;
	if ((uintptr_t)desc % 16 != 0 || (uintptr_t)avail % 2 != 0 || (uintptr_t)used % 4 != 0)
		return VS_E_INVAL;
	r->num = num;
	r->desc = desc;
	r->avail = avail;
	r->used = used;
	return 0;
}

uint16_t vhost_ring_used_in_memory(const struct vhost_ring *r)
{
	return load16(r->used + AT_IDX);
}

int vhost_ring_retake(struct vhost_ring *r, uint16_t head)
{
	uint64_t bit = UINT64_C(1) << (head % 64);

	if (head >= r->num || (r->busy[head / 64] & bit))
		return VS_E_PROTO;
	r->busy[head / 64] |= bit;
	return 0;
}

int vhost_ring_pop(struct vhost_ring *r, uint16_t *head)
{
	uint16_t idx = load16(r->avail + AT_IDX);
	int rc;

	if (idx == r->last_avail)
		return 0;
	if ((uint16_t)(idx - r->last_avail) > r->num)
		return VS_E_PROTO;
	*head = load16(r->avail + AT_RING + 2 * (r->last_avail & (r->num - 1)));
	rc = vhost_ring_retake(r, *head);
	if (rc)
		return rc;
	vhost_inflight_take(&r->inflight, *head);
	r->last_avail++;
	return 1;
}

static void desc_read(const uint8_t *table, unsigned i, struct desc *d)
{
	uint8_t copy[DESC_SIZE];

	memcpy(copy, table + (size_t)i * DESC_SIZE, sizeof(copy));
	__asm__ volatile("" : : "r"(copy) : "memory"); /* decode the copy, never the original */
	d->addr = vs_get_le64(copy);
	d->len = vs_get_le32(copy + 8);
	d->flags = vs_get_le16(copy + 12);
	d->next = vs_get_le16(copy + 14);
}

static int chain_add(const struct vhost_mem *m, const struct desc *d, struct vhost_chain *c)
{
	unsigned n = c->nread + c->nwrite, before = n;
	int rc;

	if (!(d->flags & F_WRITE) && c->nwrite)
		return VS_E_PROTO; /* section 2.7.4.2: readable buffers come first */
	rc = vhost_mem_guest(m, d->addr, d->len, c->iov, &n, VHOST_CHAIN_IOV_MAX);
	if (rc)
		return VS_E_PROTO;
	if (d->flags & F_WRITE) {
		c->nwrite += n - before;
		c->write_len += d->len;
	} else {
		c->nread += n - before;
		c->read_len += d->len;
	}
	return 0;
}

/* Section 2.7.5.3: a table of descriptors elsewhere, copied because it may span two regions. */
static int chain_indirect(const struct vhost_mem *m, const struct desc *d, struct vhost_chain *c)
{
	uint8_t table[VHOST_RING_MAX * DESC_SIZE];
	unsigned count = d->len / DESC_SIZE, n = 0, i = 0;
	struct iovec iov[VHOST_REGIONS_MAX + 1];
	size_t at = 0;

	if (d->len == 0 || d->len % DESC_SIZE != 0 || count > VHOST_RING_MAX ||
	    vhost_mem_guest(m, d->addr, d->len, iov, &n, VHOST_REGIONS_MAX + 1))
		return VS_E_PROTO;
	for (unsigned k = 0; k < n; k++) {
		memcpy(table + at, iov[k].iov_base, iov[k].iov_len);
		at += iov[k].iov_len;
	}
	for (unsigned steps = 0; steps < count; steps++) {
		struct desc e;
		int rc;

		desc_read(table, i, &e);
		if (e.flags & F_INDIRECT)
			return VS_E_PROTO;
		rc = chain_add(m, &e, c);
		if (rc)
			return rc;
		if (!(e.flags & F_NEXT))
			return 0;
		i = e.next;
		if (i >= count)
			return VS_E_PROTO;
	}
	return VS_E_PROTO; /* a loop */
}

int vhost_ring_chain(const struct vhost_ring *r, const struct vhost_mem *m, uint16_t head,
		     struct vhost_chain *c)
{
	unsigned i = head;

	c->nread = c->nwrite = 0;
	c->read_len = c->write_len = 0;
	for (unsigned steps = 0; steps < r->num; steps++) {
		struct desc d;
		int rc;

		if (i >= r->num)
			return VS_E_PROTO;
		desc_read(r->desc, i, &d);
		if (d.flags & F_INDIRECT)
			return d.flags & F_NEXT ? VS_E_PROTO : chain_indirect(m, &d, c);
		rc = chain_add(m, &d, c);
		if (rc)
			return rc;
		if (!(d.flags & F_NEXT))
			return 0;
		i = d.next;
	}
	return VS_E_PROTO; /* a loop */
}

void vhost_ring_push(struct vhost_ring *r, uint16_t head, uint32_t len)
{
	uint8_t *e = r->used + AT_RING + 8 * (size_t)(r->used_idx & (r->num - 1));

	VS_ASSERT(head < r->num && (r->busy[head / 64] & UINT64_C(1) << (head % 64)));
	r->busy[head / 64] &= ~(UINT64_C(1) << (head % 64));
	vs_put_le32(e, head);
	vs_put_le32(e + 4, len);
	vhost_inflight_give_begin(&r->inflight, head);
	r->used_idx++;
	store16(r->used + AT_IDX, r->used_idx);
	vhost_inflight_give_end(&r->inflight, head, r->used_idx);
}

bool vhost_ring_must_signal(struct vhost_ring *r)
{
	uint16_t old = r->signalled, now = r->used_idx, event;
	bool valid = r->signalled_valid;

	__sync_synchronize();
	if (valid && old == now)
		return false;
	r->signalled = now;
	r->signalled_valid = true;
	if (!r->event_idx)
		return !(load16(r->avail + AT_FLAGS) & AVAIL_F_NO_INTERRUPT);
	event = load16(used_event(r));
	/* section 2.7.7.2: when the index moved past the event */
	return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

void vhost_ring_kicks_off(struct vhost_ring *r)
{
	r->want_kicks = false;
	if (!r->event_idx)
		store16(r->used + AT_FLAGS, USED_F_NO_NOTIFY);
}

bool vhost_ring_kicks_on(struct vhost_ring *r)
{
	r->want_kicks = true;
	if (r->event_idx)
		store16(avail_event(r), r->last_avail);
	else
		store16(r->used + AT_FLAGS, 0);
	__sync_synchronize();
	return load16(r->avail + AT_IDX) != r->last_avail;
}
