/* Ranges of files: DEALLOCATE, SEEK, CLONE. */
#include "datastore/permit.h"
#include "datastore/task.h"

#include "common/bytes.h"

#include <stdlib.h>

#define COPY_PIECE (UINT64_C(64) << 20)
#define WINDOW ((uint64_t)BS_STATUS_MAX * BS_BLOCK)
/* A SEEK looks so far. What it has not looked at it takes for data, which it may. */
#define WINDOWS_MAX 4096u

/* The record changes as after a write. */
static void written(struct ds_task *t)
{
	struct bs_object_change *c = ds_task_change(t, 0, t->found.object);

	c->check = DS_W_GENERATION;
	c->is = t->found.generation;
	c->set = DS_BIT(DS_W_MTIME) | DS_BIT(DS_W_CTIME) | DS_BIT(DS_W_MODE);
	c->word[DS_W_MTIME] = c->word[DS_W_CTIME] = (uint64_t)ds_now();
	c->word[DS_W_MODE] = ds_word_mode(DS_REG, ds_mode_written(t->req->cred, t->perm.mode));
	c->add = DS_BIT(DS_W_CHANGE);
	c->word[DS_W_CHANGE] = 1;
}

static void changed(struct ds_task *t)
{
	struct ds_req *req = t->req;

	if (t->status == 0) {
		t->perm = ds_record_perm(t->change[0].now);
		ds_node_learn(&t->c->d->nodes, t->node, t->found.generation, &t->perm);
		ds_task_attr(t, 0, t->found, &req->before, &req->after);
		req->attr = req->after;
	}
	ds_task_finish(t, t->status);
}

/* Whether the caller may change, or read, the bytes of the file whose record was looked at;
 * finishes if not. */
static bool allowed(struct ds_task *t, struct ds_handle h, unsigned want, struct ds_perm *perm)
{
	const struct ds_req *req = t->req;
	int rc = ds_task_check(t, 0, h, perm);

	if (rc == 0 && perm->type != DS_REG) {
		ds_task_why(t, ds_not_regular(perm->type));
		return false;
	}
	if (rc == 0 && !ds_may(req->cred, perm, want) &&
	    !(req->owner_may && ds_is_owner(req->cred, perm)))
		rc = VS_E_ACCESS;
	if (rc)
		ds_task_finish(t, rc);
	return rc == 0;
}

/* ---- DEALLOCATE ----------------------------------------------------------------------------- */

static void deallocate_zeroed(struct ds_task *t)
{
	if (t->status) {
		ds_task_finish(t, t->status);
		return;
	}
	written(t);
	t->io = (struct bs_req){.op = BS_RECORDS,
				.flags = BS_FUA,
				.volume = t->volume,
				.changes = t->change,
				.nchanges = 1};
	ds_task_submit(t, changed);
}

static void deallocate_looked(struct ds_task *t)
{
	struct ds_req *req = t->req;
	uint64_t size = t->change[0].now[DS_W_SIZE];

	if (!allowed(t, t->found, DS_W, &t->perm))
		return;
	t->io = (struct bs_req){.op = BS_ZERO,
				.volume = t->volume,
				.object = t->found.object,
				.offset = VS_MIN(req->offset, size)};
	t->io.length = VS_MIN(req->length, size - t->io.offset);
	ds_task_submit(t, deallocate_zeroed);
}

static void deallocate_entered(struct ds_task *t)
{
	ds_task_look(t, t->volume, t->found.object, 0, 1, deallocate_looked);
}

void ds_do_deallocate(struct ds_task *t)
{
	t->found = t->req->file;
	ds_task_enter(t, t->found.object, true, deallocate_entered);
}

/* ---- SEEK ----------------------------------------------------------------------------------- */

static void seek_window(struct ds_task *t);

static void seek_found(struct ds_task *t, uint64_t at)
{
	t->req->eof = at >= t->end;
	t->req->offset = VS_MIN(at, t->end);
	ds_task_finish(t, 0);
}

static void seek_mapped(struct ds_task *t)
{
	uint64_t blocks = t->io.length / BS_BLOCK;
	uint8_t wanted = t->req->seek_hole ? 0 : 1;

	if (t->status) {
		ds_task_finish(t, t->status);
		return;
	}
	for (uint64_t i = 0; i < blocks; i++) {
		if (t->map[i] == wanted) {
			seek_found(t, VS_MAX(t->at, t->io.offset + i * BS_BLOCK));
			return;
		}
	}
	t->at = t->io.offset + t->io.length;
	seek_window(t);
}

static void seek_window(struct ds_task *t)
{
	uint64_t first = VS_ALIGN_DOWN(t->at, BS_BLOCK);

	if (t->at >= t->end) {
		seek_found(t, t->end);
		return;
	}
	if (t->tries++ == WINDOWS_MAX) {
		seek_found(t, t->req->seek_hole ? t->end : t->at);
		return;
	}
	t->io = (struct bs_req){.op = BS_STATUS,
				.volume = t->volume,
				.object = t->req->file.object,
				.offset = first,
				.length = VS_MIN(WINDOW, VS_ALIGN_UP(t->end, BS_BLOCK) - first),
				.mapped = t->map};
	ds_task_submit(t, seek_mapped);
}

static void seek_looked(struct ds_task *t)
{
	struct ds_req *req = t->req;
	struct ds_perm perm;

	if (!allowed(t, req->file, DS_R, &perm))
		return;
	ds_task_attr(t, 0, req->file, NULL, &req->attr);
	t->at = req->offset;
	t->end = req->attr.size;
	if (t->at >= t->end) { /* RFC 7862 section 15.11.3: as lseek's ENXIO */
		ds_task_finish(t, VS_E_RANGE);
		return;
	}
	t->map = malloc(BS_STATUS_MAX);
	if (!t->map) {
		ds_task_finish(t, VS_E_NOMEM);
		return;
	}
	seek_window(t);
}

void ds_do_seek(struct ds_task *t)
{
	ds_task_look(t, t->volume, t->req->file.object, 0, 1, seek_looked);
}

/* ---- CLONE ---------------------------------------------------------------------------------- */

static void clone_piece(struct ds_task *t)
{
	struct ds_req *req = t->req;
	uint64_t left = t->end - t->at;

	if (t->status || !left) {
		changed(t);
		return;
	}
	written(t);
	t->change[0].end = DS_W_SIZE;
	t->io = (struct bs_req){.op = BS_COPY,
				.volume = t->volume,
				.object = t->found.object,
				.offset = t->at,
				.length = VS_MIN(left, COPY_PIECE),
				.source = t->other_volume,
				.source_object = req->other.object,
				.source_offset = req->other_offset + (t->at - req->offset),
				.changes = t->change,
				.nchanges = 1};
	t->at += t->io.length;
	if (t->at == t->end)
		t->io.flags = BS_FUA;
	ds_task_submit(t, clone_piece);
}

static void clone_whole(struct ds_task *t);

static void clone_emptied(struct ds_task *t)
{
	if (t->status)
		ds_task_finish(t, t->status);
	else
		clone_whole(t);
}

/* Only an object of which nothing is mapped takes all of another at once. One whose blocks have
 * gone may still have empty pages of its map. */
static void clone_done(struct ds_task *t)
{
	if (t->status != VS_E_EXIST) {
		changed(t);
		return;
	}
	if (t->req->after.used || t->tries++) {
		t->status = 0;
		clone_piece(t);
		return;
	}
	t->io = (struct bs_req){
	    .op = BS_TRIM, .volume = t->volume, .object = t->found.object, .length = BS_OBJECT_MAX};
	ds_task_submit(t, clone_emptied);
}

static void clone_whole(struct ds_task *t)
{
	written(t);
	t->change[0].set |= DS_BIT(DS_W_SIZE);
	t->change[0].word[DS_W_SIZE] = t->end;
	t->io = (struct bs_req){.op = BS_CLONE,
				.flags = BS_FUA,
				.volume = t->volume,
				.object = t->found.object,
				.source = t->other_volume,
				.source_object = t->req->other.object,
				.changes = t->change,
				.nchanges = 1};
	ds_task_submit(t, clone_done);
}

static bool overlap(const struct ds_req *req, uint64_t length)
{
	uint64_t a = req->offset, b = req->other_offset;

	return ds_same(req->file, req->other) && (a < b ? b - a : a - b) < length;
}

static void clone_source_looked(struct ds_task *t)
{
	struct ds_req *req = t->req;
	uint64_t size = t->change[0].now[DS_W_SIZE], length = req->length;
	struct ds_perm perm;

	if (!allowed(t, req->other, DS_R, &perm))
		return;
	if (!length && req->other_offset <= size)
		length = size - req->other_offset;
	if (!vs_range_ok(req->other_offset, length, size) || overlap(req, length)) {
		ds_task_finish(t, VS_E_INVAL);
	} else if (!vs_range_ok(req->offset, length, DS_FILE_MAX)) {
		ds_task_finish(t, VS_E_TOOBIG);
	} else {
		bool whole = !req->offset && length == size && t->end <= size;

		t->at = req->offset;
		t->end = req->offset + length;
		if (whole && !ds_same(req->file, req->other))
			clone_whole(t);
		else
			clone_piece(t);
	}
}

static void clone_looked(struct ds_task *t)
{
	if (!allowed(t, t->found, DS_W, &t->perm))
		return;
	t->end = t->change[0].now[DS_W_SIZE];
	ds_task_attr(t, 0, t->found, &t->req->before, &t->req->after);
	t->req->attr = t->req->after;
	ds_task_look(t, t->other_volume, t->req->other.object, 0, 1, clone_source_looked);
}

static void clone_entered(struct ds_task *t)
{
	ds_task_look(t, t->volume, t->found.object, 0, 1, clone_looked);
}

static void other_granted(struct ds_wait *w)
{
	struct ds_task *t = vs_container_of(w, struct ds_task, other_wait);

	t->other_inside = true;
	t->step(t);
}

/* The source stands still meanwhile: nobody writes to it. */
static void enter_other(struct ds_task *t, void (*step)(struct ds_task *))
{
	struct ds_nodes *nodes = &t->c->d->nodes;

	t->other = ds_node_get(nodes, t->req->other.object);
	if (!t->other) {
		ds_task_finish(t, VS_E_NOMEM);
		return;
	}
	t->step = step;
	t->other_wait =
	    (struct ds_wait){.loop = t->c->loop, .granted = other_granted, .alone = true};
	if (!ds_node_enter(nodes, t->other, &t->other_wait))
		return;
	t->other_inside = true;
	step(t);
}

static void enter_source(struct ds_task *t)
{
	enter_other(t, clone_entered);
}

static void enter_file(struct ds_task *t)
{
	ds_task_enter(t, t->found.object, true, clone_entered);
}

/* Both in the order of objects, so that two that cross do not wait for each other for ever. */
void ds_do_clone(struct ds_task *t)
{
	const struct ds_req *req = t->req;

	t->found = req->file;
	if (req->other.object == DS_BASE || req->other.object >= BS_OBJECTS)
		ds_task_finish_soon(t, VS_E_STALE);
	else if (t->other_volume != t->volume || req->other.object == req->file.object)
		enter_file(t);
	else if (req->other.object < req->file.object)
		enter_other(t, enter_file);
	else
		ds_task_enter(t, t->found.object, true, enter_source);
}
