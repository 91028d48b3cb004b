/* What SQLite sees of object 0: the one file of a system that has no other. */
#include "datastore/vfs.h"

#include "common/bytes.h"

struct file {
	sqlite3_file base;
	struct ds_vfs *v;
};

static struct ds_vfs *of(sqlite3_file *f)
{
	return ((struct file *)f)->v;
}

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
	*size = (sqlite3_int64)of(f)->pages * BS_BLOCK;
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

void ds_vfs_file_init(struct ds_vfs *v)
{
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
}
