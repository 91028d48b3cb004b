/* What a command's outcome means for who waits for it. Pure functions, any thread. */
#ifndef BS_LUN_SENSE_H
#define BS_LUN_SENSE_H

#include <stdbool.h>
#include <stdint.h>

enum bs_lun_verdict {
	BS_LUN_DONE,
	BS_LUN_AGAIN,	 /* at once: a unit attention said that something else has changed */
	BS_LUN_LATER,	 /* the device is busy or becoming ready */
	BS_LUN_CAPACITY, /* at once, and look how large the LUN is */
	BS_LUN_RESTART,	 /* the path or the device was lost or may be another: log in again */
	BS_LUN_FAILED,	 /* *code says how */
};

/* status: enum scsi_status of libiscsi; ascq: additional sense code and qualifier. */
enum bs_lun_verdict bs_lun_judge(int status, uint8_t key, uint16_t ascq, int *code);

#endif
