#include "targets/iscsi/internal.h"

#include "common/bytes.h"
#include "targets/iscsi/crc32c.h"

#include <errno.h>
#include <sys/epoll.h>

#define BATCHES 8 /* sent for one connection before others get their turn */

void iscsi_tx_queue(struct iscsi_conn *c, struct iscsi_out *out)
{
	VS_ASSERT(!out->queued);
	out->queued = true;
	out->next = NULL;
	out->sent = 0;
	if (c->tx.tail)
		c->tx.tail->next = out;
	else
		c->tx.head = out;
	c->tx.tail = out;
	iscsi_conn_dirty(c);
}

/* Adds a PDU: its header is in the newest slot. data may be NULL. */
static void add_pdu(struct iscsi_conn *c, const uint8_t *data, uint32_t len, bool takes_stat_sn)
{
	struct iscsi_tx *tx = &c->tx;
	uint8_t *head = tx->slots[tx->nslots].head, *tail = tx->slots[tx->nslots].tail;
	uint32_t pad = -len & 3, end = pad;
	bool full = c->state == ISCSI_CONN_FULL && head[0] != ISCSI_OP_LOGIN_RESPONSE;
	bool hd = full && c->params.header_digest, dd = full && c->params.data_digest;

	c->max_told = c->exp_cmd_sn + ISCSI_WINDOW - c->open_cmds - 1;
	iscsi_pdu_stamp(head, c->stat_sn, c->exp_cmd_sn, c->max_told);
	if (takes_stat_sn)
		c->stat_sn++;
	if (hd)
		vs_put_le32(head + ISCSI_BHS_LEN, iscsi_crc32c(0, head, ISCSI_BHS_LEN));
	tx->iov[tx->iovcnt++] = (struct iovec){head, ISCSI_BHS_LEN + (hd ? 4 : 0)};
	tx->nslots++;
	if (!len)
		return;
	tx->iov[tx->iovcnt++] = (struct iovec){(void *)data, len};
	memset(tail, 0, pad);
	if (dd) {
		vs_put_le32(tail + pad, iscsi_crc32c(iscsi_crc32c(0, data, len), tail, pad));
		end += 4;
	}
	if (end)
		tx->iov[tx->iovcnt++] = (struct iovec){tail, end};
}

/* Each of these puts one PDU of out in the batch and returns true when out is wholly in it. */
static bool put_data_in(struct iscsi_conn *c, struct iscsi_out *out, uint8_t *head)
{
	struct iscsi_piece *p = out->owner;
	struct iscsi_task *t = p->task;
	uint32_t offset = p->offset + out->sent, n = p->length - out->sent, burst;
	bool last, final;

	burst = c->params.max_burst - offset % c->params.max_burst;
	n = VS_MIN(VS_MIN(n, c->params.send_dsl), burst);
	last = offset + n == t->want;
	final = last || n == burst;
	iscsi_data_in_encode(head, t->itt, final, last ? 0 : -1, &t->residual, t->data_sn++,
			     offset);
	iscsi_data_len_encode(head, n);
	add_pdu(c, p->buf + out->sent, n, last);
	out->sent += n;
	return out->sent == p->length;
}

static bool put_status(struct iscsi_conn *c, struct iscsi_out *out, uint8_t *head)
{
	struct iscsi_task *t = out->owner;
	uint32_t len = 0;

	iscsi_scsi_response_encode(head, t->itt, t->status, &t->residual, t->data_sn);
	if (t->sense_len) {
		vs_put_be16(t->sense, t->sense_len);
		len = t->sense_len + 2u;
	}
	iscsi_data_len_encode(head, len);
	add_pdu(c, t->sense, len, true);
	return true;
}

static bool put_r2t(struct iscsi_conn *c, struct iscsi_out *out, uint8_t *head)
{
	struct iscsi_task *t = out->owner;

	iscsi_r2t_encode(head, t->raw_lun, t->itt, t->r2t_ttt, t->r2t_sn++, t->r2t_offset,
			 t->r2t_length);
	add_pdu(c, NULL, 0, false);
	return true;
}

static bool put_msg(struct iscsi_conn *c, struct iscsi_out *out, uint8_t *head)
{
	struct iscsi_msg *m = out->owner;

	memcpy(head, m->bhs, ISCSI_BHS_LEN);
	add_pdu(c, m->data, m->len, m->takes_stat_sn);
	return true;
}

static bool (*const put[])(struct iscsi_conn *c, struct iscsi_out *out, uint8_t *head) = {
    [ISCSI_OUT_DATA_IN] = put_data_in,
    [ISCSI_OUT_STATUS] = put_status,
    [ISCSI_OUT_R2T] = put_r2t,
    [ISCSI_OUT_MSG] = put_msg,
};

static void fill(struct iscsi_conn *c)
{
	struct iscsi_tx *tx = &c->tx;
	struct iscsi_out **done = &tx->done;

	tx->nslots = 0;
	tx->iovcnt = tx->iovat = 0;
	while (tx->head && tx->nslots < ISCSI_TX_BATCH) {
		struct iscsi_out *out = tx->head;

		if (!put[out->kind](c, out, tx->slots[tx->nslots].head))
			continue;
		tx->head = out->next;
		if (!tx->head)
			tx->tail = NULL;
		out->next = NULL;
		*done = out;
		done = &out->next;
	}
}

static void release(struct iscsi_conn *c, struct iscsi_out *out)
{
	out->queued = false;
	if (out->kind == ISCSI_OUT_MSG)
		iscsi_conn_put_msg(c, out->owner);
	else
		iscsi_task_sent(out);
}

static void release_done(struct iscsi_conn *c)
{
	struct iscsi_out *out = c->tx.done, *next;

	c->tx.done = NULL;
	for (; out; out = next) {
		next = out->next;
		release(c, out);
	}
}

static bool sent(struct iscsi_tx *tx, size_t n)
{
	while (tx->iovat < tx->iovcnt) {
		struct iovec *v = &tx->iov[tx->iovat];

		if (n < v->iov_len) {
			v->iov_base = (char *)v->iov_base + n;
			v->iov_len -= n;
			return false;
		}
		n -= v->iov_len;
		tx->iovat++;
	}
	return true;
}

static void block(struct iscsi_conn *c)
{
	c->tx.blocked = true;
	if (vs_loop_modify(c->thread->loop, &c->watch, EPOLLOUT | (c->rx.paused ? 0 : EPOLLIN)) < 0)
		iscsi_conn_close(c, "cannot watch the socket");
}

void iscsi_tx_flush(struct iscsi_conn *c)
{
	struct iscsi_tx *tx = &c->tx;

	for (int i = 0; i < BATCHES && !tx->blocked && c->state != ISCSI_CONN_DEAD; i++) {
		struct msghdr msg = {0};
		ssize_t n;

		if (tx->iovat == tx->iovcnt) {
			if (!tx->head)
				break;
			fill(c);
		}
		msg.msg_iov = tx->iov + tx->iovat;
		msg.msg_iovlen = (size_t)(tx->iovcnt - tx->iovat);
		n = sendmsg(c->watch.fd, &msg, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			block(c);
			return;
		}
		if (n < 0) {
			iscsi_conn_close(c, NULL);
			return;
		}
		if (sent(tx, (size_t)n))
			release_done(c);
	}
	if (c->state == ISCSI_CONN_DEAD)
		return;
	if (tx->head || tx->iovat < tx->iovcnt)
		iscsi_conn_dirty(c);
	else if (tx->close_after)
		iscsi_conn_close(c, NULL);
}

void iscsi_tx_drop(struct iscsi_conn *c)
{
	struct iscsi_tx *tx = &c->tx;

	release_done(c);
	while (tx->head) {
		struct iscsi_out *out = tx->head;

		tx->head = out->next;
		release(c, out);
	}
	tx->tail = NULL;
	tx->iovat = tx->iovcnt = 0;
}
