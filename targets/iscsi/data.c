#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "targets/iscsi/scsi_format.h"

/* Whether the PDU continues what was announced: the burst asked for, or the first one. */
static bool in_sequence(const struct iscsi_task *t, const struct iscsi_bhs *bhs,
			const struct iscsi_data_out *d)
{
	uint32_t at, room;

	if (d->data_sn != t->data_sn_in)
		return false;
	if (t->r2t_open) {
		at = t->r2t_offset;
		room = t->r2t_length;
	} else {
		uint32_t first = VS_MIN(t->conn->params.first_burst, t->edtl);

		at = t->unsolicited_end;
		room = first > at ? first - at : 0;
	}
	return d->offset == at && bhs->data_len <= room;
}

enum iscsi_header iscsi_data_out_header(struct iscsi_conn *c, const struct iscsi_bhs *bhs)
{
	struct iscsi_task *t = iscsi_task_find(c, bhs->itt);
	struct iscsi_rx *rx = &c->rx;
	struct iscsi_piece *p;
	struct iscsi_data_out d;
	bool expected;

	/* data of a command that is over is dropped: its status is on the way */
	expected =
	    t && t->state == ISCSI_TASK_ACTIVE && !t->aborted &&
	    (t->r2t_open ? bhs->ttt == t->r2t_ttt : t->unsolicited && bhs->ttt == ISCSI_NO_TAG);
	if (!expected) {
		rx->ignore = true;
		return ISCSI_HEADER_OK;
	}
	rx->task = t;
	if (t->failed)
		return ISCSI_HEADER_OK;
	iscsi_data_out_decode(bhs, &d);
	if (!in_sequence(t, bhs, &d)) {
		iscsi_task_fail(t, SCSI_ABORTED_COMMAND, SCSI_DATA_PHASE_ERROR);
		return ISCSI_HEADER_OK;
	}
	p = t->r2t_open ? t->filling : &t->own;
	rx->dst = p->buf + (d.offset - p->offset);
	rx->dst_left = bhs->data_len;
	return ISCSI_HEADER_OK;
}

static void account(struct iscsi_task *t, uint32_t n)
{
	t->data_sn_in++;
	if (t->r2t_open) {
		t->r2t_offset += n;
		t->r2t_length -= n;
		t->filling->filled += n;
	} else {
		t->unsolicited_end += n;
		if (t->filling)
			t->filling->filled = VS_MIN(t->unsolicited_end, t->filling->length);
	}
}

void iscsi_data_out_pdu(struct iscsi_conn *c, const struct iscsi_bhs *bhs, struct iscsi_task *t,
			bool digest_ok)
{
	if (!digest_ok) {
		iscsi_session_reject(c, ISCSI_REJECT_DATA_DIGEST);
		iscsi_task_fail(t, SCSI_ABORTED_COMMAND, SCSI_PROTOCOL_SERVICE_CRC_ERROR);
	}
	if (t->aborted)
		return;
	if (!t->failed)
		account(t, bhs->data_len);
	if (bhs->final) {
		if (!t->failed && t->r2t_open && t->r2t_length)
			iscsi_task_fail(t, SCSI_ABORTED_COMMAND, SCSI_INCORRECT_AMOUNT_OF_DATA);
		t->r2t_open = false;
		t->unsolicited = false;
		t->data_sn_in = 0;
	}
	iscsi_flow_advance(t);
}
