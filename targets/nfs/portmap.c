/*
 * The port mapper of a server that was told to be one (RFC 1833). It knows this server only: what
 * it says comes from the table of programs and the addresses that are listened on. It takes no
 * mappings of others and passes no calls on: CALLIT is what port mappers are abused for.
 */
#include "targets/nfs/program.h"

#include <sys/socket.h>

#define LIST_BYTES (8u << 10) /* of DUMP; an entry takes 128 bytes at most */

/* The address that a client came in by. */
struct local {
	struct nfs_address address;
	bool v6;
};

static bool find_local(const struct nfs_conn *c, struct local *out)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);

	if (getsockname(c->watch.fd, (struct sockaddr *)&ss, &len) ||
	    !nfs_address_from(&ss, &out->address))
		return false;
	out->v6 = ss.ss_family == AF_INET6;
	return true;
}

/* The port that a program has at that address; 0: none. */
static uint16_t find_port(const struct nfs_common *common, const struct local *at, bool portmap)
{
	for (unsigned i = 0; i < common->nplaces; i++) {
		const struct nfs_place *p = &common->places[i];

		if (p->portmap == portmap && p->v6 == at->v6 &&
		    (p->any || nfs_address_equal(&p->address, &at->address)))
			return p->port;
	}
	return 0;
}

/* Whether the program is to be reached at all; fills everything but vers. */
static bool describe(const struct nfs_common *common, const struct local *at,
		     const struct nfs_program *program, struct nfs_portmap_entry *out)
{
	char host[NFS_ADDRESS_MAX];

	out->prog = program->number;
	out->port = find_port(common, at, program->number == NFS_PORTMAP_PROG);
	out->netid = at->v6 ? "tcp6" : "tcp";
	nfs_address_text(&at->address, host, sizeof(host));
	nfs_portmap_uaddr(host, out->port, out->uaddr);
	return out->port;
}

/* Over TCP, and over what the client itself came by: no other transport is listened on. */
static bool transport_fits(const struct nfs_call *call, const char *netid)
{
	const struct nfs_portmap_args *a = &call->args.portmap;

	if (call->rpc.vers == nfs_portmap2_version.version)
		return a->prot == NFS_PORTMAP_TCP;
	return a->netid.len == 0 ||
	       (a->netid.len == strlen(netid) && memcmp(a->netid.p, netid, a->netid.len) == 0);
}

static bool has_version(const struct nfs_program *p, uint32_t version)
{
	for (uint32_t i = 0; i < p->nversions; i++)
		if (p->versions[i]->version == version)
			return true;
	return false;
}

/*
 * GETPORT and GETADDR name the program's port also when it has other versions only, so that the
 * client hears from the program which; GETVERSADDR does not (section 2.2.2).
 */
static bool start_getaddr(struct nfs_call *call)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);
	const struct nfs_portmap_args *a = &call->args.portmap;
	bool exact = call->rpc.proc == NFS_RPCBIND_GETVERSADDR, found = false;
	struct nfs_portmap_entry entry;
	const struct nfs_program *p;
	struct local at;

	if (find_local(call->conn, &at))
		for (size_t i = 0; !found && (p = nfs_program_at(i)); i++)
			found = p->number == a->prog && (!exact || has_version(p, a->vers)) &&
				describe(call->conn->worker->common, &at, p, &entry) &&
				transport_fits(call, entry.netid);
	nfs_portmap_address_encode(&e, call->rpc.vers, found ? &entry : NULL);
	nfs_call_answer(call, &e);
	return true;
}

static void list(const struct nfs_call *call, const struct local *at, struct nfs_enc *e)
{
	struct nfs_portmap_entry entry;
	const struct nfs_program *p;

	for (size_t i = 0; (p = nfs_program_at(i)); i++) {
		if (!describe(call->conn->worker->common, at, p, &entry))
			continue;
		for (uint32_t v = 0; v < p->nversions; v++) {
			entry.vers = p->versions[v]->version;
			nfs_portmap_node_encode(e, call->rpc.vers, &entry);
		}
	}
}

static bool start_dump(struct nfs_call *call)
{
	struct nfs_enc e, nodes;
	struct local at;

	if (!nfs_call_memory(call, &call->data, LIST_BYTES))
		return false;
	e = nfs_call_reply(call, NFS_RPC_SUCCESS);
	nodes = (struct nfs_enc){call->data.p, call->data.p + LIST_BYTES, false};
	if (find_local(call->conn, &at))
		list(call, &at, &nodes);
	nfs_portmap_list_end(&nodes);
	VS_ASSERT(!nodes.bad); /* the table of programs is ours */
	call->data_len = (uint32_t)(nodes.p - call->data.p);
	nfs_call_answer(call, &e);
	return true;
}

static bool start_null(struct nfs_call *call)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);

	nfs_call_answer(call, &e);
	return true;
}

/* SET and UNSET: FALSE, whoever asks. */
static bool start_refuse(struct nfs_call *call)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);

	nfs_enc_u32(&e, false);
	nfs_call_answer(call, &e);
	return true;
}

static bool decode(struct nfs_call *call, struct nfs_dec *d)
{
	return nfs_portmap_args_decode(call->rpc.vers, call->rpc.proc, d, &call->args.portmap);
}

static const struct nfs_procedure procedures[NFS_RPCBIND_PROCS] = {
    [NFS_PORTMAP_NULL] = {decode, start_null, false},
    [NFS_PORTMAP_SET] = {decode, start_refuse, false},
    [NFS_PORTMAP_UNSET] = {decode, start_refuse, false},
    [NFS_PORTMAP_GETPORT] = {decode, start_getaddr, false},
    [NFS_PORTMAP_DUMP] = {decode, start_dump, false},
    [NFS_RPCBIND_GETVERSADDR] = {decode, start_getaddr, false},
};

const struct nfs_version nfs_portmap2_version = {2, NFS_PORTMAP_PROCS, procedures};
const struct nfs_version nfs_rpcbind3_version = {3, NFS_PORTMAP_PROCS, procedures};
const struct nfs_version nfs_rpcbind4_version = {4, NFS_RPCBIND_PROCS, procedures};
