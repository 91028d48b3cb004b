/*
 * The region shared with the front end that remembers which requests were taken from the rings and
 * not yet given back (vhost-user, "Inflight I/O tracking", split virtqueues). It outlives the
 * daemon: after a reconnect the requests in it are run again, in the order of their counters.
 *
 * The front end may write anything into it at any time, so nothing here is trusted: indexes are
 * checked, walks bounded. Belongs to one I/O thread.
 */
#ifndef VHOST_INFLIGHT_H
#define VHOST_INFLIGHT_H

#include "targets/vhost/msg_format.h"

#define VHOST_RING_MAX 1024u /* entries of one virtqueue */

struct vhost_inflight {
	void *map;
	size_t map_len;
	uint8_t *base;
	unsigned queues, queue_size;
};

/* One queue's part; desc == NULL: not tracked. */
struct vhost_inflight_queue {
	uint8_t *head;
	uint8_t *desc;
	unsigned num;
	uint64_t counter;
};

/* New region: *fd (the caller's) and what to tell the front end. */
int vhost_inflight_create(unsigned queues, unsigned queue_size, int *fd,
			  struct vhost_inflight_desc *d, struct vs_error *err) vs_must_check;
/* Maps a region that the front end gives (back); fd stays the caller's. */
int vhost_inflight_map(const struct vhost_inflight_desc *d, int fd, struct vhost_inflight *out,
		       struct vs_error *err) vs_must_check;
void vhost_inflight_unmap(struct vhost_inflight *f);

/*
 * Prepares queue number index, whose ring has num entries and whose used index is used_idx, after
 * undoing a half-done return of requests. heads (num entries) gets those to run again, *n how
 * many. *fresh: the region was never used, so that the ring's own base counts.
 */
int vhost_inflight_start(const struct vhost_inflight *f, unsigned index, unsigned num,
			 uint16_t used_idx, struct vhost_inflight_queue *q, uint16_t *heads,
			 unsigned *n, bool *fresh) vs_must_check;
/* head was taken from the available ring. */
void vhost_inflight_take(struct vhost_inflight_queue *q, uint16_t head);
/* head goes back: before and after the used index moves to used_idx. */
void vhost_inflight_give_begin(struct vhost_inflight_queue *q, uint16_t head);
void vhost_inflight_give_end(struct vhost_inflight_queue *q, uint16_t head, uint16_t used_idx);

#endif
