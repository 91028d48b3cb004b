/*
 * iSCSI target (RFC 7143) that serves volumes of a store as SCSI disks (SPC-4, SBC-3).
 *
 * Ownership: iscsi_server_start gives a server that iscsi_server_stop takes back; it must be
 * stopped before the store is closed. Configurations are copied. Targets live in memory only: who
 * calls keeps them and sets them again after a restart. Threads: every function may be called from
 * any thread that is not the server's own, at the same time as any other but start and stop; each
 * waits for the server's control thread. Errors: 0 or VS_E_*, with one line for people in err.
 *
 * A volume is held open only while a session is logged in to a target that maps it. A resized
 * volume needs no call: each session sees the new size at its next command and tells the initiator
 * with a unit attention (CAPACITY DATA HAS CHANGED).
 */
#ifndef ISCSI_SERVER_H
#define ISCSI_SERVER_H

#include "blockstore/volume.h"

#include <stddef.h>

#define ISCSI_NAME_MAX 224    /* iSCSI names with NUL, RFC 7143 4.2.7.1 */
#define ISCSI_ALIAS_MAX 256   /* with NUL */
#define ISCSI_LUN_LIMIT 256   /* LUNs 0 to 255 */
#define ISCSI_LUNS_MAX 1024   /* of one target, those of single initiators included */
#define ISCSI_ADDRESS_MAX 280 /* a TargetAddress with NUL */
#define ISCSI_SECRET_MIN 12   /* bytes; RFC 7143 12.1.4 wants 96 bits */
#define ISCSI_SECRET_MAX 128  /* with NUL */
#define ISCSI_LOGOUT_SECONDS 3
#define ISCSI_NAA_TEXT 24 /* "naa." and 16 hex digits, with NUL and room */

struct iscsi_portal {
	uint16_t tag;	     /* portal group, 1 to 65535 */
	const char *address; /* numeric IPv4 or IPv6, without brackets */
	uint16_t port;	     /* 0: any free one, see iscsi_server_port */
};

/* A login that was refused for who asked; strings as they came over the wire, valid in the call. */
struct iscsi_login_failure {
	const char *target, *initiator, *address;
	const char *reason;
	unsigned failures; /* of this address lately */
};

/*
 * Keeps what of a volume's logical unit survives the daemon: save replaces what was kept (len 0:
 * forgets it) and is durable on return; load gives it back (*len 0: there is none). Both are called
 * on the control thread and may wait; then logins wait with it, and commands only that asked for
 * it.
 */
#define ISCSI_KEPT_MAX (32u << 10)
struct iscsi_keeper {
	int (*save)(void *arg, const struct vs_uuid *volume, const uint8_t *kept, size_t len,
		    struct vs_error *err);
	int (*load)(void *arg, const struct vs_uuid *volume, uint8_t *kept, size_t max, size_t *len,
		    struct vs_error *err);
	void *arg;
};

struct iscsi_server_options {
	struct bs_store *store;
	struct iscsi_keeper keeper; /* save NULL: nothing is kept, and APTPL is refused */
	const struct iscsi_portal *portals;
	size_t nportals;	  /* 1 to 16 */
	unsigned threads;	  /* that do I/O, up to 16; 0: 2 */
	unsigned max_connections; /* up to 4096; 0: 64. A session takes up to 19 MiB under load. */
	/* NULL, or told of refused logins, ten a minute at most; on an I/O thread: must not wait.
	 */
	void (*login_failed)(void *arg, const struct iscsi_login_failure *f);
	void *login_failed_arg;
};

struct iscsi_lun_config {
	unsigned lun;	    /* 0 to ISCSI_LUN_LIMIT - 1 */
	const char *volume; /* NAME or NAME@SNAP; snapshots are always read-only */
	bool read_only;
	bool removable; /* the medium can be ejected, which hides the volume until it is loaded */
	/* NULL: for all that have no LUNs of their own. Who has some sees exactly those. */
	const char *initiator;
};

struct iscsi_target_config {
	const char *iqn;   /* iqn., eui. or naa. name */
	const char *alias; /* NULL: none */
	const struct iscsi_lun_config *luns;
	size_t nluns;
	const char *const *initiators;		 /* names that may see and log in to it */
	size_t ninitiators;			 /* 0: every initiator */
	uint16_t portal_group;			 /* 0: all portals */
	const char *chap_user, *chap_secret;	 /* what initiators must prove; NULL: no CHAP */
	const char *mutual_user, *mutual_secret; /* what the target proves when asked; NULL: none */
	bool read_only;				 /* all LUNs */
	/* NULL, or "ADDR:PORT" or "ADDR:PORT,TAG" where initiators find the target now: logins are
	   sent there, sessions asked to log out. */
	const char *redirect;
	bool redirect_permanent;
};

struct iscsi_session_info {
	char target[ISCSI_NAME_MAX]; /* "" for a discovery session */
	char initiator[ISCSI_NAME_MAX];
	char initiator_alias[ISCSI_ALIAS_MAX];
	char address[72]; /* of the initiator: "10.0.0.7:51342", "[::1]:51342" */
	uint8_t isid[6];
	uint16_t tsih;
	uint16_t portal_group;
	bool authenticated; /* by CHAP */
	bool header_digest, data_digest;
	int64_t since_ns; /* Unix time of login */
	uint64_t commands, read_bytes, written_bytes;
};

struct iscsi_server;

/* VS_E_INVAL for bad options, VS_E_BUSY when an address is in use. */
int iscsi_server_start(const struct iscsi_server_options *opts, struct iscsi_server **out,
		       struct vs_error *err) vs_must_check;
/*
 * Asks all initiators to log out (RFC 7143, 11.9.1), serves them meanwhile, and closes the sessions
 * that have not done so after ISCSI_LOGOUT_SECONDS. Waits for the I/O of all; what is not answered
 * by then stays unanswered.
 */
void iscsi_server_stop(struct iscsi_server *srv);
/* Port that portal i listens on. */
uint16_t iscsi_server_port(const struct iscsi_server *srv, size_t i);

/*
 * Creates the target, or replaces the one of this name: sessions whose LUNs changed see the new
 * ones at once (unit attention REPORTED LUNS DATA HAS CHANGED); sessions are closed where the new
 * configuration would not let them in. VS_E_NOENT when a volume does not exist, VS_E_INVAL for a
 * bad configuration.
 */
int iscsi_server_set_target(struct iscsi_server *srv, const struct iscsi_target_config *cfg,
			    struct vs_error *err) vs_must_check;
/* Closes the target's sessions and returns when they hold no volume any more. VS_E_NOENT. */
int iscsi_server_remove_target(struct iscsi_server *srv, const char *iqn,
			       struct vs_error *err) vs_must_check;

/* Fills up to max sessions that are logged in (iqn NULL: of all targets); returns how many exist.
 */
size_t iscsi_server_sessions(struct iscsi_server *srv, const char *iqn,
			     struct iscsi_session_info *out, size_t max);

/* The LU's name in VPD page 83h, "naa.3" and 15 hex digits of the volume's UUID. */
void iscsi_naa_text(const struct vs_uuid *uuid, char out[ISCSI_NAA_TEXT]);
/* Whether text can be a TargetAddress: a name or IPv4 address, or an IPv6 address in brackets, a
   port and perhaps a portal group tag (RFC 7143, 13.8). */
bool iscsi_address_ok(const char *text);
/* Whether text can be an iSCSI name: iqn. / eui. / naa., lower case letters, digits, ".-:". */
bool iscsi_name_ok(const char *text);

#endif
