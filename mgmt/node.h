/*
 * The node: the store and everything that is served from it, put together.
 *
 * Ownership: mg_node_open gives what mg_node_close takes back. Threads: the HTTP server's and the
 * tasks' threads read the pointers, which stay until close; `config` is held by whoever changes
 * what refers to volumes, from the check whether that may be to the change, so that two requests
 * cannot pass each other. It is taken before any other lock and never while waiting for a guest.
 */
#ifndef MG_NODE_H
#define MG_NODE_H

#include "blockstore/volume.h"
#include "mgmt/catalogue.h"
#include "mgmt/options.h"
#include "mgmt/task.h"

#include <pthread.h>

struct mg_attachments;
struct mg_iscsi;
struct mg_nbd;
struct mg_datastores;
struct mg_scrub;
struct mg_dedup;
struct mg_space;
struct mg_origins;
struct mg_vms;
struct mg_http;

struct mg_node {
	const struct mg_options *options;
	char state[MG_STATE_MAX];   /* absolute */
	char run[MG_STATE_MAX + 8]; /* STATE/run: private sockets, emptied at start */
	int lock_fd;
	uint64_t started_ns; /* monotonic */
	pthread_mutex_t config;
	struct mg_history *history;
	struct mg_catalogue *catalogue;
	struct mg_events *events;
	struct mg_tasks *tasks;
	struct bs_store *store;
	struct mg_iscsi *iscsi;
	struct mg_nbd *nbd;
	struct mg_datastores *datastores;
	struct mg_attachments *attachments;
	struct mg_origins *origins;
	struct mg_vms *vms;
	struct mg_space *space;
	struct mg_scrub *scrub;
	struct mg_dedup *dedup;
	struct mg_http *http;
};

/* Takes the state folder, opens the store, starts everything; VS_E_BUSY when another daemon has it.
 */
int mg_node_open(const struct mg_options *o, struct mg_node **out,
		 struct vs_error *err) vs_must_check;
/* Stops in reverse order; guests keep running. */
void mg_node_close(struct mg_node *n);

#endif
