/*
 * What the parts of the back end share. Everything belongs to the disk's I/O thread, but for the
 * fields marked otherwise.
 *
 * Invariants: a queue's in_flight and held requests each have their head marked busy in its ring.
 * The session's memory and in-flight region stay mapped until no request of the disk is with the
 * store. A disk listens only while it has no session.
 */
#ifndef VHOST_STATE_H
#define VHOST_STATE_H

#include "blockstore/io.h"
#include "common/loop.h"
#include "targets/vhost/blk_format.h"
#include "targets/vhost/disk.h"
#include "targets/vhost/ring.h"

#include <pthread.h>
#include <stdatomic.h>

#define VHOST_BYTES_MAX (32u << 20) /* of one disk's data in flight; one request may exceed it */
#define VHOST_REQUEST_BYTES_MAX (64u << 20)

struct vhost_queue {
	struct vhost_disk *disk;
	unsigned index;
	unsigned num;
	uint16_t base;
	struct vhost_vring_addr addr;
	bool addr_set;
	int call_fd, err_fd;
	struct vs_watch kick; /* fd -1: none */
	bool enabled, started;
	bool broken; /* the driver broke the rules: not looked at until it is started again */
	bool dirty;  /* on the thread's list */
	struct vhost_queue *next_dirty;
	struct vhost_ring ring;
	unsigned in_flight, held;
	uint16_t *again; /* heads to run again after a reconnect */
	unsigned nagain, next_again;
};

struct vhost_session {
	int fd; /* -1: none */
	struct vs_watch watch;
	uint8_t rx[VHOST_MESSAGE_MAX];
	size_t rx_len;
	struct vhost_header header;
	int fds[VHOST_FDS_MAX];
	unsigned nfds;
	uint64_t features, protocol;
	struct vhost_mem *mem;
	struct vhost_inflight inflight;
	int backend_fd;
	struct vhost_queue *draining; /* GET_VRING_BASE waits for it */
	bool closing;		      /* released when nothing is in flight any more */
};

struct vhost_io;

struct vhost_disk {
	struct vhost_thread *thread;
	struct bs_volume *volume;
	char name[BS_FULL_NAME_MAX];
	char path[108];
	bool read_only;
	unsigned nqueues;
	void (*held_call)(void *arg, int reason);
	void *held_arg;
	struct vs_watch listener;
	struct vhost_session session;
	struct vhost_queue queues[VHOST_QUEUES_MAX];
	unsigned in_flight;
	uint64_t bytes_in_flight;
	struct vhost_io *held; /* oldest first */
	struct vhost_io **held_tail;
	unsigned nheld; /* held or being tried again */
	int held_reason;
	struct vs_timer retry;
	struct vhost_call *stopping;
	struct vhost_disk_status status;
};

/* A call from another thread, run on the I/O thread. */
struct vhost_call {
	struct vs_post post;
	void (*run)(struct vhost_call *c);
	struct vhost_disk *disk;
	void *out;
	int rc;
	bool done; /* under lock */
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

struct vhost_thread {
	struct vhost_server *server;
	pthread_t id;
	struct vs_loop *loop;
	struct bs_port *port;
	struct vs_idle idle;
	struct vhost_queue *dirty;
	struct vhost_chain chain; /* scratch */
	atomic_uint disks;
};

struct vhost_server {
	struct bs_store *store;
	unsigned nthreads;
	struct vhost_thread *threads;
	atomic_uint disks;
};

/* server.c: runs c->run on the thread and waits for vhost_call_done. */
void vhost_call_wait(struct vhost_thread *t, struct vhost_call *c);
void vhost_call_done(struct vhost_call *c, int rc);

/* queue.c */
void vhost_queue_init(struct vhost_disk *d, unsigned index);
int vhost_queue_start(struct vhost_queue *q, int kick_fd, struct vs_error *err) vs_must_check;
void vhost_queue_stop(struct vhost_queue *q); /* takes nothing more from the ring */
void vhost_queue_reset(struct vhost_queue *q);
void vhost_queue_mark(struct vhost_queue *q);	/* looked at before the thread sleeps */
void vhost_queue_signal(struct vhost_queue *q); /* interrupts the guest when it wants that */
bool vhost_queue_run_marked(struct vhost_thread *t);

/* request.c */
int vhost_request_start(struct vhost_queue *q, uint16_t head, struct vhost_chain *c) vs_must_check;
void vhost_request_drop_held(struct vhost_queue *q);
void vhost_request_retry(struct vs_timer *t);

/* session.c */
void vhost_session_accept(struct vhost_disk *d, int fd);
void vhost_session_close(struct vhost_disk *d, const char *why);
void vhost_session_drained(struct vhost_queue *q);     /* after in_flight went down */
void vhost_session_close_fds(struct vhost_session *s); /* that came and that nobody took */

/* message.c */
/* What became of a message: done, answered, or to be answered later. */
enum vhost_outcome { VHOST_DONE = 0, VHOST_REPLIED = 1, VHOST_LATER = 2 };
/* The message that has come in whole; outcome, or negative. Closes descriptors that it did not
 * keep. */
int vhost_message_run(struct vhost_disk *d);
int vhost_message_reply_base(
    struct vhost_queue *q); /* GET_VRING_BASE, once q has nothing in flight */
void vhost_message_config_changed(struct vhost_disk *d);

/* disk.c */
void vhost_disk_released(struct vhost_disk *d); /* no session is left */

#endif
