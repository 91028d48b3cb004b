/*
 * Persistent reservations of one logical unit (SPC-4, 5.12). A state machine without I/O: who calls
 * holds the unit's lock. It lives as long as a target maps the volume, and across power loss if an
 * initiator asks for that (APTPL): then who calls keeps it (pr_format.h) before it answers.
 */
#ifndef ISCSI_PR_H
#define ISCSI_PR_H

#include "targets/iscsi/server.h"

#define ISCSI_PR_MAX 64				/* registrants of a unit */
#define ISCSI_PR_PORT (ISCSI_NAME_MAX + 5 + 12) /* "NAME,i,0x" and the ISID in hex */

enum iscsi_pr_type {
	ISCSI_PR_NONE = 0,
	ISCSI_PR_WRITE = 1,
	ISCSI_PR_ALL = 3,
	ISCSI_PR_WRITE_REGISTRANTS = 5,
	ISCSI_PR_ALL_REGISTRANTS = 6,
	ISCSI_PR_WRITE_ANY = 7, /* all registrants hold it */
	ISCSI_PR_ALL_ANY = 8,
};

/* An I_T nexus. */
struct iscsi_pr_nexus {
	char port[ISCSI_PR_PORT]; /* the initiator port's name */
	uint16_t tag;		  /* portal group */
	char target[ISCSI_NAME_MAX];
};

struct iscsi_pr_registrant {
	struct iscsi_pr_nexus nexus;
	uint64_t key;
};

struct iscsi_pr {
	uint32_t generation;
	unsigned n;
	struct iscsi_pr_registrant *r; /* ISCSI_PR_MAX; NULL before the first */
	uint8_t type;		       /* of the reservation; ISCSI_PR_NONE: there is none */
	unsigned holder;	       /* index; means nothing when all registrants hold it */
	bool aptpl;		       /* it is to survive power loss */
};

/* What became of others: the caller tells them. */
enum iscsi_pr_news {
	ISCSI_PR_RELEASED = 1,		    /* of a reservation for registrants */
	ISCSI_PR_RESERVATION_PREEMPTED = 2, /* by CLEAR */
	ISCSI_PR_REGISTRATION_PREEMPTED = 4,
};
struct iscsi_pr_ops {
	void (*tell)(void *arg, const struct iscsi_pr_nexus *who, enum iscsi_pr_news what);
	void *arg;
};

enum iscsi_pr_result {
	ISCSI_PR_OK,
	ISCSI_PR_CONFLICT,
	ISCSI_PR_BAD_RELEASE, /* INVALID RELEASE OF PERSISTENT RESERVATION */
	ISCSI_PR_BAD_LIST,    /* INVALID FIELD IN PARAMETER LIST */
	ISCSI_PR_NO_ROOM,     /* INSUFFICIENT REGISTRATION RESOURCES */
};

enum iscsi_pr_action {
	ISCSI_PR_REGISTER = 0,
	ISCSI_PR_RESERVE = 1,
	ISCSI_PR_RELEASE = 2,
	ISCSI_PR_CLEAR = 3,
	ISCSI_PR_PREEMPT = 4,
	ISCSI_PR_PREEMPT_ABORT = 5,
	ISCSI_PR_REGISTER_IGNORE = 6,
	ISCSI_PR_REGISTER_MOVE = 7,
};

/* key: the reservation key, by which the nexus proves itself; sa_key: the service action's. */
struct iscsi_pr_request {
	enum iscsi_pr_action action;
	uint8_t type; /* a valid one for RESERVE, RELEASE and PREEMPT */
	uint64_t key, sa_key;
	bool aptpl;	 /* REGISTER, REGISTER AND IGNORE, REGISTER AND MOVE */
	bool unregister; /* REGISTER AND MOVE: the one that moves it */
	/* REGISTER: others that the key is for; they must not be registered (SPEC_I_PT) or may
	   (ALL_TG_PT). REGISTER AND MOVE: the one that gets the reservation. */
	const struct iscsi_pr_nexus *others;
	unsigned nothers;
	bool others_are_new;
};

enum iscsi_pr_result iscsi_pr_do(struct iscsi_pr *pr, const struct iscsi_pr_nexus *who,
				 const struct iscsi_pr_request *req,
				 const struct iscsi_pr_ops *ops);
/* Whether the reservation lets the nexus read (write false) or write. */
bool iscsi_pr_allows(const struct iscsi_pr *pr, const struct iscsi_pr_nexus *who, bool write);
bool iscsi_pr_holds(const struct iscsi_pr *pr, unsigned registrant);
bool iscsi_pr_type_ok(uint8_t type);
bool iscsi_pr_same(const struct iscsi_pr_nexus *a, const struct iscsi_pr_nexus *b);
void iscsi_pr_destroy(struct iscsi_pr *pr);

#endif
