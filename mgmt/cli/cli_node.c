/* status, df: the node's figures. */
#include "mgmt/cli/cli_groups.h"

#include "mgmt/cli/cli_fields.h"

static const struct cli_field status_fields[] = {
    {"state", "state", CLI_AS_STATE},
    {"version", "version", CLI_AS_TEXT},
    {"uptime", "uptime", CLI_AS_SECONDS},
    {"pid", "process", CLI_AS_COUNT},
    {"store", "store", CLI_AS_TEXT},
    {"front_ends", "front ends", CLI_AS_KINDS},
    {"volumes", "volumes", CLI_AS_COUNT},
    {"snapshots", "snapshots", CLI_AS_COUNT},
    {"vms.total", "VMs", CLI_AS_COUNT},
    {"vms.running", "VMs running", CLI_AS_COUNT},
    {"memory.resident_bytes", "memory used", CLI_AS_SIZE},
    {"memory.limit_bytes", "memory for the store", CLI_AS_SIZE},
    {0},
};

static const struct cli_field df_fields[] = {
    {"capacity_bytes", "capacity", CLI_AS_SIZE},
    {"physical_used_bytes", "used", CLI_AS_SIZE},
    {"available_bytes", "available", CLI_AS_SIZE},
    {"reclaimable_bytes", "reclaimable", CLI_AS_SIZE},
    {"reserved_bytes", "reserved for thick volumes", CLI_AS_SIZE},
    {"system_bytes", "kept for the system", CLI_AS_SIZE},
    {"logical_used_bytes", "in volumes", CLI_AS_SIZE},
    {"unique_content_bytes", "unique content", CLI_AS_SIZE},
    {"stored_content_bytes", "stored after compression", CLI_AS_SIZE},
    {"dedup_ratio", "deduplication", CLI_AS_RATIO},
    {"compression_ratio", "compression", CLI_AS_RATIO},
    {0},
};

static int status(struct cli *c)
{
	return cli_fields_object(c, cli_call(c, "GET", NULL, "/v1/status"), status_fields);
}

static int df(struct cli *c)
{
	json_t *answer = cli_args_has(&c->args, "drain")
			     ? cli_call(c, "GET", NULL, "/v1/df?drain=true")
			     : cli_call(c, "GET", NULL, "/v1/df");

	return cli_fields_object(c, answer, df_fields);
}

const struct cli_command cli_node_status[] = {
    {"", "", "show whether the node is well and what it serves", NULL, status},
    {0},
};

const struct cli_command cli_node_df[] = {
    {"", "", "show the store's space, used and saved",
     (const struct cli_option[]){
	 {"drain", CLI_FLAG, NULL, "first wait until earlier deletions are worked off", 0},
	 {0},
     },
     df},
    {0},
};
