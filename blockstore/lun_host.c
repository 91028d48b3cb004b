#include "blockstore/lun_int.h"

#include "common/secret.h"

#include <netdb.h>
#include <stdio.h>
#include <xxhash.h>

const char *lun_host_address(const struct bs_lun *l, char buf[BS_LUN_ADDR_TEXT])
{
	const struct sockaddr_storage *a = &l->addr[l->next_addr % l->naddrs];
	char host[NI_MAXHOST];

	if (getnameinfo((const struct sockaddr *)a, sizeof(*a), host, sizeof(host), NULL, 0,
			NI_NUMERICHOST) != 0)
		return bs_lun_url_portal(&l->url, buf);
	(void)snprintf(buf, BS_LUN_ADDR_TEXT, a->ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
		       l->url.port);
	return buf;
}

static int resolve(struct bs_lun *l, struct vs_error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
	int rc = getaddrinfo(l->url.host, NULL, &hints, &list);

	if (rc != 0)
		return vs_fail(err, VS_E_NOENT, "%s: cannot find host %s: %s", l->name, l->url.host,
			       gai_strerror(rc));
	for (a = list; a && l->naddrs < LUN_ADDRS; a = a->ai_next)
		if (a->ai_addrlen <= sizeof(l->addr[0]))
			memcpy(&l->addr[l->naddrs++], a->ai_addr, a->ai_addrlen);
	freeaddrinfo(list);
	return l->naddrs
		   ? 0
		   : vs_fail(err, VS_E_NOENT, "%s: host %s has no address", l->name, l->url.host);
}

/* That of the machine's other initiator, else one like those Debian makes. */
static void initiator_name(char name[BS_LUN_NAME_MAX + 1])
{
	char line[300], id[64] = "";
	FILE *f = fopen("/etc/iscsi/initiatorname.iscsi", "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "InitiatorName=%223[a-zA-Z0-9.:-]", name) == 1;
	if (f)
		(void)fclose(f);
	if (found)
		return;
	f = fopen("/etc/machine-id", "re");
	if (f && fread(id, 1, 32, f) != 32)
		id[0] = '\0';
	if (f)
		(void)fclose(f);
	(void)snprintf(name, BS_LUN_NAME_MAX + 1, "iqn.1993-08.org.debian:01:%012llx",
		       (unsigned long long)XXH3_64bits(id, strlen(id)) >> 16);
}

static int session_id(struct bs_lun *l, const char *word)
{
	uint64_t id = 0;

	if (!word) {
		if (vs_random(&id, sizeof(id)) != 0)
			return VS_E_IO;
	} else {
		id = XXH3_64bits(l->url.target, strlen(l->url.target));
		id = XXH3_64bits_withSeed(word, strlen(word), id + l->url.lun);
	}
	l->isid = id & 0xffffff;
	l->isid_low = (id >> 24) & 0xffff;
	return 0;
}

int lun_host_init(struct bs_lun *l, const char *session, struct vs_error *err)
{
	initiator_name(l->initiator);
	if (session_id(l, session) != 0)
		return vs_fail(err, VS_E_IO, "no random numbers");
	return resolve(l, err);
}
