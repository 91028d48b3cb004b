/*
 * Inside of nfs_file.h. nfs_file_path.c brings the path up and down, nfs_file_find.h finds server,
 * export and file, nfs_file_io.c turns requests into calls, nfs_file_call.c sends these,
 * nfs_file_answer.c takes what comes back, nfs_file_replay.c sends again what a server has lost.
 * All on the loop's thread. The prefix is nf_, because nfs_ is libnfs's.
 *
 * Only libnfs's raw calls are used: what it makes of them hides the write verifier. It is not
 * destroyed within its callbacks: these note what came (`broken`, `turning`), what follows from
 * it happens when rpc_service has returned. libnfs copies what is written into its own queue, so
 * no buffer of a caller is read after the call was sent.
 *
 * States:  DOWN -> FIND -> REPLAY -> UP, and from each back to DOWN.
 * A call is idle (on `idle`), waits to be sent again (on `again`), or is `sent`. When the path goes
 * down all that are sent go to `again`. Those of a replay wait on `replay_again` instead, which is
 * empty before anything else is sent, and end with the path. Requests that would write where an
 * older write may still land (nfs_doubt.h) are `held` while others pass them. A call that is to be
 * sent again is `parked` where what may land is an older write out of redo: its own is the same.
 */
#ifndef BS_NFS_FILE_INT_H
#define BS_NFS_FILE_INT_H

#include "blockstore/far_path.h"
#include "blockstore/lun_redo.h"
#include "blockstore/nfs_doubt.h"
#include "blockstore/nfs_file.h"

#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

#define NF_PIECE (BS_REDO_CHUNK * BS_REDO_CHUNKS) /* most bytes of a READ or WRITE */
#define NF_OWN 4u				  /* calls for own flushes and for replaying */
#define NF_PORTMAPPER 111			  /* RFC 1833 */
#define NF_SECOND UINT64_C(1000000000)

enum nf_state { NF_DOWN, NF_FIND, NF_REPLAY, NF_UP };
enum nf_kind { NF_READ, NF_WRITE, NF_COMMIT };
enum nf_verdict { NF_DONE, NF_LATER, NF_FAILED };

struct nf_handle {
	uint32_t n;
	char data[NFS3_FHSIZE];
};

struct nf_call {
	struct bs_nfs_file *f;
	struct nf_call *next; /* of idle or again */
	enum nf_kind kind;
	bool own;		/* one of the NF_OWN */
	bool sent;		/* libnfs has it */
	bool waits;		/* of a replay: on replay_again */
	bool given_up;		/* its request has failed without its answer; never sent again */
	bool reserved;		/* room in redo is held for it */
	bool unstable;		/* WRITE: the server has not said of all of it that it is stable */
	bool zeros;		/* WRITE: of zeros, iov is not used */
	struct bs_far_req *req; /* NULL: own, or given up */
	uint64_t offset, length, done;
	uint32_t asked;		     /* bytes of what is sent */
	uint64_t mark;		     /* COMMIT: entries of redo before this are covered */
	uint64_t since_ns, begun_ns; /* first and last sent */
	uint64_t due_ns;	     /* again: not before */
	int niov;
	struct iovec iov[BS_REDO_CHUNKS];
};

struct nf_list {
	struct nf_call *first, **last;
};

struct nf_attr {
	uint64_t size, identity, changed; /* changed: made of its times */
};

struct nf_find; /* one step of finding */

struct bs_nfs_file {
	struct bs_far far;
	struct vs_loop *loop;
	struct bs_nfs_url url;
	char name[BS_NFS_URL_TEXT];
	bool writes; /* keeps what is not flushed */
	bool create, quiet;
	uint64_t create_size;
	const atomic_bool *cancel;
	struct bs_far_addrs addrs;
	unsigned next_addr;

	/* path */
	struct rpc_context *rpc;
	struct vs_watch watch;
	uint32_t watched; /* events; 0: the watch is not added */
	struct vs_timer tick;
	enum nf_state state;
	bool broken;   /* the path goes down when libnfs is left */
	bool turning;  /* the next step of finding needs another connection */
	bool dropping; /* the connection */
	bool silent;   /* up, and has not answered for a while */
	bool kicked;   /* the timer is due for what was submitted */
	bool asking;   /* for size and life */
	struct bs_far_path path;
	uint64_t attempt_ns, alive_ns, asked_ns;
	struct vs_error why; /* why the last attempt or the path failed */

	/* what is there */
	const struct nf_find *step;
	uint16_t mount_port, nfs_port;
	bool asked_ports;      /* the portmapper, in this attempt */
	bool refused;	       /* an export */
	int refusal;	       /* of a size: the server's status */
	size_t export_len, at; /* of url.path: tried as an export; found so far */
	struct nf_handle dir, file;
	char leaf[BS_NFS_NAME_MAX]; /* the file's name in dir */
	struct nf_attr attr, found;
	uint64_t look_ns; /* its attributes are asked for again then; 0: not */
	uint32_t read_max, write_max;
	char verf[NFS3_WRITEVERFSIZE];	    /* of the server at hand */
	char kept_verf[NFS3_WRITEVERFSIZE]; /* of the one that has all that redo holds */
	bool cut; /* it was us who broke the connection: the server need not have restarted */

	/* work */
	struct bs_far_req *first, **last; /* not all of it is given to calls yet */
	struct bs_far_req *finished, **finished_last;
	struct nf_call call[BS_NFS_DEPTH + NF_OWN];
	struct nf_call *idle, *idle_own;
	struct nf_list again, replay_again, parked;
	unsigned sent;
	unsigned given_up; /* of those that are sent */
	bool cleaning;	   /* a flush of its own is under way */
	bool lost; /* acknowledged writes are gone, or a flush failed: none succeeds any more */
	struct bs_redo redo;
	uint64_t replay, replay_end; /* next entry to send again; the last one's successor */
	struct bs_far_req *held;
	struct bs_nfs_doubt doubt, doubt_redo; /* of requests; of what was sent again */
	uint64_t silence_ns;
	uint64_t doubt_ns, doubt_end; /* how long it lasts; when it is over, if the path stays up */
	char gather[NF_PIECE];
};

/* nfs_file_path.c */
void nf_path_init(struct bs_nfs_file *f);
void nf_path_start(struct bs_nfs_file *f);
void nf_path_end(struct bs_nfs_file *f);
void nf_path_fail(struct bs_nfs_file *f, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void nf_path_alive(struct bs_nfs_file *f); /* it has answered */
/* After anything that may have queued, ended or broken something; not from libnfs's callbacks. */
void nf_settle(struct bs_nfs_file *f);
void nf_kick(struct bs_nfs_file *f);	       /* settles soon, from the loop */
const char *nf_cause(struct rpc_context *rpc); /* what libnfs found last, in words */

/* nfs_file_find.c */
void nf_find_start(struct bs_nfs_file *f);
uint16_t nf_find_port(const struct bs_nfs_file *f); /* where the step at hand has to be asked */
/* The connection for the step at hand is there, or cannot be had. */
void nf_find_connected(struct bs_nfs_file *f);
void nf_find_refused(struct bs_nfs_file *f, const char *why);
void nf_find_look(struct bs_nfs_file *f); /* when look_ns is reached */
void nf_find_ask(struct bs_nfs_file *f);  /* size and life, while it is up */
nfs_fh3 nf_fh(struct nf_handle *h);

/* nfs_file_call.c */
extern const char nf_zeros[NF_PIECE];
void nf_call_init(struct bs_nfs_file *f);
struct nf_call *nf_call_take(struct nf_call **list); /* NULL: none is idle */
void nf_call_free(struct nf_call *c);		     /* back to idle */
bool nf_call_send(struct nf_call *c);
void nf_call_again(struct nf_call *c, uint64_t delay_ns);
bool nf_call_send_again(struct bs_nfs_file *f, struct nf_list *list); /* those that are due */
void nf_call_unpark(struct bs_nfs_file *f);
void nf_call_down(struct bs_nfs_file *f);	      /* what was sent is to be sent again */
uint64_t nf_call_oldest(const struct bs_nfs_file *f); /* when the one that waits longest was sent */
enum bs_redo_kind nf_redo_kind(const struct nf_call *c);
void nf_unreserve(struct nf_call *c);

/* nfs_file_io.c */
/* known: the status if it is known already, else -1. */
void nf_io_submit(struct bs_nfs_file *f, struct bs_far_req *req, int known);
void nf_io_piece_ended(struct nf_call *c, int status);
void nf_io_pump(struct bs_nfs_file *f);
void nf_io_deliver(struct bs_nfs_file *f);
void nf_io_expire(struct bs_nfs_file *f); /* held for too long */

/* nfs_file_answer.c */
enum nf_verdict nf_judge(int nfsstat, int *code);
void nf_read_answered(struct rpc_context *rpc, int status, void *data, void *arg);
void nf_write_answered(struct rpc_context *rpc, int status, void *data, void *arg);
void nf_commit_answered(struct rpc_context *rpc, int status, void *data, void *arg);

/* nfs_file_replay.c */
/* verf: what the server says now. */
void nf_replay_start(struct bs_nfs_file *f, const char verf[NFS3_WRITEVERFSIZE]);
void nf_replay_pump(struct bs_nfs_file *f);
void nf_replay_ended(struct nf_call *c, int status);

#endif
