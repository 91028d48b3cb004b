#include "datastore/database.h"

#include "common/loop.h"
#include "datastore/connect.h"

#include <stdlib.h>

#define DEPTH 4u

/* Whose turn it is, is the loop's thread. */
struct ds_database {
	struct bs_volume *volume;
	struct vs_loop *loop;
	struct bs_port *port;
	struct ds_vfs vfs;
	sqlite3 *sqlite;
};

static int start(struct ds_database *d, struct bs_store *s, const char *name, uint64_t magic,
		 uint64_t cache, bool read_only, struct vs_error *err)
{
	bool made;
	int rc = bs_own_open(s, name, read_only ? NULL : &made, &d->volume, err);

	if (rc == 0)
		rc = vs_loop_new(&d->loop, err);
	if (rc == 0)
		rc = bs_port_open(s, d->loop, DEPTH, &d->port, err);
	if (rc == 0)
		rc = ds_vfs_open(&d->vfs, d->port, d->volume, magic, read_only, true, err);
	if (rc != 0)
		return rc;
	if (read_only && !d->vfs.base[DS_B_MAGIC])
		return vs_fail(err, VS_E_NOENT, "volume %s is empty", name);
	d->vfs.flags = BS_FUA | BS_SPARE;
	rc = ds_connect(&d->vfs, cache, &d->sqlite);
	return rc == 0 ? 0 : vs_fail(err, rc, "volume %s: %s", name, vs_err_text(rc));
}

int ds_database_open(struct bs_store *s, const char *name, uint64_t magic, uint64_t cache,
		     bool read_only, struct ds_database **out, struct vs_error *err)
{
	struct ds_database *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = start(d, s, name, magic, cache, read_only, err);
	if (rc != 0)
		ds_database_close(d);
	else
		*out = d;
	return rc;
}

void ds_database_close(struct ds_database *d)
{
	if (!d)
		return;
	sqlite3_close(d->sqlite);
	if (d->port) {
		ds_vfs_close(&d->vfs);
		bs_port_close(d->port);
	}
	vs_loop_free(d->loop);
	if (d->volume)
		bs_volume_close(d->volume);
	free(d);
}

sqlite3 *ds_database_sqlite(struct ds_database *d)
{
	return d->sqlite;
}

const int *ds_database_status(const struct ds_database *d)
{
	return &d->vfs.status;
}

void ds_database_begin(struct ds_database *d, bool spare)
{
	d->vfs.flags = BS_FUA | (spare ? BS_SPARE : 0);
	d->vfs.status = 0;
}

void ds_database_recovered(struct ds_database *d)
{
	ds_vfs_recovered(&d->vfs);
}

void ds_database_rest(struct ds_database *d)
{
	vs_loop_turn(d->loop, 0);
}
