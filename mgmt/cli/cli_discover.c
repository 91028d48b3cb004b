/* discover: what other arrays and NFS servers offer. */
#include "mgmt/cli/cli_groups.h"

#include "blockstore/nfs_url.h"
#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_fields.h"

static const struct cli_field fields[] = {
    {"target", "TARGET", CLI_AS_TEXT},
    {"portals", "PORTALS", CLI_AS_LIST},
    {"lun", "LUN", CLI_AS_COUNT},
    {"size", "SIZE", CLI_AS_SIZE},
    {"product", "PRODUCT", CLI_AS_TEXT},
    {"error", "WHY NOT", CLI_AS_TEXT},
    {0},
};

static const struct cli_field export_fields[] = {
    {"export", "EXPORT", CLI_AS_TEXT},
    {"clients", "CLIENTS", CLI_AS_LIST},
    {0},
};

/* A line for each LUN, and one for a target that shows none. */
static void add_rows(json_t *rows, json_t *target)
{
	json_t *luns = json_object_get(target, "luns"), *lun, *row;
	size_t i;

	if (json_array_size(luns) == 0)
		json_array_append(rows, target);
	json_array_foreach(luns, i, lun)
	{
		row = json_copy(lun);
		json_object_set(row, "target", json_object_get(target, "target"));
		json_object_set(row, "portals", json_object_get(target, "portals"));
		json_array_append_new(rows, row);
	}
}

static int discover(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "url", c->args.pos[0]), *targets, *target, *rows;
	int status = cli_body_lun(c, body);
	size_t i;

	if (status != CLI_DONE) {
		json_decref(body);
		return status;
	}
	targets = cli_call(c, "POST", body, "/v1/discover");
	if (!targets)
		return CLI_FAILED;
	if (bs_nfs_url_is(c->args.pos[0]))
		return cli_fields_list(c, targets, export_fields);
	if (c->json)
		return cli_fields_list(c, targets, fields);
	rows = json_array();
	json_array_foreach(targets, i, target) add_rows(rows, target);
	json_decref(targets);
	return cli_fields_list(c, rows, fields);
}

const struct cli_command cli_discover_commands[] = {
    {"", "URL", "list what iscsi://HOST[:PORT] (targets, LUNs) or nfs://HOST (exports) offers",
     (const struct cli_option[]){CLI_OPTIONS_LUN, {0}}, discover},
    {0},
};
