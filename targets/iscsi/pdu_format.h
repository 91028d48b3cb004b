/*
 * iSCSI PDUs: the 48 byte basic header segment (RFC 7143, 11), decoded from and encoded to the
 * wire. Pure functions, any thread.
 */
#ifndef ISCSI_PDU_FORMAT_H
#define ISCSI_PDU_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#define ISCSI_BHS_LEN 48
#define ISCSI_AHS_MAX 1020
#define ISCSI_NO_TAG 0xffffffffu

enum iscsi_opcode {
	ISCSI_OP_NOP_OUT = 0x00,
	ISCSI_OP_SCSI_COMMAND = 0x01,
	ISCSI_OP_TASK_REQUEST = 0x02,
	ISCSI_OP_LOGIN_REQUEST = 0x03,
	ISCSI_OP_TEXT_REQUEST = 0x04,
	ISCSI_OP_DATA_OUT = 0x05,
	ISCSI_OP_LOGOUT_REQUEST = 0x06,
	ISCSI_OP_SNACK_REQUEST = 0x10,
	ISCSI_OP_NOP_IN = 0x20,
	ISCSI_OP_SCSI_RESPONSE = 0x21,
	ISCSI_OP_TASK_RESPONSE = 0x22,
	ISCSI_OP_LOGIN_RESPONSE = 0x23,
	ISCSI_OP_TEXT_RESPONSE = 0x24,
	ISCSI_OP_DATA_IN = 0x25,
	ISCSI_OP_LOGOUT_RESPONSE = 0x26,
	ISCSI_OP_R2T = 0x31,
	ISCSI_OP_ASYNC = 0x32,
	ISCSI_OP_REJECT = 0x3f,
};

/* RFC 7143, 11.17.1 */
enum iscsi_reject {
	ISCSI_REJECT_DATA_DIGEST = 0x02,
	ISCSI_REJECT_SNACK = 0x03,
	ISCSI_REJECT_PROTOCOL = 0x04,
	ISCSI_REJECT_NOT_SUPPORTED = 0x05,
	ISCSI_REJECT_IMMEDIATE = 0x06,
	ISCSI_REJECT_IN_PROGRESS = 0x07,
	ISCSI_REJECT_INVALID = 0x09,
};

enum iscsi_tmf {
	ISCSI_TMF_ABORT_TASK = 1,
	ISCSI_TMF_ABORT_TASK_SET = 2,
	ISCSI_TMF_CLEAR_ACA = 3,
	ISCSI_TMF_CLEAR_TASK_SET = 4,
	ISCSI_TMF_LUN_RESET = 5,
	ISCSI_TMF_WARM_RESET = 6,
	ISCSI_TMF_COLD_RESET = 7,
	ISCSI_TMF_REASSIGN = 8,
};

enum iscsi_tmf_response {
	ISCSI_TMF_COMPLETE = 0,
	ISCSI_TMF_NO_TASK = 1,
	ISCSI_TMF_NO_LUN = 2,
	ISCSI_TMF_NO_REASSIGN = 4,
	ISCSI_TMF_NOT_SUPPORTED = 5,
	ISCSI_TMF_REJECTED = 255,
};

/* What every request has. */
struct iscsi_bhs {
	uint8_t opcode; /* without the I bit */
	bool immediate;
	bool final;	   /* F, or T of a login request */
	uint8_t flags;	   /* byte 1 as it came */
	uint32_t ahs_len;  /* bytes, multiple of 4 */
	uint32_t data_len; /* bytes, without padding */
	uint64_t lun;	   /* as it came, big-endian */
	uint32_t itt;
	uint32_t ttt;	 /* bytes 20-23: also EDTL, CID, referenced task tag */
	uint32_t cmd_sn; /* bytes 24-27 */
	uint32_t exp_stat_sn;
	const uint8_t *raw; /* the 48 bytes */
};

#define ISCSI_CMD_READ 0x40
#define ISCSI_CMD_WRITE 0x20
/* Task attributes (RFC 7143, 11.3.1). */
#define ISCSI_ATTR_ORDERED 2
#define ISCSI_ATTR_HEAD 3
#define ISCSI_ATTR_ACA 4
#define ISCSI_TEXT_CONTINUE 0x40

struct iscsi_data_out {
	uint32_t data_sn, offset;
};

struct iscsi_task_request {
	uint8_t function; /* enum iscsi_tmf */
	uint32_t ref_itt, ref_cmd_sn;
};

struct iscsi_login_request {
	bool transit, cont;
	uint8_t csg, nsg, version_max, version_min;
	uint8_t isid[6];
	uint16_t tsih, cid;
};

void iscsi_bhs_decode(const uint8_t raw[ISCSI_BHS_LEN], struct iscsi_bhs *out);
void iscsi_data_out_decode(const struct iscsi_bhs *bhs, struct iscsi_data_out *out);
void iscsi_task_request_decode(const struct iscsi_bhs *bhs, struct iscsi_task_request *out);
void iscsi_login_request_decode(const struct iscsi_bhs *bhs, struct iscsi_login_request *out);
/* Whether a request of this opcode carries CmdSN (and so has its place in the command order). */
bool iscsi_opcode_has_cmd_sn(uint8_t opcode);

/*
 * Encoders fill all 48 bytes but StatSN, ExpCmdSN and MaxCmdSN (bytes 24 to 35), which
 * iscsi_pdu_stamp sets when the PDU is sent.
 */
void iscsi_pdu_stamp(uint8_t *raw, uint32_t stat_sn, uint32_t exp_cmd_sn, uint32_t max_cmd_sn);
void iscsi_data_len_encode(uint8_t *raw, uint32_t data_len);

struct iscsi_residual {
	bool overflow, underflow;
	uint32_t count;
};
void iscsi_nop_in_encode(uint8_t *raw, uint64_t lun, uint32_t itt, uint32_t ttt);
void iscsi_scsi_response_encode(uint8_t *raw, uint32_t itt, uint8_t status,
				const struct iscsi_residual *res, uint32_t exp_data_sn);
/* status: -1 without the S bit. */
void iscsi_data_in_encode(uint8_t *raw, uint32_t itt, bool final, int status,
			  const struct iscsi_residual *res, uint32_t data_sn, uint32_t offset);
void iscsi_r2t_encode(uint8_t *raw, uint64_t lun, uint32_t itt, uint32_t ttt, uint32_t r2t_sn,
		      uint32_t offset, uint32_t length);
void iscsi_task_response_encode(uint8_t *raw, uint32_t itt, uint8_t response);
void iscsi_text_response_encode(uint8_t *raw, uint32_t itt, uint32_t ttt, bool final, bool cont);
void iscsi_logout_response_encode(uint8_t *raw, uint32_t itt, uint8_t response);
void iscsi_reject_encode(uint8_t *raw, uint8_t reason);
/* RFC 7143, 11.9.1 */
enum iscsi_async {
	ISCSI_ASYNC_LOGOUT = 1, /* the initiator should log out, within Parameter3 seconds */
	ISCSI_ASYNC_DROP = 3,	/* all connections end; Time2Wait, Time2Retain in 2 and 3 */
};
void iscsi_async_encode(uint8_t *raw, uint8_t event, uint16_t p1, uint16_t p2, uint16_t p3);
void iscsi_login_response_encode(uint8_t *raw, const struct iscsi_login_request *req, uint32_t itt,
				 bool transit, uint8_t nsg, uint16_t tsih, uint16_t status);

/*
 * LUN of a SCSI command or task request: peripheral and flat addressing of one level (SAM-4, 4.6).
 * -1 when the field is of another form.
 */
int iscsi_lun_decode(uint64_t lun);
uint64_t iscsi_lun_encode(unsigned lun);

#endif
