#include "blockstore/far_host.h"

#include "common/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool bs_far_take(char *out, size_t max, const char *from, const char *to)
{
	size_t n = (size_t)(to - from);

	if (n >= max)
		return false;
	memcpy(out, from, n);
	out[n] = '\0';
	return true;
}

static bool host_ok(const char *host)
{
	if (!*host || *host == '-')
		return false;
	for (; *host; host++)
		if (!isalnum((unsigned char)*host) && !strchr("-._", *host))
			return false;
	return true;
}

static bool take_port(const char *at, const char *end, uint16_t *port)
{
	char text[8];
	uint64_t number;

	if (at == end)
		return true;
	if (*at != ':' || !bs_far_take(text, sizeof(text), at + 1, end) ||
	    vs_parse_u64(text, UINT16_MAX, &number) != 0 || number == 0)
		return false;
	*port = (uint16_t)number;
	return true;
}

bool bs_far_host_parse(const char *at, const char *end, char host[BS_FAR_HOST_MAX], uint16_t *port)
{
	uint8_t addr[16];
	const char *to;

	if (at != end && *at == '[') {
		to = memchr(at, ']', (size_t)(end - at));
		return to && bs_far_take(host, BS_FAR_HOST_MAX, at + 1, to) &&
		       inet_pton(AF_INET6, host, addr) == 1 && take_port(to + 1, end, port);
	}
	to = memchr(at, ':', (size_t)(end - at));
	if (!to)
		to = end;
	return bs_far_take(host, BS_FAR_HOST_MAX, at, to) && host_ok(host) &&
	       take_port(to, end, port);
}

const char *bs_far_host_text(const char *host, uint16_t port, char buf[BS_FAR_HOST_TEXT])
{
	bool v6 = strchr(host, ':') != NULL;
	char number[8] = "";

	if (port)
		(void)snprintf(number, sizeof(number), ":%u", port);
	(void)snprintf(buf, BS_FAR_HOST_TEXT, "%s%s%s%s", v6 ? "[" : "", host, v6 ? "]" : "",
		       number);
	return buf;
}

int bs_far_resolve(const char *host, const char *of, struct bs_far_addrs *out, struct vs_error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
	int rc = getaddrinfo(host, NULL, &hints, &list);

	if (rc != 0)
		return vs_fail(err, VS_E_NOENT, "%s: cannot find host %s: %s", of, host,
			       gai_strerror(rc));
	out->n = 0;
	for (a = list; a && out->n < BS_FAR_ADDRS; a = a->ai_next)
		if (a->ai_addrlen <= sizeof(out->at[0]))
			memcpy(&out->at[out->n++], a->ai_addr, a->ai_addrlen);
	freeaddrinfo(list);
	return out->n ? 0 : vs_fail(err, VS_E_NOENT, "%s: host %s has no address", of, host);
}

const char *bs_far_numeric(const struct sockaddr_storage *a, const char *host,
			   char buf[BS_FAR_HOST_TEXT])
{
	return getnameinfo((const struct sockaddr *)a, sizeof(*a), buf, BS_FAR_HOST_TEXT, NULL, 0,
			   NI_NUMERICHOST) == 0
		   ? buf
		   : host;
}

unsigned bs_far_number_in(const char *text)
{
	const char *paren = strrchr(text, '(');

	return paren ? (unsigned)strtoul(paren + 1, NULL, 10) : 0;
}
