#include "datastore/vfs.h"

#include "common/bytes.h"

#include <stdlib.h>

_Static_assert(DS_STAGE_PAGES % BS_BLOCK == 0, "staged pages are whole blocks");

uint8_t *ds_vfs_page(struct ds_vfs *v, uint64_t page)
{
	for (unsigned i = v->ndirty; i-- > 0;)
		if (v->where[i] == page)
			return v->buffer[i];
	return NULL;
}

uint8_t *ds_vfs_new_page(struct ds_vfs *v, uint64_t page)
{
	unsigned at = v->ndirty;

	if (at == DS_COMMIT_MAX)
		return NULL;
	if (at == v->nbuffers) {
		uint8_t *fresh = malloc(BS_BLOCK);

		if (!fresh)
			return NULL;
		v->buffer[v->nbuffers++] = fresh;
	}
	v->where[at] = page;
	v->ndirty++;
	return v->buffer[at];
}

static void drop_pages(struct ds_vfs *v)
{
	v->ndirty = 0;
	while (v->nbuffers > DS_PAGES_KEPT)
		free(v->buffer[--v->nbuffers]);
}

/* ---- requests ------------------------------------------------------------------------------- */

int ds_vfs_write(struct ds_vfs *v, unsigned first, unsigned n, uint64_t at, bool changes)
{
	struct iovec iov[DS_SCATTER_MAX];
	struct bs_req req = {.op = BS_WRITE,
			     .volume = v->volume,
			     .object = DS_BASE,
			     .offset = at,
			     .length = (uint64_t)n * BS_BLOCK,
			     .iov = iov,
			     .iovcnt = (int)n,
			     .flags = changes ? v->flags : v->flags & BS_SPARE};

	VS_ASSERT(n <= DS_SCATTER_MAX && first + n <= v->ndirty);
	for (unsigned i = 0; i < n; i++)
		iov[i] = (struct iovec){v->buffer[first + i], BS_BLOCK};
	if (!at) {
		req.flags |= BS_SCATTER;
		req.blocks = v->where + first;
	}
	if (changes) {
		req.changes = v->change;
		req.nchanges = v->nchanges;
	}
	return bs_io_wait(v->port, &req);
}

int ds_vfs_base(struct ds_vfs *v, unsigned flags)
{
	struct bs_req req = {.op = BS_RECORDS,
			     .flags = flags,
			     .volume = v->volume,
			     .changes = v->change,
			     .nchanges = v->nchanges};

	return bs_io_wait(v->port, &req);
}

static void set_base(struct ds_vfs *v, enum ds_base_word w, uint64_t value)
{
	v->change[0].set |= DS_BIT(w);
	v->change[0].word[w] = value;
}

static int commit(struct ds_vfs *v)
{
	int rc = v->staged ? ds_vfs_settle(v) : 0;

	if (rc)
		return rc;
	set_base(v, DS_B_MAGIC, v->magic);
	set_base(v, DS_B_PAGES, v->pages);
	if (v->ndirty > v->scatter_max)
		rc = ds_vfs_stage(v);
	else if (v->ndirty)
		rc = ds_vfs_write(v, 0, v->ndirty, 0, true);
	else
		rc = ds_vfs_base(v, v->flags & BS_FUA);
	return rc;
}

/* Of the base record, and nothing but what a commit itself sets. */
static struct bs_object_change no_change(void)
{
	return (struct bs_object_change){.object = DS_BASE, .check = BS_NO_WORD, .end = BS_NO_WORD};
}

int ds_vfs_commit(struct ds_vfs *v)
{
	struct bs_object_change own = no_change(), *given = v->change;
	unsigned n = v->nchanges;
	int rc;

	if (!given) {
		v->change = &own;
		v->nchanges = 1;
	}
	VS_ASSERT(v->nchanges && v->change[0].object == DS_BASE);
	v->status = 0;
	rc = commit(v);
	if (rc == 0) {
		memcpy(v->base, v->change[0].now, sizeof(v->base));
		v->committed = true;
	}
	v->change = given;
	v->nchanges = n;
	if (!v->staged)
		drop_pages(v);
	if (rc) {
		v->status = rc;
		v->ignoring = true;
		v->pages = v->base[DS_B_PAGES];
	}
	return rc;
}

void ds_vfs_recovered(struct ds_vfs *v)
{
	v->ignoring = false;
	if (!v->staged)
		drop_pages(v);
	v->pages = v->base[DS_B_PAGES];
}

/* ---- life ----------------------------------------------------------------------------------- */

static int look_at_base(struct ds_vfs *v, bool fresh, struct vs_error *err)
{
	struct bs_object_change c = no_change();
	int rc;

	v->change = &c;
	v->nchanges = 1;
	rc = ds_vfs_base(v, 0);
	v->change = NULL;
	v->nchanges = 0;
	if (rc)
		return vs_fail(err, rc, "its database: %s", vs_err_text(rc));
	memcpy(v->base, c.now, sizeof(v->base));
	if (v->base[DS_B_MAGIC] != v->magic && !(fresh && v->base[DS_B_MAGIC] == 0))
		return vs_fail(err, VS_E_NOTSUP,
			       "the volume holds something else, or is of another version");
	v->pages = v->base[DS_B_PAGES];
	return 0;
}

int ds_vfs_open(struct ds_vfs *v, struct bs_port *port, struct bs_volume *volume, uint64_t magic,
		bool read_only, bool fresh, struct vs_error *err)
{
	int rc;

	*v = (struct ds_vfs){.port = port,
			     .volume = volume,
			     .magic = magic,
			     .read_only = read_only,
			     .scatter_max = DS_SCATTER_MAX};
	v->where = calloc(DS_COMMIT_MAX, sizeof(*v->where));
	v->buffer = calloc(DS_COMMIT_MAX, sizeof(*v->buffer));
	if (!v->where || !v->buffer)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = look_at_base(v, fresh, err);
	if (rc)
		return rc;
	rc = ds_vfs_unstage(v);
	if (rc)
		return vs_fail(err, rc, "its database: the last change cannot be read: %s",
			       vs_err_text(rc));
	if (v->staged && !read_only) {
		(void)!ds_vfs_settle(v); /* else before the next commit */
		v->status = 0;
	}
	ds_vfs_file_init(v);
	return sqlite3_vfs_register(&v->vfs, 0) == SQLITE_OK
		   ? 0
		   : vs_fail(err, VS_E_NOMEM, "out of memory");
}

void ds_vfs_close(struct ds_vfs *v)
{
	sqlite3_vfs_unregister(&v->vfs);
	while (v->nbuffers)
		free(v->buffer[--v->nbuffers]);
	free(v->where);
	free(v->buffer);
	v->where = NULL;
	v->buffer = NULL;
}
