/*
 * Client lists: which addresses may use a share, and as whom. Pure functions, any thread.
 */
#ifndef NFS_RULE_H
#define NFS_RULE_H

#include "targets/nfs/rpc_format.h"
#include "targets/nfs/server.h"

#include <sys/socket.h>

/* IPv6, or IPv4 as ::ffff:a.b.c.d. */
struct nfs_address {
	uint8_t b[16];
};

/* A rule that was understood. */
struct nfs_match {
	struct nfs_address net;
	uint8_t bits; /* of net */
	bool v4;      /* for IPv4 only */
	bool read_only;
	enum nfs_squash squash;
	uint32_t anonymous_uid, anonymous_gid;
};

/* VS_E_INVAL: not an address or CIDR, or bits are set beyond the prefix. */
int nfs_rule_parse(const struct nfs_rule *rule, struct nfs_match *out,
		   struct vs_error *err) vs_must_check;
/* The list, as MOUNT's EXPORT shows it: "192.0.2.0/24". */
void nfs_match_text(const struct nfs_match *m, char text[NFS_ADDRESS_MAX]);
/* The one of n that rules for an address; NULL: none holds it. */
const struct nfs_match *nfs_rule_find(const struct nfs_match *m, size_t n,
				      const struct nfs_address *a);
/* False: of no family that there is here. */
bool nfs_address_from(const struct sockaddr_storage *ss, struct nfs_address *out);
bool nfs_address_is_v4(const struct nfs_address *a);
/* The socket's address; its length. */
socklen_t nfs_address_to(const struct nfs_address *a, uint16_t port, struct sockaddr_storage *out);
bool nfs_address_equal(const struct nfs_address *a, const struct nfs_address *b);
void nfs_address_text(const struct nfs_address *a, char *text, size_t len); /* 46 bytes at least */

/* Who the caller is for the datastore. */
void nfs_rule_squash(const struct nfs_match *m, const struct nfs_rpc_cred *from,
		     struct ds_cred *to);

#endif
