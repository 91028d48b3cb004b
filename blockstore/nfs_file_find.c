/*
 * From a URL to an open file: ports, export, names, attributes, the write verifier. After a break
 * the handle is used again, so it is the same file whatever its name is by then.
 */
#include "blockstore/nfs_file_find.h"

#include <nfsc/libnfs-raw-portmap.h>
#include <netinet/in.h>

void nf_go(struct bs_nfs_file *f, const struct nf_find *step)
{
	bool same = f->step && f->step->where == step->where && f->rpc && !f->turning;

	f->step = step;
	if (same)
		nf_find_connected(f);
	else
		f->turning = true;
}

void nf_find_connected(struct bs_nfs_file *f)
{
	if (f->step->send(f) != 0)
		nf_path_fail(f, VS_E_IO, "%s cannot be sent: %s", f->step->what, nf_cause(f->rpc));
}

uint16_t nf_find_port(const struct bs_nfs_file *f)
{
	return f->step->where == NF_AT_PORTMAPPER ? NF_PORTMAPPER
	       : f->step->where == NF_AT_MOUNT	  ? f->mount_port
						  : f->nfs_port;
}

void nf_find_start(struct bs_nfs_file *f)
{
	f->asked_ports = f->refused = f->turning = false;
	f->nfs_port = f->mount_port = f->url.port ? f->url.port : BS_NFS_PORT;
	f->found = (struct nf_attr){0};
	f->look_ns = 0;
	f->export_len = strlen(f->url.path);
	if (f->path.opened)
		f->step = f->url.port ? &nf_ask_attributes : &nf_nfs_port;
	else
		f->step = f->url.port ? &nf_mount_export : &nf_mount_port;
}

/* The step after the portmapper was asked for what the one at hand wants, or is not there. */
static void have_ports(struct bs_nfs_file *f)
{
	f->asked_ports = true;
	nf_go(f, f->path.opened ? &nf_ask_attributes : &nf_mount_export);
}

void nf_find_refused(struct bs_nfs_file *f, const char *why)
{
	if (f->step->where == NF_AT_PORTMAPPER && !f->asked_ports)
		have_ports(f); /* where the services then are is known */
	else if (f->step == &nf_mount_export && !f->asked_ports)
		nf_go(f, &nf_mount_port);
	else
		nf_path_fail(f, VS_E_IO, "cannot connect: %s", why);
}

/* False: there is no answer to look at. */
bool nf_find_answer(struct bs_nfs_file *f, int status, const void *data)
{
	if (f->dropping || f->broken || f->turning)
		return false;
	if (status == RPC_STATUS_SUCCESS && data) {
		nf_path_alive(f);
		return true;
	}
	/* a port that was named for NFS need not have MOUNT */
	if (f->step == &nf_mount_export && !f->asked_ports)
		nf_go(f, &nf_mount_port);
	else
		nf_path_fail(f, VS_E_IO, "%s: %s", f->step->what, nf_cause(f->rpc));
	return false;
}

/* ---- ports ----------------------------------------------------------------------------------- */

static void take_port(struct bs_nfs_file *f, const uint32_t *said, uint16_t *port)
{
	if (*said > 0 && *said <= UINT16_MAX)
		*port = (uint16_t)*said;
	if (f->step == &nf_mount_port && !f->url.port)
		nf_go(f, &nf_nfs_port);
	else
		have_ports(f);
}

static void port_told(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;

	(void)rpc;
	if (f->dropping || f->broken || f->turning)
		return;
	if (status != RPC_STATUS_SUCCESS || !data) {
		have_ports(f);
		return;
	}
	take_port(f, data, f->step == &nf_mount_port ? &f->mount_port : &f->nfs_port);
}

static int send_mount_port(struct bs_nfs_file *f)
{
	return rpc_pmap2_getport_async(f->rpc, MOUNT_PROGRAM, MOUNT_V3, IPPROTO_TCP, port_told, f);
}

static int send_nfs_port(struct bs_nfs_file *f)
{
	return rpc_pmap2_getport_async(f->rpc, NFS_PROGRAM, NFS_V3, IPPROTO_TCP, port_told, f);
}

/* ---- the export ------------------------------------------------------------------------------ */

bool nf_take_handle(struct nf_handle *h, uint32_t n, const char *data)
{
	if (n == 0 || n > sizeof(h->data))
		return false;
	h->n = n;
	memcpy(h->data, data, n);
	return true;
}

nfs_fh3 nf_fh(struct nf_handle *h)
{
	return (nfs_fh3){.data = {.data_len = h->n, .data_val = h->data}};
}

/* The longest folder is tried first: an export may be any of those above the file. */
static bool shorter(struct bs_nfs_file *f)
{
	if (f->export_len == 1)
		return false;
	while (f->url.path[--f->export_len] != '/')
		;
	f->export_len = VS_MAX(f->export_len, (size_t)1);
	return true;
}

static void not_exported(struct bs_nfs_file *f)
{
	char server[BS_FAR_HOST_TEXT];

	(void)bs_far_host_text(f->url.host, f->url.port, server);
	if (f->refused)
		nf_path_fail(f, VS_E_ACCESS,
			     "the server admits this node to no export that has it; they are "
			     "shown by: vstore discover nfs://%.60s",
			     server);
	else
		nf_path_fail(f, VS_E_NOENT,
			     "no export of the server has it; they are shown by: vstore discover "
			     "nfs://%.60s",
			     server);
}

/* AUTH_SYS, or nothing said: RFC 1813 section 5.2.1. */
static bool takes_our_word(const mountres3_ok *ok)
{
	for (uint32_t i = 0; i < ok->auth_flavors.auth_flavors_len; i++)
		if (ok->auth_flavors.auth_flavors_val[i] == AUTH_UNIX)
			return true;
	return ok->auth_flavors.auth_flavors_len == 0;
}

static void mounted(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct bs_nfs_file *f = arg;
	const mountres3 *r = data;

	(void)rpc;
	if (!nf_find_answer(f, status, data))
		return;
	if (r->fhs_status == MNT3_OK) {
		const mountres3_ok *ok = &r->mountres3_u.mountinfo;

		f->at = f->export_len == 1 ? 0 : f->export_len;
		if (!takes_our_word(ok))
			nf_path_fail(f, VS_E_NOTSUP,
				     "the export wants Kerberos; only AUTH_SYS is known here, so "
				     "let this node in with sec=sys");
		else if (nf_take_handle(&f->file, ok->fhandle.fhandle3_len,
					ok->fhandle.fhandle3_val))
			nf_go(f, &nf_look_up);
		else
			nf_path_fail(f, VS_E_PROTO, "MOUNT: the answer makes no sense");
		return;
	}
	f->refused |= r->fhs_status == MNT3ERR_ACCES || r->fhs_status == MNT3ERR_PERM;
	if (!shorter(f))
		not_exported(f);
	else
		nf_go(f, &nf_mount_export);
}

static int send_mount(struct bs_nfs_file *f)
{
	char path[BS_NFS_PATH_MAX];

	if (f->export_len == strlen(f->url.path))
		(void)shorter(f);
	memcpy(path, f->url.path, f->export_len);
	path[f->export_len] = '\0';
	return rpc_mount3_mnt_async(f->rpc, mounted, path, f);
}

const struct nf_find nf_mount_port = {NF_AT_PORTMAPPER, send_mount_port, "GETPORT"};
const struct nf_find nf_nfs_port = {NF_AT_PORTMAPPER, send_nfs_port, "GETPORT"};
const struct nf_find nf_mount_export = {NF_AT_MOUNT, send_mount, "MOUNT"};
