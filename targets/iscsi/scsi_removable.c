/*
 * Units with removable medium: PREVENT ALLOW MEDIUM REMOVAL (SPC-4, 6.13) and START STOP UNIT
 * (SBC-3, 5.25). Ejecting hides the volume from all initiators until one loads it again.
 */
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define START 0x01
#define LOEJ 0x02
#define NO_FLUSH 0x04
#define CONDITION 0xf0

enum scsi_result scsi_removable_prevent(struct iscsi_task *t)
{
	struct iscsi_lun *l = t->lun;

	pthread_mutex_lock(&l->lu->lock);
	l->prevents = t->cdb[4] & 1;
	pthread_mutex_unlock(&l->lu->lock);
	return SCSI_DONE;
}

/* With lu->lock held. */
static bool prevented(const struct iscsi_lu *lu)
{
	const struct iscsi_lun *s = lu->sessions;

	while (s && !s->prevents)
		s = s->next;
	return s != NULL;
}

/* After a change of the medium the others have something new before them. */
static bool load(struct iscsi_task *t)
{
	struct iscsi_lu *lu = t->lun->lu;
	bool refused;

	pthread_mutex_lock(&lu->lock);
	refused = prevented(lu);
	if (!refused &&
	    atomic_fetch_and(&lu->state, ~(unsigned)ISCSI_LU_EJECTED) & ISCSI_LU_EJECTED)
		for (struct iscsi_lun *s = lu->sessions; s; s = s->next)
			if (s != t->lun)
				atomic_fetch_or(&s->ua, ISCSI_UA_MEDIUM);
	pthread_mutex_unlock(&lu->lock);
	return !refused;
}

static bool eject(struct iscsi_task *t)
{
	struct iscsi_lu *lu = t->lun->lu;
	bool refused;

	pthread_mutex_lock(&lu->lock);
	refused = prevented(lu);
	if (!refused)
		atomic_fetch_or(&lu->state, ISCSI_LU_EJECTED);
	pthread_mutex_unlock(&lu->lock);
	return !refused;
}

/* A stop flushes, as a disk's would; there is nothing to start, and no power to save. */
enum scsi_result scsi_removable_start_stop(struct iscsi_task *t)
{
	bool starts = t->cdb[4] & START, moves = t->cdb[4] & LOEJ && !(t->cdb[4] & CONDITION);

	if (moves && !t->lun->removable)
		return scsi_bad_cdb(t);
	if (!starts && !t->step++ && !(t->cdb[4] & NO_FLUSH) && t->lun->vol) {
		iscsi_task_submit(t, &t->own, BS_FLUSH, 0, 0, 0);
		return SCSI_WAIT;
	}
	if (moves && !(starts ? load(t) : eject(t)))
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_REMOVAL_PREVENTED);
	return SCSI_DONE;
}
