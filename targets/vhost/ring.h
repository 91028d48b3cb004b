/*
 * Split virtqueues (virtio 1.2 section 2.7), the device's side.
 *
 * Belongs to one I/O thread. The rings lie in guest memory that the guest may change at any moment:
 * every value is read once, checked, then used. VS_E_PROTO means that the driver broke the rules;
 * the queue must not be used any further.
 */
#ifndef VHOST_RING_H
#define VHOST_RING_H

#include "targets/vhost/inflight.h"
#include "targets/vhost/mem.h"

#define VHOST_CHAIN_IOV_MAX 2048u

struct vhost_ring {
	unsigned num; /* power of two, 1 to VHOST_RING_MAX */
	const uint8_t *desc, *avail;
	uint8_t *used;
	uint16_t last_avail; /* next entry of the available ring to take */
	uint16_t used_idx;   /* what the used ring's index holds */
	uint16_t signalled;  /* used_idx at the last interrupt */
	bool signalled_valid;
	bool event_idx; /* VIRTIO_F_EVENT_IDX was negotiated */
	bool want_kicks;
	struct vhost_inflight_queue inflight;
	uint64_t busy[VHOST_RING_MAX / 64]; /* heads taken and not given back */
};

/* A request's buffers, in host memory. */
struct vhost_chain {
	unsigned nread, nwrite;	      /* pieces: device-readable ones come first in iov */
	uint64_t read_len, write_len; /* bytes */
	struct iovec iov[VHOST_CHAIN_IOV_MAX];
};

/* Finds the rings in memory: VS_E_INVAL (num, alignment), VS_E_RANGE (outside of it). */
int vhost_ring_map(struct vhost_ring *r, const struct vhost_mem *m, unsigned num,
		   const struct vhost_vring_addr *addr) vs_must_check;
uint16_t vhost_ring_used_in_memory(const struct vhost_ring *r);

/* 1 and *head; 0 when there is none; VS_E_PROTO. */
int vhost_ring_pop(struct vhost_ring *r, uint16_t *head) vs_must_check;
/* Marks a head as taken that was not popped (run again after a reconnect). VS_E_PROTO: twice. */
int vhost_ring_retake(struct vhost_ring *r, uint16_t head) vs_must_check;
/* The buffers of a head: VS_E_PROTO. */
int vhost_ring_chain(const struct vhost_ring *r, const struct vhost_mem *m, uint16_t head,
		     struct vhost_chain *c) vs_must_check;
/* Gives a taken head back; len: bytes written into its buffers. */
void vhost_ring_push(struct vhost_ring *r, uint16_t head, uint32_t len);
/* Whether the driver wants an interrupt for what was pushed since the last one. */
bool vhost_ring_must_signal(struct vhost_ring *r);
/*
 * Kicks are off while the device looks at the ring anyway. When they are switched on, true says
 * that something came in meanwhile: look again.
 */
void vhost_ring_kicks_off(struct vhost_ring *r);
bool vhost_ring_kicks_on(struct vhost_ring *r);

#endif
