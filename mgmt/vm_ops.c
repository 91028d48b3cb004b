/* What is done to machines on request. */
#include "mgmt/vms_impl.h"

#include "mgmt/copy.h"
#include "mgmt/volume.h"

#include <stdlib.h>
#include <string.h>

#define NO_MEMORY(err) vs_fail(err, VS_E_NOMEM, "out of memory")

/* Writable disks must be nobody else's, unless the definition says that they may. */
static int check_disks(struct mg_node *n, const struct mg_vm_doc *d, struct vs_error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < d->def.ndisks && rc == 0 && !d->share_disks; i++) {
		if (d->def.disks[i].read_only)
			continue;
		rc =
		    mg_volume_unused_but(n, &d->uuids[i], d->def.disks[i].volume, d->def.name, err);
	}
	return rc;
}

static int check_new(struct mg_node *n, const char *name, struct vs_error *err)
{
	json_t *doc = NULL;
	int rc = mg_catalogue_get(n->catalogue, MG_VM, name, &doc, err);

	json_decref(doc);
	if (rc == 0)
		return vs_fail(err, VS_E_EXIST, "VM %s exists; choose another name", name);
	return rc == VS_E_NOENT ? 0 : rc;
}

/* With node->config held. look: everything but the change itself. */
static int create(struct mg_node *n, const json_t *body, const struct mg_cdrom *cd, bool look,
		  struct vs_error *err)
{
	struct mg_vm_doc *d = calloc(1, sizeof(*d));
	int rc = d ? mg_vm_doc_parse(n, body, NULL, cd, d, err) : NO_MEMORY(err);

	if (rc == 0)
		rc = check_disks(n, d, err);
	if (rc == 0 && look)
		rc = check_new(n, d->def.name, err);
	else if (rc == 0)
		rc = mg_vm_doc_store(n, d, true, err);
	free(d);
	return rc;
}

int mg_vm_create(struct mg_node *n, const json_t *body, struct vs_error *err)
{
	struct mg_cdrom cd = {.given = true};
	int rc;

	pthread_mutex_lock(&n->config);
	rc = create(n, body, &cd, true, err);
	pthread_mutex_unlock(&n->config);
	if (rc == 0)
		rc = mg_cdrom_make(n, body, &cd, err);
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&n->config);
	rc = create(n, body, &cd, false, err);
	pthread_mutex_unlock(&n->config);
	mg_cdrom_settle(n, &cd, rc == 0);
	return rc;
}

/* VS_E_BUSY while it runs in any way. */
static int check_still(struct mg_node *n, const char *name, struct vs_error *err)
{
	struct vm_status st;

	vm_status(n->vms->host, name, &st);
	return st.state == VM_STOPPED || st.state == VM_CRASHED
		   ? 0
		   : vs_fail(err, VS_E_BUSY, "VM %s is %s; stop it first", name,
			     vm_state_name(st.state));
}

static bool only_autostart(const json_t *body)
{
	return json_object_size(body) == 1 && json_object_get(body, "autostart");
}

/* As create. */
static int change(struct mg_node *n, const char *name, const json_t *body,
		  const struct mg_cdrom *cd, bool look, struct vs_error *err)
{
	struct mg_vm_doc *old = calloc(1, sizeof(*old)), *d = calloc(1, sizeof(*d));
	struct mg_vm *m = mg_vm_get(n->vms, name);
	int rc;

	if (!old || !d || !m) {
		rc = NO_MEMORY(err);
		goto out;
	}
	pthread_mutex_lock(&m->ops);
	rc = mg_vm_doc_load(n, name, old, err);
	if (rc == 0)
		rc = mg_vm_doc_parse(n, body, old, cd, d, err);
	if (rc == 0 && !only_autostart(body))
		rc = check_still(n, name, err);
	if (rc == 0)
		rc = check_disks(n, d, err);
	if (rc == 0 && !look)
		rc = mg_vm_doc_store(n, d, false, err);
	if (rc == 0 && !look && cd->given)
		mg_cdrom_drop(n, &old->cdrom);
	if (rc == VS_E_NOENT)
		mg_vm_forget(m);
	pthread_mutex_unlock(&m->ops);
out:
	if (m)
		mg_vm_put(m);
	free(d);
	free(old);
	return rc;
}

int mg_vm_change(struct mg_node *n, const char *name, const json_t *body, struct vs_error *err)
{
	struct mg_cdrom cd = {.given = json_object_get(body, "cdrom") != NULL};
	int rc;

	pthread_mutex_lock(&n->config);
	rc = change(n, name, body, &cd, true, err);
	pthread_mutex_unlock(&n->config);
	if (rc == 0)
		rc = mg_cdrom_make(n, body, &cd, err);
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&n->config);
	rc = change(n, name, body, &cd, false, err);
	pthread_mutex_unlock(&n->config);
	mg_cdrom_settle(n, &cd, rc == 0);
	return rc;
}

static int check_deletable(struct mg_node *n, const struct mg_vm_doc *d, struct vs_error *err)
{
	struct bs_volume_info info;
	int rc = 0;

	for (unsigned i = 0; i < d->def.ndisks && rc == 0; i++) {
		const char *volume = d->def.disks[i].volume;

		if (bs_volume_find_uuid(n->store, &d->uuids[i], &info, NULL) != 0 || info.snapshot)
			continue;
		if (info.snapshots > 0)
			rc = vs_fail(err, VS_E_BUSY,
				     "disk %s has snapshots; delete them first, or keep the disks",
				     volume);
		else
			rc = mg_volume_unused_but(n, &d->uuids[i], volume, d->def.name, err);
	}
	return rc;
}

static int delete_disks(struct mg_node *n, const struct mg_vm_doc *d, struct vs_error *err)
{
	struct bs_volume_info info;
	int rc = 0;

	for (unsigned i = 0; i < d->def.ndisks && rc == 0; i++)
		if (bs_volume_find_uuid(n->store, &d->uuids[i], &info, NULL) == 0 && !info.snapshot)
			rc = bs_volume_delete(n->store, info.name, BS_DELETE_PLAIN, err);
	return rc;
}

int mg_vm_delete(struct mg_node *n, const char *name, bool with_disks, struct vs_error *err)
{
	struct mg_vm_doc *d = calloc(1, sizeof(*d));
	struct mg_vm *m = mg_vm_get(n->vms, name);
	int rc;

	if (!d || !m) {
		rc = NO_MEMORY(err);
		goto out;
	}
	pthread_mutex_lock(&m->ops);
	rc = mg_vm_doc_load(n, name, d, err);
	if (rc == 0)
		rc = check_still(n, name, err);
	if (rc == 0 && with_disks)
		rc = check_deletable(n, d, err);
	if (rc == 0) {
		mg_vm_disks_stop(m);
		rc = vm_remove(n->vms->host, name, err);
		if (rc == VS_E_NOENT)
			rc = 0; /* it never ran */
	}
	if (rc == 0)
		rc = mg_catalogue_delete(n->catalogue, MG_VM, name, err);
	if (rc == 0 || rc == VS_E_NOENT)
		mg_vm_forget(m);
	if (rc == 0)
		mg_cdrom_drop(n, &d->cdrom);
	if (rc == 0 && with_disks)
		rc = delete_disks(n, d, err);
	pthread_mutex_unlock(&m->ops);
out:
	if (m)
		mg_vm_put(m);
	free(d);
	return rc;
}

/* Calls op with the machine's lock held, if the catalogue knows it. */
static int with_machine(struct mg_node *n, const char *name,
			int (*op)(struct mg_vm *m, struct mg_vm_doc *d, struct vs_error *err),
			struct vs_error *err)
{
	struct mg_vm_doc *d = calloc(1, sizeof(*d));
	struct mg_vm *m;
	int rc;

	if (!d)
		return NO_MEMORY(err);
	rc = mg_vm_doc_load(n, name, d, err);
	m = rc == 0 ? mg_vm_get(n->vms, name) : NULL;
	if (!m) {
		free(d);
		return rc != 0 ? rc : NO_MEMORY(err);
	}
	pthread_mutex_lock(&m->ops);
	rc = mg_vm_doc_load(n, name, d, err); /* as it is now that nobody changes it */
	if (rc == 0)
		rc = op(m, d, err);
	pthread_mutex_unlock(&m->ops);
	mg_vm_put(m);
	free(d);
	return rc;
}

static int start(struct mg_vm *m, struct mg_vm_doc *d, struct vs_error *err)
{
	struct vm_status st;
	int rc;

	vm_status(m->vms->host, m->name, &st);
	if (st.state != VM_STOPPED && st.state != VM_CRASHED)
		return vs_fail(err, VS_E_BUSY, "VM %s is %s", m->name, vm_state_name(st.state));
	rc = mg_vm_disks_start(m, &d->def, d->uuids, err);
	if (rc != 0)
		return rc;
	rc = mg_cdrom_start(m, d, err);
	if (rc == 0) {
		mg_vm_note_held(m, false);
		rc = vm_start(m->vms->host, &d->def, err);
	}
	if (rc != 0)
		mg_vm_disks_stop(m);
	return rc;
}

static int stop(struct mg_vm *m, struct mg_vm_doc *d, struct vs_error *err)
{
	int rc = vm_stop(m->vms->host, m->name, err);

	(void)d;
	if (rc == VS_E_NOENT)
		rc = vs_fail(err, VS_E_BUSY, "VM %s is stopped", m->name);
	if (rc == 0)
		mg_vm_disks_stop(m);
	return rc;
}

int mg_vm_start(struct mg_node *n, const char *name, struct vs_error *err)
{
	return with_machine(n, name, start, err);
}

int mg_vm_stop(struct mg_node *n, const char *name, struct vs_error *err)
{
	return with_machine(n, name, stop, err);
}

int mg_vm_control(struct mg_node *n, const char *name,
		  int (*call)(struct vm_host *h, const char *name, struct vs_error *err),
		  struct vs_error *err)
{
	json_t *doc = NULL;
	struct mg_vm *m;
	int rc = mg_catalogue_get(n->catalogue, MG_VM, name, &doc, err);

	json_decref(doc);
	if (rc != 0)
		return rc;
	m = mg_vm_get(n->vms, name);
	if (!m)
		return NO_MEMORY(err);
	pthread_mutex_lock(&m->ops);
	rc = call(n->vms->host, name, err);
	if (rc == VS_E_NOENT)
		rc = vs_fail(err, VS_E_BUSY, "VM %s is stopped", name);
	if (rc == 0 && call == vm_resume) {
		pthread_mutex_lock(&n->vms->lock);
		m->paused = false;
		pthread_mutex_unlock(&n->vms->lock);
		mg_vm_note_held(m, false);
	}
	pthread_mutex_unlock(&m->ops);
	mg_vm_put(m);
	return rc;
}

/* Serves the disks of a guest that still runs, as soon as may be, and takes it over. */
static int adopt(struct mg_vm *m, struct mg_vm_doc *d, struct vs_error *err)
{
	int rc = mg_vm_disks_start(m, &d->def, d->uuids, err);
	struct vs_error why;

	if (rc != 0)
		return rc;
	if (mg_cdrom_start(m, d, &why) != 0)
		mg_event(m->vms->node->events, MG_ERROR, "vm.failed", m->name, "%s", why.text);
	rc = vm_adopt(m->vms->host, &d->def, err);
	if (rc != 0) {
		mg_vm_disks_stop(m);
		return rc;
	}
	pthread_mutex_lock(&m->vms->lock);
	m->paused = d->held;
	pthread_cond_signal(&m->vms->work);
	pthread_mutex_unlock(&m->vms->lock);
	return 0;
}

struct autostart {
	struct mg_node *node;
	char name[VM_NAME_MAX];
};

static int run_autostart(struct mg_task *t, void *arg, json_t **result, struct vs_error *err)
{
	struct autostart *a = arg;

	(void)t;
	(void)result;
	return mg_vm_start(a->node, a->name, err);
}

static int autostart(struct mg_node *n, const char *name, struct vs_error *err)
{
	struct autostart *a = calloc(1, sizeof(*a));
	struct mg_task_spec spec = {
	    .kind = "autostart", .subject = name, .run = run_autostart, .free = free, .arg = a};
	json_t *task = NULL;
	int rc;

	if (!a)
		return NO_MEMORY(err);
	a->node = n;
	mg_copy(a->name, sizeof(a->name), name);
	rc = mg_task_start(n->tasks, &spec, &task, err);
	json_decref(task);
	return rc;
}

int mg_vms_resume_all(struct mg_node *n, struct vs_error *err)
{
	struct mg_vm_doc *d = calloc(1, sizeof(*d));
	json_t *docs = NULL, *doc;
	struct vs_error why;
	size_t i;
	int rc;

	if (!d)
		return NO_MEMORY(err);
	rc = mg_catalogue_list(n->catalogue, MG_VM, &docs, err);
	json_array_foreach(docs, i, doc)
	{
		int one = mg_vm_doc_decode(n, doc, d, &why);

		if (one == 0 && vm_alive(n->vms->host, &d->def)) {
			one = with_machine(n, d->def.name, adopt, &why);
			if (one == 0)
				mg_event(n->events, MG_INFO, "vm.adopted", d->def.name,
					 "it ran on while the daemon was away");
		} else if (one == 0) {
			one = vm_adopt(n->vms->host, &d->def, &why); /* finds out how it ended */
			one = one == VS_E_NOENT ? 0 : one;
			if (one == 0 && d->autostart)
				one = autostart(n, d->def.name, &why);
		}
		if (one != 0)
			mg_event(n->events, MG_ERROR, "vm.failed", d->def.name, "%s", why.text);
	}
	json_decref(docs);
	free(d);
	return rc;
}
