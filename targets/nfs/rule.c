#include "targets/nfs/rule.h"

#include "common/text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#define V4_BITS 96u /* of the prefix that IPv4 addresses have here */

_Static_assert(NFS_RPC_GROUPS_MAX <= DS_GROUPS_MAX, "a caller's groups fit");

static const uint8_t v4_prefix[12] = {[10] = 0xff, 0xff};

bool nfs_address_is_v4(const struct nfs_address *a)
{
	return memcmp(a->b, v4_prefix, sizeof(v4_prefix)) == 0;
}

static void from_v4(const void *four, struct nfs_address *out)
{
	memcpy(out->b, v4_prefix, sizeof(v4_prefix));
	memcpy(out->b + sizeof(v4_prefix), four, 4);
}

static bool parse_address(const char *text, struct nfs_address *out)
{
	uint8_t four[4];

	if (inet_pton(AF_INET, text, four) != 1)
		return inet_pton(AF_INET6, text, out->b) == 1;
	from_v4(four, out);
	return true;
}

/* Whether the bits of a and b are the same from `from` up to (not including) `to`. */
static bool same_bits(const struct nfs_address *a, const struct nfs_address *b, unsigned from,
		      unsigned to)
{
	for (unsigned i = from; i < to;) {
		unsigned left = 8 - i % 8, n = VS_MIN(left, to - i);
		unsigned mask = ((1u << n) - 1) << (left - n);

		if ((a->b[i / 8] ^ b->b[i / 8]) & mask)
			return false;
		i += n;
	}
	return true;
}

int nfs_rule_parse(const struct nfs_rule *rule, struct nfs_match *out, struct vs_error *err)
{
	static const struct nfs_address zero;
	const char *slash = strchr(rule->clients, '/');
	size_t n = slash ? (size_t)(slash - rule->clients) : strlen(rule->clients);
	char text[NFS_ADDRESS_MAX];
	uint64_t bits, most;

	if (n >= sizeof(text))
		return vs_fail(err, VS_E_INVAL, "an NFS client list holds what is no address");
	memcpy(text, rule->clients, n);
	text[n] = '\0';
	if (!parse_address(text, &out->net))
		return vs_fail(err, VS_E_INVAL,
			       "NFS clients %s: not a numeric address or ADDRESS/BITS",
			       rule->clients);
	out->v4 = nfs_address_is_v4(&out->net);
	most = out->v4 ? 32 : 128;
	bits = most;
	if (slash && vs_parse_u64(slash + 1, most, &bits))
		return vs_fail(err, VS_E_INVAL, "NFS clients %s: a prefix has 0 to %u bits",
			       rule->clients, (unsigned)most);
	out->bits = (uint8_t)(bits + (out->v4 ? V4_BITS : 0));
	if (!same_bits(&out->net, &zero, out->bits, 128))
		return vs_fail(err, VS_E_INVAL,
			       "NFS clients %s: the address has bits beyond its prefix",
			       rule->clients);
	out->read_only = rule->read_only;
	out->squash = rule->squash;
	out->anonymous_uid = rule->anonymous_uid;
	out->anonymous_gid = rule->anonymous_gid;
	return 0;
}

void nfs_address_text(const struct nfs_address *a, char *text, size_t len)
{
	if (nfs_address_is_v4(a))
		(void)inet_ntop(AF_INET, a->b + sizeof(v4_prefix), text, (socklen_t)len);
	else
		(void)inet_ntop(AF_INET6, a->b, text, (socklen_t)len);
}

void nfs_match_text(const struct nfs_match *m, char text[NFS_ADDRESS_MAX])
{
	size_t n;

	nfs_address_text(&m->net, text, NFS_ADDRESS_MAX);
	n = strlen(text);
	(void)snprintf(text + n, NFS_ADDRESS_MAX - n, "/%u", m->bits - (m->v4 ? V4_BITS : 0));
}

const struct nfs_match *nfs_rule_find(const struct nfs_match *m, size_t n,
				      const struct nfs_address *a)
{
	const struct nfs_match *best = NULL;
	bool v4 = nfs_address_is_v4(a);

	/* ::/0 is all of IPv6 and nothing of IPv4. */
	for (; n; n--, m++)
		if (m->v4 == v4 && (!best || m->bits > best->bits) &&
		    same_bits(&m->net, a, 0, m->bits))
			best = m;
	return best;
}

bool nfs_address_from(const struct sockaddr_storage *ss, struct nfs_address *out)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)ss;

	if (ss->ss_family == AF_INET)
		from_v4(&((const struct sockaddr_in *)ss)->sin_addr, out);
	else if (ss->ss_family == AF_INET6)
		memcpy(out->b, &six->sin6_addr, sizeof(out->b));
	else
		return false;
	return true;
}

socklen_t nfs_address_to(const struct nfs_address *a, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	memset(out, 0, sizeof(*out));
	if (nfs_address_is_v4(a)) {
		memcpy(&in.sin_addr, a->b + 12, sizeof(in.sin_addr));
		memcpy(out, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(&in6.sin6_addr, a->b, sizeof(in6.sin6_addr));
	memcpy(out, &in6, sizeof(in6));
	return sizeof(in6);
}

bool nfs_address_equal(const struct nfs_address *a, const struct nfs_address *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

void nfs_rule_squash(const struct nfs_match *m, const struct nfs_rpc_cred *from, struct ds_cred *to)
{
	to->ngroups = 0;
	if (m->squash == NFS_SQUASH_ALL || from->flavor != NFS_RPC_AUTH_SYS) {
		to->uid = m->anonymous_uid;
		to->gid = m->anonymous_gid;
		return;
	}
	to->uid = from->uid;
	to->gid = from->gid;
	to->ngroups = from->ngroups;
	memcpy(to->group, from->group, from->ngroups * sizeof(*to->group));
	if (m->squash != NFS_SQUASH_ROOT)
		return;
	/* The group of root is no less than root where files are that only it may write. */
	if (to->uid == 0)
		to->uid = m->anonymous_uid;
	if (to->gid == 0)
		to->gid = m->anonymous_gid;
	for (uint32_t i = 0; i < to->ngroups; i++)
		if (to->group[i] == 0)
			to->group[i] = m->anonymous_gid;
}
