#include "targets/iscsi/threshold.h"

#include "common/bytes.h"
#include "common/log.h"
#include "targets/iscsi/internal.h"

#define LOOK_NS (2 * UINT64_C(1000000000))
#define ENABLED (UINT64_C(1) << 32)

/* Both are off until an initiator says what it wants to be told of. */
struct iscsi_threshold iscsi_threshold_default(unsigned i)
{
	(void)i;
	return (struct iscsi_threshold){.enabled = false, .count = 0};
}

/* One word each, so that no reader sees half of a change: the count, and whether it counts. */
void iscsi_threshold_get(const struct iscsi_lu *lu, unsigned i, struct iscsi_threshold *out)
{
	uint64_t v = atomic_load(&lu->thresholds[i]);

	*out = (struct iscsi_threshold){.enabled = v & ENABLED, .count = (uint32_t)v};
}

bool iscsi_threshold_set(struct iscsi_lu *lu, unsigned i, const struct iscsi_threshold *t)
{
	uint64_t v = (t->enabled ? ENABLED : 0) | t->count;

	return atomic_exchange(&lu->thresholds[i], v) != v;
}

uint32_t iscsi_threshold_available(const struct iscsi_server *srv)
{
	return atomic_load(&srv->available);
}

uint32_t iscsi_threshold_used(const struct iscsi_server *srv)
{
	return atomic_load(&srv->used);
}

static uint32_t units(uint64_t bytes)
{
	return (uint32_t)VS_MIN(bytes / ISCSI_THRESHOLD_UNIT, (uint64_t)UINT32_MAX);
}

static void tell(struct iscsi_lu *lu)
{
	pthread_mutex_lock(&lu->lock);
	for (struct iscsi_lun *s = lu->sessions; s; s = s->next)
		atomic_fetch_or(&s->ua, ISCSI_UA_THRESHOLD);
	pthread_mutex_unlock(&lu->lock);
}

/* Once when it is reached, and again when it was left and is reached once more, or was changed. */
static void check(struct iscsi_lu *lu, unsigned i, uint32_t available)
{
	uint64_t v = atomic_load(&lu->thresholds[i]);
	bool reached = v & ENABLED && available <= (uint32_t)v;

	if (reached && lu->told[i] != v)
		tell(lu);
	lu->told[i] = reached ? v : 0;
}

static void look(struct iscsi_server *srv)
{
	struct bs_store_info info;

	bs_store_info(srv->store, &info);
	atomic_store(&srv->used, units(info.physical_used_bytes));
	atomic_store(&srv->available, units(info.capacity_bytes -
					    VS_MIN(info.physical_used_bytes, info.capacity_bytes)));
	for (struct iscsi_lu *lu = srv->lus; lu; lu = lu->next)
		for (unsigned i = 0; i < ISCSI_THRESHOLDS; i++)
			check(lu, i, iscsi_threshold_available(srv));
}

static void fired(struct vs_timer *t)
{
	struct iscsi_server *srv = t->arg;

	if (srv->nconns) /* nobody to tell */
		look(srv);
	if (vs_loop_timer(srv->loop, t, LOOK_NS) < 0)
		vs_err("iscsi: no timer: thresholds are not watched any more");
}

int iscsi_threshold_watch(struct iscsi_server *srv)
{
	look(srv);
	srv->threshold_timer = (struct vs_timer){.fired = fired, .arg = srv};
	return vs_loop_timer(srv->loop, &srv->threshold_timer, LOOK_NS);
}
