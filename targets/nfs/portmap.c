/*
 * The port mapper of a server that was told to be one (RFC 1833). It knows this server only: what
 * it says comes from the table of programs and the addresses that are listened on. It takes no
 * mappings of others and passes no calls on: CALLIT is what port mappers are abused for.
 */
#include "targets/nfs/program.h"

#define LIST_BYTES (8u << 10) /* of DUMP; an entry takes 128 bytes at most */

/* The port that a program has at that address; 0: none. */
static uint16_t find_port(const struct nfs_common *common, const struct nfs_local *at, bool portmap,
			  bool udp)
{
	for (unsigned i = 0; i < common->nplaces; i++) {
		const struct nfs_place *p = &common->places[i];

		if (p->portmap == portmap && p->v6 == at->v6 && (!udp || p->udp) &&
		    (p->any || nfs_address_equal(&p->address, &at->address)))
			return p->port;
	}
	return 0;
}

/* Only what a client says when it has restarted comes by datagram (nsm_udp.h). */
static bool has_udp(const struct nfs_program *p)
{
	return p->number == NFS_NSM_PROG;
}

/* Whether the program is to be reached so; fills everything but vers. */
static bool describe(const struct nfs_common *common, const struct nfs_local *at,
		     const struct nfs_program *program, bool udp, struct nfs_portmap_entry *out)
{
	static const char *const netids[2][2] = {{"tcp", "tcp6"}, {"udp", "udp6"}};
	char host[NFS_ADDRESS_MAX];

	if (udp && !has_udp(program))
		return false;
	out->prog = program->number;
	out->port = find_port(common, at, program->number == NFS_PORTMAP_PROG, udp);
	out->prot = udp ? NFS_PORTMAP_UDP : NFS_PORTMAP_TCP;
	out->netid = netids[udp][at->v6];
	nfs_address_text(&at->address, host, sizeof(host));
	nfs_portmap_uaddr(host, out->port, out->uaddr);
	return out->port;
}

/* Of the family that the client itself came by: what it cannot reach is not said. */
static bool transport_fits(uint32_t vers, const struct nfs_portmap_args *a,
			   const struct nfs_portmap_entry *entry, bool asked_by_udp)
{
	size_t len = strlen(entry->netid);

	if (vers == nfs_portmap2_version.version)
		return a->prot == entry->prot;
	if (a->netid.len == 0) /* the one that the question came by */
		return entry->prot == (asked_by_udp ? NFS_PORTMAP_UDP : NFS_PORTMAP_TCP);
	return a->netid.len == len && memcmp(a->netid.p, entry->netid, len) == 0;
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
bool nfs_portmap_find(const struct nfs_common *common, const struct nfs_local *at,
		      const struct nfs_rpc_call *rpc, const struct nfs_portmap_args *a, bool by_udp,
		      struct nfs_portmap_entry *out)
{
	bool exact = rpc->proc == NFS_RPCBIND_GETVERSADDR;
	const struct nfs_program *p;

	for (size_t i = 0; (p = nfs_program_at(i)); i++) {
		if (p->number != a->prog || (exact && !has_version(p, a->vers)))
			continue;
		for (int udp = 0; udp <= 1; udp++)
			if (describe(common, at, p, udp, out) &&
			    transport_fits(rpc->vers, a, out, by_udp))
				return true;
	}
	return false;
}

static bool start_getaddr(struct nfs_call *call)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);
	struct nfs_portmap_entry entry;
	bool found = nfs_portmap_find(call->conn->worker->common, &call->conn->local, &call->rpc,
				      &call->args.portmap, false, &entry);

	nfs_portmap_address_encode(&e, call->rpc.vers, found ? &entry : NULL);
	nfs_call_answer(call, &e);
	return true;
}

static void list(const struct nfs_call *call, const struct nfs_local *at, struct nfs_enc *e)
{
	struct nfs_portmap_entry entry;
	const struct nfs_program *p;

	for (size_t i = 0; (p = nfs_program_at(i)); i++) {
		for (int udp = 0; udp <= 1; udp++) {
			if (!describe(call->conn->worker->common, at, p, udp, &entry))
				continue;
			for (uint32_t v = 0; v < p->nversions; v++) {
				entry.vers = p->versions[v]->version;
				nfs_portmap_node_encode(e, call->rpc.vers, &entry);
			}
		}
	}
}

static bool start_dump(struct nfs_call *call)
{
	struct nfs_enc e, nodes;

	if (!nfs_call_memory(call, &call->data, LIST_BYTES))
		return false;
	e = nfs_call_reply(call, NFS_RPC_SUCCESS);
	nodes = (struct nfs_enc){call->data.p, call->data.p + LIST_BYTES, false};
	list(call, &call->conn->local, &nodes);
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
