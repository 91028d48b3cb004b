#include "tests/sim/report.h"
#include "tests/sim/scenarios.h"
#include "tests/sim/workload.h"

#include <stdio.h>

void sim_start(struct world *w)
{
	world_format(w);
	world_open(w);
}

struct model_image *sim_volume(struct world *w, uint32_t blocks)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "v%u", ++w->names);
	sim_require(world_create(w, name, blocks) == 0, "create %s failed", name);
	return model_find(&w->model, name, "");
}

void sim_end_empty(struct world *w)
{
	struct bs_store_info info;

	world_settle(w);
	world_pin_all(w);
	world_verify(w, w->model.now, false);
	world_recount(w, true);
	workload_delete_all(w);
	(void)world_drain(w);
	sim_host_info(w->host, &info);
	sim_require(info.referenced_bytes == 0 && info.logical_used_bytes == 0 &&
			info.unique_content_bytes == 0,
		    "an empty store counts %llu referenced, %llu logical, %llu unique bytes",
		    (unsigned long long)info.referenced_bytes,
		    (unsigned long long)info.logical_used_bytes,
		    (unsigned long long)info.unique_content_bytes);
	world_stop(w);
	world_recount(w, false);
}
