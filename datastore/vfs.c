#include "datastore/vfs.h"

#include "common/bytes.h"

#include <stdlib.h>

_Static_assert(DS_STAGE_PAGES % BS_BLOCK == 0, "staged pages are whole blocks");

struct file {
	sqlite3_file base;
	struct ds_vfs *v;
};

static struct ds_vfs *of(sqlite3_file *f)
{
	return ((struct file *)f)->v;
}

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
		v->buffer[at] = malloc(BS_BLOCK);
		if (!v->buffer[at])
			return NULL;
		v->nbuffers++;
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
	set_base(v, DS_B_MAGIC, DS_MAGIC);
	set_base(v, DS_B_PAGES, v->pages);
	if (v->ndirty > v->scatter_max)
		rc = ds_vfs_stage(v);
	else if (v->ndirty)
		rc = ds_vfs_write(v, 0, v->ndirty, 0, true);
	else
		rc = ds_vfs_base(v, v->flags & BS_FUA);
	return rc;
}

int ds_vfs_commit(struct ds_vfs *v)
{
	int rc = 0;

	VS_ASSERT(v->change && v->nchanges && v->change[0].object == DS_BASE);
	v->status = 0;
	rc = commit(v);
	if (rc == 0) {
		memcpy(v->base, v->change[0].now, sizeof(v->base));
		v->committed = true;
	}
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

/* ---- SQLite's file -------------------------------------------------------------------------- */

static int x_close(sqlite3_file *f)
{
	(void)f;
	return SQLITE_OK;
}

static int read_store(struct ds_vfs *v, void *buf, size_t n, uint64_t at)
{
	struct iovec iov = {buf, n};
	struct bs_req req = {.op = BS_READ,
			     .volume = v->volume,
			     .object = DS_BASE,
			     .offset = at,
			     .length = n,
			     .iov = &iov,
			     .iovcnt = 1};
	int rc = bs_io_wait(v->port, &req);

	if (rc)
		v->status = rc;
	return rc ? SQLITE_IOERR_READ : SQLITE_OK;
}

/* SQLite reads pages, and at first parts of the first one. */
static int x_read(sqlite3_file *f, void *buf, int n, sqlite3_int64 at)
{
	struct ds_vfs *v = of(f);
	uint64_t end = v->pages * BS_BLOCK, off = (uint64_t)at;
	size_t len = (size_t)n;
	uint8_t *page = ds_vfs_page(v, off / BS_BLOCK);

	if (off >= end || len > end - off) {
		memset(buf, 0, len);
		return SQLITE_IOERR_SHORT_READ;
	}
	if (off % BS_BLOCK + len > BS_BLOCK)
		return SQLITE_IOERR_READ;
	if (!page)
		return read_store(v, buf, len, off);
	memcpy(buf, page + off % BS_BLOCK, len);
	return SQLITE_OK;
}

static int keep_page(struct ds_vfs *v, const void *buf, int n, uint64_t at)
{
	uint64_t no = at / BS_BLOCK;
	uint8_t *page;

	if (v->read_only || n != (int)BS_BLOCK || at % BS_BLOCK || no >= DS_STAGE_LIST / BS_BLOCK)
		return SQLITE_IOERR_WRITE;
	if (v->staged && ds_vfs_settle(v))
		return SQLITE_IOERR_WRITE;
	page = ds_vfs_page(v, no);
	if (!page)
		page = ds_vfs_new_page(v, no);
	if (!page)
		return SQLITE_FULL;
	memcpy(page, buf, BS_BLOCK);
	v->pages = VS_MAX(v->pages, no + 1);
	return SQLITE_OK;
}

/* SQLite answers a failure by writing back what was there, and a sync: that must not be taken for
 * the commit. */
static int x_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 at)
{
	struct ds_vfs *v = of(f);
	int rc = v->ignoring ? SQLITE_OK : keep_page(v, buf, n, (uint64_t)at);

	v->ignoring |= rc != SQLITE_OK;
	return rc;
}

static int x_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct ds_vfs *v = of(f);

	if (!v->ignoring)
		v->pages = VS_DIV_UP((uint64_t)size, BS_BLOCK);
	return SQLITE_OK;
}

static int x_sync(sqlite3_file *f, int flags)
{
	struct ds_vfs *v = of(f);

	(void)flags;
	if (v->ignoring || v->read_only || (!v->ndirty && v->pages == v->base[DS_B_PAGES]))
		return SQLITE_OK;
	if (v->staged)
		return SQLITE_OK; /* nothing was written since */
	return ds_vfs_commit(v) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int x_size(sqlite3_file *f, sqlite3_int64 *size)
{
	*size = (sqlite3_int64)(of(f)->pages * BS_BLOCK);
	return SQLITE_OK;
}

/* Nobody else has the database. */
static int x_lock(sqlite3_file *f, int lock)
{
	(void)f;
	(void)lock;
	return SQLITE_OK;
}

static int x_reserved(sqlite3_file *f, int *out)
{
	(void)f;
	*out = 0;
	return SQLITE_OK;
}

static int x_control(sqlite3_file *f, int op, void *arg)
{
	(void)f;
	(void)op;
	(void)arg;
	return SQLITE_NOTFOUND;
}

static int x_sector(sqlite3_file *f)
{
	(void)f;
	return BS_BLOCK;
}

static int x_characteristics(sqlite3_file *f)
{
	(void)f;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = x_close,
    .xRead = x_read,
    .xWrite = x_write,
    .xTruncate = x_truncate,
    .xSync = x_sync,
    .xFileSize = x_size,
    .xLock = x_lock,
    .xUnlock = x_lock,
    .xCheckReservedLock = x_reserved,
    .xFileControl = x_control,
    .xSectorSize = x_sector,
    .xDeviceCharacteristics = x_characteristics,
};

/* ---- SQLite's system ------------------------------------------------------------------------ */

static int x_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
	(void)name;
	f->pMethods = NULL;
	if (!(flags & SQLITE_OPEN_MAIN_DB)) /* journals and temporary tables are in memory */
		return SQLITE_CANTOPEN;
	((struct file *)f)->v = vfs->pAppData;
	f->pMethods = &methods;
	if (out)
		*out = flags;
	return SQLITE_OK;
}

static int x_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	(void)vfs;
	(void)name;
	(void)sync;
	return SQLITE_IOERR_DELETE_NOENT;
}

static int x_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	(void)vfs;
	(void)name;
	(void)flags;
	*out = 0;
	return SQLITE_OK;
}

static int x_full(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
	(void)vfs;
	(void)sqlite3_snprintf(n, out, "%s", name);
	return SQLITE_OK;
}

static int x_random(sqlite3_vfs *vfs, int n, char *out)
{
	sqlite3_vfs *system = sqlite3_vfs_find(NULL);

	(void)vfs;
	return system->xRandomness(system, n, out);
}

static int x_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	(void)us;
	return 0;
}

static int x_time(sqlite3_vfs *vfs, double *out)
{
	sqlite3_vfs *system = sqlite3_vfs_find(NULL);

	(void)vfs;
	return system->xCurrentTime(system, out);
}

static int look_at_base(struct ds_vfs *v, bool fresh, struct vs_error *err)
{
	struct bs_object_change c = {.object = DS_BASE, .check = BS_NO_WORD, .end = BS_NO_WORD};
	int rc;

	v->change = &c;
	v->nchanges = 1;
	rc = ds_vfs_base(v, 0);
	v->change = NULL;
	v->nchanges = 0;
	if (rc)
		return vs_fail(err, rc, "database of names: %s", vs_err_text(rc));
	memcpy(v->base, c.now, sizeof(v->base));
	if (!fresh && v->base[DS_B_MAGIC] != DS_MAGIC)
		return vs_fail(err, VS_E_NOTSUP, "the volume is no datastore of this version");
	v->pages = v->base[DS_B_PAGES];
	return 0;
}

int ds_vfs_open(struct ds_vfs *v, struct bs_port *port, struct bs_volume *volume, bool read_only,
		bool fresh, struct vs_error *err)
{
	int rc;

	*v = (struct ds_vfs){
	    .port = port, .volume = volume, .read_only = read_only, .scatter_max = DS_SCATTER_MAX};
	v->where = calloc(DS_COMMIT_MAX, sizeof(*v->where));
	v->buffer = calloc(DS_COMMIT_MAX, sizeof(*v->buffer));
	if (!v->where || !v->buffer)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = look_at_base(v, fresh, err);
	if (rc)
		return rc;
	rc = ds_vfs_unstage(v);
	if (rc == 0 && v->staged && !read_only)
		rc = ds_vfs_settle(v);
	if (rc)
		return vs_fail(err, rc, "database of names: its last change cannot be finished: %s",
			       vs_err_text(rc));
	(void)sqlite3_snprintf((int)sizeof(v->name), v->name, "datastore-%p", (void *)v);
	v->vfs = (sqlite3_vfs){.iVersion = 1,
			       .szOsFile = sizeof(struct file),
			       .mxPathname = 64,
			       .zName = v->name,
			       .pAppData = v,
			       .xOpen = x_open,
			       .xDelete = x_delete,
			       .xAccess = x_access,
			       .xFullPathname = x_full,
			       .xRandomness = x_random,
			       .xSleep = x_sleep,
			       .xCurrentTime = x_time};
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
