/* Private to the vm*.c files of this folder: machines while their disks are served. */
#ifndef MG_VMS_IMPL_H
#define MG_VMS_IMPL_H

#include "mgmt/vm_cdrom.h"
#include "mgmt/vms.h"
#include "targets/nbd/server.h"
#include "targets/vhost/disk.h"

/*
 * One machine that was touched since the start. In the list until its VM is deleted, counted by
 * refs; `ops` serializes what is done to it and guards disks; the flags are under mg_vms.lock.
 */
struct mg_vm {
	char name[VM_NAME_MAX];
	struct mg_vms *vms;
	pthread_mutex_t ops;
	unsigned ndisks;
	struct vhost_disk *disks[VM_DISKS_MAX];
	struct vs_uuid uuids[VM_DISKS_MAX];
	char cdrom[BS_NAME_MAX]; /* the export of its CD drive; "": none */
	bool ended;		 /* stopped or crashed: its disks are to be taken down */
	int held;		 /* why its writes wait, 0: they do not */
	bool news;		 /* held was set and nobody has looked yet */
	bool paused;		 /* by us, for want of space */
	unsigned refs;
	bool gone; /* out of the list */
	struct mg_vm *next;
};

struct mg_vms {
	struct mg_node *node;
	struct vhost_server *vhost;
	struct vm_host *host;
	struct nbd_server *cdroms;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;	/* never held while calling vmm or vhost */
	pthread_cond_t work;	/* flags of a machine, stop */
	pthread_cond_t changed; /* a machine's state, awake */
	struct mg_vm *head;
	bool stop, awake;
};

/* The machine's entry, made when there is none; give it back with mg_vm_put. NULL: no memory. */
struct mg_vm *mg_vm_get(struct mg_vms *v, const char *name);
void mg_vm_put(struct mg_vm *m);
/* The VM is deleted: the entry goes once nobody has it any more. */
void mg_vm_forget(struct mg_vm *m);

/* With ops held. */
int mg_vm_disks_start(struct mg_vm *m, struct vm_definition *def, const struct vs_uuid *uuids,
		      struct vs_error *err) vs_must_check;
void mg_vm_disks_stop(struct mg_vm *m);

/* Remembers whether the machine is paused for want of space. */
void mg_vm_note_held(struct mg_vm *m, bool held);

/* Stored documents. uuids of VM_DISKS_MAX. */
struct mg_vm_doc {
	struct vm_definition def; /* volumes by their present names */
	struct vs_uuid uuids[VM_DISKS_MAX];
	struct mg_cdrom cdrom; /* not given, but stored */
	bool autostart, share_disks;
	bool held; /* paused by us for want of space: the next daemon must know */
};
int mg_vm_doc_load(struct mg_node *n, const char *name, struct mg_vm_doc *out,
		   struct vs_error *err) vs_must_check;
int mg_vm_doc_decode(struct mg_node *n, const json_t *doc, struct mg_vm_doc *out,
		     struct vs_error *err) vs_must_check;
/* From a request's body over `base` (NULL: a new machine); resolves the volumes. cd: of that body.
 */
int mg_vm_doc_parse(struct mg_node *n, const json_t *body, const struct mg_vm_doc *base,
		    const struct mg_cdrom *cd, struct mg_vm_doc *out,
		    struct vs_error *err) vs_must_check;
int mg_vm_doc_store(struct mg_node *n, const struct mg_vm_doc *d, bool insert,
		    struct vs_error *err) vs_must_check;
json_t *mg_vm_doc_json(const struct mg_vm_doc *d, struct vm_status *st);

#endif
