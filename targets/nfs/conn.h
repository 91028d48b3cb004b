/*
 * One client's connection, from accept to close, its calls, and the worker thread it belongs to.
 *
 * Everything here runs on the worker's thread and never blocks on a client. What a client may take
 * is fixed when it connects: NFS_CALLS calls and an arena for long records and the data of replies;
 * what its worker's arena has left comes on top. A connection that has used them up is not read
 * from until some are back, so each client waits for itself only.
 *
 * Invariants: a call is in use from its record's mark until its last reply byte is sent. inflight
 * counts the calls that a datastore works on or that wait for the answer to the one they repeat. A
 * dead connection has no descriptor and no output; it is freed by the worker when inflight is 0.
 */
#ifndef NFS_CONN_H
#define NFS_CONN_H

#include "common/arena.h"
#include "common/loop.h"
#include "targets/nfs/drc.h"
#include "targets/nfs/handle.h"
#include "targets/nfs/mount_format.h"
#include "targets/nfs/mounts.h"
#include "targets/nfs/nfs3_format.h"
#include "targets/nfs/nfs4_compound.h"
#include "targets/nfs/nlm_format.h"
#include "targets/nfs/portmap_format.h"

#include <pthread.h>
#include <stdatomic.h>

#define NFS_CALLS 64
#define NFS_HEAD_BYTES 1536u /* records up to this need no memory of an arena */
#define NFS_RECORD_MAX (NFS3_DATA_MAX + (8u << 10))
#define NFS_STAGE_BYTES (32u << 10) /* received ahead */
#define NFS_REPLY_BYTES NFS_DRC_REPLY_MAX

#define NFS_OWN_UNITS 320u     /* of memory for data, each connection */
#define NFS_SHARED_UNITS 2048u /* the same, each worker */

#define NFS_DRAIN_NS (UINT64_C(5) * 1000000000)

_Static_assert(NFS_OWN_UNITS *VS_ARENA_UNIT >= NFS_RECORD_MAX, "any record fits");

/* A share as a worker has it. */
struct nfs_served {
	struct nfs_served *next;
	uint64_t id; /* of the share; never given again */
	char name[NFS_SHARE_NAME_MAX];
	struct nfs_store_id store_id;
	uint64_t fsid;
	struct ds_store *store;
	struct ds_client *client;
	unsigned nrules;
	struct nfs_match rules[NFS_RULES_MAX];
	unsigned inflight; /* requests at client */
	bool leaving;	   /* takes no new ones */
};

/* Where the server listens. */
struct nfs_place {
	struct nfs_address address;
	uint16_t port;
	bool v6;
	bool any;     /* all addresses of the family */
	bool portmap; /* the port mapper's */
	bool udp;     /* datagrams too; nsm_udp.h */
};

/* An address of ours that somebody came to. */
struct nfs_local {
	struct nfs_address address;
	bool v6;
};

/* What all workers of a server share. */
struct nfs_common {
	struct nfs_drc *drc;
	struct nfs_mounts mounts;
	uint8_t verifier[NFS3_VERIFIER_BYTES]; /* of writes; another with each start */
	struct nfs4_state *v4;
	uint64_t started_ns; /* Unix time */
	/* Constant once clients are accepted. */
	struct nfs_place places[NFS_LISTEN_MAX];
	unsigned nplaces;
};

struct nfs_conn;

struct nfs_worker {
	struct vs_loop *loop;
	struct nfs_common *common;
	struct nfs_served *served;
	uint64_t version; /* of what is shared */
	struct nfs_seal *seal;
	/* For entries of directories, which a datastore's thread gives. */
	struct nfs_seal *entry_seal;
	pthread_mutex_t entry_lock;
	struct nfs_conn *conns; /* changed with conns_lock held, by the worker only */
	pthread_mutex_t conns_lock;
	struct nfs_conn *dirty; /* have something to send, to resume or to be freed */
	struct vs_idle idle;
	struct vs_arena shared;		      /* for connections whose own is used up */
	void (*closed)(struct nfs_worker *w); /* a connection is freed */
	void (*unused)(struct nfs_worker *w); /* a share that leaves has nothing in flight */
	void *arg;
};

struct nfs_mem {
	struct vs_arena *arena; /* NULL: none taken */
	uint8_t *p;
	size_t len;
};

struct nfs_call {
	struct nfs_conn *conn;
	struct nfs_call *next; /* free, or in the output */
	struct nfs_rpc_call rpc;
	const struct nfs_procedure *procedure;
	union {
		struct nfs3_args v3;
		struct nfs4_compound v4;
		struct nfs_bytes path; /* MOUNT */
		struct nfs_portmap_args portmap;
		struct {
			struct nfs_nlm_args nlm; /* and NSM */
			/* LOCK: what is answered when the client's address is remembered */
			enum nfs_nlm_status nlm_status;
			struct nfs4_waiter kept;
		};
	} args;
	struct nfs_served *served;
	uint64_t fsid; /* of served, when there is one */
	const struct nfs_match *rule;
	struct ds_cred cred;
	struct ds_req req;
	struct iovec iov;
	void (*finish)(struct nfs_call *call); /* encodes and sends; the request is done */
	/* READDIR */
	struct nfs_enc entries;
	uint32_t dircount;
	bool full;
	/* Of a procedure that is carried out once. */
	struct nfs_drc_entry *once;
	struct nfs_drc_wait wait;
	/* The record: in head, or in mem. */
	uint8_t *record;
	uint32_t record_len, record_room;
	struct nfs_mem mem;
	/* The reply: reply, then data and its padding. */
	uint32_t reply_len, data_len;
	struct nfs_mem data;
	uint8_t reply[NFS_REPLY_BYTES];
	uint8_t head[NFS_HEAD_BYTES];
};

enum nfs_phase { NFS_OPEN, NFS_DRAIN, NFS_DEAD };
enum nfs_rx { NFS_RX_MARK, NFS_RX_BODY, NFS_RX_START };

struct nfs_conn {
	struct nfs_worker *worker;
	struct nfs_conn *next, *prev;
	struct nfs_conn *next_dirty;
	bool is_dirty;
	struct vs_watch watch;
	struct vs_timer timer; /* limits draining */
	uint32_t events;       /* what epoll watches for */
	enum nfs_phase phase;
	bool blocked; /* waits for calls, memory or the output */
	bool portmap; /* came to the port mapper's port: that is all it may ask */
	struct nfs_address address;
	struct nfs_local local; /* where it came to */
	char peer[NFS_ADDRESS_MAX];
	int64_t since;
	uint64_t active_ns; /* when it last sent something */
	/* Written by the worker, read by any thread. */
	atomic_uint_fast64_t ncalls, received, sent;

	struct nfs_call *out_head, **out_tail;
	size_t out_done; /* bytes of out_head that are sent */

	enum nfs_rx rx;
	struct nfs_call *cur; /* being received */
	uint32_t fragment_left;
	bool fragment_last;
	uint32_t stage_pos, stage_len;

	unsigned inflight;
	struct nfs_call *free_calls;
	struct nfs_call *calls; /* NFS_CALLS; those from fresh on were never used */
	unsigned fresh;
	struct vs_arena arena;
	uint8_t stage[NFS_STAGE_BYTES];
};

/* conn.c */

/* An accepted socket. */
struct nfs_accepted {
	int fd;
	bool portmap; /* at the port mapper's port */
};

/* Takes the descriptor over, also on failure. peer: whose it is. */
int nfs_conn_open(struct nfs_worker *w, struct nfs_accepted from,
		  const struct sockaddr_storage *peer) vs_must_check;
/* No more is read; closes when what is being worked on is answered, or after NFS_DRAIN_NS. */
void nfs_conn_drain(struct nfs_conn *c);
/* Closes at once; the structure stays until nothing is in flight. */
void nfs_conn_kill(struct nfs_conn *c);
void nfs_conn_dirty(struct nfs_conn *c);
void nfs_conn_send(struct nfs_conn *c, struct nfs_call *call);
/* The worker's idle call; register it before a datastore's client is opened, so that it runs after
 * the client's. */
bool nfs_conn_idle(struct vs_idle *idle);

/* receive.c */

void nfs_receive(struct nfs_conn *c);

/* call.c */

struct nfs_call *nfs_call_take(struct nfs_conn *c); /* NULL: all are in use */
void nfs_call_give(struct nfs_call *call);
/* Memory of the connection, else the worker's; false when there is none now. */
bool nfs_call_memory(struct nfs_call *call, struct nfs_mem *m, size_t len);
/* Carries a received call out; false: memory is wanting, try again when some has come back. */
bool nfs_call_start(struct nfs_call *call);
/* Gives req to the datastore; finish is called with the answer. */
void nfs_call_submit(struct nfs_call *call, void (*finish)(struct nfs_call *call));
/* Begins a reply in call->reply. */
struct nfs_enc nfs_call_reply(struct nfs_call *call, enum nfs_rpc_accept stat);
/* Sends what was encoded, and then data_len bytes of data. */
void nfs_call_answer(struct nfs_call *call, const struct nfs_enc *e);

#endif
