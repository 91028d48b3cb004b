/*
 * What of a logical unit survives the daemon and power loss: its reservations, when an initiator
 * asks for that, and that SANITIZE has not finished. Not for others than targets/iscsi/.
 */
#ifndef ISCSI_KEEP_H
#define ISCSI_KEEP_H

#include "targets/iscsi/lu.h"

enum iscsi_keep_state { ISCSI_KEEP_DONE, ISCSI_KEEP_BUSY, ISCSI_KEEP_FAILED };

bool iscsi_keep_can(const struct iscsi_server *srv);
/* Has the control thread keep the unit's state as it is; with lu->lock held, on the
   thread of a session that sees the unit. What iscsi_keep_look wants to know. */
uint64_t iscsi_keep(struct iscsi_server *srv, struct iscsi_lu *lu);
/* With lu->lock held. While it is BUSY, ISCSI_WANT_RESUME will come. */
enum iscsi_keep_state iscsi_keep_look(const struct iscsi_lu *lu, uint64_t number);
/* Control thread: at once; into a new unit. */
void iscsi_keep_now(struct iscsi_server *srv, struct iscsi_lu *lu);
void iscsi_keep_load(struct iscsi_server *srv, struct iscsi_lu *lu);

#endif
