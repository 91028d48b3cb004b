/*
 * The login phase of one connection (RFC 7143, 6.3): stages, names, authentication, negotiation.
 * Pure of I/O: text in, text and a verdict out. Owned by the connection; wiped by iscsi_login_wipe.
 */
#ifndef ISCSI_LOGIN_H
#define ISCSI_LOGIN_H

#include "targets/iscsi/chap.h"
#include "targets/iscsi/negotiate.h"
#include "targets/iscsi/pdu_format.h"
#include "targets/iscsi/server.h"

/* Status class and detail, RFC 7143 11.13.5. */
enum iscsi_login_status {
	ISCSI_LOGIN_OK = 0x0000,
	ISCSI_LOGIN_MOVED_FOR_NOW = 0x0101,
	ISCSI_LOGIN_MOVED = 0x0102,
	ISCSI_LOGIN_INITIATOR_ERROR = 0x0200,
	ISCSI_LOGIN_AUTH_FAILED = 0x0201,
	ISCSI_LOGIN_FORBIDDEN = 0x0202,
	ISCSI_LOGIN_NOT_FOUND = 0x0203,
	ISCSI_LOGIN_VERSION = 0x0205,
	ISCSI_LOGIN_TOO_MANY = 0x0206,
	ISCSI_LOGIN_MISSING = 0x0207,
	ISCSI_LOGIN_SESSION_TYPE = 0x0209,
	ISCSI_LOGIN_NO_SESSION = 0x020a,
	ISCSI_LOGIN_INVALID = 0x020b,
	ISCSI_LOGIN_UNAVAILABLE = 0x0301,
	ISCSI_LOGIN_NO_RESOURCES = 0x0302,
};

static inline bool iscsi_login_moved(unsigned status)
{
	return status == ISCSI_LOGIN_MOVED_FOR_NOW || status == ISCSI_LOGIN_MOVED;
}

/* What the login needs to know of a target. Secrets are copies, wiped with the login. */
struct iscsi_login_target {
	char alias[ISCSI_ALIAS_MAX];
	char redirect[ISCSI_ADDRESS_MAX]; /* where to, when it has moved */
	bool chap, mutual;
	char user[ISCSI_NAME_MAX], secret[ISCSI_SECRET_MAX];
	char mutual_user[ISCSI_NAME_MAX], mutual_secret[ISCSI_SECRET_MAX];
};

enum iscsi_stage { ISCSI_STAGE_SECURITY = 0, ISCSI_STAGE_OPERATIONAL = 1, ISCSI_STAGE_FULL = 3 };
enum iscsi_auth { ISCSI_AUTH_METHOD, ISCSI_AUTH_ALGORITHM, ISCSI_AUTH_RESPONSE, ISCSI_AUTH_DONE };

struct iscsi_login {
	/* Fills out and returns ISCSI_LOGIN_OK, or says why this initiator may not log in there. */
	enum iscsi_login_status (*lookup)(void *arg, const char *initiator, const char *target,
					  struct iscsi_login_target *out);
	void *arg;
	uint16_t portal_group;

	bool begun, discovery, authenticated, declared;
	uint8_t stage; /* enum iscsi_stage */
	enum iscsi_auth auth;
	uint8_t isid[6];
	uint16_t tsih, cid;
	char initiator[ISCSI_NAME_MAX], initiator_alias[ISCSI_ALIAS_MAX], target[ISCSI_NAME_MAX];
	struct iscsi_login_target target_info;
	struct iscsi_chap chap;
	struct iscsi_params params;
};

struct iscsi_login_verdict {
	enum iscsi_login_status status;
	bool transit; /* to nsg; with nsg 3 the login is complete but for what the caller checks */
	uint8_t nsg;
};

void iscsi_login_init(struct iscsi_login *l, uint16_t portal_group);
/* One login request, its text whole (all PDUs with the C bit joined); changes the text. */
void iscsi_login_step(struct iscsi_login *l, const struct iscsi_login_request *req, char *text,
		      size_t len, struct iscsi_text_out *out, struct iscsi_login_verdict *v);
void iscsi_login_wipe(struct iscsi_login *l); /* secrets only */

#endif
