/* READ DEFECT DATA (SBC-3, 5.18 and 5.19): the store has no defects that a host could care about.
 */
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define LISTS_AND_FORMAT 0x1f /* which lists are wanted, and their format: echoed */

enum scsi_result scsi_defect_list10(struct iscsi_task *t)
{
	memset(t->own.buf, 0, 4);
	t->own.buf[1] = t->cdb[2] & LISTS_AND_FORMAT;
	return scsi_reply(t, 4, vs_get_be16(t->cdb + 7));
}

enum scsi_result scsi_defect_list12(struct iscsi_task *t)
{
	memset(t->own.buf, 0, 8);
	t->own.buf[1] = t->cdb[1] & LISTS_AND_FORMAT;
	return scsi_reply(t, 8, vs_get_be32(t->cdb + 6));
}
