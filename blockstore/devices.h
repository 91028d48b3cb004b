/*
 * The devices of an open store: shown, added, replaced, removed, grown.
 *
 * Threads: any but the engine's; they wait for the engine. Errors: VS_E_* with one line for people.
 * A device is named by its path as it was opened, or by its UUID.
 */
#ifndef BS_DEVICES_H
#define BS_DEVICES_H

#include "blockstore/store.h"

enum bs_device_state {
	BS_DEVICE_SYNC,
	BS_DEVICE_RESILVERING, /* gets what is written; the rest is being copied to it */
	BS_DEVICE_LEAVING,     /* in sync; is removed as soon as another one has its data */
	BS_DEVICE_MISSING,     /* absent or failed: the others of its mirror serve */
};

struct bs_device_info {
	char name[256]; /* "" when it is not here */
	struct vs_uuid uuid;
	enum bs_device_state state;
	unsigned group;		  /* devices of one group mirror each other */
	uint64_t size, used_size; /* its own; of it the store uses */
	uint32_t segments, left;  /* in use in its group; of them still to be copied to it */
	uint64_t read_errors, write_errors, healed; /* since open */
};

int bs_devices_list(struct bs_store *s, struct bs_device_info *out, size_t max, size_t *n,
		    struct vs_error *err) vs_must_check;

struct bs_device_add {
	const char *mirror_of; /* a device whose mirror it becomes; NULL: more room */
	const char *replaces;  /* a device that leaves when this one has its data; NULL: none */
	bool force;	       /* overwrite what holds data */
};
/*
 * Takes dev over, also on failure. One that belongs to the store and was absent comes back as what
 * it was. Returns when it is part of the store; a mirror is then still being resilvered.
 */
int bs_devices_add(struct bs_store *s, struct bs_device *dev, const struct bs_device_add *how,
		   struct vs_error *err) vs_must_check;
/* Closes a device that has failed and was left out, so that it can be opened again and added. */
void bs_devices_let_go(struct bs_store *s, const char *name);
/* VS_E_NOTSUP for the only device that has its data. Its superblocks are wiped; it is closed. */
int bs_devices_remove(struct bs_store *s, const char *name, struct vs_error *err) vs_must_check;
/* Uses what the devices have grown by; *bytes: how much that is. */
int bs_devices_grow(struct bs_store *s, uint64_t *bytes, struct vs_error *err) vs_must_check;

#endif
