/*
 * Inside of lun.h. lun_session.c brings the path up and down, lun_probe.c asks what is there,
 * lun_io.c turns requests into commands, lun_cmd.c sends these, lun_answer.c takes what comes back,
 * lun_replay.c sends again what was not flushed. All on the loop's thread.
 *
 * libiscsi's own reconnecting is off: it sleeps, and sends commands again in any order. It must not
 * be entered from its own callbacks, so these only note what came (`broken`, finished commands);
 * what follows from it happens when iscsi_service has returned.
 *
 * States:  DOWN -> LOGIN -> PROBE -> REPLAY -> UP, and from each back to DOWN.
 * A command is idle (on `idle`), waits to be sent again (on `again`), or is `sent`: libiscsi has
 * its task. When the path goes down all that are sent go to `again`. Those of a replay wait on
 * `replay_again` instead, which is empty before anything else is sent, and end with the path.
 */
#ifndef BS_LUN_INT_H
#define BS_LUN_INT_H

#include "blockstore/far_path.h"
#include "blockstore/lun.h"
#include "blockstore/lun_format.h"
#include "blockstore/lun_redo.h"
#include "blockstore/lun_sense.h"

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define LUN_PIECE (BS_REDO_CHUNK * BS_REDO_CHUNKS) /* most bytes of a READ or WRITE */
#define LUN_SPENT 256u
#define LUN_OWN 4u /* commands for the LUN's own flushes and for replaying */
#define LUN_SECOND UINT64_C(1000000000)

enum lun_state { LUN_DOWN, LUN_LOGIN, LUN_PROBE, LUN_REPLAY, LUN_UP };

enum lun_kind {
	LUN_CMD_READ,
	LUN_CMD_WRITE,
	LUN_CMD_SYNC,
	LUN_CMD_UNMAP,
	LUN_CMD_SAME, /* WRITE SAME of zeros */
	LUN_CMD_STATUS,
};

struct lun_cmd {
	struct bs_lun *l;
	struct lun_cmd *next;	/* of idle or again */
	struct scsi_task *task; /* sent: not NULL */
	bool waits;		/* of a replay: on replay_again */
	enum lun_kind kind;
	struct bs_far_req *req; /* NULL: of the LUN itself */
	uint64_t offset, length;
	bool reserved; /* room in redo is held for it */
	bool own;      /* one of the LUN_OWN */
	uint64_t mark; /* SYNC: entries of redo before this are covered */
	unsigned tries;
	uint64_t since_ns, begun_ns; /* first and last sent */
	uint64_t due_ns;	     /* again: not before */
	int niov;
	struct scsi_iovec iov[BS_REDO_CHUNKS];
};

struct lun_list {
	struct lun_cmd *first, **last;
};

struct bs_lun {
	struct bs_far far;
	struct vs_loop *loop;
	struct bs_lun_url url;
	char name[BS_LUN_URL_TEXT];
	char user[256], secret[256], mutual_user[256], mutual_secret[256];
	bool writes; /* keeps what is not flushed */
	uint32_t isid, isid_low;
	char initiator[BS_LUN_NAME_MAX + 1];
	struct bs_far_addrs addrs;
	unsigned next_addr;
	char moved[BS_LUN_ADDR_TEXT]; /* where the target sent this attempt; "": nowhere */
	unsigned moves;

	/* path */
	struct iscsi_context *ctx;
	struct vs_watch watch;
	uint32_t watched; /* events; 0: the watch is not added */
	struct vs_timer tick;
	enum lun_state state;
	bool inside; /* of iscsi_service */
	bool broken; /* the path goes down when libiscsi is left */
	bool moving; /* ... and is tried at `moved` at once */
	bool dropping;
	bool logged_out;
	bool kicked; /* the timer is due for what was submitted */
	struct bs_far_path path;
	uint64_t attempt_ns, alive_ns, asked_ns;
	struct vs_error why; /* why the last attempt or the path failed */

	/* what is there */
	struct bs_lun_caps caps, found;
	struct scsi_task *ask; /* the one command about the LUN itself that is under way */
	unsigned step, probe_tries;
	bool no_status, no_same;

	/* work */
	struct bs_far_req *first, **last; /* not all of it is given to commands yet */
	struct bs_far_req *finished, **finished_last;
	struct lun_cmd cmd[BS_LUN_DEPTH + LUN_OWN];
	struct lun_cmd *idle, *idle_own;
	struct lun_list again;
	unsigned sent;
	bool cleaning; /* a flush of the LUN's own is under way */
	bool lost;     /* acknowledged writes are gone, or a flush failed: none succeeds any more */
	struct bs_redo redo;
	uint64_t replay; /* next entry to send again, replay_end the last one's successor */
	uint64_t replay_end;
	struct lun_list replay_again;

	/* Tasks with data that libiscsi may still hold in its queue though they have ended. */
	struct scsi_task *spent[LUN_SPENT]; /* never more than that with those that are sent */
	unsigned nspent;
	struct scsi_iovec void_iov;
};

/* lun_session.c */
void lun_session_init(struct bs_lun *l);
void lun_session_start(struct bs_lun *l);
void lun_session_end(struct bs_lun *l);
void lun_session_fail(struct bs_lun *l, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* After anything that may have queued, ended or broken something; not from libiscsi's callbacks. */
void lun_settle(struct bs_lun *l);
void lun_kick(struct bs_lun *l);	/* settles soon, from the loop */
int lun_number(const struct bs_lun *l); /* as libiscsi wants it */

/* lun_probe.c */
void lun_probe_start(struct bs_lun *l);
void lun_probe_capacity(struct bs_lun *l); /* looks again how large it is */

/* lun_host.c */
int lun_host_init(struct bs_lun *l, const char *session,
		  struct vs_error *err); /* who we are, where it is */
/* The address of the next attempt, as libiscsi wants it; returns buf. */
const char *lun_host_address(const struct bs_lun *l, char buf[BS_LUN_ADDR_TEXT]);

void lun_host_initiator(char name[BS_LUN_NAME_MAX + 1]);
/* What libiscsi found last, in words. */
const char *lun_cause(struct iscsi_context *ctx);
/* Where a login was sent on to, if that is a numeric address: RFC 7143 section 13.8. */
bool lun_host_moved(struct iscsi_context *ctx, char out[BS_LUN_ADDR_TEXT]);
int lun_login_cause(struct iscsi_context *ctx,
		    const char **text); /* the VS_E_* of a failed login */

/* lun_cmd.c */
extern uint8_t lun_zeros[LUN_PIECE]; /* only read */
void lun_cmd_init(struct bs_lun *l);
struct lun_cmd *lun_cmd_take(struct lun_cmd **list); /* NULL: none is idle */
void lun_cmd_free(struct lun_cmd *c);		     /* back to idle */
bool lun_cmd_room(struct bs_lun *l);		     /* for one more to be sent */
bool lun_cmd_send(struct lun_cmd *c);
void lun_cmd_again(struct lun_cmd *c, uint64_t delay_ns);
bool lun_cmd_send_again(struct lun_list *list); /* those that are due */
void lun_cmd_release(struct lun_cmd *c, struct scsi_task *task);
void lun_cmd_down(struct bs_lun *l);		 /* what was sent is to be sent again */
uint64_t lun_cmd_oldest(const struct bs_lun *l); /* when the one that waits longest was sent */
bool lun_changes(enum lun_kind k);
enum bs_redo_kind lun_redo_kind(enum lun_kind k);

/* lun_io.c */
/* known: the status if it is known already, else -1. */
void lun_io_submit(struct bs_lun *l, struct bs_far_req *req, int known);
void lun_io_line_up(struct bs_lun *l, struct bs_far_req *req);
void lun_io_piece_ended(struct lun_cmd *c, int status);
void lun_io_pump(struct bs_lun *l);
void lun_io_deliver(struct bs_lun *l);
void lun_io_expire(struct bs_lun *l); /* held for too long */

/* lun_answer.c: libiscsi's callback of each command */
enum bs_lun_verdict lun_judge(const struct scsi_task *task, int status, int *code);
void lun_answered(struct iscsi_context *ctx, int status, void *data, void *arg);

/* lun_replay.c */
void lun_replay_start(struct bs_lun *l);
void lun_replay_pump(struct bs_lun *l);
void lun_replay_ended(struct lun_cmd *c, int status);

#endif
