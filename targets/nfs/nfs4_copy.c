/*
 * Operations on ranges of files (RFC 7862 section 15): SEEK, ALLOCATE, DEALLOCATE, CLONE, COPY,
 * READ_PLUS.
 */
#include "targets/nfs/nfs4.h"

#define CLONE_ALIGN 4096u /* clone_blksize */
#define COPY_PIECE (UINT64_C(16) << 20)
/* A COPY is answered when it has got so far; the client asks for the rest. */
#define COPY_MAX (UINT64_C(256) << 20)

/* data_content4 */
enum { NFS4_CONTENT_DATA, NFS4_CONTENT_HOLE };

#define SEGMENTS_HEAD 8u /* of READ_PLUS: eof, number of segments */
#define DATA_HEAD 16u	 /* of a segment: what, offset, length */

static struct nfs4_compound *of(struct nfs_call *call)
{
	return &call->args.v4;
}

static bool is_open(struct nfs_call *call)
{
	struct nfs4_stateid id = of(call)->a.stateid;

	return nfs4_stateid_of(call, &id) == NFS4_ERR_NONE &&
	       nfs4_special(&id) == NFS4_STATEID_REAL;
}

/* ---- SEEK ---- */

static int ask_seek(struct nfs_call *call, uint64_t from, bool hole)
{
	call->req.op = DS_SEEK;
	call->req.offset = from;
	call->req.seek_hole = hole;
	call->req.owner_may = is_open(call);
	return nfs4_submit(call);
}

int nfs4_seek_start(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	enum nfs4_status status = nfs4_use(call, a->stateid, NFS4_SHARE_READ);

	if (status == NFS4_ERR_NONE && a->what > NFS4_CONTENT_HOLE)
		status = NFS4_ERR_INVAL;
	return status ? (int)status : ask_seek(call, a->offset, a->what == NFS4_CONTENT_HOLE);
}

int nfs4_seek_finish(struct nfs_call *call)
{
	if (call->req.status == VS_E_RANGE)
		return NFS4_ERR_NXIO;
	if (call->req.status)
		return nfs4_answered(call);
	nfs_enc_u32(&of(call)->e, call->req.eof);
	nfs_enc_u64(&of(call)->e, call->req.offset);
	return NFS4_ERR_NONE;
}

/* ---- ALLOCATE, DEALLOCATE ---- */

static int change_range(struct nfs_call *call, enum ds_op op)
{
	const struct nfs4_args *a = &of(call)->a;
	enum nfs4_status status = nfs4_use(call, a->stateid, NFS4_SHARE_WRITE);

	if (status == NFS4_ERR_NONE && a->length > UINT64_MAX - a->offset)
		status = NFS4_ERR_INVAL;
	if (status)
		return status;
	call->req.op = op;
	call->req.offset = a->offset;
	call->req.length = a->length;
	call->req.owner_may = is_open(call);
	return nfs4_submit(call);
}

int nfs4_allocate_start(struct nfs_call *call)
{
	return change_range(call, DS_ALLOCATE);
}

int nfs4_allocate_finish(struct nfs_call *call)
{
	return nfs4_answered(call);
}

int nfs4_deallocate_start(struct nfs_call *call)
{
	return change_range(call, DS_DEALLOCATE);
}

int nfs4_deallocate_finish(struct nfs_call *call)
{
	return nfs4_answered(call);
}

/* ---- CLONE and COPY: from the saved filehandle to the current one ---- */

/* Both files may be used so. */
static enum nfs4_status check_two(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	struct nfs4_where from = {v->saved.fh.store, v->saved.fh.file, call->served->store};
	enum nfs4_status status = nfs4_saved_file(call, &call->req.other);

	if (status == NFS4_ERR_NONE)
		status = nfs4_stateid_of(call, &v->a.other_stateid);
	if (status == NFS4_ERR_NONE)
		status = nfs4_share_may_use(nfs4_state_of(call), nfs4_client_of(call),
					    &v->a.other_stateid, &from, NFS4_SHARE_READ);
	if (status == NFS4_ERR_NONE)
		status = nfs4_use(call, v->a.stateid, NFS4_SHARE_WRITE);
	call->req.owner_may = is_open(call);
	return status;
}

int nfs4_clone_start(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	enum nfs4_status status = check_two(call);

	if (status)
		return status;
	if (a->offset % CLONE_ALIGN || a->other_offset % CLONE_ALIGN)
		return NFS4_ERR_INVAL;
	call->req.op = DS_CLONE;
	call->req.offset = a->offset;
	call->req.other_offset = a->other_offset;
	call->req.length = a->length;
	return nfs4_submit(call);
}

int nfs4_clone_finish(struct nfs_call *call)
{
	return nfs4_answered(call);
}

static int copied(struct nfs_call *call, uint64_t bytes)
{
	struct nfs_enc *e = &of(call)->e;

	nfs_enc_u32(e, 0); /* no callback: it is done */
	nfs_enc_u64(e, bytes);
	nfs_enc_u32(e, 2); /* FILE_SYNC4 */
	nfs_enc_fixed(e, call->conn->worker->common->verifier, NFS4_VERIFIER_BYTES);
	nfs_enc_u32(e, 1); /* consecutive */
	nfs_enc_u32(e, 1); /* synchronous */
	return NFS4_ERR_NONE;
}

static int copy_piece(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);

	if (v->position == v->end)
		return copied(call, v->end);
	call->req.op = DS_CLONE;
	call->req.offset = v->a.offset + v->position;
	call->req.other_offset = v->a.other_offset + v->position;
	call->req.length = VS_MIN(v->end - v->position, COPY_PIECE);
	return nfs4_submit(call);
}

/* First the source's length: what lies behind its end is not copied (section 15.2.3). */
int nfs4_copy_start(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	enum nfs4_status status = a->nservers ? NFS4_ERR_NOTSUPP : check_two(call);

	if (status)
		return status;
	of(call)->where.file = call->req.file;
	call->req.op = DS_GETATTR;
	call->req.file = call->req.other;
	return nfs4_submit(call);
}

static int copy_measured(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	const struct nfs4_args *a = &v->a;
	uint64_t size = call->req.attr.size;

	if (call->req.attr.type != DS_REG)
		return NFS4_ERR_WRONG_TYPE;
	if (a->other_offset > size || (a->length && !vs_range_ok(a->other_offset, a->length, size)))
		return NFS4_ERR_INVAL;
	v->position = 0;
	v->end = VS_MIN(a->length ? a->length : size - a->other_offset, COPY_MAX);
	if (!vs_range_ok(a->offset, v->end, DS_FILE_MAX))
		return NFS4_ERR_FBIG;
	call->req.file = v->where.file;
	return copy_piece(call);
}

int nfs4_copy_finish(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	enum nfs4_status status = nfs4_answered(call);

	if (status && v->position)
		return copied(call, v->position);
	if (status)
		return status;
	if (call->req.op == DS_GETATTR)
		return copy_measured(call);
	v->position += call->req.length;
	return copy_piece(call);
}

/* ---- READ_PLUS: a hole if there is one, then data ---- */

enum plus_step { FIND_DATA, FIND_END, READ };

int nfs4_read_plus_start(struct nfs_call *call)
{
	const struct nfs4_args *a = &of(call)->a;
	enum nfs4_status status = nfs4_use(call, a->stateid, NFS4_SHARE_READ);

	if (status)
		return status;
	of(call)->position = a->offset;
	of(call)->end = a->offset + VS_MIN(VS_MIN(a->count, NFS4_DATA_MAX), UINT64_MAX - a->offset);
	return ask_seek(call, a->offset, false);
}

/* [offset, position) is a hole, [position, position + count) was read; count may be 0. */
static int put_segments(struct nfs_call *call, bool eof, uint32_t count)
{
	struct nfs4_compound *v = of(call);
	uint64_t hole = v->position - v->a.offset;
	struct nfs_enc *e = &v->e;

	nfs_enc_u32(e, eof);
	nfs_enc_u32(e, (hole ? 1 : 0) + (count ? 1 : 0));
	if (hole) {
		nfs_enc_u32(e, NFS4_CONTENT_HOLE);
		nfs_enc_u64(e, v->a.offset);
		nfs_enc_u64(e, hole);
	}
	if (count) {
		nfs_enc_u32(e, NFS4_CONTENT_DATA);
		nfs_enc_u64(e, v->position);
		nfs_enc_u32(e, count);
		nfs_enc_skip(e, count);
	}
	return NFS4_ERR_NONE;
}

static int plus_found_data(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	uint64_t size = call->req.attr.size;

	if (call->req.status == VS_E_RANGE) { /* behind the end */
		v->position = v->a.offset;
		return put_segments(call, true, 0);
	}
	v->end = VS_MIN(v->end, size);
	v->position = VS_MIN(call->req.offset, v->end);
	if (v->position == v->end)
		return put_segments(call, v->end == size, 0);
	v->step = FIND_END;
	return ask_seek(call, v->position, true);
}

static int plus_read(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	uint32_t heads = SEGMENTS_HEAD + DATA_HEAD + (v->position > v->a.offset ? 20 : 0);

	v->end = VS_MIN(v->end, call->req.offset);
	v->step = READ;
	call->req.op = DS_READ;
	call->req.offset = v->position;
	call->req.length = v->end - v->position;
	call->iov = (struct iovec){v->e.p + heads, call->req.length};
	return nfs4_submit(call);
}

int nfs4_read_plus_finish(struct nfs_call *call)
{
	struct nfs4_compound *v = of(call);
	enum nfs4_status status = nfs4_answered(call);

	if (status && !(v->step == FIND_DATA && call->req.status == VS_E_RANGE))
		return status;
	if (v->step == FIND_DATA)
		return plus_found_data(call);
	if (v->step == FIND_END)
		return plus_read(call);
	return put_segments(call, call->req.eof, (uint32_t)call->req.count);
}

/* Advice is heard, and nothing is promised (section 15.5). */
int nfs4_io_advise(struct nfs_call *call)
{
	enum nfs4_status status = nfs4_use(call, of(call)->a.stateid, NFS4_SHARE_READ);

	if (status == NFS4_ERR_NONE)
		nfs_enc_u32(&of(call)->e, 0);
	return status;
}
