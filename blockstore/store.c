#include "blockstore/store_int.h"

#include "blockstore/map.h"
#include "blockstore/port.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/text.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MEMORY_MIN (UINT64_C(256) << 20)
#define TICK_NS UINT64_C(1000000000)
#define DISCARD_NS (30 * TICK_NS)
#define HOLD_NS (30 * TICK_NS)
#define POLLS 16u /* of the engine, for one of the loop's descriptors */

struct bs_store {
	struct bs_engine *engine;
	struct bs_device *dev[BS_POOL_DEVICES];
	struct vs_watch watch[BS_POOL_DEVICES];
	unsigned ndevs;
	struct vs_loop *loop;
	pthread_t thread;
	struct vs_idle idle;
	struct vs_timer tick;
	struct vs_post post;
	atomic_bool posted;
	int witness;
	void (*event)(void *arg, enum bs_severity severity, const char *kind, const char *message);
	void *event_arg;
};

struct bs_engine *bs_store_engine(struct bs_store *s)
{
	return s->engine;
}

static uint64_t env_now(void *arg)
{
	(void)arg;
	return vs_now_ns();
}

static int64_t env_unix(void *arg)
{
	(void)arg;
	return vs_unix_ns();
}

static uint64_t env_random(void *arg)
{
	uint64_t v = 0;

	(void)arg;
	if (vs_random(&v, sizeof(v)))
		vs_err("cannot get random bytes");
	return v;
}

void bs_store_env(struct bs_env *env)
{
	*env = (struct bs_env){.now_ns = env_now, .unix_ns = env_unix, .random = env_random};
}

static void env_wake(void *arg)
{
	struct bs_store *s = arg;

	if (!atomic_exchange(&s->posted, true))
		vs_loop_post(s->loop, &s->post);
}

static void env_event(void *arg, enum bs_severity severity, const char *kind, const char *message)
{
	struct bs_store *s = arg;

	if (s->event)
		s->event(s->event_arg, severity, kind, message);
}

/* 24 bytes: mark, epoch, sequence. It need not survive more than the daemon's death to help. */
static void witness_put(void *arg, uint64_t epoch, uint64_t seq)
{
	struct bs_store *s = arg;
	uint8_t b[24];

	memcpy(b, "VSWITNES", 8);
	vs_put_le64(b + 8, epoch);
	vs_put_le64(b + 16, seq);
	if (pwrite(s->witness, b, sizeof(b), 0) != (ssize_t)sizeof(b))
		vs_debug("cannot write the witness file");
}

static bool witness_get(void *arg, uint64_t *epoch, uint64_t *seq)
{
	struct bs_store *s = arg;
	uint8_t b[24];

	if (pread(s->witness, b, sizeof(b), 0) != (ssize_t)sizeof(b) ||
	    memcmp(b, "VSWITNES", 8) != 0)
		return false;
	*epoch = vs_get_le64(b + 8);
	*seq = vs_get_le64(b + 16);
	return true;
}

void bs_store_budget(uint64_t memory, struct bs_engine_config *cfg)
{
	uint64_t total = memory, pages, near;

	if (!total)
		total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4;
	total = VS_MAX(total, MEMORY_MIN);
	pages = total / BS_PAGE;
	near = VS_MIN(VS_MAX(total / 160, 1u << 20), 16u << 20);
	*cfg = (struct bs_engine_config){
	    .frames = (unsigned)VS_MIN(pages * 45 / 100, 8u << 20),
	    .cache_blocks = (unsigned)VS_MIN(pages * 15 / 100, 64u << 20),
	    .read_pages = (unsigned)VS_MIN(pages / 16, 16384u),
	    .index_bytes = total / 10 - near - total / 100,
	    .merge_bytes = total / 100,
	    .near_bytes = near,
	    .near_digests = 1024,
	    .fibers = 56,
	    .units = 8,
	    .unit_max = 1u << 20,
	    .checkpoint_bytes = UINT64_C(512) << 20,
	    .checkpoint_step = 8,
	    .spares = (unsigned)VS_MIN(pages * 45 / 100, 8u << 20) / 12 + 4096,
	    .recovery_us = 5000000,
	    .ref_cap = UINT32_MAX - (1u << 20),
	    .gen_mask = UINT16_MAX,
	};
}

static bool idle(struct vs_idle *i)
{
	struct bs_store *s = i->arg;
	uint64_t wake;
	bool again = true;

	for (unsigned n = 0; again && n < POLLS; n++)
		again = bs_engine_poll(s->engine, &wake);
	return again;
}

static void woken(struct vs_post *p)
{
	struct bs_store *s = p->arg;

	atomic_store(&s->posted, false);
}

/* The engine polls its devices in every turn, and they take their signals themselves. */
static void device_ready(struct vs_watch *w, uint32_t events)
{
	(void)w;
	(void)events;
}

static void tick(struct vs_timer *t)
{
	struct bs_store *s = t->arg;

	if (vs_loop_timer(s->loop, t, TICK_NS))
		vs_err("the heartbeat stops: no timer");
}

static void *run(void *arg)
{
	struct bs_store *s = arg;

	(void)pthread_setname_np(pthread_self(), "engine");
	vs_loop_run(s->loop);
	return NULL;
}

static int watch_device(struct bs_store *s, unsigned i)
{
	s->watch[i] = (struct vs_watch){.fd = s->dev[i]->event_fd, .ready = device_ready};
	return s->dev[i]->event_fd < 0 ? 0 : vs_loop_add(s->loop, &s->watch[i], EPOLLIN);
}

int bs_store_adopt(struct bs_store *s, struct bs_device *dev, struct vs_error *err)
{
	int rc;

	if (s->ndevs == VS_ARRAY_LEN(s->dev))
		return vs_fail(err, VS_E_LIMIT, "too many devices are open");
	s->dev[s->ndevs] = dev;
	rc = watch_device(s, s->ndevs);
	if (rc)
		return vs_fail(err, rc, "cannot watch %s", dev->name);
	s->ndevs++;
	return 0;
}

void bs_store_disown(struct bs_store *s, struct bs_device *dev)
{
	for (unsigned i = 0; i < s->ndevs; i++) {
		if (s->dev[i] != dev)
			continue;
		vs_loop_remove(s->loop, &s->watch[i]);
		s->ndevs--;
		if (i == s->ndevs)
			return;
		vs_loop_remove(s->loop, &s->watch[s->ndevs]);
		s->dev[i] = s->dev[s->ndevs];
		if (watch_device(s, i))
			vs_err("%s: cannot watch it", s->dev[i]->name);
		return;
	}
}

static int start_thread(struct bs_store *s, struct vs_error *err)
{
	int rc;

	s->idle = (struct vs_idle){.idle = idle, .arg = s};
	s->tick = (struct vs_timer){.fired = tick, .arg = s};
	vs_loop_add_idle(s->loop, &s->idle);
	rc = vs_loop_timer(s->loop, &s->tick, TICK_NS);
	for (unsigned i = 0; i < s->ndevs && rc == 0; i++)
		rc = watch_device(s, i);
	if (rc == 0 && pthread_create(&s->thread, NULL, run, s) != 0)
		rc = VS_E_NOMEM;
	return rc ? vs_fail(err, rc, "cannot start the engine's thread") : 0;
}

static int open_witness(struct bs_store *s, const char *path, struct vs_error *err)
{
	s->witness = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	return path && s->witness < 0 ? vs_fail_errno(err, "cannot open %s", path) : 0;
}

static void free_store(struct bs_store *s)
{
	if (s->witness >= 0)
		close(s->witness);
	for (unsigned i = 0; i < s->ndevs; i++)
		bs_device_close(s->dev[i]); /* ends what is in flight: the engine goes after it */
	if (s->engine)
		bs_engine_abandon(s->engine);
	vs_loop_free(s->loop);
	free(s);
}

int bs_store_open(struct bs_device *dev, const struct bs_open_options *opts, struct bs_store **out,
		  struct vs_error *err)
{
	return bs_store_open_all(&dev, 1, opts, out, err);
}

int bs_store_open_all(struct bs_device *const *devs, unsigned ndevs,
		      const struct bs_open_options *opts, struct bs_store **out,
		      struct vs_error *err)
{
	struct bs_store *s = calloc(1, sizeof(*s));
	struct bs_engine_config cfg;
	struct bs_env env;
	int rc;

	if (!s || ndevs > BS_POOL_DEVICES) {
		for (unsigned i = 0; i < ndevs; i++)
			bs_device_close(devs[i]);
		if (!s)
			return vs_fail(err, VS_E_NOMEM, "cannot open the store: out of memory");
		free(s);
		return vs_fail(err, VS_E_LIMIT, "a store has at most %u devices", BS_POOL_DEVICES);
	}
	memcpy(s->dev, devs, ndevs * sizeof(struct bs_device *));
	s->ndevs = ndevs;
	s->witness = -1;
	s->event = opts->event;
	s->event_arg = opts->event_arg;
	s->post = (struct vs_post){.call = woken, .arg = s};
	bs_store_budget(opts->memory, &cfg);
	if (opts->index.near_bytes)
		cfg.near_bytes = opts->index.near_bytes;
	if (opts->index.bytes)
		cfg.index_bytes = opts->index.bytes;
	if (opts->index.near_digests)
		cfg.near_digests = opts->index.near_digests;
	cfg.read_only = opts->read_only;
	cfg.discard = !opts->keep_free;
	cfg.discard_ns = DISCARD_NS;
	cfg.origin_hold_ns = opts->origin_hold_ms ? opts->origin_hold_ms * 1000000 : HOLD_NS;
	bs_store_env(&env);
	env.event = env_event;
	env.wake = env_wake;
	env.arg = s;
	rc = vs_loop_new(&s->loop, err);
	if (rc == 0)
		vs_loop_look_on(s->loop);
	if (rc == 0)
		rc = open_witness(s, opts->witness_path, err);
	if (rc == 0 && s->witness >= 0) {
		env.witness_put = witness_put;
		env.witness_get = witness_get;
	}
	if (rc == 0)
		rc = bs_engine_open(s->dev, s->ndevs, &cfg, &env, &s->engine, err);
	if (rc == 0)
		rc = start_thread(s, err);
	if (rc) {
		free_store(s);
		return rc;
	}
	*out = s;
	return 0;
}

int bs_store_close(struct bs_store *s, struct vs_error *err)
{
	int rc;

	vs_loop_stop(s->loop);
	pthread_join(s->thread, NULL);
	rc = bs_engine_stop(s->engine, err);
	free_store(s);
	return rc;
}

struct sync_call {
	struct bs_call call;
	sem_t done;
};

static void call_done(struct bs_call *c)
{
	sem_post(&vs_container_of(c, struct sync_call, call)->done);
}

int bs_store_call(struct bs_store *s, bool writer, int (*fn)(struct bs_engine *, struct bs_call *),
		  void *arg, struct vs_error *err)
{
	struct sync_call c = {
	    .call = {.fn = fn, .arg = arg, .err = err, .writer = writer, .done = call_done}};

	sem_init(&c.done, 0, 0);
	bs_engine_call(s->engine, &c.call);
	while (sem_wait(&c.done) != 0)
		;
	sem_destroy(&c.done);
	if (c.call.status && err && err->code != c.call.status)
		return vs_fail(err, c.call.status, "%s", vs_err_text(c.call.status));
	return c.call.status;
}

static int get_info(struct bs_engine *e, struct bs_call *c)
{
	struct bs_store_info *out = c->arg;
	uint64_t own = 0;

	bs_engine_info(e, out);
	for (struct bs_vol *v = bs_vol_next(e, 0); v; v = bs_vol_next(e, v->ent.id)) {
		int rc;
		uint64_t id = v->ent.id, bytes;

		if (v->ent.kind == BS_VOL_VOLUME && !(v->ent.flags & BS_VOL_TEMPORARY)) {
			bytes = bs_map_count(e, v, &rc) * BS_BLOCK;
			if (bs_vol_hidden(&v->ent))
				own += bytes;
			else
				out->logical_used_bytes += bytes;
		}
		v = bs_vol_by_id(e, id);
		if (!v)
			break;
	}
	/* private contents, of one reference each: nothing that users have put here */
	out->unique_content_bytes -= VS_MIN(own, out->unique_content_bytes);
	out->referenced_bytes -= VS_MIN(own, out->referenced_bytes);
	return 0;
}

void bs_store_info(struct bs_store *s, struct bs_store_info *out)
{
	if (bs_store_call(s, false, get_info, out, NULL))
		memset(out, 0, sizeof(*out));
}

static int set_index(struct bs_engine *e, struct bs_call *c)
{
	return bs_index_resize(e, *(const uint64_t *)c->arg);
}

int bs_store_set_index(struct bs_store *s, uint64_t bytes, struct vs_error *err)
{
	return bs_store_call(s, true, set_index, &bytes, err);
}

static int flush_call(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	return e->read_only ? 0 : bs_log_commit(e);
}

int bs_store_flush(struct bs_store *s, struct vs_error *err)
{
	return bs_store_call(s, false, flush_call, NULL, err);
}

static int drain_call(struct bs_engine *e, struct bs_call *c)
{
	(void)c;
	return bs_engine_drain(e);
}

int bs_store_drain(struct bs_store *s, struct vs_error *err)
{
	return bs_store_call(s, false, drain_call, NULL, err);
}

static int attach_port(struct bs_engine *e, struct bs_call *c)
{
	if (e->nports == BS_MAX_PORTS)
		return vs_fail(c->err, VS_E_LIMIT, "too many ports are open");
	e->ports[e->nports++] = c->arg;
	return 0;
}

static int detach_port(struct bs_engine *e, struct bs_call *c)
{
	for (unsigned i = 0; i < e->nports; i++)
		if (e->ports[i] == c->arg)
			e->ports[i] = e->ports[--e->nports];
	return 0;
}

int bs_port_open(struct bs_store *s, struct vs_loop *loop, unsigned depth, struct bs_port **out,
		 struct vs_error *err)
{
	int rc;

	if (depth < 1 || depth > 256)
		return vs_fail(err, VS_E_INVAL, "a port's depth is 1 to 256");
	rc = bs_port_new(s->engine, loop, depth, out);
	if (rc)
		return vs_fail(err, rc, "cannot open a port: %s", vs_err_text(rc));
	bs_port_set_store(*out, s);
	rc = bs_store_call(s, false, attach_port, *out, err);
	if (rc)
		bs_port_free(*out);
	return rc;
}

void bs_port_close(struct bs_port *p)
{
	struct bs_store *s = bs_port_store(p);

	bs_port_settle(p);
	if (bs_store_call(s, false, detach_port, p, NULL))
		vs_err("cannot detach a port");
	bs_port_settle(p);
	bs_port_free(p);
}
