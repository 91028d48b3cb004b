#include "vmm/process.h"

#include "common/bytes.h"
#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_FIELD 22 /* of /proc/PID/stat, in clock ticks since boot */
#define SAFE_FD 16     /* above every descriptor that the child uses */

struct child {
	const struct vm_process_options *o;
	int null_fd, log_fd, status_fd;
};

/* Raw system calls: glibc's wrappers want to tell threads that do not exist in the child. */
static int drop_privileges(const struct vm_process_options *o)
{
	gid_t groups[2] = {o->gid, o->kvm_gid};
	size_t n = o->kvm_gid == (gid_t)-1 ? 1 : 2;

	if (o->uid == (uid_t)-1)
		return 0;
	if (syscall(SYS_setgroups, n, groups) < 0 ||
	    syscall(SYS_setresgid, o->gid, o->gid, o->gid) < 0 ||
	    syscall(SYS_setresuid, o->uid, o->uid, o->uid) < 0)
		return -1;
	return 0;
}

static int move_fds(const struct child *c)
{
	int from[] = {c->null_fd,   c->log_fd,	      c->log_fd,
		      c->o->qmp_fd, c->o->console_fd, c->status_fd};

	for (size_t i = 0; i < VS_ARRAY_LEN(from); i++) {
		from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, SAFE_FD);
		if (from[i] < 0)
			return -1;
	}
	for (int to = 0; to < 5; to++)
		if (dup2(from[to], to) < 0)
			return -1;
	/* the status pipe closes itself when the program starts */
	if (dup3(from[5], 5, O_CLOEXEC) < 0)
		return -1;
	return (int)syscall(SYS_close_range, 6u, ~0u, 0u);
}

/* After fork in a program with threads: nothing but system calls. */
static _Noreturn void child_main(const struct child *c)
{
	static char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
					    NULL};
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;
	int no;

	setsid();
	umask(077);
	if (move_fds(c) == 0 && chdir(c->o->folder) == 0 && drop_privileges(c->o) == 0) {
		for (int s = 1; s < 32; s++)
			sigaction(s, &dfl, NULL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execve(c->o->argv[0], c->o->argv, environment);
	}
	no = errno;
	if (write(5, &no, sizeof(no)) < 0)
		_exit(126);
	_exit(127);
}

static int open_log(const struct vm_process_options *o, struct vs_error *err)
{
	int fd =
	    open(o->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? vs_fail_errno(err, "cannot create %s", o->log) : fd;
}

static int wait_exec(int fd, pid_t pid, const char *program, struct vs_error *err)
{
	ssize_t n;
	int no = 0;

	do {
		n = read(fd, &no, sizeof(no));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	errno = n == (ssize_t)sizeof(no) ? no : EIO;
	return vs_fail_errno(err, "cannot run %s", program);
}

int vm_process_start(const struct vm_process_options *o, struct vm_process *out,
		     struct vs_error *err)
{
	struct child c = {.o = o};
	int status[2], rc;
	pid_t pid;

	c.log_fd = open_log(o, err);
	if (c.log_fd < 0)
		return c.log_fd;
	c.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (c.null_fd < 0 || pipe2(status, O_CLOEXEC) < 0) {
		rc = vs_fail_errno(err, "cannot start %s", o->argv[0]);
		goto out;
	}
	c.status_fd = status[1];
	pid = fork();
	if (pid == 0)
		child_main(&c);
	rc = pid < 0 ? vs_fail_errno(err, "cannot start %s", o->argv[0]) : 0;
	close(status[1]);
	if (!rc)
		rc = wait_exec(status[0], pid, o->argv[0], err);
	close(status[0]);
	if (rc)
		goto out;
	out->pid = pid;
	out->pidfd = pidfd_open(pid, 0); /* ours and not reaped, so the number is still its */
	if (out->pidfd < 0) {
		rc = vs_fail_errno(err, "cannot watch process %d", (int)pid);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
out:
	if (c.null_fd >= 0)
		close(c.null_fd);
	close(c.log_fd);
	return rc;
}

static ssize_t read_file(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -1;
	while (have < len && (n = read(fd, buf + have, len - have)) > 0)
		have += (size_t)n;
	close(fd);
	return n < 0 ? -1 : (ssize_t)have;
}

/* Whether the process runs with this UUID among its arguments. */
static bool is_ours(pid_t pid, const struct vs_uuid *uuid)
{
	char path[64], text[VS_UUID_TEXT], args[16384];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	n = read_file(path, args, sizeof(args));
	vs_uuid_format(uuid, text);
	return n > 0 && memmem(args, (size_t)n, text, sizeof(text)) != NULL; /* with its NUL */
}

int vm_process_find(const char *pidfile, const struct vs_uuid *uuid, struct vm_process *out,
		    bool *stale)
{
	char text[32];
	ssize_t n = read_file(pidfile, text, sizeof(text) - 1);
	uint64_t pid;

	*stale = n >= 0;
	if (n <= 0)
		return VS_E_NOENT;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (vs_parse_u64(text, INT32_MAX, &pid) != 0 || pid == 0)
		return VS_E_NOENT;
	/* first hold it, then look: what is looked at cannot be replaced any more */
	out->pid = (pid_t)pid;
	out->pidfd = pidfd_open(out->pid, 0);
	if (out->pidfd < 0)
		return VS_E_NOENT;
	if (is_ours(out->pid, uuid) && pidfd_send_signal(out->pidfd, 0, NULL, 0) == 0)
		return 0;
	close(out->pidfd);
	out->pidfd = -1;
	return VS_E_NOENT;
}

int vm_process_kill(const struct vm_process *p)
{
	return pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH ? VS_E_IO : 0;
}

void vm_process_reap(struct vm_process *p, char *how, size_t len)
{
	siginfo_t info = {0};

	snprintf(how, len, "ended");
	if (p->pidfd < 0)
		return;
	if (waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0)
		snprintf(how, len,
			 info.si_code == CLD_EXITED ? "ended with status %d"
						    : "was killed by signal %d",
			 info.si_status);
	close(p->pidfd);
	p->pidfd = -1;
	p->pid = 0;
}

int64_t vm_process_started_ns(pid_t pid)
{
	struct timespec now, boot;
	char path[64], stat[1024], *p;
	unsigned long long ticks;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	n = read_file(path, stat, sizeof(stat) - 1);
	if (n <= 0)
		return 0;
	stat[n] = '\0';
	p = strrchr(stat, ')'); /* the name, field 2, may hold anything */
	for (unsigned field = 2; p && field < START_FIELD; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return 0;
	ticks = strtoull(p + 1, NULL, 10);
	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	return (now.tv_sec - boot.tv_sec) * INT64_C(1000000000) + (now.tv_nsec - boot.tv_nsec) +
	       (int64_t)(ticks * (UINT64_C(1000000000) / (unsigned long long)sysconf(_SC_CLK_TCK)));
}

void vm_process_last_words(const char *log, char *out, size_t len)
{
	char buf[4096], *end, *start;
	ssize_t n;
	struct stat st;
	int fd = open(log, O_RDONLY | O_CLOEXEC);

	out[0] = '\0';
	if (fd < 0)
		return;
	n = -1;
	if (fstat(fd, &st) == 0)
		n = pread(fd, buf, sizeof(buf) - 1,
			  st.st_size > (off_t)sizeof(buf) ? st.st_size - (off_t)sizeof(buf) + 1
							  : 0);
	close(fd);
	if (n <= 0)
		return;
	end = buf + n;
	while (end > buf && (end[-1] == '\n' || end[-1] == '\r'))
		end--;
	*end = '\0';
	start = strrchr(buf, '\n');
	snprintf(out, len, "%s", start ? start + 1 : buf);
}
