/*
 * Virtual machines: definitions in the catalogue, disks on the vhost server, processes in vmm.
 *
 * Ownership: open and close in pairs; close leaves the guests running, open finds them again.
 * Threads: any that may wait; operations on one machine wait for each other. mg_vms_volume_resized
 * is called with node->config held.
 *
 * The catalogue keeps {definition, autostart, share_disks, cdrom_volume?}, the definition as vmm
 * encodes it but with volumes by UUID.
 */
#ifndef MG_VMS_H
#define MG_VMS_H

#include "mgmt/node.h"
#include "vmm/machine.h"

int mg_vms_open(struct mg_node *n, struct mg_vms **out, struct vs_error *err) vs_must_check;
/* After open and once the tasks run: takes guests over that still run, starts those of autostart.
 */
int mg_vms_resume_all(struct mg_node *n, struct vs_error *err) vs_must_check;
void mg_vms_close(struct mg_vms *v);

/*
 * body: as POST /v1/vms takes it. Without node->config, which is taken for the change itself and
 * not while an image for the CD drive is copied.
 */
int mg_vm_create(struct mg_node *n, const json_t *body, struct vs_error *err) vs_must_check;
int mg_vm_change(struct mg_node *n, const char *name, const json_t *body,
		 struct vs_error *err) vs_must_check;
int mg_vm_delete(struct mg_node *n, const char *name, bool with_disks,
		 struct vs_error *err) vs_must_check;
int mg_vm_show(struct mg_node *n, const char *name, json_t **out,
	       struct vs_error *err) vs_must_check;
int mg_vm_list(struct mg_node *n, json_t **out, struct vs_error *err) vs_must_check;
int mg_vm_start(struct mg_node *n, const char *name, struct vs_error *err) vs_must_check;
int mg_vm_stop(struct mg_node *n, const char *name, struct vs_error *err) vs_must_check;
/* vm_shutdown, vm_reset, vm_suspend, vm_resume on a machine that exists. */
int mg_vm_control(struct mg_node *n, const char *name,
		  int (*call)(struct vm_host *h, const char *name, struct vs_error *err),
		  struct vs_error *err) vs_must_check;
int mg_vm_status(struct mg_node *n, const char *name, struct vm_status *out,
		 struct vs_error *err) vs_must_check;
/* Returns when the machine's state is `state`, or seconds have passed, or the daemon stops. */
void mg_vm_wait(struct mg_node *n, const char *name, const char *state, unsigned seconds);
void mg_vms_wake(struct mg_vms *v);
void mg_vms_count(struct mg_node *n, unsigned *total, unsigned *running);
void mg_vms_volume_resized(struct mg_node *n, const struct vs_uuid *uuid);

#endif
