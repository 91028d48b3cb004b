/*
 * vhost-user-blk disks: each serves one volume to one virtual machine on a Unix socket.
 *
 * A server owns a few I/O threads that all its disks share; a disk lives on one of them. The disk
 * listens; the front end (QEMU) connects, and connects again after either side was restarted.
 * Requests that were in flight when the daemon died are run again after the reconnect (in-flight
 * region of the vhost-user specification), so the guest sees a pause and no error.
 *
 * Ownership: what vhost_server_open and vhost_disk_start give, vhost_server_close and
 * vhost_disk_stop take back. Threads: any but the server's own, one at a time for each disk;
 * vhost_disk_status may be called at any time between start and stop. The calls wait for the I/O
 * thread.
 * Errors: VS_E_NOENT (no such volume), VS_E_INVAL, VS_E_BUSY (somebody listens on the path),
 * VS_E_NOMEM, VS_E_LIMIT, VS_E_IO.
 */
#ifndef VHOST_DISK_H
#define VHOST_DISK_H

#include "blockstore/volume.h"

#include <sys/types.h>

#define VHOST_QUEUES_MAX 16u  /* queues of one disk */
#define VHOST_THREADS_MAX 16u /* I/O threads of one server */
#define VHOST_DISKS_MAX 1024u /* disks of one server */

struct vhost_server;
struct vhost_disk;

/* threads: 1 to VHOST_THREADS_MAX. The store must stay open until vhost_server_close. */
int vhost_server_open(struct bs_store *store, unsigned threads, struct vhost_server **out,
		      struct vs_error *err) vs_must_check;
/* All disks must have been stopped. */
void vhost_server_close(struct vhost_server *srv);

struct vhost_disk_opts {
	const char *volume;	 /* NAME or NAME@SNAP (served read-only) */
	const char *socket_path; /* up to 107 bytes; a stale socket there is replaced */
	uid_t uid;		 /* owner of the socket, mode 0600; (uid_t)-1: leave */
	gid_t gid;		 /* (gid_t)-1: leave */
	unsigned queues;	 /* 1 to VHOST_QUEUES_MAX: the most that the front end may use */
	bool read_only;
	/*
	 * vhost-user has no code for "no space": such a request is held and tried again every
	 * second. reason is VS_E_NOSPC, or VS_E_FAILED when the store must be reopened, at the
	 * first held request; 0 when none is held any more. Called on the I/O thread; must not
	 * block nor call this header. The owner may pause the machine meanwhile; when it does, held
	 * requests go back to the in-flight region and are tried again once the machine resumes
	 * (no call with reason 0 comes before).
	 */
	void (*held)(void *arg, int reason);
	void *arg;
};

/* Opens the volume and listens. */
int vhost_disk_start(struct vhost_server *srv, const struct vhost_disk_opts *opts,
		     struct vhost_disk **out, struct vs_error *err) vs_must_check;
/*
 * Finishes what the store has in hand, disconnects, removes the socket and closes the volume. A
 * guest that still runs waits until a disk listens there again.
 */
void vhost_disk_stop(struct vhost_disk *d);
/* After bs_volume_resize: tells the guest its disk's new capacity. */
void vhost_disk_resized(struct vhost_disk *d);

struct vhost_disk_status {
	bool connected;
	unsigned queues_running;
	unsigned in_flight, held; /* requests */
	int held_reason;	  /* 0 or VS_E_* */
	/* since start */
	uint64_t connections;
	uint64_t reads, read_bytes, writes, written_bytes, flushes, discards, errors;
};

void vhost_disk_status(struct vhost_disk *d, struct vhost_disk_status *out);

#endif
