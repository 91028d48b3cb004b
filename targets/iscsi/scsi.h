/*
 * SCSI commands on a task: the table of operations and what carries them out. Runs on the session's
 * thread. Not for others than targets/iscsi/.
 */
#ifndef ISCSI_SCSI_H
#define ISCSI_SCSI_H

#include "targets/iscsi/internal.h"
#include "targets/iscsi/scsi_format.h"

#define SCSI_MAX_TRANSFER (32u << 20) /* bytes of one read or write */
#define SCSI_MAX_SAME (32u << 20)     /* bytes of one WRITE SAME */
#define SCSI_MAX_COMPARE (32u << 10)  /* bytes that one COMPARE AND WRITE compares */
#define SCSI_MAX_ATOMIC BS_ATOMIC_MAX /* bytes of one WRITE ATOMIC */
#define SCSI_MAX_UNMAP (1u << 20)     /* blocks of one UNMAP */
#define SCSI_MAX_UNMAP_DESCRIPTORS 256

enum scsi_flow {
	SCSI_FLOW_NONE,	 /* no data */
	SCSI_FLOW_IN,	 /* run leaves dlen bytes in the own buffer, at most ISCSI_OWN_BUF */
	SCSI_FLOW_OUT,	 /* run gets dlen bytes, one own buffer after the other */
	SCSI_FLOW_READ,	 /* lba and blocks go to the initiator */
	SCSI_FLOW_WRITE, /* lba and blocks come from it */
	SCSI_FLOW_WHOLE, /* run gets it all: in the own buffer, the rest in the scratch piece */
};

enum scsi_result { SCSI_DONE, SCSI_WAIT };

/* flags of struct scsi_op */
#define SCSI_ANY_LUN 1u		/* also for LUNs that do not exist */
#define SCSI_UA_OK 2u		/* does not report unit attentions (SPC-4, 5.14) */
#define SCSI_RESERVED_OK 4u	/* runs beside another's reservation */
#define SCSI_NO_MEDIUM 8u	/* needs no open volume */
#define SCSI_CHANGES 16u	/* changes the medium */
#define SCSI_WHOLE_LIST 32u	/* fails when fewer than dlen bytes come */
#define SCSI_RANGE 64u		/* has an LBA and a number of blocks that must be in range */
#define SCSI_EXACT 128u		/* fails when not exactly dlen bytes come */
#define SCSI_PR_OK 256u		/* runs beside another's persistent reservation */
#define SCSI_PR_WRITES 512u	/* is a write to a persistent reservation */
#define SCSI_SPC2_RESERVE 1024u /* RESERVE(6) and RELEASE(6) */
#define SCSI_RETRIES 2048u	/* run looks at t->mismatched and tries again */
#define SCSI_ANY_STATE 4096u	/* also while the unit is sanitized (SBC-3, 4.11) */
#define SCSI_EJECTED_OK 8192u	/* also without medium */
#define SCSI_SANITIZES 16384u	/* also when sanitizing has failed */
#define SCSI_COPIES 32768u	/* uses the medium by ranges of its parameter list */

#define SCSI_NO_SA (-1)

struct scsi_op {
	uint8_t opcode;
	int8_t service; /* service action, SCSI_NO_SA: none */
	uint8_t flow;
	uint32_t flags;
	uint8_t usage[16]; /* bits of the CDB that are looked at or may be ignored; from byte 0 */
	/* Checks the CDB and sets dlen and what the flow needs; may fail the task. NULL: nothing.
	 */
	void (*prepare)(struct iscsi_task *t);
	/* Begins or goes on; called again when all its requests are done. Not for READ, WRITE. */
	enum scsi_result (*run)(struct iscsi_task *t);
};

extern const struct scsi_op scsi_ops[];
extern const size_t scsi_ops_count;

static inline bool scsi_op_reads(const struct scsi_op *op)
{
	return op->flow == SCSI_FLOW_IN || op->flow == SCSI_FLOW_READ;
}
static inline bool scsi_op_writes(const struct scsi_op *op)
{
	return op->flow >= SCSI_FLOW_OUT && op->flow != SCSI_FLOW_READ;
}

/* scsi.c */
struct iscsi_lun *scsi_find_lun(const struct iscsi_task *t);
void scsi_prepare(struct iscsi_task *t); /* t->lun is set */
bool scsi_uses_medium(const uint8_t cdb[16]);
uint32_t scsi_sector(const struct iscsi_task *t);
uint64_t scsi_capacity(const struct iscsi_task *t); /* blocks */
bool scsi_lun_read_only(const struct iscsi_lun *l);
/* Takes the unit attention of highest priority: its ASC, or 0. */
uint16_t scsi_take_ua(struct iscsi_lun *l);
void scsi_io_failed(struct iscsi_task *t, const struct bs_req *req);
/* For run of FLOW_IN: what is in the own buffer, cut to the CDB's allocation length. */
enum scsi_result scsi_reply(struct iscsi_task *t, size_t len, size_t allocation);
enum scsi_result scsi_fail(struct iscsi_task *t, uint8_t key, uint16_t asc);
enum scsi_result scsi_bad_cdb(struct iscsi_task *t);

/* scsi_block.c, scsi_provision.c, scsi_status.c: data commands */
void scsi_block_prepare(struct iscsi_task *t);
void scsi_block_prepare_verify(struct iscsi_task *t);
void scsi_block_prepare_compare(struct iscsi_task *t);
enum scsi_result scsi_block_verify(struct iscsi_task *t);
enum scsi_result scsi_block_write_verify(struct iscsi_task *t);
enum scsi_result scsi_block_compare_write(struct iscsi_task *t);
enum scsi_result scsi_block_sync(struct iscsi_task *t);
enum scsi_result scsi_block_prefetch(struct iscsi_task *t);
/* Reads [offset, offset + length) of the command's range into the scratch piece; false: there is
   no chunk now, and the task is advanced when there is. */
bool scsi_scratch_read(struct iscsi_task *t, uint64_t offset, uint64_t length);
void scsi_scratch_put(struct iscsi_task *t);

/* scsi_atomic.c */
void scsi_atomic_prepare_or(struct iscsi_task *t);
enum scsi_result scsi_atomic_or(struct iscsi_task *t);
void scsi_atomic_prepare_write(struct iscsi_task *t);
enum scsi_result scsi_atomic_write(struct iscsi_task *t);

/* scsi_defect.c, scsi_removable.c */
enum scsi_result scsi_defect_list10(struct iscsi_task *t);
enum scsi_result scsi_defect_list12(struct iscsi_task *t);
enum scsi_result scsi_removable_prevent(struct iscsi_task *t);
enum scsi_result scsi_removable_start_stop(struct iscsi_task *t);

/* scsi_state.c: units that are not ready. Fails the task if the unit's state does not let it run.
 */
bool scsi_state_refuses(struct iscsi_task *t);
void scsi_state_sense(const struct iscsi_lu *lu, uint8_t sense[SCSI_SENSE_LEN]);

/* scsi_ports.c, scsi_log.c */
uint16_t scsi_ports_group(void); /* the target port group that all ports are in */
enum scsi_result scsi_ports_report(struct iscsi_task *t);
enum scsi_result scsi_log_sense(struct iscsi_task *t);

/* scsi_sanitize.c */
void scsi_sanitize_prepare(struct iscsi_task *t);
void scsi_sanitize_prepare_overwrite(struct iscsi_task *t);
enum scsi_result scsi_sanitize_overwrite(struct iscsi_task *t);
enum scsi_result scsi_sanitize_erase(struct iscsi_task *t);
enum scsi_result scsi_sanitize_exit(struct iscsi_task *t);
void scsi_provision_prepare_same(struct iscsi_task *t);
enum scsi_result scsi_provision_same(struct iscsi_task *t);
void scsi_provision_prepare_unmap(struct iscsi_task *t);
enum scsi_result scsi_provision_unmap(struct iscsi_task *t);
enum scsi_result scsi_status_get(struct iscsi_task *t);

/* scsi_copy.c */
void scsi_copy_prepare(struct iscsi_task *t);
enum scsi_result scsi_copy_run(struct iscsi_task *t);
void scsi_copy_failed(struct iscsi_task *t); /* its request to the store has; sense is set */
enum scsi_result scsi_copy_results(struct iscsi_task *t);
/* Keeps what the task's copy came to; token: that it has made, 0: none. */
void scsi_copy_keep(struct iscsi_task *t, uint32_t id, uint64_t token);
/* NULL: nothing is known. by_token: of POPULATE TOKEN, WRITE USING TOKEN. */
struct iscsi_copy_result *scsi_copy_find(const struct iscsi_task *t, uint32_t id, bool by_token);

/* scsi_token.c */
void scsi_token_prepare_populate(struct iscsi_task *t);
enum scsi_result scsi_token_populate(struct iscsi_task *t);
void scsi_token_prepare_use(struct iscsi_task *t);
enum scsi_result scsi_token_use(struct iscsi_task *t);
void scsi_token_failed(struct iscsi_task *t); /* as scsi_copy_failed, which calls it */
enum scsi_result scsi_token_information(struct iscsi_task *t);

/* scsi_pr.c */
/* Whether another's reservation keeps a command out that reads or writes. */
bool scsi_pr_keeps_out(const struct iscsi_conn *c, struct iscsi_lu *lu, bool write);
bool scsi_pr_conflicts(const struct iscsi_task *t); /* with any kind of reservation */
void scsi_pr_prepare_out(struct iscsi_task *t);
enum scsi_result scsi_pr_out(struct iscsi_task *t);
enum scsi_result scsi_pr_in(struct iscsi_task *t);
enum scsi_result scsi_pr_capabilities(struct iscsi_task *t);

/* scsi_inquiry.c, scsi_mode.c, scsi_report.c, scsi_unit.c */
void scsi_inquiry_naa(const struct vs_uuid *uuid, uint8_t out[8]);
enum scsi_result scsi_inquiry_run(struct iscsi_task *t);
enum scsi_result scsi_mode_sense(struct iscsi_task *t);
void scsi_mode_prepare_select(struct iscsi_task *t);
enum scsi_result scsi_mode_select(struct iscsi_task *t);
enum scsi_result scsi_report_luns(struct iscsi_task *t);
enum scsi_result scsi_report_opcodes(struct iscsi_task *t);
enum scsi_result scsi_report_tmfs(struct iscsi_task *t);
enum scsi_result scsi_unit_ready(struct iscsi_task *t);
enum scsi_result scsi_unit_request_sense(struct iscsi_task *t);
enum scsi_result scsi_unit_capacity10(struct iscsi_task *t);
enum scsi_result scsi_unit_capacity16(struct iscsi_task *t);
enum scsi_result scsi_unit_reserve(struct iscsi_task *t);
enum scsi_result scsi_unit_release(struct iscsi_task *t);

#endif
