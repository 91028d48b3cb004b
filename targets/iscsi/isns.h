/*
 * Registers a server's targets and portals with an iSNS server (RFC 4171), on a thread of its own
 * that waits for nothing longer than some seconds.
 *
 * Ownership: iscsi_isns_start gives what iscsi_isns_stop takes back, before the iSCSI server is
 * stopped. Threads: any but the iSCSI server's own. The iSNS server may be away: it is tried again.
 */
#ifndef ISCSI_ISNS_H
#define ISCSI_ISNS_H

#include "targets/iscsi/server.h"

#include <sys/socket.h>

struct iscsi_isns_options {
	struct iscsi_server *server;
	struct sockaddr_storage address; /* of the iSNS server */
	socklen_t address_len;
	/* Told when registering begins to fail and when it is well again; on the thread. */
	void (*event)(void *arg, bool well, const char *message);
	void *event_arg;
};

struct iscsi_isns;

int iscsi_isns_start(const struct iscsi_isns_options *o, struct iscsi_isns **out,
		     struct vs_error *err) vs_must_check;
void iscsi_isns_changed(struct iscsi_isns *isns); /* the targets are others */
void iscsi_isns_stop(struct iscsi_isns *isns);	  /* deregisters; NULL: nothing */

#endif
