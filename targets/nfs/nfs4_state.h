/*
 * What the server remembers of clients of NFSv4 between their calls: clients and their sessions
 * (RFC 8881 sections 2.4, 2.10), opens with share reservations and byte-range locks (section 9).
 *
 * One for all workers, under one lock that is held for memory only; any thread. All of it is
 * bounded: for the server as a whole, and for each client, so that one cannot use up what others
 * need. Time comes from state->now.
 *
 * Invariants, whenever the lock is not held: of one client owner there is at most one confirmed and
 * one unconfirmed record. A client or session that is gone is in no list and has no state; it is
 * freed when the last request that uses it has ended. A file is there as long as somebody has it
 * open, and its datastore holds it that long. A range belongs to a lock state of the same file.
 * Errors: the standard's own.
 */
#ifndef NFS_NFS4_STATE_H
#define NFS_NFS4_STATE_H

#include "targets/nfs/nfs4_attr_format.h"
#include "targets/nfs/nfs4_range.h"
#include "targets/nfs/rule.h"

#include <pthread.h>

#define NFS4_LEASE_NS (NFS4_LEASE_S * UINT64_C(1000000000))
#define NFS4_GRACE_NS NFS4_LEASE_NS
#define NFS4_CLIENTS_MAX 1024u
#define NFS4_SESSIONS_MAX 8u  /* of a client */
#define NFS4_SLOTS_MAX 64u    /* of a session */
#define NFS4_SLOTS_FEW 8u     /* the same, when many are given out */
#define NFS4_SLOTS_ALL 16384u /* of all sessions: 64 MiB of kept replies */
#define NFS4_CACHED_MAX 4096u /* bytes of a reply that is kept */
#define NFS4_COMPOUND_MAX 32u /* operations */
#define NFS4_HELD_MAX 65536u  /* opens and lock states, of all clients */
#define NFS4_CLIENT_HELD_MAX (NFS4_HELD_MAX / 4)
#define NFS4_RANGES_MAX (1u << 17)
#define NFS4_CLIENT_RANGES_MAX (NFS4_RANGES_MAX / 4)
#define NFS4_BUCKETS 4096u
#define NFS4_OWNER_BUCKETS 64u /* of a client */

/* Who makes a call, as far as RPC tells. */
struct nfs4_principal {
	uint32_t flavor, uid;
};

struct nfs4_slot {
	uint32_t seqid; /* of the last request */
	bool busy, cached;
	uint64_t hash; /* of the request */
	uint32_t len;
	uint8_t *reply; /* NULL: never needed */
};

struct nfs4_session {
	struct nfs4_session *next; /* in its bucket */
	struct nfs4_session *of_client;
	struct nfs4_client *client;
	uint8_t id[NFS4_SESSION_BYTES];
	struct nfs4_channel fore;
	unsigned refs; /* requests under way */
	bool gone;
	struct nfs4_slot slot[NFS4_SLOTS_MAX];
};

/* A CREATE_SESSION's answer, which is kept (section 18.36.4). */
struct nfs4_created {
	enum nfs4_status status;
	uint8_t session[NFS4_SESSION_BYTES];
	uint32_t seqid, flags;
	struct nfs4_channel fore, back;
};

/* A client of NFSv4, or whoever has locks of NFSv3 (nlm_lock.h): an address, without a lease. */
struct nfs4_client {
	struct nfs4_client *next;
	bool host;
	struct nfs_address address; /* of a host */
	struct nfs_address server;  /* ours, where it came to */
	bool monitored;		    /* a host that hears when the server has restarted */
	bool listed;		    /* it is among those that are remembered, or about to be */
	uint64_t remembered_by;	    /* in the list with this number, nfs4_keep_number_locked */
	unsigned waits;		    /* a host: for so many locks */
	uint64_t id, verifier, renewed_ns;
	struct nfs4_principal principal;
	bool confirmed, gone;
	bool reclaimed;	 /* has said RECLAIM_COMPLETE */
	bool remembered; /* was there before the restart: it may reclaim */
	uint32_t create_seqid;
	struct nfs4_created created;
	struct nfs4_session *sessions;
	unsigned nsessions, refs;
	struct nfs4_owner *owners[NFS4_OWNER_BUCKETS];
	struct nfs4_held *held;
	unsigned nheld, nranges;
	uint32_t owner_len;
	uint8_t owner[NFS4_OPAQUE_MAX];
};

/* An open owner or a lock owner. */
struct nfs4_owner {
	struct nfs4_owner *next; /* in its bucket */
	struct nfs4_client *client;
	unsigned refs;
	bool locks;
	uint32_t len;
	uint8_t name[];
};

/* A file that is open, or that somebody has locks on. */
struct nfs4_file {
	struct nfs4_file *next; /* in its bucket */
	struct nfs_store_id store_id;
	struct ds_handle handle;
	struct ds_store *store;
	struct nfs4_held *held;
	struct nfs4_range *ranges;
};

/* What a stateid stands for: an open, or, where open is not NULL, locks made through it. */
struct nfs4_held {
	struct nfs4_held *of_client, *before; /* the client's */
	struct nfs4_held *of_file;
	struct nfs4_client *client;
	struct nfs4_file *file;
	struct nfs4_owner *owner;
	struct nfs4_held *open;
	uint32_t index, seqid;
	uint32_t access, deny;
	uint32_t nsm_state; /* of NFSv3: the client's when it got this; 0: not told */
};

struct nfs4_grace;
struct nfs4_keep;
struct nfs_nlm_waiter;

struct nfs4_state {
	pthread_mutex_t lock;
	uint64_t (*now)(void);
	uint32_t boot;	    /* another with each start */
	uint8_t server[16]; /* who this is, on all addresses and after restarts */
	uint32_t next_client, next_session;
	unsigned nslots; /* given out */
	struct nfs4_client *clients;
	unsigned nclients;
	struct nfs4_client *hosts; /* those that have locks */
	unsigned nhosts;
	uint64_t swept_ns;
	struct nfs4_session *sessions[NFS4_BUCKETS];
	struct nfs4_file *files[NFS4_BUCKETS];
	struct {
		struct nfs4_held *held;
		uint32_t generation, next_free;
	} * table; /* NFS4_HELD_MAX */
	uint32_t free_head, nheld, nranges;
	struct nfs4_grace *grace; /* NULL: nobody is remembered */
	struct nfs4_keep *keep;	  /* NULL: nobody will be */
	uint32_t nsm_state;	  /* the server's */
	/* Who waits for locks of NFSv3, in the order of their coming (nlm_wait.h). */
	struct nfs_nlm_waiter *waiters;
	unsigned nwaiters;
	uint64_t next_waiter;
	/* Somebody may have got what he waited for, or waits now. call NULL: nobody can wait. */
	struct {
		void (*call)(void *arg); /* the lock is held */
		void *arg;
	} stir;
};

/* server: 16 bytes by which clients know it again. VS_E_NOMEM. */
int nfs4_state_new(const uint8_t server[16], struct nfs4_state **out) vs_must_check;
void nfs4_state_free(struct nfs4_state *s);

/* ---- nfs4_client.c ---- */

struct nfs4_exchanged {
	uint64_t clientid;
	uint32_t seqid, flags;
};

enum nfs4_status nfs4_client_exchange(struct nfs4_state *s, const struct nfs4_args *a,
				      struct nfs4_principal p, struct nfs4_exchanged *out);
enum nfs4_status nfs4_client_destroy(struct nfs4_state *s, uint64_t id);

/* ---- nfs4_session.c ---- */

/* A request that SEQUENCE has let through; ended by nfs4_session_done. */
struct nfs4_ref {
	struct nfs4_session *session; /* NULL: none */
	uint32_t slot;
	bool cache;
};

enum nfs4_verdict {
	NFS4_SEQ_ERROR,
	NFS4_SEQ_NEW,
	NFS4_SEQ_REPLAY, /* the reply is given */
};

struct nfs4_sequenced {
	enum nfs4_status status;
	uint32_t highest, target; /* slots */
	uint32_t reply_len;
	uint8_t reply[NFS4_CACHED_MAX];
};

enum nfs4_status nfs4_session_create(struct nfs4_state *s, const struct nfs4_args *a,
				     struct nfs4_principal p, struct nfs4_created *out);
/* own: the request's own session, which may be the one that goes. */
enum nfs4_status nfs4_session_destroy(struct nfs4_state *s, const uint8_t *id,
				      const struct nfs4_session *own);
/* BIND_CONN_TO_SESSION, and whether the session is there at all. */
enum nfs4_status nfs4_session_bind(struct nfs4_state *s, const uint8_t *id);
/* hash: of what is asked for; request: its bytes; alone: nothing but SEQUENCE, which is always
 * kept. */
enum nfs4_verdict nfs4_session_sequence(struct nfs4_state *s, const struct nfs4_args *a,
					uint64_t hash, uint32_t nops, uint32_t request,
					struct nfs4_ref *ref, struct nfs4_sequenced *out);
/* reply: of a request that is to be cached, at most NFS4_CACHED_MAX. */
void nfs4_session_done(struct nfs4_state *s, struct nfs4_ref *ref, const uint8_t *reply,
		       uint32_t len);

/* ---- nfs4_share.c: opens ---- */

/* What is special about stateids (section 8.2.3). */
enum nfs4_special { NFS4_STATEID_REAL, NFS4_STATEID_ANONYMOUS, NFS4_STATEID_BYPASS };
/* nfs4_held.c */
enum nfs4_special nfs4_special(const struct nfs4_stateid *id);

struct nfs4_where {
	struct nfs_store_id store_id;
	struct ds_handle file;
	struct ds_store *store;
};

/* What an owner had open before. */
struct nfs4_had {
	uint32_t access, deny;
};

/* Opens, or adds to what the owner has open already, which was *had. NFS4_ERR_SHARE_DENIED, DELAY,
 * EXPIRED. */
enum nfs4_status nfs4_share_open(struct nfs4_state *s, struct nfs4_client *c,
				 const struct nfs4_where *w, struct nfs_bytes owner,
				 uint32_t access, uint32_t deny, struct nfs4_stateid *out,
				 struct nfs4_had *had);
/* Takes back what gave id: the client will not hear of it. */
void nfs4_share_undo(struct nfs4_state *s, struct nfs4_client *c, const struct nfs4_stateid *id,
		     const struct nfs4_had *had);
enum nfs4_status nfs4_share_downgrade(struct nfs4_state *s, struct nfs4_client *c,
				      struct nfs4_stateid *id, const struct nfs4_where *w,
				      uint32_t access, uint32_t deny);
enum nfs4_status nfs4_share_close(struct nfs4_state *s, struct nfs4_client *c,
				  const struct nfs4_stateid *id, const struct nfs4_where *w);
/* Whether the bytes of w may be used so by who shows id: access is NFS4_SHARE_*. */
enum nfs4_status nfs4_share_may_use(struct nfs4_state *s, struct nfs4_client *c,
				    const struct nfs4_stateid *id, const struct nfs4_where *w,
				    uint32_t access);
enum nfs4_status nfs4_share_test(struct nfs4_state *s, struct nfs4_client *c,
				 const struct nfs4_stateid *id);
enum nfs4_status nfs4_share_free(struct nfs4_state *s, struct nfs4_client *c,
				 const struct nfs4_stateid *id);
/* A datastore goes: nobody has anything of it open any more. */
void nfs4_share_forget(struct nfs4_state *s, const struct nfs_store_id *id);

/* ---- nfs4_lock.c: byte-range locks ---- */

struct nfs4_denied {
	uint64_t offset, length, clientid;
	uint32_t type, owner_len;
	uint8_t owner[NFS4_OPAQUE_MAX];
};

/* id: the lock's or, with a->fresh_owner, the open's stateid; becomes the lock's. */
enum nfs4_status nfs4_lock_set(struct nfs4_state *s, struct nfs4_client *c,
			       const struct nfs4_args *a, const struct nfs4_where *w,
			       struct nfs4_stateid *id, struct nfs4_denied *denied);
enum nfs4_status nfs4_lock_test(struct nfs4_state *s, struct nfs4_client *c,
				const struct nfs4_args *a, const struct nfs4_where *w,
				struct nfs4_denied *denied);
enum nfs4_status nfs4_lock_unset(struct nfs4_state *s, struct nfs4_client *c,
				 const struct nfs4_args *a, const struct nfs4_where *w,
				 struct nfs4_stateid *id);

/* ---- among these files; the lock is held ---- */

struct nfs4_client *nfs4_client_find_locked(struct nfs4_state *s, uint64_t id);
/* Drops clients whose lease is over; looks for them now and then only. */
void nfs4_client_sweep_locked(struct nfs4_state *s);
bool nfs4_client_expired_locked(const struct nfs4_state *s, const struct nfs4_client *c);
/* With all its sessions and state. */
void nfs4_client_drop_locked(struct nfs4_state *s, struct nfs4_client *c);
void nfs4_client_unref_locked(struct nfs4_client *c);
/* Confirms c; who had the owner before goes. */
void nfs4_client_confirm_locked(struct nfs4_state *s, struct nfs4_client *c);
void nfs4_session_drop_locked(struct nfs4_state *s, struct nfs4_session *session);
enum nfs4_status nfs4_held_find_locked(struct nfs4_state *s, const struct nfs4_client *c,
				       const struct nfs4_stateid *id, struct nfs4_held **out);
struct nfs4_held *nfs4_held_new_locked(struct nfs4_state *s, struct nfs4_client *c,
				       const struct nfs4_where *w, struct nfs_bytes owner,
				       struct nfs4_held *open);
/* Locks go with the open that they were made through. */
void nfs4_held_drop_locked(struct nfs4_state *s, struct nfs4_held *h);
struct nfs4_stateid nfs4_held_stateid(const struct nfs4_state *s, const struct nfs4_held *h);
/* NULL: there is none. */
struct nfs4_owner *nfs4_owner_find_locked(const struct nfs4_client *c, struct nfs_bytes name,
					  bool locks);
/* Whether an open of somebody else stands in the way; who is not there any more does not. */
bool nfs4_share_denied_locked(struct nfs4_state *s, const struct nfs4_where *w,
			      const struct nfs4_held *self, uint32_t access, uint32_t deny);
bool nfs4_file_is(const struct nfs4_file *f, const struct nfs4_where *w);
struct nfs4_file *nfs4_file_find_locked(struct nfs4_state *s, const struct nfs4_where *w);
/* The address that has locks of NFSv3 or waits for one; NULL: it does not. */
struct nfs4_client *nfs_nlm_host_locked(const struct nfs4_state *s, const struct nfs_address *a);
/* Bytes have become free. */
void nfs4_freed_locked(struct nfs4_state *s);
void nfs4_ranges_drop_locked(struct nfs4_state *s, struct nfs4_held *h);
/* The range of another owner that stands in the way; who is not there any more does not. */
struct nfs4_range *nfs4_in_the_way_locked(struct nfs4_state *s, const struct nfs4_where *w,
					  const void *owner, uint64_t first, uint64_t last,
					  bool write);
/* Locks or unlocks bytes for h's owner. False: there is no room, and nothing has changed. */
bool nfs4_range_set_locked(struct nfs4_state *s, struct nfs4_held *h, uint64_t first, uint64_t last,
			   bool write, bool unlock) vs_must_check;

#endif
