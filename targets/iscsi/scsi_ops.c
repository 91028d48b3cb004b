#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define B4 0xff, 0xff, 0xff, 0xff
#define B8 B4, B4
/* Byte 1 of reads and writes: DPO, FUA; of verifies: DPO, BYTCHK. Protection is not accepted. */
#define FUA 0x18
#define CHK 0x16
#define GRP 0x1f /* group number: accepted, means nothing */
#define CTL 0x00 /* NACA is not supported */

#define NONE SCSI_FLOW_NONE
#define IN SCSI_FLOW_IN
#define OUT SCSI_FLOW_OUT
#define READ SCSI_FLOW_READ
#define WRITE SCSI_FLOW_WRITE
#define WHOLE SCSI_FLOW_WHOLE
#define NOSA SCSI_NO_SA

#define RANGE SCSI_RANGE
#define CHANGE (SCSI_RANGE | SCSI_CHANGES)
#define ALWAYS (SCSI_ANY_LUN | SCSI_UA_OK | SCSI_RESERVED_OK | SCSI_NO_MEDIUM | SCSI_ANY_STATE)
#define SELECT (SCSI_WHOLE_LIST | SCSI_NO_MEDIUM | SCSI_PR_WRITES)
#define RESERVE (SCSI_NO_MEDIUM | SCSI_SPC2_RESERVE)
#define PR (SCSI_NO_MEDIUM | SCSI_PR_OK)
#define COPY (SCSI_WHOLE_LIST | SCSI_PR_WRITES | SCSI_COPIES)
#define SANITIZE (SCSI_CHANGES | SCSI_SANITIZES)
#define SYNC (SCSI_RANGE | SCSI_PR_WRITES)

/* clang-format off */
const struct scsi_op scsi_ops[] = {
	/* TEST UNIT READY, REQUEST SENSE, READ(6), WRITE(6) */
	{0x00, NOSA, NONE, SCSI_PR_OK, {0x00, 0, 0, 0, 0, CTL}, NULL, scsi_unit_ready},
	{0x03, NOSA, IN, ALWAYS, {0x03, 1, 0, 0, 0xff, CTL}, NULL, scsi_unit_request_sense},
	{0x08, NOSA, READ, RANGE, {0x08, 0x1f, 0xff, 0xff, 0xff, CTL}, scsi_block_prepare, NULL},
	{0x0a, NOSA, WRITE, CHANGE, {0x0a, 0x1f, 0xff, 0xff, 0xff, CTL}, scsi_block_prepare, NULL},
	/* INQUIRY, MODE SELECT(6), RESERVE(6), RELEASE(6), MODE SENSE(6), START STOP UNIT */
	{0x12, NOSA, IN, ALWAYS, {0x12, 0x01, 0xff, 0xff, 0xff, CTL}, NULL, scsi_inquiry_run},
	{0x15, NOSA, OUT, SELECT, {0x15, 0x11, 0, 0, 0xff, CTL}, scsi_mode_prepare_select,
	 scsi_mode_select},
	{0x16, NOSA, NONE, RESERVE, {0x16, 0, 0, 0, 0, CTL}, NULL, scsi_unit_reserve},
	{0x17, NOSA, NONE, RESERVE, {0x17, 0, 0, 0, 0, CTL}, NULL, scsi_unit_release},
	{0x1a, NOSA, IN, 0, {0x1a, 0x08, 0xff, 0xff, 0xff, CTL}, NULL, scsi_mode_sense},
	{0x1b, NOSA, NONE, SCSI_PR_WRITES | SCSI_EJECTED_OK, {0x1b, 0x01, 0, 0x0f, 0xf7, CTL}, NULL,
	 scsi_removable_start_stop},
	/* PREVENT ALLOW MEDIUM REMOVAL */
	{0x1e, NOSA, NONE, SCSI_PR_WRITES | SCSI_EJECTED_OK, {0x1e, 0, 0, 0, 0x03, CTL}, NULL,
	 scsi_removable_prevent},
	/* READ CAPACITY(10), READ(10), WRITE(10), WRITE AND VERIFY(10), VERIFY(10) */
	{0x25, NOSA, IN, SCSI_PR_OK, {0x25, 0, B4, 0, 0, 0x01, CTL}, NULL, scsi_unit_capacity10},
	{0x28, NOSA, READ, RANGE, {0x28, FUA, B4, GRP, 0xff, 0xff, CTL}, scsi_block_prepare, NULL},
	{0x2a, NOSA, WRITE, CHANGE, {0x2a, FUA, B4, GRP, 0xff, 0xff, CTL}, scsi_block_prepare,
	 NULL},
	{0x2e, NOSA, OUT, CHANGE, {0x2e, CHK, B4, GRP, 0xff, 0xff, CTL}, scsi_block_prepare,
	 scsi_block_write_verify},
	{0x2f, NOSA, OUT, RANGE, {0x2f, CHK, B4, GRP, 0xff, 0xff, CTL}, scsi_block_prepare_verify,
	 scsi_block_verify},
	/* PRE-FETCH(10), SYNCHRONIZE CACHE(10), WRITE SAME(10), UNMAP */
	{0x34, NOSA, NONE, RANGE, {0x34, 0x02, B4, GRP, 0xff, 0xff, CTL}, NULL,
	 scsi_block_prefetch},
	{0x35, NOSA, NONE, SYNC, {0x35, 0x02, B4, GRP, 0xff, 0xff, CTL}, NULL, scsi_block_sync},
	{0x37, NOSA, IN, SCSI_NO_MEDIUM, {0x37, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, CTL}, NULL,
	 scsi_defect_list10},
	{0x41, NOSA, OUT, CHANGE | SCSI_EXACT, {0x41, 0x08, B4, GRP, 0xff, 0xff, CTL},
	 scsi_provision_prepare_same, scsi_provision_same},
	{0x42, NOSA, OUT, SCSI_CHANGES | SCSI_WHOLE_LIST,
	 {0x42, 0, 0, 0, 0, 0, GRP, 0xff, 0xff, CTL}, scsi_provision_prepare_unmap,
	 scsi_provision_unmap},
	/* SANITIZE: OVERWRITE, BLOCK ERASE, EXIT FAILURE MODE */
	{0x48, 0x01, OUT, SANITIZE | SCSI_WHOLE_LIST, {0x48, 0xbf, 0, 0, 0, 0, 0, 0xff, 0xff, CTL},
	 scsi_sanitize_prepare_overwrite, scsi_sanitize_overwrite},
	{0x48, 0x02, NONE, SANITIZE, {0x48, 0xbf, 0, 0, 0, 0, 0, 0xff, 0xff, CTL},
	 scsi_sanitize_prepare, scsi_sanitize_erase},
	{0x48, 0x1f, NONE, SANITIZE, {0x48, 0xbf, 0, 0, 0, 0, 0, 0xff, 0xff, CTL},
	 scsi_sanitize_prepare, scsi_sanitize_exit},
	/* LOG SENSE, MODE SELECT(10), MODE SENSE(10) */
	{0x4d, NOSA, IN, SCSI_NO_MEDIUM | SCSI_PR_OK,
	 {0x4d, 0, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, CTL}, NULL, scsi_log_sense},
	{0x55, NOSA, OUT, SELECT, {0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, CTL},
	 scsi_mode_prepare_select, scsi_mode_select},
	{0x5a, NOSA, IN, 0, {0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, CTL}, NULL,
	 scsi_mode_sense},
	/* PERSISTENT RESERVE IN: READ KEYS, RESERVATION, CAPABILITIES, FULL STATUS */
	{0x5e, 0x00, IN, PR, {0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, CTL}, NULL, scsi_pr_in},
	{0x5e, 0x01, IN, PR, {0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, CTL}, NULL, scsi_pr_in},
	{0x5e, 0x02, IN, PR, {0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, CTL}, NULL,
	 scsi_pr_capabilities},
	{0x5e, 0x03, IN, PR, {0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, CTL}, NULL, scsi_pr_in},
	/* PERSISTENT RESERVE OUT: REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT AND ABORT,
	   REGISTER AND IGNORE EXISTING KEY, REGISTER AND MOVE */
#define PR_OUT(action)                                                                             \
	{0x5f, action, OUT, PR | SCSI_WHOLE_LIST, {0x5f, 0x1f, 0xff, 0, 0, B4, CTL},               \
	 scsi_pr_prepare_out, scsi_pr_out}
	PR_OUT(ISCSI_PR_REGISTER), PR_OUT(ISCSI_PR_RESERVE), PR_OUT(ISCSI_PR_RELEASE),
	PR_OUT(ISCSI_PR_CLEAR), PR_OUT(ISCSI_PR_PREEMPT), PR_OUT(ISCSI_PR_PREEMPT_ABORT),
	PR_OUT(ISCSI_PR_REGISTER_IGNORE), PR_OUT(ISCSI_PR_REGISTER_MOVE),
	/* READ(16), COMPARE AND WRITE, WRITE(16), ORWRITE, WRITE AND VERIFY(16), VERIFY(16) */
	{0x88, NOSA, READ, RANGE, {0x88, FUA, B8, B4, GRP, CTL}, scsi_block_prepare, NULL},
	{0x89, NOSA, OUT, SCSI_CHANGES | SCSI_EXACT, {0x89, FUA, B8, 0, 0, 0, 0xff, GRP, CTL},
	 scsi_block_prepare_compare, scsi_block_compare_write},
	{0x8a, NOSA, WRITE, CHANGE, {0x8a, FUA, B8, B4, GRP, CTL}, scsi_block_prepare, NULL},
	{0x8b, NOSA, OUT, CHANGE | SCSI_RETRIES, {0x8b, FUA, B8, B4, GRP, CTL},
	 scsi_atomic_prepare_or, scsi_atomic_or},
	{0x8e, NOSA, OUT, CHANGE, {0x8e, CHK, B8, B4, GRP, CTL}, scsi_block_prepare,
	 scsi_block_write_verify},
	{0x8f, NOSA, OUT, RANGE, {0x8f, CHK, B8, B4, GRP, CTL}, scsi_block_prepare_verify,
	 scsi_block_verify},
	/* PRE-FETCH(16), SYNCHRONIZE CACHE(16), WRITE SAME(16), WRITE ATOMIC(16) */
	{0x90, NOSA, NONE, RANGE, {0x90, 0x02, B8, B4, GRP, CTL}, NULL, scsi_block_prefetch},
	{0x91, NOSA, NONE, SYNC, {0x91, 0x02, B8, B4, GRP, CTL}, NULL, scsi_block_sync},
	{0x93, NOSA, OUT, CHANGE | SCSI_EXACT, {0x93, 0x09, B8, B4, GRP, CTL},
	 scsi_provision_prepare_same, scsi_provision_same},
	{0x9c, NOSA, WHOLE, SCSI_CHANGES | SCSI_EXACT,
	 {0x9c, FUA, B8, 0, 0, 0xff, 0xff, GRP, CTL}, scsi_atomic_prepare_write,
	 scsi_atomic_write},
	/* READ CAPACITY(16), GET LBA STATUS */
	{0x9e, 0x10, IN, SCSI_PR_OK, {0x9e, 0x1f, B8, B4, 0x01, CTL}, NULL, scsi_unit_capacity16},
	{0x9e, 0x12, IN, 0, {0x9e, 0x1f, B8, B4, 0, CTL}, NULL, scsi_status_get},
	/* POPULATE TOKEN, WRITE USING TOKEN, RECEIVE ROD TOKEN INFORMATION */
	{0x83, 0x10, OUT, SCSI_WHOLE_LIST | SCSI_COPIES, {0x83, 0x1f, 0, 0, 0, 0, B4, B4, GRP, CTL},
	 scsi_token_prepare_populate, scsi_token_populate},
	{0x83, 0x11, OUT, SCSI_WHOLE_LIST | SCSI_CHANGES,
	 {0x83, 0x1f, 0, 0, 0, 0, B4, B4, GRP, CTL}, scsi_token_prepare_use, scsi_token_use},
	{0x84, 0x07, IN, 0, {0x84, 0x1f, B4, 0, 0, 0, 0, B4, 0, CTL}, NULL,
	 scsi_token_information},
	/* EXTENDED COPY(LID1); RECEIVE COPY STATUS, OPERATING PARAMETERS, FAILURE DETAILS (LID1) */
	{0x83, 0x00, OUT, COPY, {0x83, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, B4, 0, CTL}, scsi_copy_prepare,
	 scsi_copy_run},
	{0x84, 0x00, IN, 0, {0x84, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, B4, 0, CTL}, NULL,
	 scsi_copy_results},
	{0x84, 0x03, IN, 0, {0x84, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, B4, 0, CTL}, NULL,
	 scsi_copy_results},
	{0x84, 0x04, IN, 0, {0x84, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, B4, 0, CTL}, NULL,
	 scsi_copy_results},
	/* REPORT LUNS, REPORT TARGET PORT GROUPS, SUPPORTED OPERATION CODES, TASK MANAGEMENT
	   FUNCTIONS */
	{0xa0, NOSA, IN, ALWAYS, {0xa0, 0, 0xff, 0, 0, 0, B4, 0, CTL}, NULL, scsi_report_luns},
	{0xa3, 0x0a, IN, PR | SCSI_ANY_STATE, {0xa3, 0x3f, 0, 0, 0, 0, B4, 0, CTL}, NULL,
	 scsi_ports_report},
	{0xa3, 0x0c, IN, PR, {0xa3, 0x1f, 0x87, 0xff, 0xff, 0xff, B4, 0, CTL}, NULL,
	 scsi_report_opcodes},
	{0xa3, 0x0d, IN, PR, {0xa3, 0x1f, 0x80, 0, 0, 0, B4, 0, CTL}, NULL, scsi_report_tmfs},
	/* READ(12), WRITE(12), WRITE AND VERIFY(12), VERIFY(12) */
	{0xa8, NOSA, READ, RANGE, {0xa8, FUA, B4, B4, GRP, CTL}, scsi_block_prepare, NULL},
	{0xaa, NOSA, WRITE, CHANGE, {0xaa, FUA, B4, B4, GRP, CTL}, scsi_block_prepare, NULL},
	{0xae, NOSA, OUT, CHANGE, {0xae, CHK, B4, B4, GRP, CTL}, scsi_block_prepare,
	 scsi_block_write_verify},
	{0xaf, NOSA, OUT, RANGE, {0xaf, CHK, B4, B4, GRP, CTL}, scsi_block_prepare_verify,
	 scsi_block_verify},
	/* READ DEFECT DATA(12) */
	{0xb7, NOSA, IN, SCSI_NO_MEDIUM, {0xb7, 0x1f, B4, B4, 0, CTL}, NULL, scsi_defect_list12},
};
/* clang-format on */

const size_t scsi_ops_count = VS_ARRAY_LEN(scsi_ops);
