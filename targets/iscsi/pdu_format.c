#include "targets/iscsi/pdu_format.h"

#include "common/bytes.h"

#define FINAL 0x80
#define IMMEDIATE 0x40

void iscsi_bhs_decode(const uint8_t raw[ISCSI_BHS_LEN], struct iscsi_bhs *out)
{
	*out = (struct iscsi_bhs){
	    .opcode = raw[0] & 0x3f,
	    .immediate = raw[0] & IMMEDIATE,
	    .final = raw[1] & FINAL,
	    .flags = raw[1],
	    .ahs_len = (uint32_t)raw[4] * 4,
	    .data_len = vs_get_be24(raw + 5),
	    .lun = vs_get_be64(raw + 8),
	    .itt = vs_get_be32(raw + 16),
	    .ttt = vs_get_be32(raw + 20),
	    .cmd_sn = vs_get_be32(raw + 24),
	    .exp_stat_sn = vs_get_be32(raw + 28),
	    .raw = raw,
	};
}

void iscsi_data_out_decode(const struct iscsi_bhs *bhs, struct iscsi_data_out *out)
{
	out->data_sn = vs_get_be32(bhs->raw + 36);
	out->offset = vs_get_be32(bhs->raw + 40);
}

void iscsi_task_request_decode(const struct iscsi_bhs *bhs, struct iscsi_task_request *out)
{
	out->function = bhs->flags & 0x7f;
	out->ref_itt = vs_get_be32(bhs->raw + 20);
	out->ref_cmd_sn = vs_get_be32(bhs->raw + 32);
}

void iscsi_login_request_decode(const struct iscsi_bhs *bhs, struct iscsi_login_request *out)
{
	const uint8_t *raw = bhs->raw;

	*out = (struct iscsi_login_request){
	    .transit = raw[1] & FINAL,
	    .cont = raw[1] & ISCSI_TEXT_CONTINUE,
	    .csg = raw[1] >> 2 & 3,
	    .nsg = raw[1] & 3,
	    .version_max = raw[2],
	    .version_min = raw[3],
	    .tsih = vs_get_be16(raw + 14),
	    .cid = vs_get_be16(raw + 20),
	};
	memcpy(out->isid, raw + 8, sizeof(out->isid));
}

bool iscsi_opcode_has_cmd_sn(uint8_t opcode)
{
	return opcode != ISCSI_OP_DATA_OUT && opcode != ISCSI_OP_SNACK_REQUEST;
}

void iscsi_pdu_stamp(uint8_t *raw, uint32_t stat_sn, uint32_t exp_cmd_sn, uint32_t max_cmd_sn)
{
	vs_put_be32(raw + 24, stat_sn);
	vs_put_be32(raw + 28, exp_cmd_sn);
	vs_put_be32(raw + 32, max_cmd_sn);
}

void iscsi_data_len_encode(uint8_t *raw, uint32_t data_len)
{
	vs_put_be24(raw + 5, data_len);
}

static void start(uint8_t *raw, uint8_t opcode, uint8_t flags, uint32_t itt)
{
	memset(raw, 0, ISCSI_BHS_LEN);
	raw[0] = opcode;
	raw[1] = flags;
	vs_put_be32(raw + 16, itt);
}

static uint8_t residual_flags(const struct iscsi_residual *res)
{
	return (res->overflow ? 0x04 : 0) | (res->underflow ? 0x02 : 0);
}

void iscsi_nop_in_encode(uint8_t *raw, uint64_t lun, uint32_t itt, uint32_t ttt)
{
	start(raw, ISCSI_OP_NOP_IN, FINAL, itt);
	vs_put_be64(raw + 8, lun);
	vs_put_be32(raw + 20, ttt);
}

void iscsi_scsi_response_encode(uint8_t *raw, uint32_t itt, uint8_t status,
				const struct iscsi_residual *res, uint32_t exp_data_sn)
{
	start(raw, ISCSI_OP_SCSI_RESPONSE, FINAL | residual_flags(res), itt);
	raw[3] = status;
	vs_put_be32(raw + 36, exp_data_sn);
	vs_put_be32(raw + 44, res->count);
}

void iscsi_data_in_encode(uint8_t *raw, uint32_t itt, bool final, int status,
			  const struct iscsi_residual *res, uint32_t data_sn, uint32_t offset)
{
	start(raw, ISCSI_OP_DATA_IN, final ? FINAL : 0, itt);
	if (status >= 0) {
		raw[1] |= residual_flags(res) | 0x01;
		raw[3] = (uint8_t)status;
		vs_put_be32(raw + 44, res->count);
	}
	vs_put_be32(raw + 20, ISCSI_NO_TAG);
	vs_put_be32(raw + 36, data_sn);
	vs_put_be32(raw + 40, offset);
}

void iscsi_r2t_encode(uint8_t *raw, uint64_t lun, uint32_t itt, uint32_t ttt, uint32_t r2t_sn,
		      uint32_t offset, uint32_t length)
{
	start(raw, ISCSI_OP_R2T, FINAL, itt);
	vs_put_be64(raw + 8, lun);
	vs_put_be32(raw + 20, ttt);
	vs_put_be32(raw + 36, r2t_sn);
	vs_put_be32(raw + 40, offset);
	vs_put_be32(raw + 44, length);
}

void iscsi_task_response_encode(uint8_t *raw, uint32_t itt, uint8_t response)
{
	start(raw, ISCSI_OP_TASK_RESPONSE, FINAL, itt);
	raw[2] = response;
}

void iscsi_text_response_encode(uint8_t *raw, uint32_t itt, uint32_t ttt, bool final, bool cont)
{
	start(raw, ISCSI_OP_TEXT_RESPONSE, (final ? FINAL : 0) | (cont ? ISCSI_TEXT_CONTINUE : 0),
	      itt);
	vs_put_be32(raw + 20, ttt);
}

void iscsi_logout_response_encode(uint8_t *raw, uint32_t itt, uint8_t response)
{
	start(raw, ISCSI_OP_LOGOUT_RESPONSE, FINAL, itt);
	raw[2] = response;
}

void iscsi_reject_encode(uint8_t *raw, uint8_t reason)
{
	start(raw, ISCSI_OP_REJECT, FINAL, ISCSI_NO_TAG);
	raw[2] = reason;
}

void iscsi_async_encode(uint8_t *raw, uint8_t event, uint16_t p1, uint16_t p2, uint16_t p3)
{
	start(raw, ISCSI_OP_ASYNC, FINAL, ISCSI_NO_TAG);
	raw[36] = event;
	vs_put_be16(raw + 38, p1);
	vs_put_be16(raw + 40, p2);
	vs_put_be16(raw + 42, p3);
}

void iscsi_login_response_encode(uint8_t *raw, const struct iscsi_login_request *req, uint32_t itt,
				 bool transit, uint8_t nsg, uint16_t tsih, uint16_t status)
{
	start(raw, ISCSI_OP_LOGIN_RESPONSE, 0, itt);
	raw[1] = (uint8_t)((transit ? FINAL : 0) | req->csg << 2 | (transit ? nsg : 0));
	memcpy(raw + 8, req->isid, sizeof(req->isid));
	vs_put_be16(raw + 14, tsih);
	vs_put_be16(raw + 36, status);
}

int iscsi_lun_decode(uint64_t lun)
{
	unsigned first = lun >> 48;

	if (lun << 16)
		return -1;
	if (first >> 14 == 0) /* peripheral device addressing, bus 0 only */
		return first < 256 ? (int)first : -1;
	if (first >> 14 == 1) /* flat space addressing */
		return (int)(first & 0x3fff);
	return -1;
}

uint64_t iscsi_lun_encode(unsigned lun)
{
	return (uint64_t)(lun < 256 ? lun : 0x4000u | lun) << 48;
}
