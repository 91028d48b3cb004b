/*
 * What a server serves. Any thread; one lock, held only for table work, never across a call into
 * the store.
 */
#ifndef NBD_EXPORT_H
#define NBD_EXPORT_H

#include "targets/nbd/nbd_format.h"
#include "targets/nbd/server.h"

#include <pthread.h>
#include <stdatomic.h>

struct nbd_export {
	struct nbd_export *next;
	char name[BS_FULL_NAME_MAX];
	struct vs_uuid uuid; /* of the volume that was exported under this name */
	bool read_only;
	unsigned users;	  /* connections and look-ups that hold it */
	atomic_bool gone; /* taken out of the table; freed by the last user or the remover */
};

struct nbd_exports {
	pthread_mutex_t lock;
	pthread_cond_t unused; /* some export's users became 0 */
	struct nbd_export *list;
	unsigned count;
};

void nbd_exports_init(struct nbd_exports *t);
void nbd_exports_destroy(struct nbd_exports *t); /* no users are left */
int nbd_exports_add(struct nbd_exports *t, const char *name, const struct vs_uuid *uuid,
		    bool read_only, struct vs_error *err) vs_must_check;
/* Takes it out, so that acquire no longer finds it; *out is given back to nbd_exports_wait. */
int nbd_exports_remove(struct nbd_exports *t, const char *name,
		       struct nbd_export **out) vs_must_check;
/* Waits until nobody uses a removed export, then frees it. */
void nbd_exports_wait(struct nbd_exports *t, struct nbd_export *e);
/* The empty name is the only export when there is exactly one. NULL: none such. */
struct nbd_export *nbd_exports_acquire(struct nbd_exports *t, const struct nbd_string *name);
void nbd_exports_release(struct nbd_exports *t, struct nbd_export *e);
size_t nbd_exports_list(struct nbd_exports *t, struct nbd_server_entry *out, size_t max);
/* Writes LIST's replies, up to room bytes: what does not fit is left out. Returns the bytes. */
size_t nbd_exports_encode(struct nbd_exports *t, uint8_t *to, size_t room);

#endif
