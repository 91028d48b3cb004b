#include "blockstore/nfs_discover.h"

#include "blockstore/nfs_file_int.h"
#include "common/text.h"

#include <nfsc/libnfs-raw-portmap.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>

#define PATIENCE_NS (10 * NF_SECOND)

/* One conversation: connect, ask once. */
struct talk {
	struct rpc_context *rpc;
	int (*ask)(struct talk *t);
	bool done, failed;
	char why[200];
	uint64_t until;

	uint16_t port; /* of MOUNT */
	unsigned n;
	void (*found)(void *arg, const char *path, const char *client);
	void *arg;
};

static void fail(struct talk *t, const char *why)
{
	if (t->done)
		return;
	(void)snprintf(t->why, sizeof(t->why), "%s", why);
	vs_clean_line(t->why);
	t->done = t->failed = true;
}

static void connected(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct talk *t = arg;

	(void)data;
	if (status != RPC_STATUS_SUCCESS || t->ask(t) != 0)
		fail(t, nf_cause(rpc));
}

static void converse(struct talk *t)
{
	while (!t->done) {
		struct pollfd p = {.fd = rpc_get_fd(t->rpc),
				   .events = (short)rpc_which_events(t->rpc)};
		int n = poll(&p, 1, 100);

		if (vs_now_ns() > t->until)
			fail(t, "no answer within 10 s");
		else if (n > 0 &&
			 rpc_service(t->rpc, p.revents & POLLERR ? POLLERR : p.revents) < 0)
			fail(t, nf_cause(t->rpc));
	}
}

/* False: t->why says why not. */
static bool talk(struct talk *t, const char *host, uint16_t port, int (*ask)(struct talk *t))
{
	t->done = t->failed = false;
	t->ask = ask;
	t->rpc = rpc_init_context();
	if (!t->rpc) {
		fail(t, "out of memory");
		return false;
	}
	if (rpc_connect_async(t->rpc, host, port, connected, t) == 0)
		converse(t);
	else
		fail(t, nf_cause(t->rpc));
	t->done = true;
	rpc_destroy_context(t->rpc);
	return !t->failed;
}

static void port_told(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct talk *t = arg;

	if (t->done)
		return;
	if (status != RPC_STATUS_SUCCESS || !data)
		fail(t, nf_cause(rpc));
	else if (*(uint32_t *)data > 0 && *(uint32_t *)data <= UINT16_MAX)
		t->port = (uint16_t) * (uint32_t *)data;
	t->done = true;
}

static int ask_port(struct talk *t)
{
	return rpc_pmap2_getport_async(t->rpc, MOUNT_PROGRAM, MOUNT_V3, IPPROTO_TCP, port_told, t);
}

static void tell(struct talk *t, const struct exportnode *e)
{
	char path[BS_NFS_PATH_MAX], client[256];

	(void)snprintf(path, sizeof(path), "%s", e->ex_dir);
	vs_clean_line(path);
	for (const struct groupnode *g = e->ex_groups; g; g = g->gr_next) {
		(void)snprintf(client, sizeof(client), "%s", g->gr_name ? g->gr_name : "");
		vs_clean_line(client);
		t->found(t->arg, path, client);
	}
	t->found(t->arg, path, NULL);
}

static void listed(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct talk *t = arg;

	if (t->done)
		return;
	if (status != RPC_STATUS_SUCCESS) {
		fail(t, nf_cause(rpc));
		return;
	}
	for (const struct exportnode *e = data ? *(exports *)data : NULL;
	     e && t->n++ < BS_NFS_EXPORTS_MAX; e = e->ex_next)
		if (e->ex_dir)
			tell(t, e);
	t->done = true;
}

static int ask_exports(struct talk *t)
{
	return rpc_mount3_export_async(t->rpc, listed, t);
}

/* Where MOUNT is: at the port that was named, else where the portmapper says, else with NFS. */
static bool ask(struct talk *t, const struct bs_nfs_url *server, const char *host)
{
	t->port = server->port ? server->port : BS_NFS_PORT;
	if (server->port && talk(t, host, t->port, ask_exports))
		return true;
	(void)talk(t, host, NF_PORTMAPPER, ask_port);
	return talk(t, host, t->port, ask_exports);
}

int bs_nfs_discover(const struct bs_nfs_url *server,
		    void (*found)(void *arg, const char *path, const char *client), void *arg,
		    struct vs_error *err)
{
	struct talk t = {.found = found, .arg = arg, .until = vs_now_ns() + PATIENCE_NS};
	char name[BS_NFS_URL_TEXT], host[BS_FAR_HOST_TEXT];
	struct bs_far_addrs addrs;
	int rc;

	(void)bs_nfs_url_text(server, name);
	rc = bs_far_resolve(server->host, name, &addrs, err);
	for (unsigned i = 0; rc == 0 && i < addrs.n; i++)
		if (ask(&t, server, bs_far_numeric(&addrs.at[i], server->host, host)))
			return 0;
	return rc ? rc : vs_fail(err, VS_E_IO, "%.160s: %s", name, t.why);
}
