#include "blockstore/device.h"

#include "blockstore/device_far.h"
#include "blockstore/device_file.h"
#include "common/bytes.h"
#include "common/log.h"
#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIN_SIZE (UINT64_C(16) << 20)

static const char *kind_of(mode_t mode)
{
	return S_ISDIR(mode)	? "a directory"
	       : S_ISCHR(mode)	? "a character device"
	       : S_ISFIFO(mode) ? "a pipe"
	       : S_ISSOCK(mode) ? "a socket"
				: "neither a file nor a block device";
}

static bool usable(mode_t mode)
{
	return S_ISREG(mode) || S_ISBLK(mode);
}

static int refuse_kind(const char *path, mode_t mode, struct vs_error *err)
{
	return vs_fail(err, VS_E_INVAL, "%s is %s; a store needs a regular file or a block device",
		       path, kind_of(mode));
}

static int refuse_size(const char *path, uint64_t size, struct vs_error *err)
{
	char text[16];

	return vs_fail(err, VS_E_INVAL,
		       "%s is too small for a store: %s, at least 16 MiB are needed", path,
		       vs_format_size(size, text, sizeof(text)));
}

static int refuse_busy(const char *path, struct vs_error *err)
{
	return vs_fail(err, VS_E_BUSY,
		       "%s is in use by another process; stop it before using the store here",
		       path);
}

/* So that the name of a new file survives power loss as its content does. */
static void sync_parent(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0 || fsync(fd) < 0)
		vs_warn("%s: cannot sync its directory: %s", path, strerrordesc_np(errno));
	if (fd >= 0)
		close(fd);
	free(copy);
}

/* A new sparse file, locked: 0, VS_E_EXIST when the name is taken meanwhile, or another error. */
static int create(const char *path, uint64_t size, int *out, struct vs_error *err)
{
	int fd, rc;

	size = VS_ALIGN_DOWN(size, BS_DEV_ALIGN);
	if (size < MIN_SIZE)
		return refuse_size(path, size, err);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return vs_fail_errno(err, "cannot create %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		rc = refuse_busy(path, err);
	else if (ftruncate(fd, (off_t)size) < 0)
		rc = vs_fail_errno(err, "cannot give %s its size of %llu bytes", path,
				   (unsigned long long)size);
	else if (fsync(fd) < 0)
		rc = vs_fail_errno(err, "cannot sync %s", path);
	else
		rc = 0;
	if (rc < 0) {
		unlink(path);
		close(fd);
		return rc;
	}
	sync_parent(path);
	*out = fd;
	return 0;
}

static int open_existing(const char *path, unsigned flags, int *out, struct vs_error *err)
{
	int mode = (flags & BS_DEVICE_READ_ONLY) ? O_RDONLY : O_RDWR;
	struct stat st;
	int fd;

	if (stat(path, &st) < 0)
		return vs_fail_errno(err, "cannot open %s", path);
	if (!usable(st.st_mode))
		return refuse_kind(path, st.st_mode, err);
	/* O_NONBLOCK: a pipe put in the file's place meanwhile must not hold us. */
	fd = open(path, mode | O_CLOEXEC | O_NONBLOCK | (S_ISBLK(st.st_mode) ? O_EXCL : 0));
	if (fd < 0)
		return errno == EBUSY ? refuse_busy(path, err)
				      : vs_fail_errno(err, "cannot open %s", path);
	if (S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int rc = errno == EWOULDBLOCK ? refuse_busy(path, err)
					      : vs_fail_errno(err, "cannot lock %s", path);
		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

static int find_size(int fd, const struct stat *st, const char *path, uint64_t *size,
		     struct vs_error *err)
{
	int sector = 0;

	if (!S_ISBLK(st->st_mode)) {
		*size = (uint64_t)st->st_size;
	} else {
		if (ioctl(fd, BLKGETSIZE64, size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
			return vs_fail_errno(err, "cannot ask %s for its size", path);
		if (sector > BS_DEV_ALIGN)
			return vs_fail(err, VS_E_NOTSUP,
				       "%s has sectors of %d bytes; a store needs 4096 or less",
				       path, sector);
	}
	if (*size % BS_DEV_ALIGN != 0)
		vs_warn("%s: its last %llu bytes are not used (a store uses multiples of 4096)",
			path, (unsigned long long)(*size % BS_DEV_ALIGN));
	*size = VS_ALIGN_DOWN(*size, BS_DEV_ALIGN);
	return *size < MIN_SIZE ? refuse_size(path, *size, err) : 0;
}

/* Some file systems accept the flag and refuse the reads. */
static bool direct_works(int fd)
{
	void *buf;
	bool ok;

	if (posix_memalign(&buf, BS_DEV_ALIGN, BS_DEV_ALIGN) != 0)
		return true;
	ok = pread(fd, buf, BS_DEV_ALIGN, 0) >= 0 || errno != EINVAL;
	free(buf);
	return ok;
}

static int set_direct(int fd, const char *path, struct vs_error *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return vs_fail_errno(err, "cannot open %s", path);
	flags &= ~O_NONBLOCK;
	if (fcntl(fd, F_SETFL, flags | O_DIRECT) == 0 && direct_works(fd))
		return 0;
	vs_warn("%s: its file system has no direct I/O; data passes through the page cache", path);
	if (fcntl(fd, F_SETFL, flags & ~O_DIRECT) < 0)
		return vs_fail_errno(err, "cannot open %s", path);
	return 0;
}

static int open_fd(const char *path, unsigned flags, uint64_t size, int *fd, struct vs_error *err)
{
	bool may_create = (flags & BS_DEVICE_CREATE) && !(flags & BS_DEVICE_READ_ONLY);
	struct stat st;
	int rc;

	if (may_create && stat(path, &st) < 0 && errno == ENOENT) {
		rc = create(path, size, fd, err);
		if (rc != VS_E_EXIST)
			return rc;
	}
	return open_existing(path, flags, fd, err);
}

static int open_local(const char *path, unsigned flags, uint64_t size, struct bs_device **out,
		      struct vs_error *err)
{
	struct bs_device_file_spec spec = {.name = path,
					   .read_only = (flags & BS_DEVICE_READ_ONLY) != 0};
	struct stat st;
	int rc = open_fd(path, flags, size, &spec.fd, err);

	if (rc < 0)
		return rc;
	if (fstat(spec.fd, &st) < 0)
		rc = vs_fail_errno(err, "cannot open %s", path);
	else if (!usable(st.st_mode))
		rc = refuse_kind(path, st.st_mode, err);
	else
		rc = find_size(spec.fd, &st, path, &spec.size, err);
	if (rc == 0)
		rc = set_direct(spec.fd, path, err);
	if (rc == 0) {
		spec.block = S_ISBLK(st.st_mode);
		rc = bs_device_file_new(&spec, out, err);
	}
	if (rc < 0)
		close(spec.fd);
	return rc;
}

int bs_device_open_as(const char *path, unsigned flags, uint64_t size,
		      const struct bs_device_lun *lun, struct bs_device **out, struct vs_error *err)
{
	struct bs_device_lun plain = {0};
	int rc;

	if (!bs_device_far_is(path))
		return open_local(path, flags, size, out, err);
	if ((flags & BS_DEVICE_CREATE) && size < MIN_SIZE)
		return refuse_size(path, size, err);
	rc = bs_device_far_new(path, flags, size, lun ? lun : &plain, out, err);
	if (rc == 0 && (*out)->size < MIN_SIZE) {
		rc = refuse_size(path, (*out)->size, err);
		bs_device_close(*out);
	}
	return rc;
}

int bs_device_open(const char *path, unsigned flags, uint64_t size, struct bs_device **out,
		   struct vs_error *err)
{
	return bs_device_open_as(path, flags, size, NULL, out, err);
}

int bs_device_unmake(const char *path, struct vs_error *err)
{
	if (bs_device_far_is(path))
		return bs_device_far_unmake(path, err);
	return unlink(path) == 0 ? 0 : vs_fail_errno(err, "cannot remove %s", path);
}
