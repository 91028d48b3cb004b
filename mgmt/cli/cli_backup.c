/* backup: create, list, show, delete, verify; restore. */
#include "mgmt/cli/cli_groups.h"

#include "common/text.h"
#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_direct.h"
#include "mgmt/cli/cli_fields.h"
#include "mgmt/cli/cli_task.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OPTION_REPO_URL                                                         \
	{                                                                       \
		.name = "repo-url", .value = CLI_TEXT, .arg = "URL",            \
		.help = "of this repository, without a daemon; a backup is ID", \
	}

static const struct cli_field list_fields[] = {
    {"id", "BACKUP", CLI_AS_TEXT},
    {"volume", "VOLUME", CLI_AS_TEXT},
    {"time", "TIME", CLI_AS_TIME},
    {"size", "SIZE", CLI_AS_SIZE},
    {"bytes_sent", "SENT", CLI_AS_SIZE},
    {"tag", "TAG", CLI_AS_TEXT},
    {0},
};

static const struct cli_field show_fields[] = {
    {"id", "backup", CLI_AS_TEXT},
    {"repo", "repository", CLI_AS_TEXT},
    {"volume", "volume", CLI_AS_TEXT},
    {"snapshot", "snapshot", CLI_AS_TEXT},
    {"time", "time", CLI_AS_TIME},
    {"parent", "made against", CLI_AS_TEXT},
    {"tag", "tag", CLI_AS_TEXT},
    {"size", "size", CLI_AS_SIZE},
    {"blocks_total", "blocks", CLI_AS_COUNT},
    {"blocks_changed", "blocks changed", CLI_AS_COUNT},
    {"blocks_sent", "blocks sent", CLI_AS_COUNT},
    {"bytes_sent", "sent", CLI_AS_SIZE},
    {"seconds", "took", CLI_AS_SECONDS},
    {0},
};

static int create(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "source", c->args.pos[0]), *result;
	char text[16];
	int status;

	cli_body_text(c, body, "repo", "repo");
	cli_body_text(c, body, "tag", "tag");
	status = cli_task_run(c, cli_call(c, "POST", body, "/v1/backups"), c->args.pos[0], &result);
	if (!result)
		return status;
	(void)vs_format_size(cli_u64(result, "bytes_sent"), text, sizeof(text));
	return cli_done(c, result,
			"backup %s of %s: %" PRIu64 " blocks changed, %" PRIu64 " sent (%s)",
			cli_text(result, "id"), c->args.pos[0], cli_u64(result, "blocks_changed"),
			cli_u64(result, "blocks_sent"), text);
}

/* Backups whose description cannot be read: listed, and named on stderr. */
static void warn_of_damaged(const json_t *backups)
{
	const json_t *backup;
	size_t i;

	for (i = 0; i < json_array_size(backups); i++) {
		backup = json_array_get(backups, i);
		if (json_object_get(backup, "error"))
			cli_warn("backup %s: %s", cli_text(backup, "id"),
				 cli_text(backup, "error"));
	}
}

static int list(struct cli *c)
{
	const char *repo = cli_args_text(&c->args, "repo");
	const char *url = cli_args_text(&c->args, "repo-url");
	const char *volume = c->args.npos ? c->args.pos[0] : NULL;
	json_t *answer;

	if (repo && url)
		return cli_usage(c, "--repo and --repo-url exclude each other");
	if (url)
		answer = cli_direct_list(url, volume);
	else if (repo && volume)
		answer = cli_call(c, "GET", NULL, "/v1/backups?repo=%s&volume=%s", repo, volume);
	else if (repo)
		answer = cli_call(c, "GET", NULL, "/v1/backups?repo=%s", repo);
	else if (volume)
		answer = cli_call(c, "GET", NULL, "/v1/backups?volume=%s", volume);
	else
		answer = cli_call(c, "GET", NULL, "/v1/backups");
	warn_of_damaged(answer);
	return cli_fields_list(c, answer, list_fields);
}

static int show(struct cli *c)
{
	const char *url = cli_args_text(&c->args, "repo-url"), *id = c->args.pos[0];

	return cli_fields_object(
	    c, url ? cli_direct_show(url, id) : cli_call(c, "GET", NULL, "/v1/backups/%s", id),
	    show_fields);
}

/* By the repository's URL, which the daemon knows when it is not given. */
static int export_backup(struct cli *c)
{
	const char *url = cli_args_text(&c->args, "repo-url"), *dest = c->args.pos[1];
	const char *id = c->args.pos[0], *colon = strchr(id, ':');
	bool force = cli_args_has(&c->args, "force");
	json_t *repo = NULL;
	char name[64];
	int status;

	if (strcmp(dest, "-") == 0 && (c->json || force))
		return cli_usage(c, "--json and --force do not go with a stream");
	if (strcmp(dest, "-") == 0 && isatty(STDOUT_FILENO))
		return cli_usage(c, "standard output is a terminal: redirect it");
	if (!url && !colon)
		return cli_usage(c, "%s: a backup is REPO:ID; with --repo-url, ID", id);
	if (!url) {
		(void)snprintf(name, sizeof(name), "%.*s", (int)(colon - id), id);
		repo = cli_call(c, "GET", NULL, "/v1/repos/%s", name);
		if (!repo)
			return CLI_FAILED;
		url = cli_text(repo, "url");
		id = colon + 1;
	}
	status = cli_direct_export(c, url, id, dest, force);
	json_decref(repo);
	return status;
}

static int delete_backup(struct cli *c)
{
	const char *id = c->args.pos[0];
	json_t *answer;

	if (!cli_confirm(c, "Delete backup %s for good?", id))
		return CLI_FAILED;
	answer = cli_call(c, "DELETE", NULL, "/v1/backups/%s", id);
	return answer ? cli_done(c, answer, "deleted backup %s", id) : CLI_FAILED;
}

static int verify(struct cli *c)
{
	uint64_t problems;
	json_t *result;
	int status;

	status = cli_task_run(c, cli_call(c, "POST", NULL, "/v1/backups/%s/verify", c->args.pos[0]),
			      "verify", &result);
	if (!result)
		return status;
	problems = cli_u64(result, "problems");
	if (!problems)
		return cli_done(c, result, "backup %s: %" PRIu64 " blocks verified", c->args.pos[0],
				cli_u64(result, "blocks_checked"));
	if (c->json)
		cli_print_json(result);
	json_decref(result);
	return cli_fail("backup %s: problems found: %" PRIu64 "; 'vstore repo check' names them",
			c->args.pos[0], problems);
}

static int restore(struct cli *c)
{
	const char *id = c->args.pos[0], *name = c->args.pos[1];
	json_t *body, *result;
	int status;

	if (cli_args_has(&c->args, "overwrite") &&
	    !cli_confirm(c, "Replace the content of volume %s by backup %s?", name, id))
		return CLI_FAILED;
	body = json_pack("{s:s,s:s}", "backup", id, "name", name);
	cli_body_flag(c, body, "overwrite", "overwrite");
	status = cli_task_run(c, cli_call(c, "POST", body, "/v1/restores"), name, &result);
	if (!result)
		return status;
	return cli_done(
	    c, result,
	    "restored %s to volume %s: %" PRIu64 " blocks fetched, %" PRIu64 " were here", id, name,
	    cli_u64(result, "blocks_fetched"), cli_u64(result, "blocks_local"));
}

const struct cli_command cli_backup_commands[] = {
    {"create", "NAME[@SNAP]", "back a volume or a snapshot up; sends what the repository lacks",
     (const struct cli_option[]){
	 {"repo", CLI_TEXT, "REPO", "where to", CLI_REQUIRED},
	 {"tag", CLI_TEXT, "TAG", "a word to find it by", 0},
	 CLI_OPTION_DETACH,
	 {0},
     },
     create},
    {"list", "[NAME]", "list backups, of all volumes or one",
     (const struct cli_option[]){
	 {"repo", CLI_TEXT, "REPO", "only those in this repository", 0},
	 OPTION_REPO_URL,
	 {0},
     },
     list},
    {"show", "REPO:ID", "show a backup",
     (const struct cli_option[]){
	 OPTION_REPO_URL,
	 {0},
     },
     show},
    {"export", "REPO:ID DEST", "write a backup to a file, a block device or - (stdout, raw)",
     (const struct cli_option[]){
	 OPTION_REPO_URL,
	 {"force", CLI_FLAG, NULL, "replace a file that exists", 0},
	 {0},
     },
     export_backup},
    {"delete", "REPO:ID", "delete a backup; 'repo gc' then frees its data", NULL, delete_backup},
    {"verify", "REPO:ID", "read a backup's data and compare it with its digests",
     (const struct cli_option[]){CLI_OPTION_DETACH, {0}}, verify},
    {0},
};

const struct cli_command cli_backup_restore[] = {
    {"", "REPO:ID NAME", "make a new volume of a backup; fetches what the store lacks",
     (const struct cli_option[]){
	 {"overwrite", CLI_FLAG, NULL, "replace the content of a volume that exists", 0},
	 CLI_OPTION_DETACH,
	 {0},
     },
     restore},
    {0},
};
