/*
 * The image in a VM's CD drive. DATASTORE/PATH and nfs://HOST/EXPORT/PATH are made into a volume
 * when they are put in: a datastore's file is copied, which shares its content, a file of an NFS
 * server is imported live. So what becomes of the file later is nothing to the VM, and the volume
 * goes when the image is taken out. QEMU reads it over NBD, from one server for all machines. An
 * absolute path is a file that QEMU opens itself.
 */
#ifndef MG_VM_CDROM_H
#define MG_VM_CDROM_H

#include "mgmt/node.h"

struct mg_vm;
struct mg_vm_doc;
struct mg_vms;

/* What a request says of the drive. */
struct mg_cdrom {
	bool given;	       /* anything; else it stays as it is */
	bool has_volume;       /* else it is empty, or holds a file of the host */
	struct vs_uuid volume; /* nobody's yet */
};

/* Of a request's body; the volume is made, as a draft. Without node->config: it may take a while.
 */
int mg_cdrom_make(struct mg_node *n, const json_t *body, struct mg_cdrom *out,
		  struct vs_error *err) vs_must_check;
/* The new volume, if there is one, is no draft any more, or, when no VM has taken it, is gone. */
void mg_cdrom_settle(struct mg_node *n, const struct mg_cdrom *cd, bool taken);
/* Deletes the volume of a drive that it was in; an event says when that fails: somebody uses it. */
void mg_cdrom_drop(struct mg_node *n, const struct mg_cdrom *cd);
/* The volume is in a VM's drive, and so it has to keep its name. */
int mg_cdrom_renamable(struct mg_node *n, const struct vs_uuid *volume,
		       struct vs_error *err) vs_must_check;

/* The server for all. */
int mg_cdroms_open(struct mg_vms *v, struct vs_error *err) vs_must_check;
void mg_cdroms_close(struct mg_vms *v);
/* Serves a machine's image, and says where in its definition. With ops held. */
int mg_cdrom_start(struct mg_vm *m, struct mg_vm_doc *d, struct vs_error *err) vs_must_check;
void mg_cdrom_stop(struct mg_vm *m);

#endif
