/* Calls into the control thread and its registry. Not for others than targets/iscsi/. */
#ifndef ISCSI_CONTROL_H
#define ISCSI_CONTROL_H

#include "targets/iscsi/internal.h"

#include <semaphore.h>

/* A call that another thread makes and waits for. */
struct iscsi_ctl_call {
	struct vs_post post;
	struct iscsi_server *srv;
	/* Returns true when it is done; else it is called again when a connection is gone. */
	bool (*run)(struct iscsi_ctl_call *call);
	void *arg;
	int rc;
	struct vs_error *err;
	sem_t done;
	struct iscsi_ctl_call *next; /* in srv->waiting */
};

/* Any thread but the server's own; returns call->rc. */
int iscsi_control_call(struct iscsi_ctl_call *call);

/* All below: control thread. */
void iscsi_control_retry_waiting(struct iscsi_server *srv);
void iscsi_control_add(struct iscsi_conn *c);
void iscsi_control_close(struct iscsi_conn *c);
void iscsi_control_ask_logout(struct iscsi_server *srv, const struct iscsi_target *t);
void iscsi_control_retarget(struct iscsi_server *srv, struct iscsi_target *old,
			    struct iscsi_target *t);
/* Nobody comes in any more; who is logged in is asked to go, and made to in the end. */
void iscsi_control_begin_stop(struct iscsi_server *srv);

#endif
