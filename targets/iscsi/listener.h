/* Listening sockets, on the control thread's loop. Not for others than targets/iscsi/. */
#ifndef ISCSI_LISTENER_H
#define ISCSI_LISTENER_H

#include "targets/iscsi/internal.h"

/* p->srv is set; before the control thread runs. Closed with iscsi_listener_close, also on failure.
 */
int iscsi_listener_open(struct iscsi_portal_state *p, const struct iscsi_portal *cfg,
			struct vs_error *err) vs_must_check;
void iscsi_listener_close(struct iscsi_portal_state *p); /* control thread */
void iscsi_listener_resume(struct iscsi_server *srv);	 /* control thread: a connection has gone */

#endif
