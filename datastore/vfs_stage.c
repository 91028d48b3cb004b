/* Commits of more pages than one request takes (vfs.h). */
#include "datastore/vfs.h"

#include "common/bytes.h"

#include <stdlib.h>
#include <xxhash.h>

static int list_io(struct ds_vfs *v, enum bs_op op, uint8_t *list)
{
	struct iovec iov = {list, DS_COMMIT_MAX * 8u};
	struct bs_req req = {.op = op,
			     .flags = op == BS_WRITE ? v->flags & BS_SPARE : 0,
			     .volume = v->volume,
			     .object = DS_BASE,
			     .offset = DS_STAGE_LIST,
			     .length = iov.iov_len,
			     .iov = &iov,
			     .iovcnt = 1};

	return bs_io_wait(v->port, &req);
}

static int write_list(struct ds_vfs *v, uint64_t *check)
{
	uint8_t *list = calloc(DS_COMMIT_MAX, 8);
	int rc;

	if (!list)
		return VS_E_NOMEM;
	for (unsigned i = 0; i < v->ndirty; i++)
		vs_put_le64(list + (size_t)i * 8, v->where[i]);
	*check = XXH3_64bits(list, DS_COMMIT_MAX * 8u);
	rc = list_io(v, BS_WRITE, list);
	free(list);
	return rc;
}

/* All dirty pages, to the staging area or to their places. */
static int write_all(struct ds_vfs *v, bool staging)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < v->ndirty; i += DS_SCATTER_MAX)
		rc = ds_vfs_write(v, i, VS_MIN(v->ndirty - i, DS_SCATTER_MAX),
				  staging ? DS_STAGE_PAGES + (uint64_t)i * BS_BLOCK : 0, false);
	return rc ? rc : bs_io_flush(v->port);
}

static void clear_area(struct ds_vfs *v)
{
	struct bs_req req = {.op = BS_TRIM,
			     .volume = v->volume,
			     .object = DS_BASE,
			     .offset = DS_STAGE_LIST,
			     .length = BS_OBJECT_MAX - DS_STAGE_LIST};

	(void)!bs_io_wait(v->port, &req); /* what stays is overwritten by the next one */
}

int ds_vfs_settle(struct ds_vfs *v)
{
	struct bs_object_change c = {.object = DS_BASE,
				     .check = BS_NO_WORD,
				     .end = BS_NO_WORD,
				     .set = DS_BIT(DS_B_STAGED) | DS_BIT(DS_B_CHECK)};
	struct bs_object_change *change = v->change;
	unsigned n = v->nchanges, flags = v->flags;
	int rc;

	v->flags |= BS_SPARE; /* it counts already, and what it had in the area goes */
	rc = write_all(v, false);
	v->flags = flags;
	if (rc == 0) {
		v->change = &c;
		v->nchanges = 1;
		rc = ds_vfs_base(v, BS_FUA);
		v->change = change;
		v->nchanges = n;
	}
	if (rc) {
		v->status = rc;
		return rc;
	}
	v->base[DS_B_STAGED] = v->base[DS_B_CHECK] = 0;
	v->staged = false;
	v->ndirty = 0;
	clear_area(v);
	return 0;
}

int ds_vfs_stage(struct ds_vfs *v)
{
	struct bs_object_change *base = &v->change[0];
	uint64_t check = 0;
	int rc = write_list(v, &check);

	if (rc == 0)
		rc = write_all(v, true);
	if (rc == 0) {
		base->set |= DS_BIT(DS_B_STAGED) | DS_BIT(DS_B_CHECK);
		base->word[DS_B_STAGED] = v->ndirty;
		base->word[DS_B_CHECK] = check;
		rc = ds_vfs_base(v, BS_FUA);
	}
	if (rc) {
		clear_area(v);
		return rc;
	}
	v->staged = true;
	(void)!ds_vfs_settle(v); /* else before the next commit: it counts */
	v->status = 0;
	if (!v->staged)
		base->now[DS_B_STAGED] = base->now[DS_B_CHECK] = 0;
	return 0;
}

static int read_pages(struct ds_vfs *v, const uint8_t *list, uint64_t n)
{
	for (unsigned i = 0; i < n; i++) {
		struct iovec iov = {ds_vfs_new_page(v, vs_get_le64(list + (size_t)i * 8)),
				    BS_BLOCK};
		struct bs_req req = {.op = BS_READ,
				     .volume = v->volume,
				     .object = DS_BASE,
				     .offset = DS_STAGE_PAGES + (uint64_t)i * BS_BLOCK,
				     .length = BS_BLOCK,
				     .iov = &iov,
				     .iovcnt = 1};
		int rc = iov.iov_base ? bs_io_wait(v->port, &req) : VS_E_NOMEM;

		if (rc)
			return rc;
	}
	return 0;
}

int ds_vfs_unstage(struct ds_vfs *v)
{
	uint64_t n = v->base[DS_B_STAGED];
	uint8_t *list;
	int rc;

	if (!n)
		return 0;
	list = malloc(DS_COMMIT_MAX * 8u);
	if (!list)
		return VS_E_NOMEM;
	rc = n > DS_COMMIT_MAX ? VS_E_CORRUPT : list_io(v, BS_READ, list);
	if (rc == 0 && XXH3_64bits(list, DS_COMMIT_MAX * 8u) != v->base[DS_B_CHECK])
		rc = VS_E_CORRUPT;
	if (rc == 0)
		rc = read_pages(v, list, n);
	free(list);
	v->staged = rc == 0;
	return rc;
}
