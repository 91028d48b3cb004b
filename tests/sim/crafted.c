/*
 * Whatever stands in the tables of a store whose checksums are right, the engine answers: with
 * errors, read-only or failed, but it neither dies nor waits for ever. What it answers is not
 * compared with anything: the map itself may say something else.
 */
#include "tests/sim/scenarios.h"

#include "blockstore/object.h"
#include "common/bytes.h"
#include "tests/sim/craft.h"
#include "tests/sim/report.h"
#include "tests/sim/workload.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#define BLOCKS 32u     /* of a request */
#define VOLUMES 24u    /* looked at */
#define TURNS 2000000u /* without anything getting done: a deadlock */
#define CPU_SECONDS 60 /* of one seed: an endless loop */

struct user {
	struct world *w;
	unsigned char *buf;
	uint8_t mapped[BLOCKS];
	bool done;
	int status;
};

static void request_done(struct bs_req *req)
{
	struct user *u = req->arg;

	u->status = req->status;
	u->done = true;
}

static void admin_done(struct sim_admin *a)
{
	struct user *u = a->arg;

	u->status = a->status;
	u->done = true;
}

static int wait_done(struct user *u, const char *what)
{
	struct world *w = u->w;

	for (unsigned turns = 0; !u->done; turns++) {
		bool did = false;
		uint64_t due;

		sim_require(turns < TURNS, "%s is never answered", what);
		w->clock.ns += w->with_origins ? 10000 : 0; /* somebody may always fetch */
		for (unsigned i = 0; i < sim_host_parts(w->host); i++)
			did |= sim_host_poll(w->host, i);
		if (did)
			continue;
		due = sim_host_wake(w->host);
		if (sim_disk_due(w->disk, &due) || due != UINT64_MAX)
			w->clock.ns = VS_MAX(w->clock.ns + 1, due);
	}
	sim_trace("%s: %s", what, vs_err_text(u->status));
	return u->status;
}

static int request(struct user *u, struct bs_volume *v, enum bs_op op, uint64_t offset,
		   uint32_t length)
{
	struct iovec iov = {u->buf, length};
	struct bs_req req = {.op = op,
			     .volume = v,
			     .offset = offset,
			     .length = length,
			     .iov = &iov,
			     .iovcnt = 1,
			     .mapped = u->mapped,
			     .done = request_done,
			     .arg = u};
	static const char *const names[] = {
	    [BS_READ] = "read", [BS_WRITE] = "write", [BS_FLUSH] = "flush",
	    [BS_TRIM] = "trim", [BS_ZERO] = "zero",   [BS_STATUS] = "status"};

	u->done = false;
	sim_host_submit(u->w->host, 0, &req);
	return wait_done(u, names[op]);
}

/* A request of every kind to some object, or a clone of one, with changes of records. */
static void use_object(struct user *u, struct bs_volume *v)
{
	static const enum bs_op ops[] = {BS_READ, BS_WRITE,   BS_WRITE, BS_TRIM,
					 BS_COPY, BS_RECORDS, BS_CLONE, BS_WRITE};
	static const uint32_t ids[] = {0, 1, 31, 32, 513, BS_OBJECTS - 1};
	struct sim_rng *r = &u->w->rng;
	struct bs_object_change c[2];
	uint64_t blocks[4];
	uint32_t n = sim_between(r, 1, 4), k = sim_below(r, VS_ARRAY_LEN(ops));
	struct iovec iov = {u->buf, n * BS_BLOCK};
	struct bs_req req = {.op = ops[k],
			     .volume = v,
			     .object = ids[sim_below(r, VS_ARRAY_LEN(ids))],
			     .source = v,
			     .source_object = ids[sim_below(r, VS_ARRAY_LEN(ids))],
			     .length = iov.iov_len,
			     .iov = &iov,
			     .iovcnt = 1,
			     .blocks = blocks,
			     .changes = c,
			     .nchanges = ops[k] == BS_TRIM ? 0 : 2,
			     .done = request_done,
			     .arg = u};

	for (unsigned i = 0; i < 2; i++)
		c[i] = (struct bs_object_change){.object = ids[sim_below(r, VS_ARRAY_LEN(ids))],
						 .check = BS_NO_WORD,
						 .end = BS_NO_WORD,
						 .set = ops[k] == BS_READ ? 0 : 5,
						 .word = {sim_u64(r), 0, sim_u64(r)}};
	for (unsigned i = 0; i < n; i++) {
		blocks[i] = 700 * i + sim_below(r, 700);
		u->buf[i * BS_BLOCK] = (unsigned char)sim_u64(r);
	}
	if (k + 1u == VS_ARRAY_LEN(ops))
		req.flags = BS_SCATTER;
	else
		req.offset = sim_below(r, 3) * BS_BLOCK;
	if (ops[k] == BS_TRIM && sim_one_in(r, 2)) {
		req.offset = 0;
		req.length = BS_OBJECT_MAX;
	}
	u->done = false;
	sim_host_submit(u->w->host, 0, &req);
	(void)wait_done(u, "a request to an object");
}

static int admin(struct user *u, enum sim_admin_kind kind, const char *name, const char *to,
		 struct sim_admin *a)
{
	a->kind = kind;
	a->done = admin_done;
	a->arg = u;
	(void)snprintf(a->name, sizeof(a->name), "%s", name);
	(void)snprintf(a->to, sizeof(a->to), "%s", to);
	u->done = false;
	sim_host_admin(u->w->host, a);
	return wait_done(u, world_admin_names[kind]);
}

static uint64_t any_offset(struct user *u, uint64_t size, uint32_t *length)
{
	uint64_t blocks = size / BS_BLOCK, first, n = sim_between(&u->w->rng, 1, BLOCKS);

	*length = (uint32_t)VS_MIN(blocks, n) * BS_BLOCK;
	first = sim_one_in(&u->w->rng, 8) ? sim_u64(&u->w->rng) : sim_below(&u->w->rng, 96);
	if (u->w->shift && sim_one_in(&u->w->rng, 2))
		first += u->w->shift;
	return first % (blocks - *length / BS_BLOCK + 1) * BS_BLOCK;
}

static const char *full_name(const struct bs_volume_info *info, char full[BS_FULL_NAME_MAX])
{
	(void)snprintf(full, BS_FULL_NAME_MAX, info->snapshot ? "%s@%s" : "%s", info->name,
		       info->snap);
	return full;
}

static void use_volume(struct user *u, const struct bs_volume_info *info)
{
	static const enum bs_op ops[] = {BS_READ, BS_READ, BS_WRITE,  BS_WRITE,
					 BS_TRIM, BS_ZERO, BS_STATUS, BS_FLUSH};
	struct sim_admin a = {0}, diff = {0};
	struct bs_diff_entry entries[256];
	char full[BS_FULL_NAME_MAX];
	uint32_t length;

	a.force = info->objects;
	if (admin(u, SIM_OPEN, full_name(info, full), "", &a))
		return;
	for (unsigned i = 0; info->objects && i < 40; i++)
		use_object(u, a.volume);
	for (uint64_t at = 0; at < VS_MIN(info->size, 96u * BS_BLOCK); at += length) {
		length = (uint32_t)VS_MIN(info->size - at, BLOCKS * BS_BLOCK);
		(void)request(u, a.volume, BS_READ, at, length);
	}
	for (unsigned i = 0; info->size && i < 24; i++) {
		uint64_t at = any_offset(u, info->size, &length);

		for (uint32_t k = 0; k < length; k += 512)
			u->buf[k] = (unsigned char)sim_u64(&u->w->rng);
		(void)request(u, a.volume, ops[sim_below(&u->w->rng, VS_ARRAY_LEN(ops))], at,
			      length);
	}
	diff.volume2 = a.volume;
	diff.diff = entries;
	diff.ndiff = VS_ARRAY_LEN(entries);
	if (bs_volume_size(a.volume) <= 96u * BS_BLOCK)
		(void)admin(u, SIM_DIFF, "", "", &diff);
	(void)admin(u, SIM_CLOSE, "", "", &a);
}

static void change_volume(struct user *u, const struct bs_volume_info *info, unsigned i)
{
	struct sim_admin a = {.size = (i + 1) * BS_BLOCK, .force = true};
	bool snapshot = info->snapshot;
	char full[BS_FULL_NAME_MAX], to[BS_NAME_MAX];

	(void)full_name(info, full);
	(void)snprintf(to, sizeof(to), "made%u", i);
	switch (sim_below(&u->w->rng, snapshot ? 3 : 4)) {
	case 0:
		a.mode = (enum bs_delete_mode)sim_below(&u->w->rng, 3);
		(void)admin(u, snapshot ? SIM_UNSNAP : SIM_DELETE, full, "", &a);
		break;
	case 1:
		(void)admin(u, snapshot ? SIM_ROLLBACK : SIM_RESIZE, full, "", &a);
		break;
	case 2:
		(void)admin(u, snapshot ? SIM_CLONE : SIM_RENAME, full, to, &a);
		break;
	default:
		a.nfulls = 1;
		(void)snprintf(a.fulls[0], sizeof(a.fulls[0]), "%.60s@%s", info->name, to);
		(void)admin(u, SIM_SNAPSHOT, "", "", &a);
		break;
	}
}

static void use(struct user *u)
{
	struct bs_volume_info infos[VOLUMES];
	struct bs_store_info info;
	struct sim_admin a = {.infos = infos, .ninfos = VOLUMES}, b = {0};
	struct vs_error err = {0};

	if (admin(u, SIM_LIST, "", "", &a))
		a.ninfos = 0;
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < a.ninfos; i++)
			use_volume(u, &infos[i]);
		for (size_t i = 0; i < a.ninfos; i++)
			if (sim_one_in(&u->w->rng, 2))
				change_volume(u, &infos[i], (unsigned)i);
	}
	(void)admin(u, SIM_SYNC, "", "", &b);
	(void)admin(u, SIM_DRAIN, "", "", &b);
	sim_host_info(u->w->host, &info);
	if (sim_host_close(u->w->host, &err))
		sim_trace("close: %s", err.text);
	u->w->host = NULL;
}

static int repair_copy(struct sim_disk *copy, struct bs_check_result *r)
{
	const struct bs_check_options opts = {
	    .memory = UINT64_C(256) << 20, .read_data = true, .repair = true};
	struct sim_clock clock = {.ns = 1};
	struct vs_error err = {0};
	int rc = bs_check_run(sim_disk_attach(copy, &clock), &opts, r, &err);

	sim_trace("repair: %s, %llu repaired, %llu not", rc ? err.text : "made",
		  (unsigned long long)r->repaired, (unsigned long long)r->problems);
	return rc;
}

/*
 * Of copies: what a repair says is right is right; one that is cut off leaves all as it was, or has
 * been made.
 */
static void repair(struct world *w, int before, uint64_t problems)
{
	struct sim_disk *copy = sim_disk_copy(w->disk);
	struct bs_check_result r;
	struct vs_error err = {0};
	int rc = repair_copy(copy, &r);
	bool made = rc == 0 && r.problems == 0 && r.repaired;

	if (rc == 0 && r.problems == 0) {
		rc = sim_host_check(copy, true, &r, &err);
		sim_require(rc == 0 && r.problems == 0, "a repaired store has %llu problems: %s",
			    (unsigned long long)r.problems, err.text);
	}
	sim_disk_free(copy);
	if (!made)
		return;
	copy = sim_disk_copy(w->disk);
	sim_disk_silence_at(copy, sim_disk_events(copy) + 1 + sim_below(&w->rng, 200));
	(void)repair_copy(copy, &r);
	sim_disk_silence_at(copy, 0);
	sim_disk_power_cut(copy);
	rc = sim_host_check(copy, true, &r, &err);
	sim_require(rc == before ? r.problems == problems || (rc == 0 && r.problems == 0)
				 : rc == 0 && r.problems == 0,
		    "of %llu problems a repair that was cut off leaves %llu: %s",
		    (unsigned long long)problems, (unsigned long long)r.problems, err.text);
	sim_disk_free(copy);
}

/* Objects, and a snapshot of them. */
static void make_objects(struct user *u)
{
	struct sim_admin made = {0}, opened = {.force = true}, snap = {.nfulls = 1}, closed = {0};

	if (admin(u, SIM_OBJECTS, "objects", "", &made) ||
	    admin(u, SIM_OPEN, "objects", "", &opened))
		return;
	for (unsigned i = 0; i < 40; i++)
		use_object(u, opened.volume);
	(void)snprintf(snap.fulls[0], sizeof(snap.fulls[0]), "objects@one");
	(void)admin(u, SIM_SNAPSHOT, "", "", &snap);
	for (unsigned i = 0; i < 20; i++)
		use_object(u, opened.volume);
	closed.volume = opened.volume;
	(void)admin(u, SIM_CLOSE, "", "", &closed);
}

void sim_crafted(struct world *w)
{
	const struct itimerval cpu = {.it_value = {.tv_sec = CPU_SECONDS}};
	struct user u = {.w = w, .buf = calloc(BLOCKS, BS_BLOCK)};
	struct bs_check_result res;
	struct vs_error err = {0};
	struct workload l;
	unsigned changes = sim_between(&w->rng, 1, 3);
	int rc;

	VS_ASSERT(u.buf && setitimer(ITIMER_VIRTUAL, &cpu, NULL) == 0);
	if (sim_one_in(&w->rng, 3))
		world_with_origins(w);
	world_format(w);
	world_open(w);
	workload_default(w, &l);
	workload_run(w, &l, sim_between(&w->rng, 100, 600));
	if (w->with_origins) { /* something is to be left there */
		sim_host_lose(w->host, true);
		(void)world_create_there(w, "there", sim_between(&w->rng, 16, 600));
		workload_run(w, &l, sim_between(&w->rng, 5, 60));
	}
	world_settle(w);
	if (sim_one_in(&w->rng, 3))
		make_objects(&u);
	if (sim_one_in(&w->rng, 3))
		world_die(w, false);
	else
		world_stop(w);
	while (changes--)
		craft_something(w->disk, &w->rng);
	rc = sim_host_check(w->disk, true, &res, &err);
	sim_trace("check: %s", rc ? err.text : "done");
	repair(w, rc, res.problems);
	for (unsigned round = 0; round < 2; round++) {
		rc = sim_host_open(w->disk, &w->clock, &w->cfg, sim_u64(&w->rng), &w->host, &err);

		sim_trace("open: %s", rc ? err.text : "done");
		if (rc)
			break;
		use(&u);
	}
	if (sim_host_check(w->disk, true, &res, &err))
		sim_trace("check: %s", err.text);
	free(u.buf);
}
