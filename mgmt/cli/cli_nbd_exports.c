/* nbd: export, list, unexport. */
#include "mgmt/cli/cli_groups.h"

#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_fields.h"

static const struct cli_field list_fields[] = {
    {"name", "NAME", CLI_AS_TEXT},
    {"size", "SIZE", CLI_AS_SIZE},
    {"read_only", "READ-ONLY", CLI_AS_YES_NO},
    {"clients", "CLIENTS", CLI_AS_COUNT},
    {0},
};

static int export_volume(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "name", c->args.pos[0]), *answer;

	cli_body_flag(c, body, "read-only", "read_only");
	answer = cli_call(c, "POST", body, "/v1/nbd");
	return answer ? cli_done(c, answer, "exported %s over NBD", c->args.pos[0]) : CLI_FAILED;
}

static int list(struct cli *c)
{
	return cli_fields_list(c, cli_call(c, "GET", NULL, "/v1/nbd"), list_fields);
}

static int unexport(struct cli *c)
{
	json_t *answer = cli_call(c, "DELETE", NULL, "/v1/nbd/%s", c->args.pos[0]);

	return answer ? cli_done(c, answer, "ended the NBD export of %s", c->args.pos[0])
		      : CLI_FAILED;
}

const struct cli_command cli_nbd_commands[] = {
    {"export", "NAME[@SNAP]", "serve a volume or a snapshot over NBD, by its name",
     (const struct cli_option[]){
	 {"read-only", CLI_FLAG, NULL, "refuse writes", 0},
	 {0},
     },
     export_volume},
    {"list", "", "list what is served over NBD", NULL, list},
    {"unexport", "NAME[@SNAP]", "serve it no longer", NULL, unexport},
    {0},
};
