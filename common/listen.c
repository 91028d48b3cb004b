#include "common/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128
#define HOST_MAX 64

/* Splits "HOST:PORT" or "[HOST]:PORT". */
static int split(const char *address, char host[HOST_MAX], const char **port)
{
	const char *begin = address, *end;

	if (*address == '[') {
		begin++;
		end = strchr(begin, ']');
		if (!end || end[1] != ':')
			return VS_E_INVAL;
		*port = end + 2;
	} else {
		end = strchr(begin, ':');
		if (!end || strchr(end + 1, ':'))
			return VS_E_INVAL;
		*port = end + 1;
	}
	if (end == begin || end - begin >= HOST_MAX || **port == '\0')
		return VS_E_INVAL;
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = '\0';
	return 0;
}

int vs_listen_fail(const char *what, const char *where, struct vs_error *err)
{
	if (errno == EADDRINUSE)
		return vs_fail(err, VS_E_EXIST,
			       "cannot listen for %s on %s: another program does already", what,
			       where);
	if (errno == EADDRNOTAVAIL)
		return vs_fail(err, VS_E_INVAL,
			       "cannot listen for %s on %s: this machine has no such address", what,
			       where);
	return vs_fail_errno(err, "cannot listen for %s on %s", what, where);
}

int vs_listen_tcp(const char *what, const char *address, int *fd, struct vs_error *err)
{
	const struct addrinfo hints = {
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
	    .ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *ai = NULL;
	char host[HOST_MAX];
	const char *port;
	int one = 1, status = 0;

	*fd = -1;
	if (split(address, host, &port) || getaddrinfo(host, port, &hints, &ai))
		return vs_fail(err, VS_E_INVAL,
			       "%s address %s is not ADDR:PORT with a numeric address; an IPv6 "
			       "address stands in brackets",
			       what, address);
	*fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd < 0 || setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (ai->ai_family == AF_INET6 &&
	     setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
	    bind(*fd, ai->ai_addr, ai->ai_addrlen) || listen(*fd, BACKLOG)) {
		status = vs_listen_fail(what, address, err);
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
	}
	freeaddrinfo(ai);
	return status;
}

int vs_listen_name(int fd, char *text, size_t len)
{
	struct sockaddr_storage ss = {0};
	socklen_t n = sizeof(ss);
	char host[HOST_MAX], port[8];

	if (getsockname(fd, (struct sockaddr *)&ss, &n) || ss.ss_family == AF_UNIX ||
	    getnameinfo((struct sockaddr *)&ss, n, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return VS_E_NOENT;
	(void)snprintf(text, len, ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return 0;
}
