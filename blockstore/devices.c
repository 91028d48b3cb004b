#include "blockstore/devices.h"

#include "blockstore/pool_change.h"
#include "blockstore/pool_open.h"
#include "blockstore/store_int.h"

struct list_args {
	struct bs_device_info *out;
	size_t max, *n;
};

static int list_call(struct bs_engine *e, struct bs_call *c)
{
	const struct list_args *a = c->arg;

	bs_pool_list(e, a->out, a->max, a->n);
	return 0;
}

int bs_devices_list(struct bs_store *s, struct bs_device_info *out, size_t max, size_t *n,
		    struct vs_error *err)
{
	struct list_args a = {out, max, n};

	return bs_store_call(s, false, list_call, &a, err);
}

struct add_args {
	struct bs_store *store;
	struct bs_device *dev;
	const struct bs_super *label;
	const struct bs_device_add *how;
	bool kept; /* the store has it now, whatever comes of the rest */
};

static int add_call(struct bs_engine *e, struct bs_call *c)
{
	struct add_args *a = c->arg;
	int rc = bs_store_adopt(a->store, a->dev, c->err);

	if (rc)
		return rc;
	a->kept = true;
	rc = bs_pool_join(e, a->dev, a->label, a->how, c->err);
	if (rc && !bs_pool_has(e->pool, a->dev)) {
		bs_store_disown(a->store, a->dev);
		a->kept = false;
	}
	return rc;
}

/* Before the engine knows it, the device is the caller's thread's. */
static int look_at(struct bs_device *dev, bool force, struct bs_super *label, bool *has,
		   struct vs_error *err)
{
	bool data = false;
	int rc = bs_pool_read_super(dev, label, NULL);

	*has = rc == 0;
	if (*has || force)
		return 0;
	rc = bs_init_holds_data(dev, &data);
	if (rc)
		return vs_fail(err, rc, "cannot read %s: %s", dev->name, vs_err_text(rc));
	return data ? vs_fail(err, VS_E_EXIST, "%s holds data: add --force to overwrite it",
			      dev->name)
		    : 0;
}

int bs_devices_add(struct bs_store *s, struct bs_device *dev, const struct bs_device_add *how,
		   struct vs_error *err)
{
	struct add_args a = {.store = s, .dev = dev, .how = how};
	struct bs_super label;
	bool has;
	int rc = look_at(dev, how->force, &label, &has, err);

	a.label = has ? &label : NULL;
	if (rc == 0)
		rc = bs_store_call(s, true, add_call, &a, err);
	if (!a.kept)
		bs_device_close(dev);
	return rc;
}

struct remove_args {
	struct bs_store *store;
	const char *name;
	struct bs_device *gone;
};

static int let_go_call(struct bs_engine *e, struct bs_call *c)
{
	struct remove_args *a = c->arg;
	int rc = bs_pool_let_go(e, a->name, &a->gone);

	if (a->gone)
		bs_store_disown(a->store, a->gone);
	return rc;
}

void bs_devices_let_go(struct bs_store *s, const char *name)
{
	struct remove_args a = {.store = s, .name = name};

	if (bs_store_call(s, true, let_go_call, &a, NULL) == 0)
		bs_device_close(a.gone);
}

static int remove_call(struct bs_engine *e, struct bs_call *c)
{
	struct remove_args *a = c->arg;
	int rc = bs_pool_leave(e, a->name, &a->gone, c->err);

	if (a->gone)
		bs_store_disown(a->store, a->gone);
	return rc;
}

int bs_devices_remove(struct bs_store *s, const char *name, struct vs_error *err)
{
	struct remove_args a = {.store = s, .name = name};
	int rc = bs_store_call(s, true, remove_call, &a, err);

	if (a.gone)
		bs_device_close(a.gone);
	return rc;
}

static int grow_call(struct bs_engine *e, struct bs_call *c)
{
	return bs_pool_grow(e, c->arg, c->err);
}

int bs_devices_grow(struct bs_store *s, uint64_t *bytes, struct vs_error *err)
{
	return bs_store_call(s, true, grow_call, bytes, err);
}
