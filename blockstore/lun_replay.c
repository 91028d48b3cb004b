#include "blockstore/lun_int.h"

#include "common/log.h"

void lun_replay_start(struct bs_lun *l)
{
	l->replay = l->redo.head;
	l->replay_end = l->redo.tail;
	l->state = LUN_REPLAY;
	if (l->replay != l->replay_end)
		vs_info("%s: sends again what was not flushed, %llu writes", l->name,
			(unsigned long long)(l->replay_end - l->replay));
}

/* Whether a command that changes some of the entry's range is on its way or will be. */
static bool under_way(const struct bs_lun *l, const struct bs_redo_entry *e)
{
	for (unsigned i = BS_LUN_DEPTH; i < VS_ARRAY_LEN(l->cmd); i++) {
		const struct lun_cmd *c = &l->cmd[i];

		if ((c->task || c->waits) && c->offset < e->offset + e->length &&
		    e->offset < c->offset + c->length)
			return true;
	}
	return false;
}

static bool send_entry(struct bs_lun *l, const struct bs_redo_entry *e)
{
	struct lun_cmd *c = lun_cmd_take(&l->idle_own);

	if (!c)
		return false;
	c->kind = e->kind == BS_REDO_WRITE   ? LUN_CMD_WRITE
		  : e->kind == BS_REDO_UNMAP ? LUN_CMD_UNMAP
					     : LUN_CMD_SAME;
	c->offset = e->offset;
	c->length = e->length;
	c->niov = bs_redo_iov(&l->redo, e, (struct iovec *)c->iov);
	return lun_cmd_send(c);
}

static void up(struct bs_lun *l)
{
	uint64_t down = bs_far_path_up(&l->path, vs_now_ns());

	if (down)
		vs_info("%s: the path is back after %llu ms", l->name,
			(unsigned long long)(down / 1000000));
	l->state = LUN_UP;
	lun_io_pump(l);
}

void lun_replay_pump(struct bs_lun *l)
{
	if (!lun_cmd_room(l) || !lun_cmd_send_again(&l->replay_again))
		return;
	while (l->replay < l->replay_end) {
		const struct bs_redo_entry *e = bs_redo_at(&l->redo, l->replay);

		if (!lun_cmd_room(l) || under_way(l, e) || !send_entry(l, e))
			return;
		l->replay++;
	}
	if (l->sent == 0 && !l->replay_again.first)
		up(l);
}

void lun_replay_ended(struct lun_cmd *c, int status)
{
	struct bs_lun *l = c->l;

	lun_cmd_free(c);
	if (status == 0 || l->lost)
		return;
	vs_err("%s: what was written could not be sent again (%s); no flush is believed any more "
	       "until it is opened anew",
	       l->name, vs_err_text(status));
	l->lost = true;
	bs_redo_forget(&l->redo, l->redo.tail);
	l->replay = l->replay_end;
}
