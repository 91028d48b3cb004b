#include "datastore/task.h"

#include <stdlib.h>

const struct ds_tune ds_tune_default = {
    .cache = UINT64_C(8) << 20, .scatter_max = DS_SCATTER_MAX, .hash_bits = 62};

/* ---- making one ----------------------------------------------------------------------------- */

static void root_record(struct bs_object_change *c)
{
	uint64_t now = (uint64_t)ds_now();

	*c = (struct bs_object_change){
	    .object = DS_ROOT_OBJECT, .check = BS_NO_WORD, .end = BS_NO_WORD, .set = 0xffff};
	c->word[DS_W_MODE] = ds_word_mode(DS_DIR, 0755);
	c->word[DS_W_LINKS] = 2;
	c->word[DS_W_MTIME] = c->word[DS_W_CTIME] = now;
	c->word[DS_W_ATIME] = c->word[DS_W_BTIME] = now;
	c->word[DS_W_CHANGE] = 1;
	c->word[DS_W_GENERATION] = DS_ROOT_GENERATION;
	c->word[DS_W_PARENT] = ds_word_pair(DS_ROOT_OBJECT, DS_ROOT_GENERATION);
}

static int fill(struct bs_port *port, struct bs_volume *v, struct vs_error *err)
{
	struct bs_object_change c[2] = {
	    {.object = DS_BASE,
	     .check = DS_B_MAGIC,
	     .end = BS_NO_WORD,
	     .set = DS_BIT(DS_B_NEXT) | DS_BIT(DS_B_FILES),
	     .word = {[DS_B_NEXT] = DS_FIRST_OBJECT, [DS_B_FILES] = 1}}};
	struct ds_vfs vfs;
	struct ds_db db;
	int rc = ds_vfs_open(&vfs, port, v, DS_MAGIC, false, true, err);

	root_record(&c[1]);
	vfs.change = c;
	vfs.nchanges = 2;
	vfs.flags = BS_FUA;
	if (rc == 0) {
		rc = ds_db_open(&db, &vfs, ds_tune_default.cache, true, err);
		ds_db_close(&db);
	}
	ds_vfs_close(&vfs);
	return rc;
}

int ds_create(struct bs_store *s, const char *name, struct vs_error *err)
{
	struct bs_volume *v;
	struct vs_loop *loop = NULL;
	struct bs_port *port = NULL;
	int rc = bs_objects_create(s, name, NULL, err);

	if (rc)
		return rc;
	rc = bs_objects_open(s, name, &v, err);
	if (rc == 0) {
		rc = vs_loop_new(&loop, err);
		if (rc == 0)
			rc = bs_port_open(s, loop, 8, &port, err);
		if (rc == 0) {
			rc = fill(port, v, err);
			bs_port_close(port);
		}
		vs_loop_free(loop);
		bs_volume_close(v);
	}
	if (rc)
		(void)!bs_volume_delete(s, name, BS_DELETE_PLAIN, NULL);
	return rc;
}

/* ---- opening it ----------------------------------------------------------------------------- */

static void release(struct ds_store *d)
{
	if (d->volume)
		bs_volume_close(d->volume);
	ds_nodes_destroy(&d->nodes);
	pthread_cond_destroy(&d->answered);
	pthread_mutex_destroy(&d->rollback);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

int ds_open_tuned(struct bs_store *s, const char *name, const struct ds_tune *tune,
		  struct ds_store **out, struct vs_error *err)
{
	struct bs_volume_info info;
	struct ds_store *d;
	int rc = bs_volume_find(s, name, &info, err);

	if (rc)
		return rc;
	if (!info.objects || info.snapshot)
		return vs_fail(err, VS_E_NOTSUP, "volume %s is no datastore", name);
	d = calloc(1, sizeof(*d));
	if (!d)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	d->store = s;
	d->tune = *tune;
	atomic_store(&d->snaps_changed, ds_now());
	d->uuid = info.uuid;
	rc = bs_objects_open(s, name, &d->volume, err);
	if (rc) {
		free(d);
		return rc;
	}
	ds_nodes_init(&d->nodes);
	pthread_mutex_init(&d->lock, NULL);
	pthread_mutex_init(&d->rollback, NULL);
	pthread_cond_init(&d->answered, NULL);
	rc = ds_names_start(&d->names, d, err);
	if (rc)
		release(d);
	else
		*out = d;
	return rc;
}

int ds_open(struct bs_store *s, const char *name, struct ds_store **out, struct vs_error *err)
{
	return ds_open_tuned(s, name, &ds_tune_default, out, err);
}

void ds_close(struct ds_store *d)
{
	ds_names_stop(&d->names);
	release(d);
}

void ds_set_quota(struct ds_store *d, uint64_t bytes)
{
	atomic_store(&d->quota, bytes);
	if (d->volume)
		bs_objects_limit(d->volume, bytes / BS_BLOCK);
}

const struct vs_uuid *ds_uuid(const struct ds_store *d)
{
	return &d->uuid;
}

/* ---- files that are held -------------------------------------------------------------------- */

int ds_hold(struct ds_store *d, struct ds_handle file)
{
	return file.snapshot ? 0 : ds_node_hold(&d->nodes, file.object);
}

void ds_release(struct ds_store *d, struct ds_handle file)
{
	if (!file.snapshot && ds_node_release(&d->nodes, file.object))
		ds_names_orphans(&d->names);
}
