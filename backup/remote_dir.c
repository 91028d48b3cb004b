/*
 * Objects as files below a directory. A new object is written to tmp/ under a random name, synced,
 * linked or renamed to its place, and the folder synced, so that it is there whole or not at all.
 */
#include "backup/remote.h"

#include "common/bytes.h"
#include "common/secret.h"
#include "common/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_LEN_MAX 128
#define TMP_PREFIX "tmp/"
#define DEPTH_MAX 3

struct remote_dir {
	struct bk_remote r;
	int fd; /* of the directory */
};

static struct remote_dir *of(struct bk_remote *r)
{
	return vs_container_of(r, struct remote_dir, r);
}

static int fail(struct remote_dir *d, const char *name, const char *doing, struct vs_error *err)
{
	int no = errno, code = vs_err_from_errno(no);

	if (no == EDQUOT)
		no = ENOSPC;
	if (no == ENOSPC)
		return vs_fail(err, VS_E_NOSPC,
			       "%s/%s: %s: no space left there: free some or delete backups",
			       d->r.url, name, doing);
	if (no == ENOENT)
		return vs_fail(err, VS_E_NOENT, "%s/%s: not found", d->r.url, name);
	return vs_fail(err, code ? code : VS_E_IO, "%s/%s: %s: %s", d->r.url, name, doing,
		       strerror(no));
}

static bool name_ok(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n < NAME_LEN_MAX && name[0] != '/' && name[0] != '.' &&
	       !strstr(name, "/.") && !strstr(name, "//") && name[n - 1] != '/';
}

static int bad_name(struct remote_dir *d, const char *name, struct vs_error *err)
{
	return vs_fail(err, VS_E_INVAL, "%s: '%.100s' cannot be an object's name", d->r.url, name);
}

static int sync_folder(struct remote_dir *d, const char *folder)
{
	int fd = openat(d->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	rc = fsync(fd);
	close(fd);
	return rc;
}

/* Makes the folders above name, each durable before what goes into it. */
static int make_folders(struct remote_dir *d, const char *name)
{
	char path[NAME_LEN_MAX], above[NAME_LEN_MAX] = ".";
	const char *slash = name;

	while ((slash = strchr(slash, '/'))) {
		size_t n = (size_t)(slash - name);

		memcpy(path, name, n);
		path[n] = 0;
		if (mkdirat(d->fd, path, 0700) == 0) {
			if (sync_folder(d, above) != 0)
				return -1;
		} else if (errno != EEXIST) {
			return -1;
		}
		memcpy(above, path, n + 1);
		slash++;
	}
	return 0;
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, VS_MIN(len, (size_t)1 << 30));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A synced file tmp/RANDOM with these bytes; its name in tmp. */
static int write_tmp(struct remote_dir *d, char tmp[NAME_LEN_MAX], const void *data, size_t len)
{
	uint8_t random[16];
	char hex[33];
	int fd;

	if (vs_random(random, sizeof(random)) != 0) {
		errno = EIO;
		return -1;
	}
	vs_format_hex(random, sizeof(random), hex);
	snprintf(tmp, NAME_LEN_MAX, TMP_PREFIX "%s", hex);
	if (make_folders(d, tmp) != 0)
		return -1;
	fd = openat(d->fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (write_all(fd, data, len) == 0 && fsync(fd) == 0) {
		if (close(fd) == 0)
			return 0;
	} else {
		int no = errno;

		close(fd);
		errno = no;
	}
	return -1;
}

/* Moves tmp to its name; with exclusive it fails with EEXIST where there is one. */
static int publish(struct remote_dir *d, const char *tmp, const char *name, bool exclusive)
{
	char folder[NAME_LEN_MAX];
	char *slash;

	if (make_folders(d, name) != 0)
		return -1;
	if (exclusive) {
		if (linkat(d->fd, tmp, d->fd, name, 0) != 0)
			return -1;
		unlinkat(d->fd, tmp, 0);
	} else if (renameat(d->fd, tmp, d->fd, name) != 0) {
		return -1;
	}
	snprintf(folder, sizeof(folder), "%s", name);
	slash = strrchr(folder, '/');
	if (slash)
		*slash = 0;
	return sync_folder(d, slash ? folder : ".");
}

static int dir_put(struct bk_remote *r, const char *name, const void *data, size_t len,
		   unsigned flags, struct vs_error *err)
{
	struct remote_dir *d = of(r);
	char tmp[NAME_LEN_MAX] = "";
	int rc;

	if (!name_ok(name))
		return bad_name(d, name, err);
	if (write_tmp(d, tmp, data, len) == 0 &&
	    publish(d, tmp, name, flags & BK_PUT_EXCLUSIVE) == 0)
		return 0;
	if (errno == EEXIST)
		rc = vs_fail(err, VS_E_EXIST, "%s/%s: exists", r->url, name);
	else
		rc = fail(d, name, "writing", err);
	if (tmp[0])
		unlinkat(d->fd, tmp, 0);
	return rc;
}

static int dir_get(struct bk_remote *r, const char *name, uint64_t offset, void *buf, size_t len,
		   struct vs_error *err)
{
	struct remote_dir *d = of(r);
	uint8_t *p = buf;
	int fd, rc = 0;

	if (!name_ok(name))
		return bad_name(d, name, err);
	if (offset > INT64_MAX - (uint64_t)len)
		return vs_fail(err, VS_E_RANGE, "%s/%s: offset out of range", r->url, name);
	fd = openat(d->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fail(d, name, "opening", err);
	while (len > 0) {
		ssize_t n = pread(fd, p, VS_MIN(len, (size_t)1 << 30), (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = fail(d, name, "reading", err);
			break;
		}
		if (n == 0) {
			rc = vs_fail(err, VS_E_CORRUPT,
				     "%s/%s: truncated: ends at byte %llu, %zu more are missing",
				     r->url, name, (unsigned long long)offset, len);
			break;
		}
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	close(fd);
	return rc;
}

static int dir_stat(struct bk_remote *r, const char *name, uint64_t *size, struct vs_error *err)
{
	struct remote_dir *d = of(r);
	struct stat st;

	if (!name_ok(name))
		return bad_name(d, name, err);
	if (fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return fail(d, name, "reading", err);
	if (!S_ISREG(st.st_mode))
		return vs_fail(err, VS_E_CORRUPT, "%s/%s: is not a file", r->url, name);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int dir_del(struct bk_remote *r, const char *name, struct vs_error *err)
{
	struct remote_dir *d = of(r);
	char folder[NAME_LEN_MAX];
	char *slash;

	if (!name_ok(name))
		return bad_name(d, name, err);
	if (unlinkat(d->fd, name, 0) != 0)
		return errno == ENOENT ? 0 : fail(d, name, "deleting", err);
	snprintf(folder, sizeof(folder), "%s", name);
	slash = strrchr(folder, '/');
	if (slash)
		*slash = 0;
	if (sync_folder(d, slash ? folder : ".") != 0)
		return fail(d, name, "deleting", err);
	return 0;
}

struct lister {
	struct remote_dir *d;
	int (*each)(void *arg, const char *name, uint64_t size);
	void *arg;
	struct vs_error *err;
};

static int list_folder(struct lister *l, const char *folder, unsigned depth);

static int list_entry(struct lister *l, const char *name, unsigned depth)
{
	struct stat st;

	if (!name_ok(name))
		return 0;
	if (fstatat(l->d->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : fail(l->d, name, "listing", l->err);
	if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
		return list_folder(l, name, depth + 1);
	if (S_ISREG(st.st_mode))
		return l->each(l->arg, name, (uint64_t)st.st_size);
	return 0;
}

static int list_folder(struct lister *l, const char *folder, unsigned depth)
{
	int fd = openat(l->d->fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc = 0;
	struct dirent *e;
	DIR *dir;

	if (fd < 0)
		return errno == ENOENT ? 0 : fail(l->d, folder, "listing", l->err);
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return vs_fail(l->err, VS_E_NOMEM, "no memory to list %s/%s", l->d->r.url, folder);
	}
	while (rc == 0 && (errno = 0, e = readdir(dir))) {
		char name[NAME_LEN_MAX + 256];

		if (strcmp(folder, ".") == 0)
			snprintf(name, sizeof(name), "%s", e->d_name);
		else
			snprintf(name, sizeof(name), "%s/%s", folder, e->d_name);
		rc = list_entry(l, name, depth);
	}
	if (rc == 0 && errno)
		rc = fail(l->d, folder, "listing", l->err);
	closedir(dir);
	return rc;
}

static int dir_list(struct bk_remote *r, const char *prefix,
		    int (*each)(void *arg, const char *name, uint64_t size), void *arg,
		    struct vs_error *err)
{
	struct lister l = {.d = of(r), .each = each, .arg = arg, .err = err};
	char folder[NAME_LEN_MAX];
	size_t n = strlen(prefix);

	if (n == 0)
		return list_folder(&l, ".", 0);
	if (n >= sizeof(folder) || prefix[n - 1] != '/')
		return bad_name(l.d, prefix, err);
	memcpy(folder, prefix, n - 1);
	folder[n - 1] = 0;
	return list_folder(&l, folder, 0);
}

static void dir_close(struct bk_remote *r)
{
	struct remote_dir *d = of(r);

	close(d->fd);
	free(d);
}

static const struct bk_remote_ops dir_ops = {
    .put = dir_put,
    .get = dir_get,
    .list = dir_list,
    .stat = dir_stat,
    .del = dir_del,
    .close = dir_close,
};

static int look_inside(struct remote_dir *d, enum bk_remote_state *state, struct vs_error *err)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	*state = BK_REMOTE_EMPTY;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return fail(d, "", "listing", err);
	}
	while ((e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    strcmp(e->d_name, "lost+found") != 0 && strcmp(e->d_name, "tmp") != 0)
			*state = BK_REMOTE_FILLED;
	closedir(dir);
	return 0;
}

/* Makes the directory, durably, unless it is there. */
static int make_root(const char *path)
{
	char above[sizeof(((struct bk_remote *)0)->url)];
	char *slash;
	int fd, rc;

	if (mkdir(path, 0700) != 0)
		return errno == EEXIST ? 0 : -1;
	snprintf(above, sizeof(above), "%s", path);
	for (slash = above + strlen(above); slash > above + 1 && slash[-1] == '/'; slash--)
		slash[-1] = 0;
	slash = strrchr(above, '/');
	slash[slash == above] = 0;
	fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	rc = fsync(fd);
	close(fd);
	return rc;
}

int bk_remote_dir_open(const char *url, bool create, struct bk_remote **out,
		       enum bk_remote_state *state, struct vs_error *err)
{
	const char *path = url + strlen("dir://");
	struct remote_dir *d;
	int rc;

	*out = NULL;
	if (path[0] != '/')
		return vs_fail(err, VS_E_INVAL,
			       "'%.200s': the path must be absolute: write dir:///path", url);
	if (strlen(url) >= sizeof(d->r.url))
		return vs_fail(err, VS_E_INVAL, "the repository URL is longer than %zu bytes",
			       sizeof(d->r.url) - 1);
	d = calloc(1, sizeof(*d));
	if (!d)
		return vs_fail(err, VS_E_NOMEM, "no memory to open %s", url);
	d->r.ops = &dir_ops;
	snprintf(d->r.url, sizeof(d->r.url), "%s", url);
	if (create && make_root(path) != 0) {
		rc = vs_fail_errno(err, "creating %s", path);
		free(d);
		return rc;
	}
	d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0) {
		if (errno == ENOENT)
			rc = vs_fail(err, VS_E_NOENT, "%s: there is no such directory", url);
		else
			rc = vs_fail_errno(err, "opening %s", url);
		free(d);
		return rc;
	}
	rc = look_inside(d, state, err);
	if (rc) {
		dir_close(&d->r);
		return rc;
	}
	*out = &d->r;
	return 0;
}
