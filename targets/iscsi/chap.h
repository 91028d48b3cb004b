/*
 * CHAP (RFC 1994, RFC 7143 12.1). No I/O; a struct iscsi_chap belongs to its connection's login and
 * is wiped with it.
 */
#ifndef ISCSI_CHAP_H
#define ISCSI_CHAP_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ISCSI_CHAP_DIGEST_MAX 32
#define ISCSI_CHAP_CHALLENGE 32	      /* bytes of ours */
#define ISCSI_CHAP_CHALLENGE_MAX 1024 /* bytes of theirs */
#define ISCSI_CHAP_TEXT (2 + 2 * ISCSI_CHAP_CHALLENGE + 1)

struct iscsi_chap {
	int algorithm; /* 5 MD5, 6 SHA-1, 7 SHA-256, 8 SHA3-256 */
	uint8_t id;
	uint8_t challenge[ISCSI_CHAP_CHALLENGE];
};

/* Picks the first algorithm of the initiator's list that we know (its order is its preference:
   RFC 7143, 6.2.1), makes a challenge. VS_E_NOTSUP. */
int iscsi_chap_begin(struct iscsi_chap *c, const char *offered) vs_must_check;
/* Response to a challenge; *len is the digest's. VS_E_NOTSUP, VS_E_NOMEM. */
int iscsi_chap_response(int algorithm, uint8_t id, const char *secret, const uint8_t *challenge,
			size_t challenge_len, uint8_t out[ISCSI_CHAP_DIGEST_MAX],
			size_t *len) vs_must_check;
/* Whether text (0x or 0b) is the right response to our challenge; constant time. */
bool iscsi_chap_verify(const struct iscsi_chap *c, const char *secret, const char *text);
/* "0x..." */
void iscsi_chap_hex(const uint8_t *data, size_t len, char *out, size_t size);

#endif
