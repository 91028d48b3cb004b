/*
 * nfs_files FOLDER [2]: what programs do with files, in a folder of Linux's NFS client, held
 * against what POSIX says; 2: and what NFSv4.2 adds. A line for each thing that is wrong; the exit
 * status says whether there was one. nfs_files FOLDER lock STOP: locks a file and writes to it
 * until there is a file STOP. nfs_files FOLDER try: whether the lock can be had.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1 << 20)

static int wrong;
static char pattern[MIB], got[MIB];

#define IS(cond)                                                                       \
	do {                                                                           \
		errno = 0;                                                             \
		if (!(cond)) {                                                         \
			printf("line %d: %s: %s\n", __LINE__, #cond, strerror(errno)); \
			wrong++;                                                       \
		}                                                                      \
	} while (0)
#define FAILS(cond, error) IS((cond) < 0 && errno == (error))

static void forget(int fd)
{
	IS(fsync(fd) == 0);
	IS(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
}

static off_t size_of(const char *name)
{
	struct stat st;

	return stat(name, &st) == 0 ? st.st_size : -1;
}

static void bytes(void)
{
	int fd = open("bytes", O_RDWR | O_CREAT | O_EXCL, 0644);
	char *map;

	IS(fd >= 0);
	FAILS(open("bytes", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
	for (int i = 0; i < 4; i++)
		IS(write(fd, pattern, MIB) == MIB);
	forget(fd);
	for (int i = 0; i < 4; i++)
		IS(pread(fd, got, MIB, (off_t)i * MIB) == MIB && memcmp(got, pattern, MIB) == 0);
	IS(pread(fd, got, 100, 4 * MIB - 50) == 50);
	IS(pread(fd, got, 100, 5 * MIB) == 0);
	IS(ftruncate(fd, 12345) == 0 && size_of("bytes") == 12345);
	IS(ftruncate(fd, MIB) == 0);
	forget(fd);
	IS(pread(fd, got, 1, 20000) == 1 && got[0] == 0);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	IS(map != MAP_FAILED);
	memcpy(map, "mapped", 6);
	IS(msync(map, 4096, MS_SYNC) == 0 && munmap(map, 4096) == 0);
	forget(fd);
	IS(pread(fd, got, 6, 0) == 6 && memcmp(got, "mapped", 6) == 0);
	IS(close(fd) == 0);
	fd = open("bytes", O_WRONLY | O_TRUNC | O_APPEND);
	for (int i = 0; i < 10; i++)
		IS(write(fd, pattern, 10) == 10);
	IS(close(fd) == 0 && size_of("bytes") == 100);
}

/* A file stays while it is open, and under no other name. */
static void removed(void)
{
	int fd = open("removed", O_RDWR | O_CREAT, 0600);
	struct dirent *e;
	DIR *d;

	IS(write(fd, "abc", 3) == 3 && fsync(fd) == 0 && unlink("removed") == 0);
	d = opendir(".");
	while ((e = readdir(d)))
		IS(!strstr(e->d_name, ".nfs"));
	IS(closedir(d) == 0);
	forget(fd);
	IS(pread(fd, got, 3, 0) == 3 && memcmp(got, "abc", 3) == 0);
	IS(close(fd) == 0 && size_of("removed") == -1);
}

static void names(void)
{
	struct stat st;

	IS(close(open("file", O_CREAT | O_WRONLY, 0644)) == 0);
	IS(link("file", "other") == 0 && stat("other", &st) == 0 && st.st_nlink == 2);
	IS(symlink("some/target", "link") == 0 && readlink("link", got, MIB) == 11);
	IS(memcmp(got, "some/target", 11) == 0);
	IS(mkfifo("fifo", 0600) == 0 && stat("fifo", &st) == 0 && S_ISFIFO(st.st_mode));
	IS(mknod("chr", S_IFCHR | 0600, makedev(3, 7)) == 0 && stat("chr", &st) == 0);
	IS(st.st_rdev == makedev(3, 7));
	IS(mkdir("dir", 0700) == 0 && rename("other", "dir/other") == 0);
	FAILS(rmdir("dir"), ENOTEMPTY);
	IS(rename("dir", "moved") == 0 && unlink("moved/other") == 0 && rmdir("moved") == 0);
	FAILS(open("none", O_RDONLY), ENOENT);
	FAILS(unlink("none"), ENOENT);
	FAILS(rmdir("file"), ENOTDIR);
	FAILS(open("file/x", O_RDONLY), ENOTDIR);
	FAILS(mkdir("file", 0700), EEXIST);
}

static void attributes(void)
{
	const struct timespec times[2] = {{1000, 5}, {-2000, 7}};
	struct statvfs v;
	struct stat st;

	IS(chmod("file", 04711) == 0 && stat("file", &st) == 0 && (st.st_mode & 07777) == 04711);
	IS(chown("file", 5, 6) == 0 && stat("file", &st) == 0 && st.st_uid == 5 && st.st_gid == 6);
	IS(utimensat(AT_FDCWD, "file", times, 0) == 0 && stat("file", &st) == 0);
	IS(st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 5);
	IS(st.st_mtim.tv_sec == -2000 && st.st_mtim.tv_nsec == 7);
	IS(statvfs(".", &v) == 0 && v.f_blocks > 100 && v.f_bfree > 0 && v.f_ffree > 1000);
}

static void directories(void)
{
	enum { FILES = 200 };
	char name[64];
	int n = 0;
	DIR *d;

	IS(mkdir("many", 0755) == 0);
	for (int i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "many/a file with a long name, number %d", i);
		IS(close(open(name, O_CREAT | O_WRONLY, 0644)) == 0);
	}
	d = opendir("many");
	while (readdir(d))
		n++;
	IS(closedir(d) == 0 && n == FILES + 2);
	for (int i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "many/a file with a long name, number %d", i);
		IS(unlink(name) == 0);
	}
	IS(rmdir("many") == 0);
}

/* ---- locks ---- */

static int set_lock(int fd, short type, off_t start, off_t length)
{
	struct flock f = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

	return fcntl(fd, F_SETLK, &f);
}

/* In another process, whose locks are others. */
static void elsewhere(void (*try)(int fd))
{
	pid_t child;
	int status;

	(void)fflush(stdout);
	child = fork();
	if (child == 0) {
		wrong = 0;
		try(open("locked", O_RDWR));
		(void)fflush(stdout);
		_exit(wrong != 0);
	}
	IS(waitpid(child, &status, 0) == child && status == 0);
}

static void beside(int fd)
{
	struct flock f = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 50, .l_len = 10};

	FAILS(set_lock(fd, F_WRLCK, 50, 10), EAGAIN);
	IS(fcntl(fd, F_GETLK, &f) == 0 && f.l_type == F_WRLCK);
	IS(set_lock(fd, F_WRLCK, 100, 10) == 0);
	IS(set_lock(fd, F_RDLCK, 200, 0) == 0);
}

static void inside(int fd)
{
	IS(set_lock(fd, F_WRLCK, 40, 20) == 0);
	FAILS(set_lock(fd, F_WRLCK, 39, 1), EAGAIN);
	FAILS(set_lock(fd, F_RDLCK, 60, 1), EAGAIN);
}

static void together(int fd)
{
	IS(set_lock(fd, F_RDLCK, 0, 0) == 0);
	FAILS(set_lock(fd, F_WRLCK, 0, 1), EAGAIN);
}

static void whole(int fd)
{
	FAILS(flock(fd, LOCK_EX | LOCK_NB), EAGAIN);
}

static void locks(void)
{
	int fd = open("locked", O_RDWR | O_CREAT, 0644);

	IS(set_lock(fd, F_WRLCK, 0, 100) == 0);
	elsewhere(beside);
	IS(set_lock(fd, F_UNLCK, 40, 20) == 0);
	elsewhere(inside);
	IS(set_lock(fd, F_RDLCK, 0, 0) == 0);
	elsewhere(together);
	IS(set_lock(fd, F_UNLCK, 0, 0) == 0 && flock(fd, LOCK_EX) == 0);
	elsewhere(whole);
	IS(close(fd) == 0);
}

/* ---- what NFSv4.2 adds ---- */

static void ranges(void)
{
	int fd = open("holes", O_RDWR | O_CREAT, 0644);
	int clone = open("clone", O_RDWR | O_CREAT, 0644);
	int copy = open("copy", O_RDWR | O_CREAT, 0644);
	off_t from = MIB, to = 10;

	IS(pwrite(fd, pattern, 65536, 0) == 65536 && pwrite(fd, pattern, 65536, MIB) == 65536);
	IS(fsync(fd) == 0);
	IS(lseek(fd, 0, SEEK_HOLE) == 65536 && lseek(fd, 65536, SEEK_DATA) == MIB);
	FAILS(lseek(fd, 2 * MIB, SEEK_DATA), ENXIO);
	IS(fallocate(fd, 0, 0, 3 * MIB) == 0 && size_of("holes") == 3 * MIB);
	IS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 32768) == 0);
	IS(pread(fd, got, 1, 100) == 1 && got[0] == 0);
	IS(lseek(fd, 0, SEEK_DATA) == 32768);
	IS(ioctl(clone, FICLONE, fd) == 0 && size_of("clone") == 3 * MIB);
	IS(pread(clone, got, 100, MIB + 5) == 100 && memcmp(got, pattern + 5, 100) == 0);
	IS(copy_file_range(fd, &from, copy, &to, 50000, 0) == 50000);
	IS(pread(copy, got, 50000, 10) == 50000 && memcmp(got, pattern, 50000) == 0);
	IS(close(fd) == 0 && close(clone) == 0 && close(copy) == 0);
}

/* ---- locks over a restart ---- */

static int hold(const char *stop)
{
	int fd = open("held", O_RDWR | O_CREAT, 0644);
	int n = 0;

	IS(set_lock(fd, F_WRLCK, 0, 100) == 0);
	(void)puts("locked");
	(void)fflush(stdout);
	for (; access(stop, F_OK); n++) {
		IS(pwrite(fd, pattern + n % MIB, 1, n) == 1 && fsync(fd) == 0);
		(void)usleep(20000);
	}
	forget(fd);
	for (int i = 0; i < n; i++)
		IS(pread(fd, got, 1, i) == 1 && got[0] == pattern[i % MIB]);
	printf("wrote %d\n", n);
	return wrong != 0;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (char)(i * 7 + i / 4096);
	if (argc < 2 || chdir(argv[1]))
		return 2;
	if (argc > 3 && strcmp(argv[2], "lock") == 0)
		return hold(argv[3]);
	if (argc > 2 && strcmp(argv[2], "try") == 0)
		return set_lock(open("held", O_RDWR), F_WRLCK, 0, 100) != 0;
	bytes();
	removed();
	names();
	attributes();
	directories();
	locks();
	if (argc > 2)
		ranges();
	return wrong != 0;
}
