/*
 * The devices that the node's store lies on: which are opened, and where they are remembered.
 *
 * The configuration names devices; those that were added later stand in STATE/devices, a path a
 * line. The store itself knows its devices by their UUIDs, so both lists only say where to look.
 * Threads: any.
 */
#ifndef MG_DEVICES_H
#define MG_DEVICES_H

#include "mgmt/node.h"

#include <jansson.h>

/* As bs_device_open, with the node's secret and patience for LUNs. */
int mg_device_open(const struct mg_node *n, const char *path, struct bs_device **out,
		   struct vs_error *err) vs_must_check;
/* Opens what is there; one that is not is said in an event. An error when nothing is there. */
int mg_devices_open(struct mg_node *n, struct bs_device *devs[MG_STORES_MAX], unsigned *ndevs,
		    struct vs_error *err) vs_must_check;
/* Writes STATE/devices anew: the devices that the store has now. */
int mg_devices_remember(struct mg_node *n, struct vs_error *err) vs_must_check;
/* As the API shows them; NULL: out of memory. */
json_t *mg_devices_json(struct mg_node *n);

#endif
