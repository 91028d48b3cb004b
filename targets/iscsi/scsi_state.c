/* What a unit that is not ready still does. */
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

static const struct {
	enum iscsi_lu_state state;
	unsigned beside; /* operations with one of these flags run */
	uint8_t key;
	uint16_t asc;
} states[] = {
    {ISCSI_LU_SANITIZING, SCSI_ANY_STATE, SCSI_NOT_READY, SCSI_SANITIZE_IN_PROGRESS},
    {ISCSI_LU_SANITIZE_FAILED, SCSI_ANY_STATE | SCSI_SANITIZES, SCSI_MEDIUM_ERROR,
     SCSI_SANITIZE_FAILED},
    {ISCSI_LU_EJECTED, SCSI_ANY_STATE | SCSI_EJECTED_OK | SCSI_NO_MEDIUM, SCSI_NOT_READY,
     SCSI_MEDIUM_NOT_PRESENT},
};

bool scsi_state_refuses(struct iscsi_task *t)
{
	unsigned now = atomic_load_explicit(&t->lun->lu->state, memory_order_relaxed);

	for (size_t i = 0; now && i < VS_ARRAY_LEN(states); i++) {
		if (!(now & states[i].state) || t->op->flags & states[i].beside)
			continue;
		iscsi_task_fail(t, states[i].key, states[i].asc);
		if (states[i].state == ISCSI_LU_SANITIZING)
			scsi_sense_progress(t->sense + 2, atomic_load(&t->lun->lu->progress));
		return true;
	}
	return false;
}

void scsi_state_sense(const struct iscsi_lu *lu, uint8_t sense[SCSI_SENSE_LEN])
{
	unsigned now = atomic_load(&lu->state);

	for (size_t i = 0; now && i < VS_ARRAY_LEN(states); i++) {
		if (!(now & states[i].state))
			continue;
		scsi_sense_encode(sense, states[i].key, states[i].asc);
		if (states[i].state == ISCSI_LU_SANITIZING)
			scsi_sense_progress(sense, atomic_load(&lu->progress));
		return;
	}
	scsi_sense_encode(sense, SCSI_NO_SENSE, SCSI_NO_ADDITIONAL_SENSE);
}
