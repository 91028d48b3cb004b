#include "blockstore/lun_int.h"

#include <poll.h>

#define STATUS_BYTES (8u + 64u * 16u) /* of an answer to GET LBA STATUS */

uint8_t lun_zeros[LUN_PIECE];

void lun_cmd_init(struct bs_lun *l)
{
	l->last = &l->first;
	l->finished_last = &l->finished;
	l->again.last = &l->again.first;
	l->replay_again.last = &l->replay_again.first;
	l->void_iov = (struct scsi_iovec){.iov_base = lun_zeros, .iov_len = sizeof(lun_zeros)};
	for (unsigned i = 0; i < VS_ARRAY_LEN(l->cmd); i++) {
		l->cmd[i].l = l;
		l->cmd[i].own = i >= BS_LUN_DEPTH;
		lun_cmd_free(&l->cmd[i]);
	}
}

void lun_cmd_free(struct lun_cmd *c)
{
	struct lun_cmd **list = c->own ? &c->l->idle_own : &c->l->idle;

	c->req = NULL;
	c->next = *list;
	*list = c;
}

struct lun_cmd *lun_cmd_take(struct lun_cmd **list)
{
	struct lun_cmd *c = *list;

	if (c) {
		*list = c->next;
		c->next = NULL;
		c->tries = 0;
		c->since_ns = vs_now_ns();
		c->reserved = false;
		c->niov = 0;
	}
	return c;
}

static bool replays(const struct lun_cmd *c)
{
	return c->own && c->kind != LUN_CMD_SYNC;
}

void lun_cmd_again(struct lun_cmd *c, uint64_t delay_ns)
{
	struct lun_list *a = replays(c) ? &c->l->replay_again : &c->l->again;

	c->waits = replays(c);
	c->due_ns = vs_now_ns() + delay_ns;
	c->next = NULL;
	*a->last = c;
	a->last = &c->next;
}

uint64_t lun_cmd_oldest(const struct bs_lun *l)
{
	uint64_t oldest = UINT64_MAX;

	for (unsigned i = 0; i < VS_ARRAY_LEN(l->cmd); i++)
		if (l->cmd[i].task)
			oldest = VS_MIN(oldest, l->cmd[i].begun_ns);
	return oldest;
}

static bool all_sent(const struct bs_lun *l)
{
	return !(iscsi_which_events(l->ctx) & POLLOUT) && iscsi_out_queue_length(l->ctx) == 0;
}

static void free_spent(struct bs_lun *l)
{
	while (l->nspent)
		scsi_free_scsi_task(l->spent[--l->nspent]);
}

/*
 * An array may answer a command before it has been sent all the data that it asked for. libiscsi
 * then still has the rest in its queue, and would read it from buffers that are the caller's again.
 * So the task gets zeros to send, and stays until the queue has been seen empty.
 */
static void spend(struct bs_lun *l, struct scsi_task *task)
{
	task->iovector_out = (struct scsi_iovector){.iov = &l->void_iov, .niov = 1};
	l->spent[l->nspent++] = task;
}

enum bs_redo_kind lun_redo_kind(enum lun_kind k)
{
	return k == LUN_CMD_WRITE   ? BS_REDO_WRITE
	       : k == LUN_CMD_UNMAP ? BS_REDO_UNMAP
				    : BS_REDO_ZERO;
}

bool lun_changes(enum lun_kind k)
{
	return k == LUN_CMD_WRITE || k == LUN_CMD_UNMAP || k == LUN_CMD_SAME;
}

static struct scsi_task *make(struct lun_cmd *c)
{
	struct bs_lun *l = c->l;
	uint32_t sector = l->caps.sector;
	uint64_t lba = c->offset / sector, blocks = c->length / sector;
	int lun = lun_number(l), bytes = (int)c->length;
	struct unmap_list range = {.lba = lba, .num = (uint32_t)blocks};
	bool fua = c->req && c->req->durable && l->caps.fua;

	switch (c->kind) {
	case LUN_CMD_READ:
		return iscsi_read16_iov_task(l->ctx, lun, lba, (uint32_t)bytes, (int)sector, 0, 0,
					     0, 0, 0, lun_answered, c, c->iov, c->niov);
	case LUN_CMD_WRITE:
		return iscsi_write16_iov_task(l->ctx, lun, lba, NULL, (uint32_t)bytes, (int)sector,
					      0, 0, fua, 0, 0, lun_answered, c, c->iov, c->niov);
	case LUN_CMD_SYNC:
		return iscsi_synchronizecache10_task(l->ctx, lun, 0, 0, 0, 0, lun_answered, c);
	case LUN_CMD_UNMAP:
		return iscsi_unmap_task(l->ctx, lun, 0, 0, &range, 1, lun_answered, c);
	case LUN_CMD_SAME:
		return iscsi_writesame16_task(l->ctx, lun, lba, lun_zeros, sector, (uint32_t)blocks,
					      0, l->caps.same_unmap, 0, 0, lun_answered, c);
	case LUN_CMD_STATUS:
		return iscsi_get_lba_status_task(l->ctx, lun, lba, STATUS_BYTES, lun_answered, c);
	}
	return NULL;
}

bool lun_cmd_send(struct lun_cmd *c)
{
	struct bs_lun *l = c->l;

	if (c->kind == LUN_CMD_SYNC)
		c->mark = l->redo.tail;
	c->begun_ns = vs_now_ns();
	c->task = make(c);
	if (c->task) {
		l->sent++;
		return true;
	}
	lun_session_fail(l, VS_E_IO, "a command cannot be sent: %s", iscsi_get_error(l->ctx));
	lun_cmd_again(c, 0);
	return false;
}

static struct lun_cmd *pop(struct lun_list *list)
{
	struct lun_cmd *c = list->first;

	list->first = c->next;
	if (!c->next)
		list->last = &list->first;
	c->waits = false;
	return c;
}

void lun_cmd_down(struct bs_lun *l)
{
	for (unsigned i = 0; i < VS_ARRAY_LEN(l->cmd); i++) {
		struct lun_cmd *c = &l->cmd[i];

		if (!c->task)
			continue;
		scsi_free_scsi_task(c->task);
		c->task = NULL;
		if (replays(c))
			lun_cmd_free(c); /* replaying starts over */
		else
			lun_cmd_again(c, 0);
	}
	while (l->replay_again.first)
		lun_cmd_free(pop(&l->replay_again));
	l->sent = 0;
	free_spent(l);
}

bool lun_cmd_room(struct bs_lun *l)
{
	if (l->nspent && all_sent(l))
		free_spent(l);
	return !l->broken && l->nspent + l->sent < LUN_SPENT;
}

bool lun_cmd_send_again(struct lun_list *list)
{
	uint64_t now = vs_now_ns();

	while (list->first && list->first->due_ns <= now)
		if (!lun_cmd_send(pop(list)))
			return false;
	return true;
}

void lun_cmd_release(struct lun_cmd *c, struct scsi_task *task)
{
	c->task = NULL;
	c->l->sent--;
	if (lun_changes(c->kind) && !all_sent(c->l))
		spend(c->l, task);
	else
		scsi_free_scsi_task(task);
}
