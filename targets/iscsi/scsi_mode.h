/* Mode pages of a logical unit (SPC-4, 7.5; SBC-3, 6.5). Not for others than targets/iscsi/. */
#ifndef ISCSI_SCSI_MODE_H
#define ISCSI_SCSI_MODE_H

#include "targets/iscsi/lu.h"

enum scsi_page_control {
	SCSI_PC_CURRENT,
	SCSI_PC_CHANGEABLE,
	SCSI_PC_DEFAULT,
	SCSI_PC_SAVED,
};
#define SCSI_MODE_PAGE_MAX 64 /* bytes of one page */

struct scsi_mode_page {
	uint8_t code, sub;
	/* Length of the whole page. */
	size_t (*make)(const struct iscsi_lu *lu, enum scsi_page_control pc, uint8_t *b);
	/* A page that differs from the current one only where it may; whether it does. NULL: never.
	 */
	bool (*apply)(struct iscsi_lu *lu, const uint8_t *page);
};

extern const struct scsi_mode_page scsi_mode_pages[];
extern const size_t scsi_mode_page_count;

#endif
