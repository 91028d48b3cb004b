/* Copies: blocks of a volume get the content that others have. */
#include "blockstore/content.h"
#include "blockstore/map.h"
#include "blockstore/op_int.h"
#include "blockstore/plant.h"
#include "blockstore/port.h"

static const struct bs_vol *source_of(const struct bs_iop *op, uint64_t *block)
{
	*block = ((uint64_t)op->req->source_object << BS_OBJECT_SHIFT) +
		 (op->req->source_offset + op->rel) / BS_BLOCK;
	return op->req->source->vol;
}

/* The content may get a reference more from op's volume; *cid: where that is counted. VS_E_NOENT:
 * it may not, so its bytes are to be written again, as a write that meets it would. */
static int look(struct bs_engine *e, const struct bs_iop *op, uint64_t *cid)
{
	struct bs_place place;
	int rc = bs_content_look(e, *cid, &place);

	if (rc == 0 && place.alias) {
		*cid = place.alias;
		rc = bs_content_look(e, *cid, &place);
	}
	if (rc)
		return rc == VS_E_NOENT ? VS_E_CORRUPT : rc;
	if (bs_op_private(op) || place.private || place.refs >= e->cfg.ref_cap ||
	    bs_marks_has(&e->marks, *cid))
		return VS_E_NOENT;
	return bs_content_ready(e, *cid);
}

/* What the source's blocks are mapped to, as of one instant. VS_E_NOENT: some cannot be shared. */
static int look_all(struct bs_engine *e, const struct bs_iop *op, struct bs_op_plan *p)
{
	uint64_t first, leaf_of = UINT64_MAX;
	const struct bs_vol *v = source_of(op, &first);
	struct bs_frame *leaf = NULL;

	if (!vs_range_ok(first, op->count, bs_volent_blocks(&v->ent)))
		return VS_E_RANGE;
	for (unsigned i = 0; i < op->count; i++) {
		uint64_t block = first + i;
		int rc = 0;

		if (block / BS_MAP_FAN != leaf_of)
			rc = bs_map_leaf(e, v, block, &leaf);
		if (rc)
			return rc;
		leaf_of = block / BS_MAP_FAN;
		p->cid[i] = leaf ? bs_map_entry(leaf->data, (unsigned)(block % BS_MAP_FAN)) : 0;
	}
	for (unsigned i = 0; i < op->count; i++) {
		int rc = p->cid[i] ? look(e, op, &p->cid[i]) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

int bs_op_copy(struct bs_engine *e, struct bs_iop *op)
{
	struct bs_op_plan p = {0};
	bool found = false;
	uint64_t blocks;

	do {
		int rc;

		blocks = bs_fiber_blocks(e->fibers);
		if (!bs_op_in_range(op))
			return VS_E_RANGE;
		rc = bs_frames_reserve(e, 2 * BS_MAP_LEVELS + bs_op_frames(op));
		if (rc == 0 && !(found && bs_planted(STALE_COPY)))
			rc = look_all(e, op, &p);
		if (rc == VS_E_NOENT) {
			bs_op_answer(e, op, BS_OP_BYTES);
			return 0;
		}
		found = rc == 0;
		if (rc == 0)
			rc = bs_op_prepare(e, op, &p);
		if (rc)
			return rc;
	} while (blocks != bs_fiber_blocks(e->fibers));
	if (e->locks && bs_op_conflicts(e, op))
		return VS_E_AGAIN;
	bs_thick_wrote(e, op->vol, 0, 0, p.pages);
	bs_op_apply_maps(e, op, &p);
	bs_log_attach(e, op);
	return 0;
}
