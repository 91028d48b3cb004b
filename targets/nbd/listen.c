#include "targets/nbd/listen.h"

#include "common/listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

/* Removes what a daemon that is gone left behind; 0 when the path is free then. */
static int clear_stale(const struct sockaddr_un *sun, struct vs_error *err)
{
	struct stat st;
	int fd, no;

	if (lstat(sun->sun_path, &st))
		return errno == ENOENT ? 0 : vs_listen_fail("NBD", sun->sun_path, err);
	if (!S_ISSOCK(st.st_mode))
		return vs_fail(err, VS_E_EXIST, "cannot listen for NBD on %s: a file is there",
			       sun->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return vs_listen_fail("NBD", sun->sun_path, err);
	no = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) ? errno : 0;
	close(fd);
	if (no != ECONNREFUSED)
		return vs_fail(err, VS_E_EXIST,
			       "cannot listen for NBD on %s: another program does already",
			       sun->sun_path);
	if (unlink(sun->sun_path) && errno != ENOENT)
		return vs_listen_fail("NBD", sun->sun_path, err);
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
	status = vs_listen_fail("NBD", path, err);
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return status;
}
