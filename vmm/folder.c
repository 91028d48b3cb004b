#include "vmm/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int vm_folder_path(const char *folder, const char *machine, const char *name,
		   char path[VM_SOCKET_MAX], struct vs_error *err)
{
	int n = snprintf(path, VM_SOCKET_MAX, "%s/%s/%s", folder, machine, name);

	if (n < 0 || n >= VM_SOCKET_MAX)
		return vs_fail(err, VS_E_INVAL,
			       "machine %s: the path of its socket would be longer than %d bytes; "
			       "use a shorter name or state folder",
			       machine, VM_SOCKET_MAX - 1);
	return 0;
}

int vm_folder_make(const char *folder, const char *machine, uid_t uid, gid_t gid,
		   struct vs_error *err)
{
	char path[VM_PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", folder, machine) >= (int)sizeof(path))
		return vs_fail(err, VS_E_INVAL, "folder %s is too long", folder);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return vs_fail_errno(err, "cannot make folder %s", path);
	if (uid != (uid_t)-1 && lchown(path, uid, gid) < 0)
		return vs_fail_errno(err, "cannot give folder %s to its user", path);
	return 0;
}

int vm_folder_remove(const char *folder, const char *machine, struct vs_error *err)
{
	char path[VM_PATH_MAX];
	struct dirent *e;
	DIR *dir;

	if (snprintf(path, sizeof(path), "%s/%s", folder, machine) >= (int)sizeof(path))
		return vs_fail(err, VS_E_INVAL, "folder %s is too long", folder);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : vs_fail_errno(err, "cannot open folder %s", path);
	while ((e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			(void)unlinkat(dirfd(dir), e->d_name, 0); /* rmdir tells what is left */
	closedir(dir);
	return rmdir(path) < 0 ? vs_fail_errno(err, "cannot remove folder %s", path) : 0;
}

int vm_folder_listen(const char *path, struct vs_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, rc;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return vs_fail_errno(err, "cannot remove the old %s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return vs_fail_errno(err, "cannot create a socket");
	/* the mode of the socket's file: umask(2) would be the whole process's */
	if (fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
	    listen(fd, 1) == 0)
		return fd;
	rc = vs_fail_errno(err, "cannot listen on %s", path);
	close(fd);
	return rc;
}

int vm_folder_copy(const char *from, const char *to, uid_t uid, gid_t gid, struct vs_error *err)
{
	char part[VM_PATH_MAX];
	int in, out = -1, rc;
	struct stat st;
	off_t at = 0;

	if (access(to, F_OK) == 0)
		return 0;
	if (snprintf(part, sizeof(part), "%s.new", to) >= (int)sizeof(part))
		return vs_fail(err, VS_E_INVAL, "path %s is too long", to);
	in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return vs_fail_errno(err, "cannot open %s", from);
	out = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0 || fstat(in, &st) < 0)
		goto fail;
	while (at < st.st_size)
		if (sendfile(out, in, &at, (size_t)(st.st_size - at)) <= 0)
			goto fail;
	if ((uid != (uid_t)-1 && fchown(out, uid, gid) < 0) || fsync(out) < 0 ||
	    rename(part, to) < 0)
		goto fail;
	close(out);
	close(in);
	return 0;
fail:
	rc = vs_fail_errno(err, "cannot copy %s to %s", from, to);
	if (out >= 0)
		close(out);
	close(in);
	return rc;
}
