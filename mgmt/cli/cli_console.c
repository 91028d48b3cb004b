#include "mgmt/cli/cli_console.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define DETACH 0x1d /* Ctrl-] */

static int connect_console(const char *path, struct vs_error *err)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(sun.sun_path))
		return vs_fail(err, VS_E_TOOBIG, "console %s: the path is too long", path);
	memcpy(sun.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return vs_fail_errno(err, "console %s", path);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		int rc = vs_fail_errno(err, "console %s: is the VM running?", path);

		(void)close(fd);
		return rc;
	}
	return fd;
}

static bool put_all(int fd, const char *p, ssize_t n)
{
	while (n > 0) {
		ssize_t k = write(fd, p, (size_t)n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return false;
		p += k;
		n -= k;
	}
	return true;
}

/* Passes what in has to out; false at the end, or when Ctrl-] came from a terminal. */
static bool pass(int in, int out, bool keys)
{
	char buf[4096];
	ssize_t n = read(in, buf, sizeof(buf));
	const char *end;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (n == 0)
		return false;
	end = keys ? memchr(buf, DETACH, (size_t)n) : NULL;
	return put_all(out, buf, end ? end - buf : n) && !end;
}

static void proxy(int fd, bool keys)
{
	struct pollfd p[2] = {
	    {.fd = fd, .events = POLLIN},
	    {.fd = STDIN_FILENO, .events = POLLIN},
	};

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		if ((p[0].revents & (POLLIN | POLLHUP | POLLERR)) &&
		    !pass(fd, STDOUT_FILENO, false))
			return;
		if ((p[1].revents & (POLLIN | POLLHUP | POLLERR)) &&
		    !pass(STDIN_FILENO, fd, keys)) {
			if (keys)
				return;
			/* A script's input has ended: go on showing what the VM says. */
			p[1].fd = -1;
		}
	}
}

int cli_console_run(const char *socket_path, struct vs_error *err)
{
	struct termios saved, raw;
	bool terminal = tcgetattr(STDIN_FILENO, &saved) == 0;
	int fd = connect_console(socket_path, err);

	if (fd < 0)
		return fd;
	if (terminal) {
		raw = saved;
		cfmakeraw(&raw);
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	proxy(fd, terminal);
	if (terminal)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	(void)close(fd);
	return 0;
}
