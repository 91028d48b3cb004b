#include "vmm/machine.h"

#include "common/bytes.h"
#include "common/log.h"
#include "common/text.h"
#include "vmm/command_line.h"
#include "vmm/folder.h"
#include "vmm/host.h"

#include <cpuid.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define START_TIMEOUT (60 * SECOND)
#define QUIT_TIMEOUT (5 * SECOND)
#define UEFI_CODE "/usr/share/OVMF/OVMF_CODE_4M.fd"
#define UEFI_VARS "/usr/share/OVMF/OVMF_VARS_4M.fd"

enum vm_accel vm_accel_detect(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return VM_ACCEL_TCG;
	ok = ioctl(fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION;
	close(fd);
	return ok ? VM_ACCEL_KVM : VM_ACCEL_TCG;
}

/* The group that opens /dev/kvm for QEMU's own user; (gid_t)-1: none does. */
static gid_t kvm_group(void)
{
	struct stat st;

	if (stat("/dev/kvm", &st) < 0 || (st.st_mode & 0060) != 0060)
		return (gid_t)-1;
	return st.st_gid;
}

static const char *cpu_model(enum vm_accel accel)
{
	unsigned a, b, c, d;

	if (accel != VM_ACCEL_KVM)
		return "max";
	/*
	 * AMD's processors have no IA32_ARCH_CAPABILITIES. KVM emulates reading it, some refuse to
	 * have it set, and QEMU 7.2 then aborts.
	 */
	if (__get_cpuid(0, &a, &b, &c, &d) && b == signature_AMD_ebx)
		return "host,-arch-capabilities";
	return "host";
}

static int choose_accel(const struct vm_host *h, const struct vm_definition *d, enum vm_accel *out,
			struct vs_error *err)
{
	bool kvm = d->accel != VM_ACCEL_TCG && vm_accel_detect() == VM_ACCEL_KVM &&
		   (!h->has_user || h->uid == 0 || kvm_group() != (gid_t)-1);

	if (d->accel == VM_ACCEL_KVM && !kvm)
		return vs_fail(err, VS_E_NOTSUP,
			       "machine %s wants kvm, but /dev/kvm cannot be used; "
			       "load the kvm module, or set accel to auto or tcg",
			       d->name);
	*out = kvm ? VM_ACCEL_KVM : VM_ACCEL_TCG;
	return 0;
}

static void answer_calls(struct vm_machine *m, bool up)
{
	int rc = m->timed_out ? VS_E_TIMEDOUT : m->adopted ? VS_E_NOENT : VS_E_IO;
	struct vm_call **p = &m->calls;

	while (*p) {
		struct vm_call *c = *p;

		if (up && c->wait != VM_WAIT_UP) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		vs_loop_cancel(m->host->loop, &c->timer);
		if (up || c->wait == VM_WAIT_END)
			vm_call_done(c, 0);
		else
			vm_call_done(c, vm_call_fail(c, rc, "machine %s: %s", m->name, m->reason));
	}
}

void vm_machine_apply(struct vm_machine *m, enum vm_event event, const char *reason)
{
	enum vm_state next;

	if (!vm_lifecycle_next(m->state, event, &next))
		return;
	m->state = next;
	snprintf(m->reason, sizeof(m->reason), "%s", reason);
	vs_info("machine %s is %s: %s", m->name, vm_state_name(next), m->reason);
	if (m->host->changed)
		m->host->changed(m->host->arg, m->name, next, m->reason);
	if (next != VM_STARTING && vm_lifecycle_active(next)) {
		vs_loop_cancel(m->host->loop, &m->deadline);
		answer_calls(m, true);
	}
}

static int watch_process(struct vm_machine *m, struct vs_error *err)
{
	int rc;

	m->exit_watch.fd = m->process.pidfd;
	rc = vs_loop_add(m->host->loop, &m->exit_watch, EPOLLIN);
	return rc ? vs_fail(err, rc, "machine %s: cannot watch its process", m->name) : 0;
}

static void process_ended(struct vs_watch *w, uint32_t events)
{
	struct vm_machine *m = w->arg;
	struct vs_loop *loop = m->host->loop;
	char words[VS_ERROR_TEXT_MAX / 2], log[VM_SOCKET_MAX], reason[sizeof(m->reason)], how[40];
	enum vm_event event = m->ending ? VM_EV_END : VM_EV_DIE;

	(void)events;
	words[0] = '\0';
	vs_loop_remove(loop, w);
	vs_loop_cancel(loop, &m->reconnect);
	vs_loop_cancel(loop, &m->deadline);
	vs_loop_cancel(loop, &m->force);
	vs_loop_cancel(loop, &m->rearm);
	vm_monitor_close(m);
	vm_process_reap(&m->process, how, sizeof(how));
	m->started_ns = 0;
	if (vm_folder_path(m->host->folder, m->name, "qemu.log", log, NULL) == 0)
		vm_process_last_words(log, words, sizeof(words));
	if (m->state == VM_STARTING && !m->adopted) {
		event = VM_EV_NOT_STARTED;
		if (m->timed_out)
			snprintf(reason, sizeof(reason), "QEMU did not start within 60 s");
		else
			snprintf(reason, sizeof(reason), "QEMU did not start: %.120s",
				 words[0] ? words : "it said nothing");
	} else if (m->ending) {
		snprintf(reason, sizeof(reason), "%s", m->reason);
	} else {
		snprintf(reason, sizeof(reason), "its process %s; its log ends with: %.80s", how,
			 words[0] ? words : "nothing");
	}
	vm_machine_apply(m, event, reason);
	answer_calls(m, false);
}

static void force(struct vs_timer *t)
{
	struct vm_machine *m = t->arg;

	vs_warn("machine %s: QEMU does not end, killing it", m->name);
	if (vm_process_kill(&m->process) != 0)
		vs_err("machine %s: cannot kill process %d", m->name, (int)m->process.pid);
}

static void start_too_long(struct vs_timer *t)
{
	struct vm_machine *m = t->arg;

	m->timed_out = true;
	if (m->adopted) /* it may run well: leave it alone */
		vm_machine_apply(m, VM_EV_PAUSE, "QEMU does not answer");
	else
		force(&m->force);
}

static void quit_answered(void *arg, int rc, const json_t *value, const char *text)
{
	(void)arg;
	(void)rc;
	(void)value;
	(void)text; /* the end of the process says all */
}

void vm_machine_end(struct vm_machine *m)
{
	m->ending = true;
	if (m->qmp_ready &&
	    vm_qmp_send(m->qmp, "quit", NULL, QUIT_TIMEOUT, quit_answered, m) == 0 &&
	    vs_loop_timer(m->host->loop, &m->force, QUIT_TIMEOUT) == 0)
		return;
	force(&m->force);
}

struct launch {
	char qmp[VM_SOCKET_MAX], console[VM_SOCKET_MAX], log[VM_SOCKET_MAX], vars[VM_SOCKET_MAX];
	char folder[VM_PATH_MAX];
	int qmp_fd, console_fd;
};

static int prepare(struct vm_machine *m, const struct vm_definition *d, struct launch *l,
		   struct vs_error *err)
{
	struct vm_host *h = m->host;
	uid_t uid = h->has_user ? h->uid : (uid_t)-1;
	char vnc[VM_SOCKET_MAX], left[VM_SOCKET_MAX];
	int rc;

	l->qmp_fd = l->console_fd = -1;
	if (snprintf(l->folder, sizeof(l->folder), "%s/%s", h->folder, m->name) >=
	    (int)sizeof(l->folder))
		return vs_fail(err, VS_E_INVAL, "folder %s is too long", h->folder);
	rc = vm_folder_make(h->folder, m->name, uid, h->gid, err);
	if (!rc)
		rc = vm_folder_path(h->folder, m->name, "qmp.sock", l->qmp, err);
	if (!rc)
		rc = vm_folder_path(h->folder, m->name, "console.sock", l->console, err);
	if (!rc)
		rc = vm_folder_path(h->folder, m->name, "uefi-vars.fd", l->vars, err);
	if (!rc)
		rc = vm_folder_path(h->folder, m->name, "qemu.log", l->log, err);
	if (!rc)
		rc = vm_folder_path(h->folder, m->name, "vnc.sock", vnc, err);
	if (!rc && d->firmware == VM_UEFI)
		rc = vm_folder_copy(UEFI_VARS, l->vars, uid, h->gid, err);
	if (rc)
		return rc;
	/* of an earlier process, which may have been another user's */
	if (vm_folder_path(h->folder, m->name, "rearm", left, err) == 0)
		(void)unlink(left);
	if (vm_folder_path(h->folder, m->name, "pid", left, err) == 0)
		(void)unlink(left);
	l->qmp_fd = vm_folder_listen(l->qmp, err);
	if (l->qmp_fd < 0)
		return l->qmp_fd;
	l->console_fd = vm_folder_listen(l->console, err);
	return l->console_fd < 0 ? l->console_fd : 0;
}

static int launch(struct vm_machine *m, const struct vm_definition *d, const struct launch *l,
		  struct vs_error *err)
{
	struct vm_host *h = m->host;
	const struct vm_command_context ctx = {.qemu = h->qemu,
					       .folder = l->folder,
					       .accel = m->accel,
					       .cpu = cpu_model(m->accel),
					       .qmp_fd = VM_PROCESS_QMP_FD,
					       .console_fd = VM_PROCESS_CONSOLE_FD,
					       .uefi_code = UEFI_CODE,
					       .uefi_vars = l->vars};
	struct vm_command_line *line = calloc(1, sizeof(*line));
	int rc;

	if (!line)
		return vs_fail(err, VS_E_NOMEM, "machine %s: out of memory", m->name);
	rc = vm_command_line_build(d, &ctx, line, err);
	if (!rc) {
		const struct vm_process_options o = {.argv = line->args,
						     .folder = l->folder,
						     .log = l->log,
						     .qmp_fd = l->qmp_fd,
						     .console_fd = l->console_fd,
						     .uid = h->has_user ? h->uid : (uid_t)-1,
						     .gid = h->gid,
						     .kvm_gid = kvm_group()};

		rc = vm_process_start(&o, &m->process, err);
	}
	vm_command_line_free(line);
	free(line);
	return rc;
}

/* After a process exists: everything that follows shows in its end at the latest. */
static int follow(struct vm_machine *m, struct vs_error *err)
{
	int rc = watch_process(m, err);

	if (rc)
		return rc;
	m->ending = m->timed_out = m->rearming = false;
	m->started_ns = vm_process_started_ns(m->process.pid);
	vm_machine_apply(m, VM_EV_START, m->adopted ? "found running" : "QEMU was started");
	if (vs_loop_timer(m->host->loop, &m->deadline, START_TIMEOUT) != 0)
		vs_err("machine %s: no timer for its start", m->name);
	vm_monitor_connect(&m->reconnect);
	return 0;
}

int vm_machine_start(struct vm_machine *m, const struct vm_definition *d, struct vs_error *err)
{
	struct launch l;
	char how[40];
	int rc = choose_accel(m->host, d, &m->accel, err);

	if (rc)
		return rc;
	m->uuid = d->uuid;
	m->adopted = false;
	rc = prepare(m, d, &l, err);
	if (!rc)
		rc = launch(m, d, &l, err);
	if (l.qmp_fd >= 0)
		close(l.qmp_fd);
	if (l.console_fd >= 0)
		close(l.console_fd);
	if (rc)
		return rc;
	rc = follow(m, err);
	if (rc) {
		(void)vm_process_kill(&m->process);
		vm_process_reap(&m->process, how, sizeof(how));
	}
	return rc;
}

int vm_machine_adopt(struct vm_machine *m, const struct vs_uuid *uuid, struct vs_error *err)
{
	char path[VM_SOCKET_MAX];
	bool stale;
	int rc;

	rc = vm_folder_path(m->host->folder, m->name, "pid", path, err);
	if (rc)
		return rc;
	m->uuid = *uuid;
	m->adopted = true;
	rc = vm_process_find(path, uuid, &m->process, &stale);
	if (!rc) {
		rc = follow(m, err);
		if (rc) {
			close(m->process.pidfd);
			m->process.pidfd = -1;
		}
		return rc;
	}
	if (stale) { /* QEMU removes its pid file unless it dies */
		(void)unlink(path);
		vm_machine_apply(m, VM_EV_START, "its process was started by an earlier daemon");
		vm_machine_apply(m, VM_EV_DIE, "its process died while no daemon ran");
	}
	return vs_fail(err, VS_E_NOENT, "machine %s has no running process", m->name);
}

void vm_machine_init(struct vm_machine *m, struct vm_host *h, const char *name)
{
	m->host = h;
	snprintf(m->name, sizeof(m->name), "%s", name);
	m->process.pidfd = -1;
	m->exit_watch = (struct vs_watch){.fd = -1, .ready = process_ended, .arg = m};
	m->reconnect = (struct vs_timer){.fired = vm_monitor_connect, .arg = m};
	m->deadline = (struct vs_timer){.fired = start_too_long, .arg = m};
	m->force = (struct vs_timer){.fired = force, .arg = m};
	m->rearm = (struct vs_timer){.fired = vm_monitor_rearm, .arg = m};
}

void vm_machine_forget(struct vm_machine *m)
{
	struct vs_loop *loop = m->host->loop;

	vm_monitor_close(m);
	vs_loop_cancel(loop, &m->reconnect);
	vs_loop_cancel(loop, &m->deadline);
	vs_loop_cancel(loop, &m->force);
	vs_loop_cancel(loop, &m->rearm);
	if (m->process.pidfd >= 0) {
		vs_loop_remove(loop, &m->exit_watch);
		close(m->process.pidfd);
	}
	free(m);
}
