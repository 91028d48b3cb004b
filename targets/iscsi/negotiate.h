/*
 * Operational parameters of a session and their negotiation (RFC 7143, 13). Owned by the
 * connection; no I/O, no allocation.
 */
#ifndef ISCSI_NEGOTIATE_H
#define ISCSI_NEGOTIATE_H

#include "targets/iscsi/text_format.h"

#define ISCSI_RECV_DSL (256u << 10)   /* what we take in one PDU */
#define ISCSI_FIRST_BURST (64u << 10) /* at most; a command's own buffer holds it */
#define ISCSI_MAX_BURST (1u << 20)
#define ISCSI_LOGIN_DSL 8192u /* before negotiation, both ways */
#define ISCSI_TIME2WAIT 2     /* seconds */

struct iscsi_params {
	bool header_digest, data_digest;
	bool initial_r2t, immediate_data;
	uint32_t max_burst, first_burst;
	uint32_t send_dsl; /* the initiator's MaxRecvDataSegmentLength */
	uint32_t seen;	   /* private: keys negotiated so far */
};

enum iscsi_phase { ISCSI_PHASE_LOGIN, ISCSI_PHASE_FULL };

void iscsi_params_init(struct iscsi_params *p); /* the defaults of the RFC */
/*
 * Takes one offered or declared key and adds the answer. VS_E_PROTO when the key was negotiated
 * before or does not belong in this phase. Keys it does not know are answered NotUnderstood.
 */
int iscsi_negotiate(struct iscsi_params *p, enum iscsi_phase phase, bool discovery, const char *key,
		    const char *value, struct iscsi_text_out *out);

#endif
