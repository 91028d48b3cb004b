#include "mgmt/process.h"

#include "common/bytes.h"
#include "common/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 200		      /* how often a cancel is looked for */
#define GRACE_NS UINT64_C(3000000000) /* from SIGTERM to SIGKILL */

static char *const environment[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};

struct running {
	struct mg_process *p;
	pid_t pid;
	int out, err; /* -1 after the end */
	size_t nwords;
	bool line_done;
	uint64_t kill_at; /* 0: not asked to end yet */
	int failed;	  /* what output returned, or VS_E_CANCELED */
};

/* The daemon blocks and ignores signals that a child needs. */
static int attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int no = posix_spawnattr_init(attr);

	if (no != 0)
		return no;
	sigemptyset(&none);
	sigfillset(&all);
	no = posix_spawnattr_setsigmask(attr, &none);
	if (no == 0)
		no = posix_spawnattr_setsigdefault(attr, &all);
	if (no == 0)
		no = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (no != 0)
		posix_spawnattr_destroy(attr);
	return no;
}

static int spawn(struct running *r, int out, int err)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	int no = attributes(&attr);

	if (no != 0)
		return no;
	no = posix_spawn_file_actions_init(&fa);
	if (no == 0) {
		no = posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
		if (no == 0)
			no = posix_spawn_file_actions_adddup2(&fa, out, STDOUT_FILENO);
		if (no == 0)
			no = posix_spawn_file_actions_adddup2(&fa, err, STDERR_FILENO);
		if (no == 0)
			no = posix_spawnp(&r->pid, r->p->argv[0], &fa, &attr,
					  (char *const *)(uintptr_t)r->p->argv, environment);
		posix_spawn_file_actions_destroy(&fa);
	}
	posix_spawnattr_destroy(&attr);
	return no;
}

static void ask_to_end(struct running *r, int why)
{
	if (r->kill_at == 0) {
		(void)kill(r->pid, SIGTERM);
		r->kill_at = vs_now_ns() + GRACE_NS;
		r->failed = why;
	}
}

/* Keeps the first line of what the program says on stderr. */
static void keep_words(struct running *r, const char *data, size_t len)
{
	for (size_t i = 0; i < len && !r->line_done; i++) {
		if (data[i] == '\n' || r->nwords + 1 == sizeof(r->p->words))
			r->line_done = r->nwords > 0;
		else
			r->p->words[r->nwords++] = data[i];
	}
	r->p->words[r->nwords] = '\0';
}

static void take(struct running *r, int *fd)
{
	char data[4096];
	ssize_t n = read(*fd, data, sizeof(data));
	int rc;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		close(*fd);
		*fd = -1;
	} else if (fd == &r->err) {
		keep_words(r, data, (size_t)n);
	} else if (r->p->output && r->failed == 0) {
		rc = r->p->output(r->p->arg, data, (size_t)n);
		if (rc != 0)
			ask_to_end(r, rc);
	}
}

/* Until both pipes are closed, which their last holder's end does. */
static void follow(struct running *r)
{
	while (r->out >= 0 || r->err >= 0) {
		struct pollfd fds[2] = {{.fd = r->out, .events = POLLIN},
					{.fd = r->err, .events = POLLIN}};

		if (r->p->cancel && atomic_load(r->p->cancel))
			ask_to_end(r, VS_E_CANCELED);
		if (r->kill_at != 0 && vs_now_ns() > r->kill_at)
			(void)kill(r->pid, SIGKILL);
		if (poll(fds, 2, LOOK_MS) <= 0)
			continue;
		if (fds[0].revents)
			take(r, &r->out);
		if (fds[1].revents)
			take(r, &r->err);
	}
}

int mg_process_run(struct mg_process *p, struct vs_error *err)
{
	struct running r = {.p = p, .out = -1, .err = -1};
	int out[2], errs[2], no, status;

	p->words[0] = '\0';
	if (pipe2(out, O_CLOEXEC) != 0)
		return vs_fail_errno(err, "cannot make a pipe");
	if (pipe2(errs, O_CLOEXEC) != 0) {
		no = vs_fail_errno(err, "cannot make a pipe");
		close(out[0]);
		close(out[1]);
		return no;
	}
	no = spawn(&r, out[1], errs[1]);
	close(out[1]);
	close(errs[1]);
	if (no != 0) {
		close(out[0]);
		close(errs[0]);
		return vs_fail(err, vs_err_from_errno(no), "cannot run %s: %s", p->argv[0],
			       no == ENOENT ? "it is not installed" : strerrordesc_np(no));
	}
	r.out = out[0];
	r.err = errs[0];
	follow(&r);
	while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
		;
	p->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (r.failed == 0)
		return 0;
	return vs_fail(err, r.failed, "%s was stopped", p->argv[0]);
}
