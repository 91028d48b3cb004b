#include "targets/nfs/portmap_format.h"

#include "common/text.h"

#include <stdio.h>

#define PORTMAP_VERSION 2u
#define OWNER "unknown" /* of an entry; nobody can unset it */

static void decode_mapping(struct nfs_dec *d, struct nfs_portmap_args *out)
{
	out->prog = nfs_dec_u32(d);
	out->vers = nfs_dec_u32(d);
	out->prot = nfs_dec_u32(d);
	(void)nfs_dec_u32(d); /* port */
}

static void decode_rpcb(struct nfs_dec *d, struct nfs_portmap_args *out)
{
	out->prog = nfs_dec_u32(d);
	out->vers = nfs_dec_u32(d);
	out->netid = nfs_dec_bytes(d, NFS_PORTMAP_STRING_MAX);
	(void)nfs_dec_bytes(d, NFS_PORTMAP_STRING_MAX); /* addr */
	(void)nfs_dec_bytes(d, NFS_PORTMAP_STRING_MAX); /* owner */
}

bool nfs_portmap_args_decode(uint32_t version, uint32_t proc, struct nfs_dec *d,
			     struct nfs_portmap_args *out)
{
	memset(out, 0, sizeof(*out));
	if (proc == NFS_PORTMAP_NULL || proc == NFS_PORTMAP_DUMP)
		return nfs_dec_ok(d);
	if (version == PORTMAP_VERSION)
		decode_mapping(d, out);
	else
		decode_rpcb(d, out);
	return nfs_dec_ok(d);
}

void nfs_portmap_uaddr(const char *host, uint16_t port, char uaddr[NFS_PORTMAP_UADDR_MAX])
{
	(void)snprintf(uaddr, NFS_PORTMAP_UADDR_MAX, "%s.%u.%u", host, port >> 8, port & 255u);
}

static void encode_string(struct nfs_enc *e, const char *text)
{
	nfs_enc_bytes(e, text, (uint32_t)strlen(text));
}

void nfs_portmap_address_encode(struct nfs_enc *e, uint32_t version,
				const struct nfs_portmap_entry *entry)
{
	if (version == PORTMAP_VERSION)
		nfs_enc_u32(e, entry ? entry->port : 0);
	else
		encode_string(e, entry ? entry->uaddr : "");
}

void nfs_portmap_node_encode(struct nfs_enc *e, uint32_t version,
			     const struct nfs_portmap_entry *entry)
{
	nfs_enc_u32(e, 1);
	nfs_enc_u32(e, entry->prog);
	nfs_enc_u32(e, entry->vers);
	if (version == PORTMAP_VERSION) {
		nfs_enc_u32(e, entry->prot);
		nfs_enc_u32(e, entry->port);
		return;
	}
	encode_string(e, entry->netid);
	encode_string(e, entry->uaddr);
	encode_string(e, OWNER);
}

void nfs_portmap_list_end(struct nfs_enc *e)
{
	nfs_enc_u32(e, 0);
}

void nfs_portmap_mapping_encode(struct nfs_enc *e, const struct nfs_portmap_entry *entry)
{
	nfs_enc_u32(e, entry->prog);
	nfs_enc_u32(e, entry->vers);
	nfs_enc_u32(e, NFS_PORTMAP_TCP);
	nfs_enc_u32(e, 0); /* the port */
}

void nfs_rpcbind_args_encode(struct nfs_enc *e, const struct nfs_portmap_entry *entry)
{
	nfs_enc_u32(e, entry->prog);
	nfs_enc_u32(e, entry->vers);
	encode_string(e, entry->netid);
	encode_string(e, entry->uaddr);
	encode_string(e, "");
}

bool nfs_rpcbind_node_decode(struct nfs_dec *d, struct nfs_portmap_node *out)
{
	if (!nfs_dec_bool(d))
		return false;
	out->prog = nfs_dec_u32(d);
	out->vers = nfs_dec_u32(d);
	out->netid = nfs_dec_bytes(d, NFS_PORTMAP_STRING_MAX);
	out->uaddr = nfs_dec_bytes(d, NFS_PORTMAP_STRING_MAX);
	(void)nfs_dec_bytes(d, NFS_PORTMAP_STRING_MAX); /* owner */
	return !d->bad;
}

bool nfs_portmap_uaddr_parse(struct nfs_bytes uaddr, char host[NFS_PORTMAP_UADDR_MAX],
			     uint16_t *port)
{
	uint64_t byte[2];

	if (uaddr.len >= NFS_PORTMAP_UADDR_MAX)
		return false;
	memcpy(host, uaddr.p, uaddr.len);
	host[uaddr.len] = '\0';
	for (int i = 1; i >= 0; i--) {
		char *dot = strrchr(host, '.');

		if (!dot || vs_parse_u64(dot + 1, UINT8_MAX, &byte[i]))
			return false;
		*dot = '\0';
	}
	*port = (uint16_t)(byte[0] << 8 | byte[1]);
	return true;
}
