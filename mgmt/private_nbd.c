#include "mgmt/private_nbd.h"

#include <stdio.h>
#include <unistd.h>

#define CONNECTIONS 16
#define THREADS 2

int mg_private_nbd_open(struct mg_node *n, const char *name, const char *full, bool read_only,
			struct mg_private_nbd *out, struct vs_error *err)
{
	const char *paths[] = {out->socket};
	struct nbd_server_options o = {.store = n->store,
				       .unix_paths = paths,
				       .nunix = 1,
				       .max_connections = CONNECTIONS,
				       .threads = THREADS};
	int rc;

	(void)snprintf(out->socket, sizeof(out->socket), "%s/%s.sock", n->run, name);
	rc = nbd_server_start(&o, &out->server, err);
	if (rc != 0)
		return rc;
	rc = nbd_server_export(out->server, full, read_only, err);
	if (rc != 0)
		mg_private_nbd_close(out);
	return rc;
}

void mg_private_nbd_close(struct mg_private_nbd *p)
{
	nbd_server_stop(p->server);
	(void)unlink(p->socket);
	p->server = NULL;
}
