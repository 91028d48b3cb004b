#include "vmm/host.h"

#include "common/bytes.h"
#include "common/log.h"
#include "common/text.h"
#include "vmm/folder.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define COMMAND_TIMEOUT (30 * SECOND)
#define DEFAULT_QEMU "qemu-system-x86_64"

static void call_run(struct vs_post *p)
{
	struct vm_call *c = p->arg;

	c->run(c);
}

static int call(struct vm_host *h, struct vm_call *c)
{
	c->host = h;
	c->post = (struct vs_post){.call = call_run, .arg = c};
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
	vs_loop_post(h->loop, &c->post);
	pthread_mutex_lock(&c->lock);
	while (!c->done)
		pthread_cond_wait(&c->cond, &c->lock);
	pthread_mutex_unlock(&c->lock);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
	return c->rc;
}

void vm_call_done(struct vm_call *c, int rc)
{
	pthread_mutex_lock(&c->lock);
	c->rc = rc;
	c->done = true;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

int vm_call_fail(struct vm_call *c, int rc, const char *fmt, ...)
{
	char text[VS_ERROR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return vs_fail(c->err, rc, "%s", text);
}

static void call_timed_out(struct vs_timer *t)
{
	struct vm_call *c = t->arg;

	for (struct vm_call **p = &c->machine->calls; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	vm_call_done(c,
		     vm_call_fail(c, VS_E_TIMEDOUT, "machine %s is still %s after %u s",
				  c->machine->name, vm_state_name(c->machine->state), c->seconds));
}

/* seconds bounds the wait when it is set. */
void vm_call_wait_for(struct vm_call *c, struct vm_machine *m, enum vm_wait wait)
{
	c->machine = m;
	c->wait = wait;
	c->timer = (struct vs_timer){.fired = call_timed_out, .arg = c};
	if (c->seconds && vs_loop_timer(c->host->loop, &c->timer, c->seconds * SECOND) != 0) {
		vm_call_done(c, vm_call_fail(c, VS_E_LIMIT, "too many timers"));
		return;
	}
	c->next = m->calls;
	m->calls = c;
}

static struct vm_machine *find(struct vm_host *h, const char *name)
{
	for (struct vm_machine *m = h->machines; m; m = m->next)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

/* Finds an active machine, or answers the call. */
static struct vm_machine *find_active(struct vm_call *c)
{
	struct vm_machine *m = find(c->host, c->name);

	if (m && vm_lifecycle_active(m->state))
		return m;
	vm_call_done(c, vm_call_fail(c, VS_E_BUSY, "machine %s is not running (%s)", c->name,
				     vm_state_name(m ? m->state : VM_STOPPED)));
	return NULL;
}

/* Finds or adds a machine that is not active, or answers the call. */
static struct vm_machine *find_idle(struct vm_call *c)
{
	struct vm_host *h = c->host;
	struct vm_machine *m = find(h, c->def->name);

	if (m) {
		if (!vm_lifecycle_active(m->state))
			return m;
		vm_call_done(c, vm_call_fail(c, VS_E_BUSY, "machine %s is already %s", m->name,
					     vm_state_name(m->state)));
		return NULL;
	}
	m = h->nmachines < VM_MACHINES_MAX ? calloc(1, sizeof(*m)) : NULL;
	if (!m) {
		vm_call_done(c, vm_call_fail(c, VS_E_LIMIT, "machine %s: no room for one more",
					     c->def->name));
		return NULL;
	}
	vm_machine_init(m, h, c->def->name);
	m->next = h->machines;
	h->machines = m;
	h->nmachines++;
	return m;
}

static void run_start(struct vm_call *c)
{
	struct vm_machine *m = find_idle(c);
	int rc;

	if (!m)
		return;
	rc = vm_machine_start(m, c->def, c->err);
	if (rc)
		vm_call_done(c, rc);
	else
		vm_call_wait_for(c, m, VM_WAIT_UP);
}

static void run_adopt(struct vm_call *c)
{
	struct vm_machine *m = find_idle(c);
	int rc;

	if (!m)
		return;
	rc = vm_machine_adopt(m, &c->def->uuid, c->err);
	if (rc)
		vm_call_done(c, rc);
	else
		vm_call_wait_for(c, m, VM_WAIT_UP);
}

int vm_start(struct vm_host *h, const struct vm_definition *def, struct vs_error *err)
{
	struct vm_call c = {.run = run_start, .def = def, .err = err};
	int rc = vm_definition_check(def, err);

	return rc ? rc : call(h, &c);
}

bool vm_alive(struct vm_host *h, const struct vm_definition *def)
{
	struct vm_process p;
	char path[VM_SOCKET_MAX];
	bool stale;

	if (vm_folder_path(h->folder, def->name, "pid", path, NULL) != 0 ||
	    vm_process_find(path, &def->uuid, &p, &stale) != 0)
		return false;
	close(p.pidfd);
	return true;
}

int vm_adopt(struct vm_host *h, const struct vm_definition *def, struct vs_error *err)
{
	struct vm_call c = {.run = run_adopt, .def = def, .err = err};
	int rc = vm_definition_check(def, err);

	return rc ? rc : call(h, &c);
}

static void answered(void *arg, int rc, const json_t *value, const char *text)
{
	struct vm_call *c = arg;
	json_t **out = c->out;

	if (rc) {
		vm_call_done(c, vm_call_fail(c, rc, "machine %s: QEMU: %s", c->name, text));
		return;
	}
	if (out)
		*out = json_deep_copy(value);
	vm_call_done(c, out && !*out ? VS_E_NOMEM : 0);
}

static void send_command(struct vm_call *c, struct vm_machine *m, const char *command)
{
	int rc;

	if (!m->qmp_ready) {
		vm_call_done(c, vm_call_fail(c, VS_E_AGAIN,
					     "machine %s: QEMU does not answer; try "
					     "again, or stop it",
					     m->name));
		return;
	}
	rc = vm_qmp_send(m->qmp, command, c->arguments, COMMAND_TIMEOUT, answered, c);
	if (rc)
		vm_call_done(c, vm_call_fail(c, rc, "machine %s: cannot send %s to QEMU: %s",
					     m->name, command, vs_err_text(rc)));
}

static void run_command(struct vm_call *c)
{
	struct vm_machine *m = find_active(c);

	if (m)
		send_command(c, m, c->command);
}

static int command(struct vm_host *h, const char *name, const char *word, struct vs_error *err)
{
	struct vm_call c = {.run = run_command, .name = name, .command = word, .err = err};

	return call(h, &c);
}

int vm_qmp(struct vm_host *h, const char *name, const char *word, const json_t *arguments,
	   json_t **result, struct vs_error *err)
{
	struct vm_call c = {.run = run_command,
			    .name = name,
			    .command = word,
			    .arguments = arguments,
			    .out = result,
			    .err = err};

	*result = NULL;
	return call(h, &c);
}

int vm_shutdown(struct vm_host *h, const char *name, struct vs_error *err)
{
	return command(h, name, "system_powerdown", err);
}

int vm_reset(struct vm_host *h, const char *name, struct vs_error *err)
{
	return command(h, name, "system_reset", err);
}

int vm_suspend(struct vm_host *h, const char *name, struct vs_error *err)
{
	return command(h, name, "stop", err);
}

static void run_resume(struct vm_call *c)
{
	struct vm_machine *m = find_active(c);

	if (m)
		send_command(c, m, m->state == VM_SUSPENDED ? "system_wakeup" : "cont");
}

int vm_resume(struct vm_host *h, const char *name, struct vs_error *err)
{
	struct vm_call c = {.run = run_resume, .name = name, .err = err};

	return call(h, &c);
}

static void run_stop(struct vm_call *c)
{
	struct vm_machine *m = find_active(c);

	if (!m)
		return;
	if (!m->ending) {
		snprintf(m->reason, sizeof(m->reason), "stopped");
		vm_machine_end(m);
	}
	vm_call_wait_for(c, m, VM_WAIT_END);
}

int vm_stop(struct vm_host *h, const char *name, struct vs_error *err)
{
	struct vm_call c = {.run = run_stop, .name = name, .err = err};

	return call(h, &c);
}

static void run_wait(struct vm_call *c)
{
	struct vm_machine *m = find(c->host, c->name);

	if (!m || !vm_lifecycle_active(m->state))
		vm_call_done(c, 0);
	else if (c->seconds == 0)
		vm_call_done(c, vm_call_fail(c, VS_E_TIMEDOUT, "machine %s is %s", c->name,
					     vm_state_name(m->state)));
	else
		vm_call_wait_for(c, m, VM_WAIT_END);
}

int vm_wait_stopped(struct vm_host *h, const char *name, unsigned seconds, struct vs_error *err)
{
	struct vm_call c = {.run = run_wait, .name = name, .seconds = seconds, .err = err};

	return call(h, &c);
}

static void run_remove(struct vm_call *c)
{
	struct vm_host *h = c->host;

	for (struct vm_machine **p = &h->machines; *p; p = &(*p)->next) {
		struct vm_machine *m = *p;

		if (strcmp(m->name, c->name) != 0)
			continue;
		if (vm_lifecycle_active(m->state)) {
			vm_call_done(c,
				     vm_call_fail(c, VS_E_BUSY, "machine %s is %s; stop it first",
						  m->name, vm_state_name(m->state)));
			return;
		}
		*p = m->next;
		h->nmachines--;
		vm_machine_forget(m);
		break;
	}
	vm_call_done(c, vm_folder_remove(h->folder, c->name, c->err));
}

int vm_remove(struct vm_host *h, const char *name, struct vs_error *err)
{
	struct vm_call c = {.run = run_remove, .name = name, .err = err};

	if (!vs_name_ok(name))
		return vs_fail(err, VS_E_INVAL, "\"%s\" is not a machine's name", name);
	return call(h, &c);
}

static void run_status(struct vm_call *c)
{
	struct vm_machine *m = find(c->host, c->name);
	struct vm_status *out = c->out;

	if (m) {
		bool active = vm_lifecycle_active(m->state);

		out->state = m->state;
		out->accel = active ? m->accel : VM_ACCEL_AUTO;
		out->pid = active ? m->process.pid : 0;
		out->started_ns = active ? m->started_ns : 0;
		memcpy(out->reason, m->reason, sizeof(out->reason));
	}
	vm_call_done(c, 0);
}

void vm_status(struct vm_host *h, const char *name, struct vm_status *out)
{
	struct vm_call c = {.run = run_status, .name = name, .out = out};

	memset(out, 0, sizeof(*out));
	if (vm_folder_path(h->folder, name, "console.sock", out->console, NULL) != 0 ||
	    vm_folder_path(h->folder, name, "vnc.sock", out->vnc, NULL) != 0)
		return;
	(void)call(h, &c);
}

int vm_disk_socket(struct vm_host *h, const char *name, unsigned index, char path[VM_SOCKET_MAX],
		   struct vs_error *err)
{
	char file[32];
	int rc;

	if (!vs_name_ok(name) || index >= VM_DISKS_MAX)
		return vs_fail(err, VS_E_INVAL, "machine \"%s\" has no disk %u", name, index);
	snprintf(file, sizeof(file), "disk%u.sock", index);
	rc = vm_folder_path(h->folder, name, file, path, err);
	return rc ? rc
		  : vm_folder_make(h->folder, name, h->has_user ? h->uid : (uid_t)-1, h->gid, err);
}

void vm_host_owner(const struct vm_host *h, uid_t *uid, gid_t *gid)
{
	*uid = h->has_user ? h->uid : (uid_t)-1;
	*gid = h->has_user ? h->gid : (gid_t)-1;
}

static int find_user(struct vm_host *h, const char *user, struct vs_error *err)
{
	struct passwd pw, *found;
	char buf[4096];

	if (!user)
		return 0;
	if (getpwnam_r(user, &pw, buf, sizeof(buf), &found) != 0 || !found)
		return vs_fail(err, VS_E_NOENT, "there is no user \"%s\" for machines to run as",
			       user);
	h->has_user = true;
	h->uid = pw.pw_uid;
	h->gid = pw.pw_gid;
	return 0;
}

/* A missing QEMU is an error of vm_start, not of the daemon's. */
static void find_qemu(struct vm_host *h, const char *qemu)
{
	static const char *const folders[] = {"/usr/bin", "/usr/local/bin", "/usr/libexec"};

	if (qemu && qemu[0] == '/') {
		snprintf(h->qemu, sizeof(h->qemu), "%s", qemu);
		return;
	}
	for (size_t i = 0; i < VS_ARRAY_LEN(folders); i++) {
		snprintf(h->qemu, sizeof(h->qemu), "%s/%s", folders[i], qemu ? qemu : DEFAULT_QEMU);
		if (access(h->qemu, X_OK) == 0)
			return;
	}
}

static void *host_main(void *arg)
{
	struct vm_host *h = arg;

	vs_loop_run(h->loop);
	return NULL;
}

int vm_host_open(const struct vm_host_options *o, struct vm_host **out, struct vs_error *err)
{
	struct vm_host *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return vs_fail(err, VS_E_NOMEM, "cannot run machines: out of memory");
	h->changed = o->changed;
	h->arg = o->arg;
	if (snprintf(h->folder, sizeof(h->folder), "%s", o->folder) >= (int)sizeof(h->folder)) {
		rc = vs_fail(err, VS_E_INVAL, "folder %s is too long", o->folder);
		goto fail;
	}
	if (mkdir(o->folder, 0711) < 0 && errno != EEXIST) {
		rc = vs_fail_errno(err, "cannot make folder %s", o->folder);
		goto fail;
	}
	rc = find_user(h, o->user, err);
	if (rc)
		goto fail;
	find_qemu(h, o->qemu);
	rc = vs_loop_new(&h->loop, err);
	if (rc)
		goto fail;
	if (pthread_create(&h->thread, NULL, host_main, h) != 0) {
		rc = vs_fail(err, VS_E_NOMEM, "cannot start the machines' thread");
		goto fail_loop;
	}
	*out = h;
	return 0;
fail_loop:
	vs_loop_free(h->loop);
fail:
	free(h);
	return rc;
}

void vm_host_close(struct vm_host *h)
{
	if (!h)
		return;
	vs_loop_stop(h->loop);
	pthread_join(h->thread, NULL);
	while (h->machines) {
		struct vm_machine *m = h->machines;

		h->machines = m->next;
		vm_machine_forget(m);
	}
	vs_loop_free(h->loop);
	free(h);
}
