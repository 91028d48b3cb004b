#include "blockstore/check.h"

#include "blockstore/open.h"
#include "blockstore/recount.h"
#include "blockstore/store_int.h"

struct check {
	struct bs_call call;
	const struct bs_check_options *opts;
	struct bs_check_result *out;
	int verdict; /* of a repair that was not made */
};

static int run(struct bs_engine *e, struct bs_call *c)
{
	struct check *k = vs_container_of(c, struct check, call);

	return bs_recount_run(e, k->opts, k->out);
}

static void event(void *arg, enum bs_severity severity, const char *kind, const char *message)
{
	struct check *k = arg;

	if (severity != BS_ERROR)
		return;
	/* a page that cannot be read is lost or written again: the repair says which */
	if (!k->opts->repair || strcmp(kind, "metadata") != 0)
		k->out->problems++;
	if (k->opts->report)
		k->opts->report(k->opts->arg, message, 0, 0);
}

/*
 * Before anything is written: all differences are put right in memory, and the checkpoints that end
 * recovery write them; or nothing is written.
 */
static int repair(struct bs_engine *e, void *arg)
{
	struct check *k = arg;
	int rc = e->read_only ? VS_E_ROFS : bs_recount_run(e, k->opts, k->out);

	if (rc == 0 && k->out->problems)
		rc = VS_E_CORRUPT;
	else if (rc == 0 && !k->out->repaired)
		rc = VS_E_CANCELED; /* there is nothing to do */
	k->verdict = rc;
	if (rc && !e->read_only && bs_open_disown(e))
		return VS_E_IO;
	return rc;
}

static int repair_all(struct bs_device *const *devs, unsigned ndevs, struct check *k,
		      struct bs_engine_config *cfg, const struct bs_env *env, struct vs_error *err)
{
	struct bs_engine *e;
	int rc;

	cfg->recovered = repair;
	cfg->recovered_arg = k;
	rc = bs_engine_open(devs, ndevs, cfg, env, &e, err);
	if (rc == 0)
		return bs_engine_close(e, err);
	if (k->verdict == VS_E_CANCELED || k->verdict == VS_E_CORRUPT || k->verdict == VS_E_ROFS) {
		k->out->repaired = 0;
		return 0;
	}
	return k->verdict ? vs_fail(err, rc, "cannot repair %s: %s", devs[0]->name, vs_err_text(rc))
			  : rc;
}

static int look_at(struct bs_device *const *devs, unsigned ndevs, struct check *k,
		   struct bs_engine_config *cfg, const struct bs_env *env, struct vs_error *err)
{
	struct bs_engine *e;
	int rc;

	cfg->read_only = true;
	rc = bs_engine_open(devs, ndevs, cfg, env, &e, err);
	if (rc)
		return rc;
	rc = bs_engine_call_wait(e, &k->call);
	if (rc)
		rc = vs_fail(err, rc, "cannot check %s: %s", devs[0]->name, vs_err_text(rc));
	bs_engine_abandon(e);
	return rc;
}

int bs_check_run(struct bs_device *dev, const struct bs_check_options *opts,
		 struct bs_check_result *out, struct vs_error *err)
{
	return bs_check_run_all(&dev, 1, opts, out, err);
}

int bs_check_run_all(struct bs_device *const *devs, unsigned ndevs,
		     const struct bs_check_options *opts, struct bs_check_result *out,
		     struct vs_error *err)
{
	struct check k = {.call = {.fn = run, .writer = true}, .opts = opts, .out = out};
	struct bs_engine_config cfg;
	struct bs_env env;
	int rc;

	*out = (struct bs_check_result){0};
	bs_store_budget(opts->memory, &cfg);
	cfg.index_bytes = 0;
	cfg.cache_blocks = 0;
	bs_store_env(&env);
	env.event = event;
	env.arg = &k;
	rc = opts->repair ? repair_all(devs, ndevs, &k, &cfg, &env, err)
			  : look_at(devs, ndevs, &k, &cfg, &env, err);
	for (unsigned i = 0; i < ndevs; i++)
		bs_device_close(devs[i]);
	return rc;
}
