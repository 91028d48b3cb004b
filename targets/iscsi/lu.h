/*
 * Logical units, the targets that offer them, and what a session sees of them (lu.c, target.c). Not
 * for others than the parts of the target.
 *
 * Threads: the control thread owns them where nothing else is said; the table of targets is under
 * srv->lock, and what a unit's sessions share under its own lock.
 */
#ifndef ISCSI_LU_H
#define ISCSI_LU_H

#include "common/loop.h"
#include "targets/iscsi/login.h"
#include "targets/iscsi/pr.h"
#include "targets/iscsi/server.h"

#include <pthread.h>
#include <stdatomic.h>

#define ISCSI_THRESHOLDS 2 /* of a unit, for thin provisioning */

struct iscsi_conn;

/* What keeps a unit from being ready. */
enum iscsi_lu_state {
	ISCSI_LU_EJECTED = 1u << 0,
	ISCSI_LU_SANITIZING = 1u << 1,
	ISCSI_LU_SANITIZE_FAILED = 1u << 2,
};

/* One volume, shared by all sessions that see it, by whichever target and LUN: its name (VPD page
   83h) is the same everywhere, so its reservations must be. */
struct iscsi_lu {
	struct iscsi_lu *next; /* in srv->lus */
	unsigned refs;	       /* targets' configurations and attached sessions; control thread */
	unsigned users;	       /* attached sessions; the volume is open while there are any */
	struct vs_uuid volume;
	atomic_uint_fast64_t thresholds[ISCSI_THRESHOLDS]; /* see threshold.c */
	uint64_t told[ISCSI_THRESHOLDS];		   /* control thread */
	struct bs_volume *vol;				   /* NULL when it could not be opened */
	atomic_bool write_back;				   /* WCE of the caching mode page */
	atomic_bool swp;	   /* software write protect of the control mode page */
	atomic_bool d_sense, tas;  /* of the same: format of sense data, TASK ABORTED */
	atomic_uint mode_changes;  /* by MODE SELECT */
	atomic_uint state;	   /* enum iscsi_lu_state; 0: ready */
	atomic_uint progress;	   /* of sanitizing, of 65536 */
	atomic_bool sanitize_kept; /* that it goes on */
	atomic_bool may_exit;	   /* a sanitizing that failed may be left as it is */
	atomic_uint orphans;	   /* commands that are over for their initiators but still write */
	pthread_mutex_t lock;	   /* over what follows */
	struct iscsi_lun *sessions; /* that see the unit; joined and left by the control thread */
	unsigned aborting;	    /* sessions that have yet to end their tasks for another */
	struct iscsi_conn *reserved_by; /* RESERVE(6) holder */
	struct iscsi_pr pr;
	/* keep.c: what was asked for last, what is done, what is done and good */
	struct vs_post keep_post;
	struct iscsi_server *srv;
	bool keep_posted;
	bool kept; /* something is */
	uint64_t keep_number, kept_number, safe_number;
	atomic_bool reserved; /* reserved_by is set or somebody is registered */
};

struct iscsi_target {
	struct iscsi_target *next;
	atomic_uint refs;
	struct iscsi_target_config cfg; /* deep copy */
	struct iscsi_lu **lus;		/* one per cfg.luns[]; control thread */
};

/* Unit attentions, by priority from bit 0 (SAM-5, 5.14). */
enum iscsi_ua {
	ISCSI_UA_POWER_ON = 1u << 0,
	ISCSI_UA_BUS_RESET = 1u << 1,
	ISCSI_UA_LUN_RESET = 1u << 2,
	ISCSI_UA_CLEARED = 1u << 3, /* commands cleared by another initiator */
	ISCSI_UA_CAPACITY = 1u << 4,
	ISCSI_UA_MODE = 1u << 5,
	ISCSI_UA_LUNS = 1u << 6,
	ISCSI_UA_RESERVATIONS_PREEMPTED = 1u << 7,
	ISCSI_UA_RESERVATIONS_RELEASED = 1u << 8,
	ISCSI_UA_REGISTRATIONS_PREEMPTED = 1u << 9,
	ISCSI_UA_MEDIUM = 1u << 10, /* was ejected and loaded */
	ISCSI_UA_THRESHOLD = 1u << 11,
};

/* A task management function at work, or the abort of tasks that another session asked for. */
struct iscsi_tmf_op {
	bool active;
	uint32_t itt;
	uint8_t response;
	bool close_after;
	unsigned waits;		  /* what has to end before it is answered */
	struct iscsi_lun *remote; /* not NULL: on behalf of other sessions, on this LUN */
};

/* A session's view of a LUN. */
struct iscsi_lun {
	unsigned lun;
	bool read_only, removable;
	struct iscsi_lu *lu;
	struct bs_volume *vol;
	struct iscsi_conn *conn;
	uint64_t seen_size;	       /* the last capacity told to the initiator */
	unsigned seen_modes;	       /* the last lu->mode_changes */
	atomic_uint ua;		       /* enum iscsi_ua, pending; any thread may add */
	atomic_bool abort;	       /* another session wants this one's tasks ended */
	struct iscsi_tmf_op remote_op; /* that ends them */
	struct iscsi_tmf_op *reset_op; /* of this session; waits for the others' tasks */
	/* under lu->lock */
	struct iscsi_lun *next; /* of the unit's sessions */
	bool aborting;		/* counted in lu->aborting */
	bool closed;		/* its session has closed: it has no tasks to end */
	bool prevents;		/* the medium's removal */
};

/* A session's LUNs: made and released by the control thread, used by the session's. */
struct iscsi_lun_map {
	struct vs_post post; /* to release it */
	struct iscsi_conn *conn;
	struct iscsi_server *srv;
	unsigned refs;	       /* the session and its tasks; session's thread */
	uint16_t portal_group; /* that the target is for; 0: all */
	unsigned n;
	struct iscsi_lun luns[];
};

/* target.c: configurations */
struct iscsi_target *iscsi_target_find(struct iscsi_server *srv, const char *iqn); /* takes a ref */
void iscsi_target_put(struct iscsi_target *t);
bool iscsi_target_allows(const struct iscsi_target *t, const char *initiator, uint16_t tag);
/* Whether the initiator sees the target's cfg.luns[i]. */
bool iscsi_target_shows(const struct iscsi_target *t, size_t i, const char *initiator);
enum iscsi_login_status iscsi_target_lookup(void *conn, const char *initiator, const char *name,
					    struct iscsi_login_target *out);
int iscsi_target_new(struct iscsi_server *srv, const struct iscsi_target_config *cfg,
		     struct iscsi_target **out, struct vs_error *err);	      /* control thread */
void iscsi_target_drop_lus(struct iscsi_server *srv, struct iscsi_target *t); /* control thread */

/* lu.c: logical units and sessions' views of them; control thread where nothing is said */
/* NULL: out of memory. */
struct iscsi_lu *iscsi_lu_get(struct iscsi_server *srv, const struct vs_uuid *volume);
void iscsi_lu_put(struct iscsi_server *srv, struct iscsi_lu *lu);
/* Opens the volumes that nobody had open. NULL: out of memory. */
struct iscsi_lun_map *iscsi_lu_map_new(struct iscsi_conn *c, struct iscsi_target *t);
void iscsi_lu_map_put(struct iscsi_lun_map *map); /* the session's thread */
/* By which LUN the map shows the unit: of several, one that may be written; NULL: by none. */
const struct iscsi_lun *iscsi_lu_map_find(const struct iscsi_lun_map *map,
					  const struct iscsi_lu *lu);
/* Whether both show the same units under the same LUNs; access: and as writable, as ready and
   through the same ports. */
bool iscsi_lu_map_same(const struct iscsi_lun_map *a, const struct iscsi_lun_map *b, bool access);
/* One more that needs the volume open. */
void iscsi_lu_use(struct iscsi_server *srv, struct iscsi_lu *lu);
void iscsi_lu_unuse(struct iscsi_server *srv, struct iscsi_lu *lu);
/* Below: any thread. Tells the unit's other sessions ua and makes them end their tasks; returns
   whether there is one that has to (then it gets ISCSI_WANT_RESET_DONE). */
bool iscsi_lu_abort_others(struct iscsi_lun *by, unsigned ua);
void iscsi_lu_abort_done(struct iscsi_lun *l); /* by such a session */
bool iscsi_lu_aborting(struct iscsi_lu *lu);
void iscsi_lu_closed(struct iscsi_lun *l); /* by a session that has closed */
void iscsi_lu_orphan_begun(struct iscsi_lu *lu);
void iscsi_lu_orphan_ended(struct iscsi_lu *lu);
void iscsi_lu_abort_session(struct iscsi_lun *l); /* this one's tasks; with lu->lock held */
void iscsi_lu_resume(struct iscsi_lu *lu);	  /* all sessions' parked tasks look again */
void iscsi_lu_allow_removal(struct iscsi_lu *lu);
/* Ends a RESERVE(6) of this session, or of whom ever (holder NULL). Any thread. */
void iscsi_lu_unreserve(struct iscsi_lu *lu, struct iscsi_conn *holder);
/* Of the same session's new map: what the old one's held. */
void iscsi_lu_inherit(struct iscsi_lun *l, const struct iscsi_lun *from);
void iscsi_lu_lose(struct iscsi_lun *l); /* what this session holds of it; any thread */

#endif
