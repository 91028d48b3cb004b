/* EXTENDED COPY(LID1) and RECEIVE COPY RESULTS (SPC-4, 6.4 and 6.17 to 6.20). */
#include "targets/iscsi/scsi.h"

#include "common/bytes.h"

#define PIECE (UINT64_C(4) << 20) /* given to the store at once */

/* A task's step: 0 to begin, then one more than the segments done, and bytes of the next one. */
#define STEP(segments, bytes) ((uint64_t)((segments) + 1) << 48 | (bytes))
#define STEP_SEGMENTS(step) ((unsigned)((step) >> 48) - 1)
#define STEP_BYTES(step) ((step) & ((UINT64_C(1) << 48) - 1))

/* A segment descriptor on the units that it is for. */
struct segment {
	struct iscsi_lun *source, *destination;
	uint64_t from, to, bytes;
};

static enum scsi_result abort_copy(struct iscsi_task *t, uint16_t asc)
{
	return scsi_fail(t, SCSI_COPY_ABORTED, asc);
}

/*
 * The unit that a CSCD descriptor ID stands for. Only what this session may use: its own LUNs. Of
 * several with the same volume one that may be written is preferred.
 */
static struct iscsi_lun *find_unit(struct iscsi_task *t, const struct scsi_copy_list *list,
				   uint16_t id)
{
	struct iscsi_lun *found = NULL;
	struct scsi_copy_cscd d;

	if (id == SCSI_COPY_THIS_LU)
		return t->lun;
	if (id >= list->ncscds) {
		(void)abort_copy(t, SCSI_UNREACHABLE_COPY_TARGET);
		return NULL;
	}
	scsi_copy_cscd(list, id, &d);
	for (unsigned i = 0; d.naa && i < t->map->n; i++) {
		struct iscsi_lun *l = &t->map->luns[i];
		uint8_t naa[8];

		if (!l->vol || atomic_load(&l->lu->state)) /* ejected, or being sanitized */
			continue;
		scsi_inquiry_naa(bs_volume_uuid(l->vol), naa);
		if (memcmp(naa, d.id, sizeof(naa)) == 0 && (!found || scsi_lun_read_only(found)))
			found = l;
	}
	if (!found)
		(void)abort_copy(t, SCSI_COPY_TARGET_NOT_REACHABLE);
	else if (d.device_type != 0)
		(void)abort_copy(t, SCSI_INCORRECT_COPY_TARGET_TYPE);
	else if (d.block_length != bs_volume_sector(found->vol))
		(void)scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_FIELD_IN_LIST);
	return t->failed ? NULL : found;
}

static bool fits(const struct iscsi_lun *l, uint64_t lba, uint64_t bytes)
{
	uint32_t sector = bs_volume_sector(l->vol);

	return vs_range_ok(lba, bytes / sector, bs_volume_size(l->vol) / sector);
}

static bool find_segment(struct iscsi_task *t, const struct scsi_copy_list *list, unsigned i,
			 struct segment *s)
{
	struct scsi_copy_segment d;
	uint32_t from, to;

	scsi_copy_segment(list, i, &d);
	s->source = find_unit(t, list, d.source);
	s->destination = s->source ? find_unit(t, list, d.destination) : NULL;
	if (!s->destination)
		return false;
	from = bs_volume_sector(s->source->vol);
	to = bs_volume_sector(s->destination->vol);
	s->bytes = (uint64_t)d.blocks * (d.dc ? to : from);
	if (s->bytes % from || s->bytes % to) {
		(void)abort_copy(t, SCSI_UNEXPECTED_INEXACT_SEGMENT);
	} else if (!fits(s->source, d.source_lba, s->bytes) ||
		   !fits(s->destination, d.lba, s->bytes)) {
		(void)abort_copy(t, SCSI_NO_ADDITIONAL_SENSE);
	} else {
		s->from = d.source_lba * from;
		s->to = d.lba * to;
	}
	return !t->failed;
}

/* Whether a READ of the source and a WRITE of the destination that came at this moment would do. */
static bool may_copy(struct iscsi_task *t, const struct segment *s)
{
	const struct iscsi_lun_map *now = t->conn->map; /* the task's may be an older one */
	const struct iscsi_lun *to = iscsi_lu_map_find(now, s->destination->lu);

	if (!to || !iscsi_lu_map_find(now, s->source->lu))
		(void)abort_copy(t, SCSI_COPY_TARGET_NOT_REACHABLE);
	else if (scsi_pr_keeps_out(t->conn, s->source->lu, false) ||
		 scsi_pr_keeps_out(t->conn, s->destination->lu, true))
		(void)abort_copy(t, SCSI_THIRD_PARTY_DEVICE_FAILURE);
	else if (scsi_lun_read_only(s->destination) || scsi_lun_read_only(to))
		(void)abort_copy(t, SCSI_WRITE_PROTECTED);
	return !t->failed;
}

static bool is_copy(const struct iscsi_task *t)
{
	return t->op && t->op->run == scsi_copy_run;
}

/* A copy that the session has under way with this list identifier, on the same unit. */
static struct iscsi_task *find_running(const struct iscsi_task *t, uint8_t id)
{
	struct iscsi_task *o = t->conn->used_first;
	struct scsi_copy_list list;

	for (; o; o = o->next)
		if (o != t && o->state == ISCSI_TASK_ACTIVE && !o->aborted && is_copy(o) &&
		    o->lun == t->lun && o->step &&
		    scsi_copy_decode(o->own.buf, o->dlen, &list) == 0 && list.id == id &&
		    list.usage != SCSI_COPY_NO_ID)
			return o;
	return NULL;
}

struct iscsi_copy_result *scsi_copy_find(const struct iscsi_task *t, uint32_t id, bool by_token)
{
	struct iscsi_copy_result *r = t->conn->copies;

	for (unsigned i = 0; i < ISCSI_COPY_RESULTS; i++)
		if (r[i].used && r[i].list_id == id && r[i].lun == t->lun->lun &&
		    (r[i].action != 0) == by_token)
			return &r[i];
	return NULL;
}

/* The oldest goes for it. */
void scsi_copy_keep(struct iscsi_task *t, uint32_t id, uint64_t token)
{
	uint8_t action = t->cdb[1] & 0x1f;
	struct iscsi_copy_result *r = scsi_copy_find(t, id, action != 0);
	struct scsi_copy_state *s;

	if (!r)
		r = &t->conn->copies[t->conn->next_copy++ % ISCSI_COPY_RESULTS];
	*r = (struct iscsi_copy_result){
	    .used = true, .action = action, .list_id = id, .token = token, .lun = t->lun->lun};
	s = &r->state;
	s->manager_status = t->failed ? 2 : 1;
	if (action == 0 && t->step)
		s->segments = (uint16_t)STEP_SEGMENTS(t->step);
	s->bytes = t->copied;
	s->status = t->status;
	if (t->failed && t->sense_len) {
		s->sense_len = t->sense_len;
		memcpy(s->sense, t->sense + 2, sizeof(s->sense));
	}
}

static void keep_result(struct iscsi_task *t, const struct scsi_copy_list *list)
{
	if (list->usage == SCSI_COPY_HOLD || (t->failed && list->usage == SCSI_COPY_DISCARD))
		scsi_copy_keep(t, list->id, 0);
}

void scsi_copy_prepare(struct iscsi_task *t)
{
	t->dlen = vs_get_be32(t->cdb + 10);
	if (t->dlen > SCSI_COPY_HEADER + SCSI_COPY_MAX_LIST)
		iscsi_task_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_PARAMETER_LIST_LENGTH_ERROR);
}

/* What aborted commands still write to them comes first, as for READ and WRITE. */
static bool have_orphans(const struct segment *s)
{
	return atomic_load(&s->source->lu->orphans) || atomic_load(&s->destination->lu->orphans);
}

/* All that can be seen at once is checked before anything is copied. */
static void begin(struct iscsi_task *t, const struct scsi_copy_list *list)
{
	bool wait = false;
	struct segment s;

	for (unsigned i = 0; i < list->nsegments && !t->failed; i++)
		if (find_segment(t, list, i, &s) && may_copy(t, &s))
			wait |= have_orphans(&s);
	t->parked = wait && !t->failed;
	if (!t->failed && !wait)
		t->step = STEP(0, 0);
}

/* Gives the next piece to the store; false: all is done, or nothing more can be. */
static bool copy_more(struct iscsi_task *t, const struct scsi_copy_list *list)
{
	unsigned i = STEP_SEGMENTS(t->step);
	uint64_t done = STEP_BYTES(t->step), n;
	struct segment s;

	for (; i < list->nsegments; i++, done = 0) {
		/* a unit is smaller or not ready any more, or another has reserved it */
		if (!find_segment(t, list, i, &s) || !may_copy(t, &s))
			return false;
		if (done < s.bytes)
			break;
		t->step = STEP(i + 1, 0);
	}
	if (i == list->nsegments)
		return false;
	n = VS_MIN(s.bytes - done, PIECE);
	t->step = STEP(i, done + n);
	t->copied += n;
	t->copies[0] = s.source->lu;
	t->copies[1] = s.destination->lu;
	t->fua = !atomic_load(&s.destination->lu->write_back);
	iscsi_task_copy(t, s.source->vol, s.from + done, s.destination->vol, s.to + done, n);
	return true;
}

enum scsi_result scsi_copy_run(struct iscsi_task *t)
{
	struct scsi_copy_list list;
	uint16_t asc;

	if (!t->dlen)
		return SCSI_DONE;
	asc = scsi_copy_decode(t->own.buf, t->dlen, &list);
	if (asc)
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, asc);
	if (!t->step && list.usage != SCSI_COPY_NO_ID && find_running(t, list.id))
		return scsi_fail(t, SCSI_ILLEGAL_REQUEST, SCSI_OPERATION_IN_PROGRESS);
	if (!t->step)
		begin(t, &list);
	if (t->parked || (!t->failed && copy_more(t, &list)))
		return SCSI_WAIT;
	keep_result(t, &list);
	return SCSI_DONE;
}

void scsi_copy_failed(struct iscsi_task *t)
{
	struct scsi_copy_list list;

	t->copied -= VS_MIN(t->copied, t->own.req.length); /* what the request was for */
	if (!is_copy(t))
		scsi_token_failed(t);
	else if (scsi_copy_decode(t->own.buf, t->dlen, &list) == 0)
		keep_result(t, &list);
}

/* COPY STATUS and FAILED SEGMENT DETAILS. */
static bool find_state(const struct iscsi_task *t, struct scsi_copy_state *out)
{
	const struct iscsi_task *o = find_running(t, t->cdb[2]);
	const struct iscsi_copy_result *r = scsi_copy_find(t, t->cdb[2], false);

	if (o)
		*out = (struct scsi_copy_state){.segments = (uint16_t)STEP_SEGMENTS(o->step),
						.bytes = o->copied};
	else if (r)
		*out = r->state;
	return o || r;
}

enum scsi_result scsi_copy_results(struct iscsi_task *t)
{
	uint32_t allocation = vs_get_be32(t->cdb + 10);
	uint8_t action = t->cdb[1] & 0x1f;
	struct scsi_copy_state s;

	if (action == 0x03)
		return scsi_reply(t, scsi_copy_put_parameters(t->own.buf), allocation);
	if (!find_state(t, &s))
		return scsi_bad_cdb(t);
	return scsi_reply(t,
			  action == 0x00 ? scsi_copy_put_status(t->own.buf, &s)
					 : scsi_copy_put_failed(t->own.buf, &s),
			  allocation);
}
