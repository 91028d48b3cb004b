#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_secret(int fd, const char *path, char *buf, size_t len, struct vs_error *err)
{
	struct stat st;
	size_t n = 0;

	if (fstat(fd, &st) < 0)
		return vs_fail_errno(err, "cannot read secret file %s", path);
	if (st.st_mode & 077)
		return vs_fail(err, VS_E_ACCESS,
			       "secret file %s is readable by others: chmod 600 it", path);
	while (n < len) {
		ssize_t r = read(fd, buf + n, len - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return vs_fail_errno(err, "cannot read secret file %s", path);
		if (r == 0)
			break;
		n += (size_t)r;
	}
	if (n == len)
		return vs_fail(err, VS_E_TOOBIG, "secret in %s is longer than %zu bytes", path,
			       len - 1);
	if (n && buf[n - 1] == '\n')
		n--;
	if (n == 0)
		return vs_fail(err, VS_E_INVAL, "secret file %s is empty", path);
	buf[n] = '\0';
	return 0;
}

int vs_secret_read(const char *path, char *buf, size_t len, struct vs_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return vs_fail_errno(err, "cannot open secret file %s", path);
	rc = read_secret(fd, path, buf, len, err);
	close(fd);
	if (rc)
		vs_secret_wipe(buf, len);
	return rc;
}

void vs_secret_wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
}

bool vs_secret_equal(const void *a, const void *b, size_t n)
{
	const volatile unsigned char *x = a, *y = b;
	unsigned char diff = 0;

	for (size_t i = 0; i < n; i++)
		diff |= (unsigned char)(x[i] ^ y[i]);
	return diff == 0;
}

int vs_random(void *p, size_t n)
{
	unsigned char *b = p;

	while (n) {
		ssize_t r = getrandom(b, n, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return VS_E_IO;
		b += r;
		n -= (size_t)r;
	}
	return 0;
}
