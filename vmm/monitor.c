#include "vmm/host.h"

#include "common/log.h"
#include "vmm/folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define ANSWER_TIMEOUT (30 * SECOND)
#define RECONNECT_AFTER (SECOND / 2)
/* QEMU connects its disks again every second; then all that can be connected is. */
#define REARM_AFTER (3 * SECOND)

void vm_monitor_close(struct vm_machine *m)
{
	vm_qmp_close(m->qmp);
	m->qmp = NULL;
	m->qmp_ready = m->qmp_closed = false;
}

static void qmp_happened(struct vm_machine *m, enum vm_event event, const char *reason)
{
	if (m->ending || (m->rearming && (event == VM_EV_PAUSE || event == VM_EV_RUN)))
		return;
	if (event == VM_EV_POWEROFF) {
		snprintf(m->reason, sizeof(m->reason), "%s", reason);
		vm_machine_end(m);
	} else {
		vm_machine_apply(m, event, reason);
	}
}

static void qmp_event(void *arg, const char *name, const json_t *data)
{
	static const char *const reasons[VM_EVENTS] = {
	    [VM_EV_RUN] = "it goes on",
	    [VM_EV_PAUSE] = "paused",
	    [VM_EV_SUSPEND] = "the guest sleeps",
	    [VM_EV_POWEROFF] = "the guest powered off",
	};
	enum vm_event event;

	(void)data;
	if (vm_lifecycle_of_event(name, &event))
		qmp_happened(arg, event, reasons[event]);
}

static void rearmed(void *arg, int rc, const json_t *value, const char *text)
{
	struct vm_machine *m = arg;

	(void)value;
	m->rearming = false;
	if (!rc || rc == VS_E_CLOSED)
		return;
	vs_err("machine %s: cannot go on: %s", m->name, text);
	vm_machine_apply(m, VM_EV_PAUSE, "QEMU did not go on");
}

static void held_for_rearm(void *arg, int rc, const json_t *value, const char *text)
{
	struct vm_machine *m = arg;

	(void)value;
	if (rc || vm_qmp_send(m->qmp, "cont", NULL, ANSWER_TIMEOUT, rearmed, m) != 0)
		rearmed(m, rc ? rc : VS_E_IO, NULL, text ? text : "no answer");
}

/*
 * QEMU 7.2 forgets to watch a vhost-user connection that it loses while the machine is paused. From
 * then on it does not set up its disks after a reconnect, only when the guest's CPUs go on: so they
 * are held for a moment.
 */
void vm_monitor_rearm(struct vs_timer *t)
{
	struct vm_machine *m = t->arg;

	if (m->state != VM_RUNNING || !m->qmp_ready || m->ending)
		return;
	m->rearming = true;
	if (vm_qmp_send(m->qmp, "stop", NULL, ANSWER_TIMEOUT, held_for_rearm, m) != 0)
		m->rearming = false;
}

/*
 * Remembers in the folder that the machine was adopted while paused, for this adoption and those to
 * come. Also one that is paused now is looked at later: resumed before QEMU has connected its disks
 * again, it fails to set them up.
 */
static void mind_lost_watch(struct vm_machine *m)
{
	char path[VM_SOCKET_MAX];
	int fd;

	if (vm_folder_path(m->host->folder, m->name, "rearm", path, NULL) != 0)
		return;
	if (m->state != VM_RUNNING) {
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			vs_warn("machine %s: cannot create %s", m->name, path);
		else
			close(fd);
	}
	if (access(path, F_OK) == 0 && vs_loop_timer(m->host->loop, &m->rearm, REARM_AFTER) != 0)
		vs_err("machine %s: no timer for its disks", m->name);
}

static void got_uuid(void *arg, int rc, const json_t *value, const char *text)
{
	struct vm_machine *m = arg;
	const char *s = json_string_value(json_object_get(value, "UUID"));
	struct vs_uuid uuid;

	(void)text;
	if (!rc && (!s || vs_uuid_parse(s, &uuid) != 0 || !vs_uuid_equal(&uuid, &m->uuid)))
		vs_err("machine %s: the QEMU on its socket says it is %s", m->name,
		       s ? s : "nobody");
}

static void got_kvm(void *arg, int rc, const json_t *value, const char *text)
{
	struct vm_machine *m = arg;

	(void)text;
	if (!rc)
		m->accel =
		    json_is_true(json_object_get(value, "enabled")) ? VM_ACCEL_KVM : VM_ACCEL_TCG;
}

static void got_status(void *arg, int rc, const json_t *value, const char *text)
{
	struct vm_machine *m = arg;
	const char *s = json_string_value(json_object_get(value, "status"));
	enum vm_event event;
	bool first;

	(void)text;
	if (rc || !s)
		return;
	event = vm_lifecycle_of_status(s);
	if (event == VM_EV_POWEROFF) {
		qmp_happened(m, event, "the guest powered off");
		return;
	}
	first = m->state == VM_STARTING;
	qmp_happened(m, event, m->adopted ? "found again" : "started");
	if (first && m->adopted)
		mind_lost_watch(m);
}

static void qmp_is_ready(void *arg)
{
	struct vm_machine *m = arg;

	m->qmp_ready = true;
	if (vm_qmp_send(m->qmp, "query-uuid", NULL, ANSWER_TIMEOUT, got_uuid, m) ||
	    vm_qmp_send(m->qmp, "query-kvm", NULL, ANSWER_TIMEOUT, got_kvm, m) ||
	    vm_qmp_send(m->qmp, "query-status", NULL, ANSWER_TIMEOUT, got_status, m))
		vs_warn("machine %s: cannot ask QEMU for its state", m->name);
}

static void qmp_is_closed(void *arg, const char *why)
{
	struct vm_machine *m = arg;

	vs_debug("machine %s: QMP: %s", m->name, why);
	m->qmp_ready = false;
	m->qmp_closed = true;
	if (vs_loop_timer(m->host->loop, &m->reconnect, RECONNECT_AFTER) != 0)
		vs_err("machine %s: no timer to connect again", m->name);
}

static int connect_qmp(struct vm_machine *m, struct vs_error *err)
{
	const struct vm_qmp_handlers h = {
	    .ready = qmp_is_ready, .event = qmp_event, .closed = qmp_is_closed, .arg = m};
	char path[VM_SOCKET_MAX];
	int rc;

	vm_monitor_close(m);
	rc = vm_folder_path(m->host->folder, m->name, "qmp.sock", path, err);
	return rc ? rc : vm_qmp_open(m->host->loop, path, &h, &m->qmp, err);
}

void vm_monitor_connect(struct vs_timer *t)
{
	struct vm_machine *m = t->arg;

	if (connect_qmp(m, NULL) != 0 &&
	    vs_loop_timer(m->host->loop, &m->reconnect, RECONNECT_AFTER) != 0)
		vs_err("machine %s: no timer to connect again", m->name);
}
