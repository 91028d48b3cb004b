/*
 * SANITIZE at work: one job per logical unit, on one I/O thread, whatever becomes of the session
 * that asked for it (SBC-3, 4.11). Not for others than targets/iscsi/.
 *
 * A job is made on the session's thread, holds the unit through the control thread, runs on an I/O
 * thread and is freed on the control thread. What it may do to the volume is what any client may:
 * snapshots, clones and backups keep what they share with it.
 */
#ifndef ISCSI_SANITIZE_H
#define ISCSI_SANITIZE_H

#include "targets/iscsi/lu.h"

enum iscsi_sanitize_how { ISCSI_SANITIZE_ERASE, ISCSI_SANITIZE_OVERWRITE };

struct iscsi_sanitize_order {
	enum iscsi_sanitize_how how;
	bool may_exit;	      /* AUSE: a failure may be left without another SANITIZE */
	unsigned count;	      /* overwriting: passes */
	bool invert;	      /* every second one */
	const uint8_t *block; /* of sector bytes */
	uint32_t sector;
};

/* On the session's thread. VS_E_BUSY: one runs; VS_E_NOMEM. */
int iscsi_sanitize_start(struct iscsi_lun *l,
			 const struct iscsi_sanitize_order *order) vs_must_check;

#endif
