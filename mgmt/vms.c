#include "mgmt/vms_impl.h"

#include "common/bytes.h"
#include "common/log.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VHOST_THREADS 2
#define LOOK_SECONDS 5		  /* how often room is looked for while writes are held */
#define ROOM (UINT64_C(64) << 20) /* bytes free before a paused machine goes on; */
#define ROOM_PART 20		  /* in a small store this part of it */
#define VM_USER "vstore-vm"	  /* QEMU runs as this user where it exists */

struct mg_vm *mg_vm_get(struct mg_vms *v, const char *name)
{
	struct mg_vm *m;

	pthread_mutex_lock(&v->lock);
	for (m = v->head; m && strcmp(m->name, name) != 0;)
		m = m->next;
	if (!m && (m = calloc(1, sizeof(*m)))) {
		m->vms = v;
		(void)snprintf(m->name, sizeof(m->name), "%s", name);
		pthread_mutex_init(&m->ops, NULL);
		m->next = v->head;
		v->head = m;
	}
	if (m)
		m->refs++;
	pthread_mutex_unlock(&v->lock);
	return m;
}

void mg_vm_put(struct mg_vm *m)
{
	struct mg_vms *v = m->vms;
	bool last;

	pthread_mutex_lock(&v->lock);
	last = --m->refs == 0 && m->gone;
	pthread_mutex_unlock(&v->lock);
	if (last) {
		pthread_mutex_destroy(&m->ops);
		free(m);
	}
}

void mg_vm_forget(struct mg_vm *m)
{
	struct mg_vms *v = m->vms;

	pthread_mutex_lock(&v->lock);
	for (struct mg_vm **p = &v->head; *p; p = &(*p)->next) {
		if (*p == m) {
			*p = m->next;
			m->gone = true;
			break;
		}
	}
	pthread_mutex_unlock(&v->lock);
}

/* On vmm's thread. */
static void state_changed(void *arg, const char *name, enum vm_state state, const char *reason)
{
	struct mg_vms *v = arg;

	mg_event(v->node->events, state == VM_CRASHED ? MG_ERROR : MG_INFO, "vm.state", name,
		 "%s: %s", vm_state_name(state), reason ? reason : "");
	pthread_mutex_lock(&v->lock);
	for (struct mg_vm *m = v->head; m; m = m->next)
		if (strcmp(m->name, name) == 0 && (state == VM_STOPPED || state == VM_CRASHED))
			m->ended = true;
	pthread_cond_signal(&v->work);
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
}

/* On a vhost thread. */
static void writes_held(void *arg, int reason)
{
	struct mg_vm *m = arg;

	pthread_mutex_lock(&m->vms->lock);
	m->held = reason;
	m->news = reason != 0;
	pthread_cond_signal(&m->vms->work);
	pthread_mutex_unlock(&m->vms->lock);
}

void mg_vm_disks_stop(struct mg_vm *m)
{
	mg_cdrom_stop(m);
	while (m->ndisks > 0)
		vhost_disk_stop(m->disks[--m->ndisks]);
	pthread_mutex_lock(&m->vms->lock);
	m->held = 0;
	m->news = m->paused = false;
	pthread_mutex_unlock(&m->vms->lock);
}

int mg_vm_disks_start(struct mg_vm *m, struct vm_definition *def, const struct vs_uuid *uuids,
		      struct vs_error *err)
{
	struct vhost_disk_opts o = {.queues = VHOST_QUEUES_MAX, .held = writes_held, .arg = m};
	struct mg_vms *v = m->vms;
	int rc = 0;

	mg_vm_disks_stop(m);
	vm_host_owner(v->host, &o.uid, &o.gid);
	for (unsigned i = 0; i < def->ndisks && rc == 0; i++) {
		struct vm_disk *disk = &def->disks[i];

		rc = vm_disk_socket(v->host, def->name, i, disk->socket, err);
		if (rc != 0)
			break;
		o.volume = disk->volume;
		o.socket_path = disk->socket;
		o.read_only = disk->read_only;
		rc = vhost_disk_start(v->vhost, &o, &m->disks[i], err);
		if (rc == 0) {
			m->uuids[i] = uuids[i];
			m->ndisks = i + 1;
		}
	}
	if (rc != 0)
		mg_vm_disks_stop(m);
	return rc;
}

/* A machine has ended: its disks are taken down, unless it was started again meanwhile. */
static void clean_up(struct mg_vm *m)
{
	struct vm_status st;

	pthread_mutex_lock(&m->ops);
	vm_status(m->vms->host, m->name, &st);
	if (st.state == VM_STOPPED || st.state == VM_CRASHED)
		mg_vm_disks_stop(m);
	pthread_mutex_unlock(&m->ops);
}

static bool room_again(struct mg_node *n)
{
	struct bs_store_info info;

	bs_store_info(n->store, &info);
	return !info.failed && info.capacity_bytes > info.physical_used_bytes &&
	       info.capacity_bytes - info.physical_used_bytes >
		   VS_MIN(ROOM, info.capacity_bytes / ROOM_PART);
}

/* Pauses a machine whose writes are held, and lets it go on when there is room. */
static void mind_space(struct mg_vm *m)
{
	struct mg_vms *v = m->vms;
	struct mg_node *n = v->node;
	bool paused, was;
	int held;

	pthread_mutex_lock(&m->ops);
	pthread_mutex_lock(&v->lock);
	held = m->held;
	paused = was = m->paused;
	pthread_mutex_unlock(&v->lock);
	if (held && !was) {
		paused = vm_suspend(v->host, m->name, NULL) == 0;
		mg_event(n->events, MG_ERROR, "vm.held", m->name, "%s; %s", vs_err_text(held),
			 paused ? "paused until there is room" : "its writes wait");
	} else if (was && room_again(n)) {
		paused = vm_resume(v->host, m->name, NULL) != 0;
		if (!paused)
			mg_event(n->events, MG_INFO, "vm.resumed", m->name, "there is room again");
	}
	pthread_mutex_lock(&v->lock);
	m->paused = paused;
	pthread_mutex_unlock(&v->lock);
	if (paused != was)
		mg_vm_note_held(m, paused);
	pthread_mutex_unlock(&m->ops);
}

/* The next machine with something to do, counted. With the lock held. */
static struct mg_vm *next_work(struct mg_vms *v, bool *ended, bool look_at_paused)
{
	for (struct mg_vm *m = v->head; m; m = m->next) {
		if (!m->ended && !m->news && !(m->paused && look_at_paused))
			continue;
		*ended = m->ended;
		m->ended = m->news = false;
		m->refs++;
		return m;
	}
	return NULL;
}

static bool any_paused(const struct mg_vms *v)
{
	for (const struct mg_vm *m = v->head; m; m = m->next)
		if (m->paused)
			return true;
	return false;
}

/* Until there is work or, while a machine waits for room, some time has passed: then true. */
static bool wait_for_work(struct mg_vms *v)
{
	struct timespec until;

	if (!any_paused(v)) {
		pthread_cond_wait(&v->work, &v->lock);
		return false;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LOOK_SECONDS;
	return pthread_cond_timedwait(&v->work, &v->lock, &until) != 0;
}

static void *minder(void *arg)
{
	struct mg_vms *v = arg;
	bool ended, look = false;

	pthread_mutex_lock(&v->lock);
	while (!v->stop) {
		struct mg_vm *m = next_work(v, &ended, look);

		look = false;
		if (!m) {
			look = wait_for_work(v);
			continue;
		}
		pthread_mutex_unlock(&v->lock);
		if (ended)
			clean_up(m);
		else
			mind_space(m);
		mg_vm_put(m);
		pthread_mutex_lock(&v->lock);
	}
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

static int open_host(struct mg_vms *v, struct vs_error *err)
{
	char folder[MG_STATE_MAX + 8];
	struct vm_host_options o = {.folder = folder, .changed = state_changed, .arg = v};

	(void)snprintf(folder, sizeof(folder), "%s/vms", v->node->state);
	if (getpwnam(VM_USER))
		o.user = VM_USER;
	else
		vs_warn("machines run as root: there is no user \"%s\" (make up makes it)",
			VM_USER);
	return vm_host_open(&o, &v->host, err);
}

int mg_vms_open(struct mg_node *n, struct mg_vms **out, struct vs_error *err)
{
	struct mg_vms *v = calloc(1, sizeof(*v));
	pthread_condattr_t attr;
	int rc, no;

	if (!v)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	v->node = n;
	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&v->work, &attr);
	pthread_cond_init(&v->changed, &attr);
	pthread_condattr_destroy(&attr);
	rc = vhost_server_open(n->store, VHOST_THREADS, &v->vhost, err);
	if (rc == 0)
		rc = open_host(v, err);
	if (rc == 0)
		rc = mg_cdroms_open(v, err);
	if (rc == 0) {
		no = pthread_create(&v->thread, NULL, minder, v);
		v->started = no == 0;
		if (no != 0)
			rc = vs_fail(err, vs_err_from_errno(no), "cannot start the VM thread");
	}
	if (rc != 0)
		mg_vms_close(v);
	else
		*out = v;
	return rc;
}

void mg_vms_close(struct mg_vms *v)
{
	if (!v)
		return;
	if (v->started) {
		pthread_mutex_lock(&v->lock);
		v->stop = true;
		pthread_cond_signal(&v->work);
		pthread_mutex_unlock(&v->lock);
		pthread_join(v->thread, NULL);
	}
	if (v->host)
		vm_host_close(v->host); /* before the disks: a guest that waits is no event */
	while (v->head) {
		struct mg_vm *m = v->head;

		mg_vm_disks_stop(m);
		v->head = m->next;
		pthread_mutex_destroy(&m->ops);
		free(m);
	}
	mg_cdroms_close(v);
	if (v->vhost)
		vhost_server_close(v->vhost);
	pthread_cond_destroy(&v->work);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

void mg_vms_volume_resized(struct mg_node *n, const struct vs_uuid *uuid)
{
	struct mg_vms *v = n->vms;
	struct mg_vm *all[64];
	size_t count = 0;

	pthread_mutex_lock(&v->lock);
	for (struct mg_vm *m = v->head; m && count < VS_ARRAY_LEN(all); m = m->next) {
		m->refs++;
		all[count++] = m;
	}
	pthread_mutex_unlock(&v->lock);
	for (size_t i = 0; i < count; i++) {
		struct mg_vm *m = all[i];

		pthread_mutex_lock(&m->ops);
		for (unsigned k = 0; k < m->ndisks; k++)
			if (vs_uuid_equal(&m->uuids[k], uuid))
				vhost_disk_resized(m->disks[k]);
		pthread_mutex_unlock(&m->ops);
		mg_vm_put(m);
	}
}

void mg_vms_wake(struct mg_vms *v)
{
	pthread_mutex_lock(&v->lock);
	v->awake = true;
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
}

void mg_vm_wait(struct mg_node *n, const char *name, const char *state, unsigned seconds)
{
	struct mg_vms *v = n->vms;
	struct timespec until, slice;
	struct vm_status st;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)seconds;
	for (;;) {
		vm_status(v->host, name, &st);
		clock_gettime(CLOCK_MONOTONIC, &slice);
		if (strcmp(vm_state_name(st.state), state) == 0 || slice.tv_sec >= until.tv_sec)
			return;
		slice.tv_sec++; /* a change between the look and the wait shows a second later */
		pthread_mutex_lock(&v->lock);
		if (!v->awake)
			pthread_cond_timedwait(&v->changed, &v->lock, &slice);
		else
			until.tv_sec = 0;
		pthread_mutex_unlock(&v->lock);
	}
}
