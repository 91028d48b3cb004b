/*
 * What the parts of the target share but for lu.h: commands, connections, the server, and how they
 * call each other. Not for others.
 *
 * Threads: the control thread accepts connections, owns the registry of connections and logical
 * units and opens volumes; I/O threads own one connection (= one session) each for its whole life.
 * They talk by posts to each other's loops. The table of targets is under srv->lock, held briefly.
 * See DESIGN.md.
 */
#ifndef ISCSI_INTERNAL_H
#define ISCSI_INTERNAL_H

#include "blockstore/io.h"
#include "targets/iscsi/login.h"
#include "targets/iscsi/lu.h"
#include "targets/iscsi/server.h"
#include "targets/iscsi/token.h"
#include "targets/iscsi/throttle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define ISCSI_WINDOW 128      /* commands a session may have outstanding */
#define ISCSI_IMMEDIATE_MAX 8 /* immediate ones beside them */
#define ISCSI_SLOTS (ISCSI_WINDOW + ISCSI_IMMEDIATE_MAX + 24) /* some are still being sent */
#define ISCSI_OWN_BUF 65536u /* each slot's buffer: the first burst and all small transfers */
#define ISCSI_CHUNK 262144u  /* pieces of larger transfers */
#define ISCSI_CHUNKS 32
#define ISCSI_TASK_CHUNKS 8 /* that one command may hold */
#define ISCSI_MSGS 16	    /* replies that are not to SCSI commands, being sent */
#define ISCSI_MSG_DATA 8192u
#define ISCSI_ANSWER_MAX (1u << 20) /* of a SendTargets answer; mapped, not touched */
#define ISCSI_RX_BUF 65536u
#define ISCSI_TX_BATCH 64 /* PDUs in one sendmsg */
#define ISCSI_SENSE_LEN 18
#define ISCSI_SENSE_MAX 32
#define ISCSI_HASH 256
#define ISCSI_TMFS ISCSI_IMMEDIATE_MAX

struct scsi_op;

/* ---- data ---- */

enum iscsi_out_kind { ISCSI_OUT_DATA_IN, ISCSI_OUT_STATUS, ISCSI_OUT_R2T, ISCSI_OUT_MSG };

/* Something to send; in the connection's queue or in the batch being written. */
struct iscsi_out {
	struct iscsi_out *next;
	enum iscsi_out_kind kind;
	bool queued;
	uint32_t sent; /* DATA_IN: bytes already in PDUs */
	void *owner;   /* piece, task, task, msg */
};

/* A run of a command's data and the request that moves it. */
struct iscsi_piece {
	struct bs_req req;
	struct iovec iov[16];
	struct iscsi_out out;
	struct iscsi_task *task;
	struct iscsi_piece *next; /* of the task, in order; or in the free list */
	uint8_t *buf;
	uint32_t offset, length;       /* within the command's data, bytes on the wire */
	uint32_t filled;	       /* bytes received */
	bool busy;		       /* request submitted and not done */
	bool ready;		       /* read and good */
	struct iscsi_piece *line_next; /* share.c: behind it in the session's line */
};

enum iscsi_task_state {
	ISCSI_TASK_FREE,
	ISCSI_TASK_RECEIVING, /* its PDU is still arriving */
	ISCSI_TASK_ACTIVE,
	ISCSI_TASK_ANSWERED, /* status queued or sent with the last data */
};

struct iscsi_task {
	struct iscsi_conn *conn;
	struct iscsi_task *next, *prev; /* in use, oldest first; next also: free list */
	struct iscsi_task *hash_next;
	struct iscsi_task *wait_next; /* for chunks */
	bool waiting;
	enum iscsi_task_state state;
	struct iscsi_tmf_op *tmf;    /* that waits for this task to end */
	struct iscsi_piece *scratch; /* a chunk for a command's own use */
	bool aborted, immediate;
	bool orphan; /* aborted, and the store still works on it: its units' lu->orphans count it */
	bool tell_aborted;	/* aborted, and its status TASK ABORTED is to be sent */
	bool ordered, held;	/* ORDERED; waits for older ones */
	uint8_t attr;		/* task attribute */
	bool in_advance, again; /* completions within bs_submit do not nest */
	bool unsolicited;	/* more data will come unasked */

	uint32_t itt, cmd_sn;
	uint64_t raw_lun;
	uint32_t edtl;
	bool flag_read, flag_write;
	uint8_t cdb[16];
	struct iscsi_lun_map *map;
	struct iscsi_lun *lun; /* NULL: no such LUN */
	const struct scsi_op *op;
	uint64_t lba;
	uint64_t blocks;
	uint32_t dlen; /* bytes the command moves */
	uint32_t want; /* bytes that go over the wire: min(dlen, edtl), whole blocks */
	bool fua, atomic;
	bool mismatched; /* COMPARE_WRITE of one with SCSI_RETRIES */
	bool parked;	 /* waits for ISCSI_WANT_RESUME */

	uint8_t status;
	uint8_t sense[ISCSI_SENSE_MAX];
	uint8_t sense_len;
	bool failed;
	struct iscsi_residual residual;

	uint32_t next_offset;	  /* READ: first byte no piece covers; WRITE: the same */
	uint32_t unsolicited_end; /* bytes received unasked */
	uint32_t data_sn;	  /* next Data-In */
	uint32_t data_sn_in;	  /* expected Data-Out of the sequence */
	uint32_t sent_offset;	  /* READ: end of what was queued to be sent */
	uint32_t r2t_sn;
	bool r2t_open;
	uint32_t r2t_ttt, r2t_offset, r2t_length;
	unsigned io;		    /* requests outstanding, also in line */
	unsigned chunks;	    /* held */
	uint64_t step;		    /* progress of multi-step commands */
	uint64_t copied;	    /* bytes given to the store by a copy */
	struct iscsi_lu *copies[2]; /* units that it copies between; NULL: none */

	struct iscsi_piece *pieces, *last; /* not yet sent or written, in order */
	struct iscsi_piece *filling;	   /* WRITE: what arrives now */
	struct iscsi_piece own;
	struct iscsi_out out_status, out_r2t;
	unsigned outs;		      /* its items in the queue or the batch */
	struct iscsi_token_use token; /* given back at the latest when the task is released */
};

struct iscsi_msg {
	struct iscsi_out out;
	struct iscsi_msg *next;
	uint8_t bhs[ISCSI_BHS_LEN];
	uint8_t *data; /* ISCSI_MSG_DATA bytes */
	uint32_t len;
	bool takes_stat_sn;
};

/* What RECEIVE COPY RESULTS and RECEIVE ROD TOKEN INFORMATION tell of a copy that is over. */
struct iscsi_copy_result {
	bool used;
	uint8_t action; /* service action of its command */
	uint32_t list_id;
	unsigned lun;
	uint64_t token; /* that it has made; 0: none */
	struct scsi_copy_state state;
};
#define ISCSI_COPY_RESULTS 64

/* What a session has at the store, and what waits for its share of it; see share.c. When there is
   a line, something is at the store, whose end brings the line on. */
struct iscsi_share {
	unsigned requests; /* at the store */
	uint64_t bytes;	   /* of them, as they count */
	struct iscsi_piece *first, *last;
	bool counted; /* in the thread's sharers */
	bool used;    /* since the thread's last look */
};

/* ---- connections ---- */

enum iscsi_conn_state {
	ISCSI_CONN_LOGIN,
	ISCSI_CONN_ATTACHING, /* waits for the control thread */
	ISCSI_CONN_FULL,
	ISCSI_CONN_DEAD, /* socket closed; I/O drains */
};

/* Control thread to I/O thread. */
enum {
	ISCSI_WANT_START = 1u << 0,
	ISCSI_WANT_ATTACHED = 1u << 1,
	ISCSI_WANT_CLOSE = 1u << 2,
	ISCSI_WANT_MAP = 1u << 3,
	ISCSI_WANT_ABORT = 1u << 4,
	ISCSI_WANT_RESET_DONE = 1u << 5,
	ISCSI_WANT_FREE = 1u << 6,
	ISCSI_WANT_LOGOUT = 1u << 7,  /* ask the initiator to log out */
	ISCSI_WANT_DROP = 1u << 8,    /* tell it that it has not, and close */
	ISCSI_WANT_HELD = 1u << 9,    /* an orphan has ended: look at the tasks that are held */
	ISCSI_WANT_RESUME = 1u << 10, /* parked tasks look again */
};
/* I/O thread to control thread. */
enum {
	ISCSI_TELL_ATTACH = 1u << 0,
	ISCSI_TELL_GONE = 1u << 1,
	ISCSI_TELL_COLD_RESET = 1u << 2,
	ISCSI_TELL_CLOSED = 1u << 3, /* its nexus is free, whatever the store still does */
};

enum iscsi_rx_state { ISCSI_RX_HEADER, ISCSI_RX_DATA, ISCSI_RX_TAIL };

struct iscsi_rx {
	enum iscsi_rx_state state;
	bool paused;
	uint8_t *buf;
	uint32_t head, tail;
	uint8_t hdr[ISCSI_BHS_LEN + ISCSI_AHS_MAX + 4];
	uint32_t hdr_have, hdr_need;
	struct iscsi_bhs bhs;
	uint8_t *dst;
	uint32_t dst_left, sink_left; /* of the data segment: kept, dropped */
	uint8_t end[8];		      /* padding and digest */
	uint32_t end_have, end_need, end_pad;
	uint32_t crc;
	bool ignore;		 /* the PDU is to be dropped */
	uint8_t refuse;		 /* the PDU is to be answered with this enum iscsi_reject */
	struct iscsi_task *task; /* the command that the data is for */
	struct iscsi_msg *msg;	 /* the reply whose buffer takes the data */
};

struct iscsi_tx {
	struct iscsi_out *head, *tail; /* not yet in a batch */
	struct iscsi_out *done;	       /* wholly in the batch */
	struct iovec iov[ISCSI_TX_BATCH * 3];
	int iovcnt, iovat;
	struct {
		uint8_t head[ISCSI_BHS_LEN + 4];
		uint8_t tail[8];
	} slots[ISCSI_TX_BATCH];
	unsigned nslots;
	bool blocked; /* waits for EPOLLOUT */
	bool close_after;
};

struct iscsi_thread {
	struct iscsi_server *srv;
	unsigned index;
	pthread_t tid;
	struct vs_loop *loop;
	struct bs_port *port;
	struct vs_idle idle;
	struct iscsi_conn *conns; /* of this thread */
	struct iscsi_conn *dirty; /* with something to send, or to look at again */
	atomic_uint nconns;
	atomic_uint jobs;	 /* of sanitize.c */
	atomic_uint load;	 /* connections given to it; written by the control thread */
	unsigned sharers;	 /* its sessions that use the store, or did lately */
	unsigned share_requests; /* that each of them may have there */
	uint64_t share_bytes;
	struct vs_timer share_timer; /* armed while there are sharers */
	bool started;
};

struct iscsi_conn {
	struct iscsi_server *srv;
	struct iscsi_thread *thread;
	struct iscsi_conn *next, **pprev; /* of the thread */
	struct iscsi_conn *dirty_next;
	bool dirty;
	enum iscsi_conn_state state;
	struct vs_watch watch;
	struct vs_timer timer;
	bool heard;    /* something came since the last tick */
	bool nop_out;  /* our NOP-In is not answered yet */
	bool ctl_wait; /* dead, and the control thread still works on its attaching */
	bool gone;     /* dead, drained and told so */
	struct iscsi_portal_state *portal;
	char peer[72], local[72];
	uint64_t peer_key; /* of its address, for the throttle */

	struct vs_post to_io, to_ctl;
	atomic_uint want, tell;

	struct iscsi_login login;
	struct iscsi_login_request login_req; /* of the last request */
	struct iscsi_msg *login_msg;	      /* the last answer, held while attaching or in line */
	bool gated;   /* it had its turn with the throttle, or has to wait for it */
	bool in_line; /* it waits; the timer says when */
	struct iscsi_login_verdict verdict; /* that is to be answered then */
	uint32_t login_itt;
	unsigned login_pdus; /* so far; a login comes to an end */
	char *text;	     /* ISCSI_MSG_DATA + 1 bytes: text of several PDUs */
	uint32_t text_len;
	uint32_t text_ttt; /* of a text answer that goes on; ISCSI_NO_TAG: none */
	char *answer;	   /* the rest of it */
	uint32_t answer_len, answer_at;

	uint32_t exp_cmd_sn, stat_sn;
	uint32_t max_told;   /* the last MaxCmdSN that was sent */
	unsigned open_cmds;  /* not yet answered, that count in the window */
	unsigned ordered;    /* not yet answered, ORDERED */
	unsigned held;	     /* that wait for others of their unit */
	unsigned immediates; /* not yet answered, immediate */
	uint32_t next_ttt;
	struct iscsi_rx rx;
	struct iscsi_tx tx;
	struct iscsi_msg msgs[ISCSI_MSGS];
	struct iscsi_msg *free_msgs;
	uint8_t *msg_data;

	/* full feature phase */
	struct iscsi_params params;
	uint8_t *pool; /* ISCSI_SLOTS own buffers, then ISCSI_CHUNKS chunks */
	size_t pool_len;
	struct iscsi_task *tasks; /* ISCSI_SLOTS */
	struct iscsi_piece *chunks;
	struct iscsi_task *free_tasks, *used_first, *used_last;
	struct iscsi_piece *free_chunks;
	struct iscsi_task *wait_first, *wait_last;
	struct iscsi_task *hash[ISCSI_HASH];
	unsigned io; /* requests outstanding, also in line */
	struct iscsi_share share;
	struct iscsi_tmf_op tmfs[ISCSI_TMFS];
	struct iscsi_copy_result copies[ISCSI_COPY_RESULTS];
	unsigned next_copy;
	struct iscsi_lun_map *map;
	_Atomic(struct iscsi_lun_map *) new_map;

	atomic_uint_fast64_t commands, read_bytes, written_bytes;

	/* control thread; what is fixed at attaching may be read there until freed */
	struct iscsi_conn *ctl_next;
	struct iscsi_target *ctl_target; /* NULL: not attached */
	bool ctl_attaching, ctl_attached, ctl_closing;
	bool ctl_gone;	 /* its thread is done with it */
	unsigned maps;	 /* of its LUNs, not released yet */
	bool ctl_closed; /* nothing of it reaches its LUNs any more but orphans */
	enum iscsi_login_status attach_status; /* out of attaching */
	uint16_t tsih;
	int64_t since_ns;
	struct iscsi_lun_map *attach_map;
	struct iscsi_lun_map *ctl_map; /* the newest one given to it */
};

struct iscsi_portal_state {
	struct iscsi_server *srv;
	struct vs_watch watch;
	uint16_t tag, port;
	char address[64];
	bool any;    /* listens on all addresses */
	bool paused; /* until connections that are being closed have gone */
};

#define ISCSI_PORTALS 16
#define ISCSI_THREADS 16

struct iscsi_server {
	struct bs_store *store;
	struct iscsi_keeper keeper;
	unsigned max_connections;
	struct vs_loop *loop; /* the control thread's */
	pthread_t tid;
	bool started;
	struct iscsi_portal_state portals[ISCSI_PORTALS];
	size_t nportals;
	struct iscsi_thread threads[ISCSI_THREADS];
	unsigned nthreads;

	struct iscsi_tokens *tokens; /* NULL: the store takes no writes */
	pthread_mutex_t lock; /* over the list of targets and their configurations' references */
	struct iscsi_target *targets;

	/* control thread */
	struct iscsi_conn *conns;
	unsigned nconns;
	struct iscsi_lu *lus;
	uint16_t last_tsih;
	struct vs_timer threshold_timer;
	atomic_uint available, used;	/* resources of the store, in ISCSI_THRESHOLD_UNIT */
	struct iscsi_ctl_call *waiting; /* calls that wait for sessions to go */
	bool stopping;
	struct vs_timer stop_timer; /* until sessions that were asked to log out are closed */
	atomic_bool ending;	    /* the same, for other threads */
	struct iscsi_throttle *throttle;
	void (*login_failed)(void *arg, const struct iscsi_login_failure *f); /* or NULL */
	void *login_failed_arg;
	_Atomic uint64_t log_second; /* see iscsi_conn_may_log; any thread */
	atomic_uint log_lines;
};

/* control.c: the registry */
void iscsi_control_tell(struct iscsi_conn *c, unsigned bits); /* from the I/O thread */
void iscsi_control_told(struct vs_post *p);
void iscsi_control_map_released(struct iscsi_conn *c); /* control thread; may be the end of c */
void iscsi_control_want(struct iscsi_conn *c, unsigned bits); /* to the I/O thread */
void iscsi_control_accept(struct vs_watch *w, uint32_t events);

/* conn.c */
struct iscsi_conn *iscsi_conn_new(struct iscsi_thread *t, struct iscsi_portal_state *portal,
				  int fd);
void iscsi_conn_wanted(struct vs_post *p);
void iscsi_conn_free(struct iscsi_conn *c);
void iscsi_conn_close(struct iscsi_conn *c, const char *why); /* why: for the log; NULL: none */
void iscsi_conn_unreserve(struct iscsi_conn *c);
void iscsi_conn_drained(struct iscsi_conn *c); /* tells control when nothing is outstanding */
bool iscsi_conn_may_log(struct iscsi_server *srv);
void iscsi_conn_dirty(struct iscsi_conn *c);
bool iscsi_conn_flush_dirty(struct vs_idle *i);
int iscsi_conn_open_pools(struct iscsi_conn *c);
struct iscsi_msg *iscsi_conn_msg(struct iscsi_conn *c); /* NULL: none free */
void iscsi_conn_send_msg(struct iscsi_conn *c, struct iscsi_msg *m);
void iscsi_conn_put_msg(struct iscsi_conn *c, struct iscsi_msg *m);

/* rx.c, tx.c */
void iscsi_rx_ready(struct iscsi_conn *c);
/* No more is read until iscsi_rx_resume, which goes on if what was waited for is there. */
void iscsi_rx_pause(struct iscsi_conn *c);
void iscsi_rx_resume(struct iscsi_conn *c);
void iscsi_tx_queue(struct iscsi_conn *c, struct iscsi_out *out);
void iscsi_tx_flush(struct iscsi_conn *c);
void iscsi_tx_drop(struct iscsi_conn *c); /* forgets all that is queued */

/* handshake.c: login PDUs */
enum iscsi_header { ISCSI_HEADER_OK, ISCSI_HEADER_PAUSE, ISCSI_HEADER_CLOSED };
enum iscsi_header iscsi_handshake_header(struct iscsi_conn *c, const struct iscsi_bhs *bhs);
void iscsi_handshake_pdu(struct iscsi_conn *c, const struct iscsi_bhs *bhs);
void iscsi_handshake_attached(struct iscsi_conn *c);
void iscsi_handshake_turn(struct iscsi_conn *c); /* it has waited long enough */

/* session.c: full feature phase */
enum iscsi_header iscsi_session_header(struct iscsi_conn *c, const struct iscsi_bhs *bhs);
void iscsi_session_pdu(struct iscsi_conn *c, const struct iscsi_bhs *bhs, bool digest_ok);
void iscsi_session_ping(struct iscsi_conn *c);
/* Says that the window is open where it was shut and no answer will say so. */
void iscsi_session_tell_window(struct iscsi_conn *c);
void iscsi_session_ask_logout(struct iscsi_conn *c);
void iscsi_session_drop(struct iscsi_conn *c);
void iscsi_session_reject(struct iscsi_conn *c, uint8_t reason);

/* text.c: text requests */
void iscsi_text_request(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_msg *m);

/* task.c: slots, pieces and answers of commands */
struct iscsi_task *iscsi_task_new(struct iscsi_conn *c, const struct iscsi_bhs *bhs);
struct iscsi_task *iscsi_task_find(struct iscsi_conn *c, uint32_t itt);
void iscsi_task_release(struct iscsi_task *t);
void iscsi_task_forget(struct iscsi_task *t);
/* Calls it for all units that the task works on; for one perhaps more than once. */
void iscsi_task_each_unit(struct iscsi_task *t, void (*call)(struct iscsi_lu *lu));
void iscsi_task_ended_by_tmf(struct iscsi_task *t); /* aborted, and its I/O is done */
/* Ends it with CHECK CONDITION; the first failure stays. asc: ASC and ASCQ. */
void iscsi_task_fail(struct iscsi_task *t, uint8_t key, uint16_t asc);
void iscsi_task_request_data(struct iscsi_task *t, uint32_t offset, uint32_t length);
/* iovcnt 0: the piece's buffer, length bytes; else p->iov is set. */
void iscsi_task_submit(struct iscsi_task *t, struct iscsi_piece *p, enum bs_op op, uint64_t offset,
		       uint64_t length, int iovcnt);
/* Copies within the store, with the task's own request. */
void iscsi_task_copy(struct iscsi_task *t, struct bs_volume *from, uint64_t at,
		     struct bs_volume *to, uint64_t offset, uint64_t length);
/* NULL: none now; the task is advanced when there is. */
struct iscsi_piece *iscsi_task_chunk(struct iscsi_task *t);
void iscsi_task_chunk_put(struct iscsi_task *t, struct iscsi_piece *p);
void iscsi_task_run_waiters(struct iscsi_conn *c);
void iscsi_task_drop(struct iscsi_task *t); /* gives back the pieces that nobody works on */
void iscsi_task_send(struct iscsi_task *t, struct iscsi_piece *p);
void iscsi_task_answer(struct iscsi_task *t);
void iscsi_task_tell_aborted(struct iscsi_task *t); /* its status is set; it ends as aborted */
void iscsi_task_sent(struct iscsi_out *out);
void iscsi_task_withdrawn(struct iscsi_piece *p); /* its request waited in line, and does no more */

/* share.c: each session's share of the store */
void iscsi_share_start(struct iscsi_thread *t);
void iscsi_share_stop(struct iscsi_thread *t);
void iscsi_share_submit(struct iscsi_piece *p); /* its request; at once, or when it is its turn */
void iscsi_share_done(struct iscsi_piece *p);	/* the store is done with it */
/* What the task (NULL: any of the session) has in line is withdrawn. */
void iscsi_share_drop(struct iscsi_conn *c, const struct iscsi_task *t);
void iscsi_share_leave(struct iscsi_conn *c); /* nothing of it is at the store any more */

/* flow.c: how a command goes on */
void iscsi_flow_start(struct iscsi_task *t); /* its PDU is here */
void iscsi_flow_run_held(struct iscsi_conn *c);
void iscsi_flow_run_parked(struct iscsi_conn *c);
void iscsi_flow_remap(struct iscsi_conn *c); /* its map is a new one */
void iscsi_flow_advance(struct iscsi_task *t);
void iscsi_flow_abort(struct iscsi_task *t);
void iscsi_flow_drop_all(struct iscsi_conn *c); /* the connection is dead */
void iscsi_flow_orphan_all(struct iscsi_conn *c);

/* data.c: Data-Out */
enum iscsi_header iscsi_data_out_header(struct iscsi_conn *c, const struct iscsi_bhs *bhs);
void iscsi_data_out_pdu(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_task *t,
			bool digest_ok);

/* tmf.c */
void iscsi_tmf_request(struct iscsi_conn *c, const struct iscsi_bhs *bhs);
void iscsi_tmf_task_ended(struct iscsi_conn *c, struct iscsi_tmf_op *op);
void iscsi_tmf_remote_abort(struct iscsi_conn *c);
void iscsi_tmf_reset_done(struct iscsi_conn *c, bool all); /* all: whatever others still do */

#endif
