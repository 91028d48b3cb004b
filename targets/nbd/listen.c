#include "targets/nbd/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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

static int fail_listen(struct vs_error *err, const char *where)
{
	if (errno == EADDRINUSE)
		return vs_fail(err, VS_E_EXIST,
			       "cannot listen for NBD on %s: another program does already", where);
	if (errno == EADDRNOTAVAIL)
		return vs_fail(err, VS_E_INVAL,
			       "cannot listen for NBD on %s: this machine has no such address",
			       where);
	return vs_fail_errno(err, "cannot listen for NBD on %s", where);
}

int nbd_listen_tcp(const char *address, int *fd, struct vs_error *err)
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
			       "NBD address %s is not ADDR:PORT with a numeric address; an IPv6 "
			       "address stands in brackets",
			       address);
	*fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd < 0 || setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (ai->ai_family == AF_INET6 &&
	     setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
	    bind(*fd, ai->ai_addr, ai->ai_addrlen) || listen(*fd, BACKLOG)) {
		status = fail_listen(err, address);
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
	}
	freeaddrinfo(ai);
	return status;
}

/* Removes what a daemon that is gone left behind; 0 when the path is free then. */
static int clear_stale(const struct sockaddr_un *sun, struct vs_error *err)
{
	struct stat st;
	int fd, no;

	if (lstat(sun->sun_path, &st))
		return errno == ENOENT ? 0 : fail_listen(err, sun->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return vs_fail(err, VS_E_EXIST, "cannot listen for NBD on %s: a file is there",
			       sun->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail_listen(err, sun->sun_path);
	no = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) ? errno : 0;
	close(fd);
	if (no != ECONNREFUSED)
		return vs_fail(err, VS_E_EXIST,
			       "cannot listen for NBD on %s: another program does already",
			       sun->sun_path);
	if (unlink(sun->sun_path) && errno != ENOENT)
		return fail_listen(err, sun->sun_path);
	return 0;
}

int nbd_listen_unix(const char *path, int *fd, struct vs_error *err)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int status;

	*fd = -1;
	if (*path == '\0' || strlen(path) >= sizeof(sun.sun_path))
		return vs_fail(err, VS_E_INVAL,
			       "NBD socket path %s is empty or longer than %zu bytes", path,
			       sizeof(sun.sun_path) - 1);
	memcpy(sun.sun_path, path, strlen(path) + 1);
	status = clear_stale(&sun, err);
	if (status)
		return status;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* The mode of the socket before bind is the mode of the path: never open to others. */
	if (*fd >= 0 && fchmod(*fd, 0600) == 0 &&
	    bind(*fd, (struct sockaddr *)&sun, sizeof(sun)) == 0) {
		if (listen(*fd, BACKLOG) == 0)
			return 0;
		(void)unlink(path);
	}
	status = fail_listen(err, path);
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return status;
}

int nbd_listen_name(int fd, char *text, size_t len)
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
