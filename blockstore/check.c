#include "blockstore/check.h"

#include "blockstore/recount.h"
#include "blockstore/store_int.h"

struct check {
	struct bs_call call;
	const struct bs_check_options *opts;
	struct bs_check_result *out;
};

static int run(struct bs_engine *e, struct bs_call *c)
{
	struct check *k = vs_container_of(c, struct check, call);

	return bs_recount_run(e, k->opts, k->out);
}

static void event(void *arg, enum bs_severity severity, const char *kind, const char *message)
{
	struct check *k = arg;

	(void)kind;
	if (severity != BS_ERROR)
		return;
	k->out->problems++;
	if (k->opts->report)
		k->opts->report(k->opts->arg, message, 0, 0);
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
	struct bs_engine *e;
	struct bs_env env;
	int rc;

	*out = (struct bs_check_result){0};
	bs_store_budget(opts->memory, &cfg);
	cfg.read_only = true;
	cfg.index_bytes = 0;
	cfg.cache_blocks = 0;
	bs_store_env(&env);
	env.event = event;
	env.arg = &k;
	rc = bs_engine_open(devs, ndevs, &cfg, &env, &e, err);
	if (rc == 0) {
		rc = bs_engine_call_wait(e, &k.call);
		if (rc)
			rc =
			    vs_fail(err, rc, "cannot check %s: %s", devs[0]->name, vs_err_text(rc));
		bs_engine_abandon(e);
	}
	for (unsigned i = 0; i < ndevs; i++)
		bs_device_close(devs[i]);
	return rc;
}
