/*
 * Bytes of persistent reservations: TransportIDs (SPC-4, 7.6.4), and what is kept of a unit across
 * power loss. Pure functions, any thread.
 */
#ifndef ISCSI_PR_FORMAT_H
#define ISCSI_PR_FORMAT_H

#include "targets/iscsi/pr.h"

#include <stdint.h>

#define ISCSI_PR_ID_MAX (4 + ISCSI_PR_PORT + 3) /* of a TransportID, padded to 4 */
#define ISCSI_PR_KEPT_MAX (8 + ISCSI_PR_MAX * (12 + ISCSI_PR_PORT + ISCSI_NAME_MAX))

/* The name of an initiator port: "NAME,i,0x" and 12 hex digits. */
void iscsi_pr_port_name(char out[ISCSI_PR_PORT], const char *initiator, const uint8_t isid[6]);
/* Length of the TransportID of an iSCSI initiator port. */
size_t iscsi_pr_id_encode(const char *port, uint8_t out[ISCSI_PR_ID_MAX]);
/* Bytes that the first TransportID takes, its name in port; 0: it is no initiator port's. */
size_t iscsi_pr_id_decode(const uint8_t *id, size_t len, char port[ISCSI_PR_PORT]);

/* What else is to be remembered of the unit. */
#define ISCSI_KEPT_SANITIZING 1u /* it was not finished */
#define ISCSI_KEPT_MAY_EXIT 2u	 /* and need not be */

/* pr NULL: without reservations. */
size_t iscsi_pr_keep(const struct iscsi_pr *pr, uint8_t flags, uint8_t out[ISCSI_PR_KEPT_MAX]);
/* Into an empty pr; VS_E_CORRUPT, VS_E_VERSION, VS_E_NOMEM: it stays empty. */
int iscsi_pr_restore(struct iscsi_pr *pr, uint8_t *flags, const uint8_t *kept,
		     size_t len) vs_must_check;

#endif
