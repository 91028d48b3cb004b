/* POPULATE TOKEN, WRITE USING TOKEN (SBC-3, 5.21 and 5.47), RECEIVE ROD TOKEN INFORMATION (SPC-4).
 */
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define PIECE (UINT64_C(4) << 20) /* given to the store at once */

static uint32_t list_id(const struct iscsi_task *t)
{
	return vs_get_be32(t->cdb + 6);
}

static bool is_token_command(const struct iscsi_task *t)
{
	return t->op && (t->op->run == scsi_token_populate || t->op->run == scsi_token_use);
}

/* One that the session has under way with this list identifier, on the same unit. */
static struct iscsi_task *find_running(const struct iscsi_task *t, uint32_t id)
{
	struct iscsi_task *o = t->conn->used_first;

	while (o && (o == t || o->state != ISCSI_TASK_ACTIVE || o->aborted ||
		     !is_token_command(o) || o->lun != t->lun || !o->step || list_id(o) != id))
		o = o->next;
	return o;
}

static void prepare(struct iscsi_task *t, uint32_t most)
{
	t->dlen = vs_get_be32(t->cdb + 10);
	if (t->dlen > most)
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_PARAMETER_LIST_LENGTH_ERROR);
}

void scsi_token_prepare_populate(struct iscsi_task *t)
{
	prepare(t, SCSI_TOKEN_POPULATE_LIST);
}

void scsi_token_prepare_use(struct iscsi_task *t)
{
	prepare(t, SCSI_TOKEN_USE_LIST);
}

static bool ranges_ok(struct iscsi_task *t, const struct scsi_token_list *list)
{
	uint16_t asc = 0;

	for (unsigned i = 0; i < list->nranges; i++)
		if (!vs_range_ok(list->range[i].lba, list->range[i].blocks, scsi_capacity(t)))
			asc = SCSI_LBA_OUT_OF_RANGE;
	if (!asc && (!list->blocks || list->blocks > SCSI_TOKEN_MAX_BYTES / scsi_sector(t)))
		asc = SCSI_INVALID_FIELD_IN_LIST;
	if (!asc && find_running(t, list_id(t)))
		asc = SCSI_OPERATION_IN_PROGRESS;
	if (asc)
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, asc);
	return !asc;
}

/* The range that holds byte `done` of all of them: where that is on the unit, *left in the range.
 */
static uint64_t place_of(const struct iscsi_task *t, const struct scsi_token_list *list,
			 uint64_t done, uint64_t *left)
{
	uint32_t sector = scsi_sector(t);

	for (unsigned i = 0; i < list->nranges; i++) {
		uint64_t bytes = (uint64_t)list->range[i].blocks * sector;

		if (done < bytes) {
			*left = bytes - done;
			return list->range[i].lba * sector + done;
		}
		done -= bytes;
	}
	VS_ASSERT(!"behind the last range");
	return 0;
}

/* The same of a token's parts. */
static uint64_t place_in_token(const struct iscsi_token_use *use, uint64_t at, uint64_t *left)
{
	for (unsigned i = 0; i < use->nparts; i++) {
		if (at < use->part[i].bytes) {
			*left = use->part[i].bytes - at;
			return use->part[i].at + at;
		}
		at -= use->part[i].bytes;
	}
	VS_ASSERT(!"behind a token's end");
	return 0;
}

static void begin_populate(struct iscsi_task *t, const struct scsi_token_list *list)
{
	struct iscsi_tokens *ts = t->conn->srv->tokens;
	uint32_t sector = scsi_sector(t);
	struct iscsi_token_maker m = {.initiator = t->conn->login.initiator,
				      .source = *bs_volume_uuid(t->lun->vol),
				      .block_length = sector,
				      .timeout = list->timeout};

	if (!ranges_ok(t, list))
		return;
	scsi_inquiry_naa(&m.source, m.naa);
	t->token.nparts = list->nranges;
	for (unsigned i = 0; i < list->nranges; i++)
		t->token.part[i] = (struct iscsi_token_part){
		    list->range[i].lba * sector, (uint64_t)list->range[i].blocks * sector};
	if (!ts || iscsi_token_begin(ts, &m, &t->token))
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_NO_ROOM_FOR_TOKEN);
	else
		t->step = 1;
}

/* IMMED is honoured by waiting, as elsewhere; what is shared takes milliseconds. */
enum scsi_result scsi_token_populate(struct iscsi_task *t)
{
	struct scsi_token_list list;
	uint64_t n, left, from, to, id;
	uint16_t asc;

	if (!t->dlen)
		return SCSI_DONE;
	asc = scsi_token_decode_populate(t->own.buf, t->dlen, &list);
	if (asc)
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, asc);
	if (!t->step)
		begin_populate(t, &list);
	if (t->failed)
		return SCSI_DONE;
	if (t->copied == list.blocks * scsi_sector(t)) {
		iscsi_token_finish(t->conn->srv->tokens, &t->token, &id);
		scsi_copy_keep(t, list_id(t), id);
		return SCSI_DONE;
	}
	from = place_of(t, &list, t->copied, &n);
	to = place_in_token(&t->token, t->copied, &left);
	n = VS_MIN(VS_MIN(n, left), PIECE);
	t->copied += n;
	iscsi_task_copy(t, t->lun->vol, from, t->token.volume, to, n);
	return SCSI_WAIT;
}

/*
 * A token alone gives nothing: whoever uses it must see the unit that it was made of. So it is
 * worth nothing to others who learn of it, and for hosts that share units it passes between them.
 */
static bool sees(const struct iscsi_task *t, const struct vs_uuid *source)
{
	const struct iscsi_lun_map *now = t->conn->map; /* the task's may be an older one */

	for (unsigned i = 0; i < now->n; i++)
		if (now->luns[i].vol && vs_uuid_equal(bs_volume_uuid(now->luns[i].vol), source))
			return true;
	return false;
}

static uint16_t take_token(struct iscsi_task *t, const struct scsi_token_list *list, uint64_t id)
{
	struct iscsi_tokens *ts = t->conn->srv->tokens;
	uint64_t bytes = 0, offset;
	struct vs_uuid source;
	uint16_t asc =
	    ts ? iscsi_token_take(ts, list->token, id, &t->token, &source) : SCSI_TOKEN_UNKNOWN;

	if (asc)
		return asc;
	if (!sees(t, &source))
		return SCSI_TOKEN_REVOKED;
	for (unsigned i = 0; i < t->token.nparts; i++)
		bytes += t->token.part[i].bytes;
	if (__builtin_mul_overflow(list->offset, scsi_sector(t), &offset) ||
	    !vs_range_ok(offset, list->blocks * scsi_sector(t), bytes))
		return SCSI_INVALID_FIELD_IN_LIST;
	return 0;
}

static void begin_use(struct iscsi_task *t, const struct scsi_token_list *list,
		      enum scsi_token_kind kind, uint64_t id)
{
	uint16_t asc;

	if (!ranges_ok(t, list))
		return;
	asc = kind == SCSI_TOKEN_DATA ? take_token(t, list, id) : 0;
	if (asc)
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, asc);
	t->fua = !atomic_load(&t->lun->lu->write_back);
	t->step = 1;
}

static void use_more(struct iscsi_task *t, const struct scsi_token_list *list,
		     enum scsi_token_kind kind)
{
	uint64_t n, left, to = place_of(t, list, t->copied, &n), from;

	if (kind == SCSI_TOKEN_ZEROS) {
		t->copied += n;
		iscsi_task_submit(t, &t->own, BS_ZERO, to, n, 0);
		return;
	}
	from = place_in_token(&t->token, list->offset * scsi_sector(t) + t->copied, &left);
	n = VS_MIN(VS_MIN(n, left), PIECE);
	t->copied += n;
	iscsi_task_copy(t, t->token.volume, from, t->lun->vol, to, n);
}

enum scsi_result scsi_token_use(struct iscsi_task *t)
{
	struct scsi_token_list list;
	enum scsi_token_kind kind;
	uint16_t asc;
	uint64_t id;

	if (!t->dlen)
		return SCSI_DONE;
	asc = scsi_token_decode_use(t->own.buf, t->dlen, &list);
	if (!asc)
		asc = scsi_token_look(list.token, &kind, &id);
	if (asc)
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, asc);
	if (!t->step)
		begin_use(t, &list, kind, id);
	if (t->failed)
		return SCSI_DONE;
	if (t->copied < list.blocks * scsi_sector(t)) {
		use_more(t, &list, kind);
		return SCSI_WAIT;
	}
	if (t->token.index)
		iscsi_token_put(t->conn->srv->tokens, &t->token, list.del_token);
	scsi_copy_keep(t, list_id(t), 0);
	return SCSI_DONE;
}

void scsi_token_failed(struct iscsi_task *t)
{
	if (is_token_command(t))
		scsi_copy_keep(t, list_id(t), 0);
}

enum scsi_result scsi_token_information(struct iscsi_task *t)
{
	uint32_t id = vs_get_be32(t->cdb + 2);
	const struct iscsi_task *o = find_running(t, id);
	const struct iscsi_copy_result *r = scsi_copy_find(t, id, true);
	uint8_t token[SCSI_TOKEN_LEN];
	struct scsi_copy_state s;
	bool has = false;
	size_t len;

	if (!o && !r)
		return scsi_bad_cdb(t);
	if (o) {
		s = (struct scsi_copy_state){.bytes = o->copied};
	} else {
		s = r->state;
		has = r->token && iscsi_token_bytes(t->conn->srv->tokens, r->token, token);
	}
	len = scsi_token_put_information(t->own.buf, o ? o->cdb[1] & 0x1f : r->action, &s,
					 scsi_sector(t), has ? token : NULL);
	return scsi_reply(t, len, vs_get_be32(t->cdb + 10));
}
