/*
 * Thin provisioning thresholds (SBC-3, 4.7.3.8): when the store has less room left than an
 * initiator wants to be told of, all who see the unit get a unit attention. Not for others than
 * targets/iscsi/.
 *
 * The control thread asks the store every few seconds; commands only read what it found.
 */
#ifndef ISCSI_THRESHOLD_H
#define ISCSI_THRESHOLD_H

#include "targets/iscsi/lu.h"

#define ISCSI_THRESHOLD_UNIT (1u << 20) /* bytes that a count of one stands for */

struct iscsi_threshold {
	bool enabled;
	uint32_t count; /* of available resources; reached: it is no more than this */
};

/* Any thread. */
struct iscsi_threshold iscsi_threshold_default(unsigned i);
void iscsi_threshold_get(const struct iscsi_lu *lu, unsigned i, struct iscsi_threshold *out);
/* Whether it differs from what was. */
bool iscsi_threshold_set(struct iscsi_lu *lu, unsigned i, const struct iscsi_threshold *t);
/* Resources of the store, as seen last. */
uint32_t iscsi_threshold_available(const struct iscsi_server *srv);
uint32_t iscsi_threshold_used(const struct iscsi_server *srv);

/* Before the control thread starts; it goes on by itself there. */
int iscsi_threshold_watch(struct iscsi_server *srv) vs_must_check;

#endif
