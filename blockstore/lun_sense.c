#include "blockstore/lun_sense.h"

#include "common/bytes.h"
#include "common/err.h"

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <stddef.h>

/* Sense keys and codes: SPC-4 section 4.5 and annex F. The first row that fits decides. */

static const struct {
	uint8_t key;
	uint16_t ascq, mask;
	enum bs_lun_verdict verdict;
	int code;
} table[] = {
    {0x1, 0, 0, BS_LUN_DONE, 0},		       /* RECOVERED ERROR */
    {0x2, 0x3a00, 0xff00, BS_LUN_FAILED, VS_E_IO},     /* MEDIUM NOT PRESENT */
    {0x2, 0x0402, 0xffff, BS_LUN_FAILED, VS_E_IO},     /* INITIALIZING COMMAND REQUIRED */
    {0x2, 0x0403, 0xffff, BS_LUN_FAILED, VS_E_IO},     /* MANUAL INTERVENTION REQUIRED */
    {0x2, 0, 0, BS_LUN_LATER, 0},		       /* NOT READY */
    {0x3, 0, 0, BS_LUN_FAILED, VS_E_IO},	       /* MEDIUM ERROR */
    {0x4, 0, 0, BS_LUN_FAILED, VS_E_IO},	       /* HARDWARE ERROR */
    {0x5, 0x2000, 0xffff, BS_LUN_FAILED, VS_E_NOTSUP}, /* INVALID COMMAND OPERATION CODE */
    {0x5, 0x2400, 0xffff, BS_LUN_FAILED, VS_E_INVAL},  /* INVALID FIELD IN CDB */
    {0x5, 0x2100, 0xffff, BS_LUN_FAILED, VS_E_RANGE},  /* LBA OUT OF RANGE */
    {0x5, 0x2500, 0xffff, BS_LUN_FAILED, VS_E_NOENT},  /* LOGICAL UNIT NOT SUPPORTED */
    {0x5, 0, 0, BS_LUN_FAILED, VS_E_IO},	       /* ILLEGAL REQUEST */
    {0x6, 0x2900, 0xff00, BS_LUN_RESTART, 0},	       /* POWER ON, RESET */
    {0x6, 0x2a09, 0xffff, BS_LUN_CAPACITY, 0},	       /* CAPACITY DATA HAS CHANGED */
    {0x6, 0x3f03, 0xffff, BS_LUN_RESTART, 0},	       /* INQUIRY DATA HAS CHANGED */
    {0x6, 0x3f0e, 0xffff, BS_LUN_RESTART, 0},	       /* REPORTED LUNS DATA HAS CHANGED */
    {0x6, 0, 0, BS_LUN_AGAIN, 0},		       /* UNIT ATTENTION */
    {0x7, 0x2707, 0xffff, BS_LUN_FAILED, VS_E_NOSPC},  /* SPACE ALLOCATION FAILED */
    {0x7, 0, 0, BS_LUN_FAILED, VS_E_ROFS},	       /* DATA PROTECT */
    {0xb, 0, 0, BS_LUN_AGAIN, 0},		       /* ABORTED COMMAND */
    {0xd, 0, 0, BS_LUN_FAILED, VS_E_NOSPC},	       /* VOLUME OVERFLOW */
};

static enum bs_lun_verdict judge_sense(uint8_t key, uint16_t ascq, int *code)
{
	for (size_t i = 0; i < VS_ARRAY_LEN(table); i++) {
		if (table[i].key == key && (ascq & table[i].mask) == table[i].ascq) {
			*code = table[i].code;
			return table[i].verdict;
		}
	}
	*code = VS_E_IO;
	return BS_LUN_FAILED;
}

enum bs_lun_verdict bs_lun_judge(int status, uint8_t key, uint16_t ascq, int *code)
{
	*code = 0;
	switch (status) {
	case SCSI_STATUS_GOOD:
	case SCSI_STATUS_CONDITION_MET:
		return BS_LUN_DONE;
	case SCSI_STATUS_CHECK_CONDITION:
		return judge_sense(key, ascq, code);
	case SCSI_STATUS_RESERVATION_CONFLICT:
		*code = VS_E_BUSY;
		return BS_LUN_FAILED;
	case SCSI_STATUS_BUSY:
	case SCSI_STATUS_TASK_SET_FULL:
	case SCSI_STATUS_ACA_ACTIVE:
		return BS_LUN_LATER;
	case SCSI_STATUS_TASK_ABORTED:
		return BS_LUN_AGAIN;
	default: /* libiscsi's own: cancelled, error, timeout */
		return BS_LUN_RESTART;
	}
}
