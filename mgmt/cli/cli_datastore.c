/* datastore: create, list, show, set, delete, share, unshare, put, get, ls, rm, snapshot, clone. */
#include "mgmt/cli/cli_groups.h"

#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_fields.h"
#include "mgmt/cli/cli_task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_field list_fields[] = {
    {"name", "NAME", CLI_AS_TEXT},
    {"used_bytes", "USED", CLI_AS_SIZE},
    {"quota", "QUOTA", CLI_AS_SIZE},
    {"files", "FILES", CLI_AS_COUNT},
    {"shares", "SHARES", CLI_AS_LENGTH},
    {"snapshots", "SNAPSHOTS", CLI_AS_LENGTH},
    {0},
};

static const struct cli_field show_fields[] = {
    {"name", "name", CLI_AS_TEXT},	     {"uuid", "UUID", CLI_AS_TEXT},
    {"used_bytes", "used", CLI_AS_SIZE},     {"quota", "quota", CLI_AS_SIZE},
    {"free_bytes", "free", CLI_AS_SIZE},     {"files", "files", CLI_AS_COUNT},
    {"snapshots", "snapshots", CLI_AS_LIST}, {0},
};

static const struct cli_field share_fields[] = {
    {"client", "CLIENT", CLI_AS_TEXT},
    {"read_only", "READ-ONLY", CLI_AS_YES_NO},
    {"squash", "SQUASH", CLI_AS_TEXT},
    {0},
};

static const struct cli_field snapshot_fields[] = {
    {"name", "SNAPSHOT", CLI_AS_TEXT},
    {"created", "CREATED", CLI_AS_TIME},
    {0},
};

static const struct cli_field file_fields[] = {
    {"name", "NAME", CLI_AS_TEXT},	   {"type", "TYPE", CLI_AS_TEXT},
    {"size", "SIZE", CLI_AS_SIZE},	   {"used_bytes", "USED", CLI_AS_SIZE},
    {"modified", "MODIFIED", CLI_AS_TIME}, {0},
};

#define OPTION_QUOTA                                                                 \
	{                                                                            \
		"quota", CLI_SIZE, "SIZE", "what its files may take; 0: no limit", 0 \
	}

/* "NAME/PATH" or "NAME@SNAP" as two; the first is c's until the command ends. NULL: usage. */
static char *split(const char *text, char by, const char **rest)
{
	const char *at = strchr(text, by);
	char *name = at ? strndup(text, (size_t)(at - text)) : strdup(text);

	*rest = at ? at + 1 : "";
	return name;
}

static int create(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "name", c->args.pos[0]), *answer;

	cli_body_u64(c, body, "quota", "quota");
	answer = cli_call(c, "POST", body, "/v1/datastores");
	return answer ? cli_done(c, answer, "created datastore %s", c->args.pos[0]) : CLI_FAILED;
}

static int list(struct cli *c)
{
	return cli_fields_list(c, cli_call(c, "GET", NULL, "/v1/datastores"), list_fields);
}

static int show(struct cli *c)
{
	json_t *answer = cli_call(c, "GET", NULL, "/v1/datastores/%s", c->args.pos[0]);
	int status;

	if (!answer || c->json)
		return cli_fields_object(c, answer, show_fields);
	status = cli_fields_print_object(answer, show_fields);
	if (status == CLI_DONE && json_array_size(json_object_get(answer, "shares"))) {
		(void)putchar('\n');
		status = cli_fields_print_list(json_object_get(answer, "shares"), share_fields);
	}
	json_decref(answer);
	return status;
}

static int set(struct cli *c)
{
	json_t *body = json_object(), *answer;

	cli_body_u64(c, body, "quota", "quota");
	answer = cli_call(c, "PATCH", body, "/v1/datastores/%s", c->args.pos[0]);
	return answer ? cli_done(c, answer, "changed datastore %s", c->args.pos[0]) : CLI_FAILED;
}

static int delete_datastore(struct cli *c)
{
	const char *name = c->args.pos[0];
	json_t *answer;

	if (!cli_confirm(c, "Delete datastore %s and all files in it for good?", name))
		return CLI_FAILED;
	answer = cli_call(c, "DELETE", NULL, "/v1/datastores/%s?snapshots=%s", name,
			  cli_args_has(&c->args, "with-snapshots") ? "delete" : "refuse");
	return answer ? cli_done(c, answer, "deleted datastore %s", name) : CLI_FAILED;
}

static int share(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "client", cli_args_text(&c->args, "client")), *answer;

	if (cli_args_has(&c->args, "ro") && cli_args_has(&c->args, "rw")) {
		json_decref(body);
		return cli_usage(c, "--ro or --rw, not both");
	}
	cli_body_flag(c, body, "ro", "read_only");
	cli_body_text(c, body, "squash", "squash");
	answer = cli_call(c, "POST", body, "/v1/datastores/%s/shares", c->args.pos[0]);
	return answer ? cli_done(c, answer, "shared datastore %s with %s", c->args.pos[0],
				 cli_args_text(&c->args, "client"))
		      : CLI_FAILED;
}

static int end_share(struct cli *c)
{
	const char *client = cli_args_text(&c->args, "client");
	json_t *answer = cli_call(c, "DELETE", NULL, "/v1/datastores/%s/shares?client=%s",
				  c->args.pos[0], client);

	return answer ? cli_done(c, answer, "datastore %s is no longer shared with %s",
				 c->args.pos[0], client)
		      : CLI_FAILED;
}

/* where: "NAME/PATH"; what: "put" or "get". */
static int transfer(struct cli *c, const char *what, const char *where, const char *local)
{
	const char *path;
	char *name = split(where, '/', &path), *file = cli_absolute(local);
	json_t *result = NULL;
	int status = CLI_FAILED;

	if (name && file && !*path)
		status = cli_usage(c, "%s: say NAME/PATH", where);
	else if (name && file)
		status = cli_task_run(c,
				      cli_call(c, "POST",
					       json_pack("{s:s, s:s}", "path", path, "file", file),
					       "/v1/datastores/%s/%s", name, what),
				      where, &result);
	if (status == CLI_DONE && result)
		status = cli_done(c, result, "%s %s", strcmp(what, "put") == 0 ? "wrote" : "read",
				  where);
	free(name);
	free(file);
	return status;
}

static int put(struct cli *c)
{
	return transfer(c, "put", c->args.pos[1], c->args.pos[0]);
}

static int get(struct cli *c)
{
	return transfer(c, "get", c->args.pos[0], c->args.pos[1]);
}

static int ls(struct cli *c)
{
	const char *path;
	char *name = split(c->args.pos[0], '/', &path);
	json_t *answer =
	    name ? cli_call(c, "GET", NULL, "/v1/datastores/%s/files?path=%s", name, path) : NULL;

	free(name);
	return cli_fields_list(c, answer, file_fields);
}

static int rm(struct cli *c)
{
	const char *path;
	char *name = split(c->args.pos[0], '/', &path);
	json_t *answer = NULL;

	if (!*path) {
		free(name);
		return cli_usage(c, "%s: say NAME/PATH", c->args.pos[0]);
	}
	if (name && cli_confirm(c, "Remove %s for good?", c->args.pos[0]))
		answer = cli_call(c, "DELETE", NULL, "/v1/datastores/%s/files?path=%s", name, path);
	free(name);
	return answer ? cli_done(c, answer, "removed %s", c->args.pos[0]) : CLI_FAILED;
}

static int snapshot_create(struct cli *c)
{
	const char *snap, *full = c->args.pos[0];
	char *name = split(full, '@', &snap);
	json_t *answer = name ? cli_call(c, "POST", json_pack("{s:s}", "name", snap),
					 "/v1/datastores/%s/snapshots", name)
			      : NULL;

	free(name);
	return answer ? cli_done(c, answer, "created snapshot %s", full) : CLI_FAILED;
}

static int snapshot_list(struct cli *c)
{
	json_t *answer = cli_call(c, "GET", NULL, "/v1/datastores/%s", c->args.pos[0]);
	json_t *list = answer ? json_incref(json_object_get(answer, "snapshots")) : NULL;

	json_decref(answer);
	return cli_fields_list(c, list, snapshot_fields);
}

/* A request about one snapshot, NAME@SNAP. */
static json_t *about(struct cli *c, const char *method, json_t *body, const char *what)
{
	const char *snap;
	char *name = split(c->args.pos[0], '@', &snap);
	json_t *answer = name ? cli_call(c, method, body, what, name, snap) : NULL;

	free(name);
	return answer;
}

static int snapshot_delete(struct cli *c)
{
	json_t *answer = NULL;

	if (cli_confirm(c, "Delete snapshot %s for good?", c->args.pos[0]))
		answer = about(c, "DELETE", NULL, "/v1/datastores/%s/snapshots/%s");
	return answer ? cli_done(c, answer, "deleted snapshot %s", c->args.pos[0]) : CLI_FAILED;
}

static int snapshot_rollback(struct cli *c)
{
	json_t *answer = NULL;

	if (cli_confirm(c, "Make all files what they were at %s?", c->args.pos[0]))
		answer = about(c, "POST", NULL, "/v1/datastores/%s/snapshots/%s/rollback");
	return answer ? cli_done(c, answer, "rolled back to %s", c->args.pos[0]) : CLI_FAILED;
}

static int clone_snapshot(struct cli *c)
{
	json_t *answer = about(c, "POST", json_pack("{s:s}", "name", c->args.pos[1]),
			       "/v1/datastores/%s/snapshots/%s/clone");

	return answer ? cli_done(c, answer, "cloned %s as %s", c->args.pos[0], c->args.pos[1])
		      : CLI_FAILED;
}

const struct cli_command cli_datastore_commands[] = {
    {"create", "NAME", "make an empty datastore", (const struct cli_option[]){OPTION_QUOTA, {0}},
     create},
    {"list", "", "list datastores", NULL, list},
    {"show", "NAME", "one datastore, its shares and snapshots", NULL, show},
    {"set", "NAME", "change its quota",
     (const struct cli_option[]){
	 {"quota", CLI_SIZE, "SIZE", "what its files may take; 0: no limit", CLI_REQUIRED},
	 {0},
     },
     set},
    {"delete", "NAME", "delete a datastore and all files in it",
     (const struct cli_option[]){
	 {"with-snapshots", CLI_FLAG, NULL, "its snapshots too", 0},
	 {0},
     },
     delete_datastore},
    {"share", "NAME", "let clients mount it over NFS",
     (const struct cli_option[]){
	 {"client", CLI_TEXT, "CIDR", "who: an address or a network", CLI_REQUIRED},
	 {"ro", CLI_FLAG, NULL, "they may only read", 0},
	 {"rw", CLI_FLAG, NULL, "they may read and write (the default)", 0},
	 {"squash", CLI_CHOICE, "none|root|all", "whose calls are made as nobody [root]", 0},
	 {0},
     },
     share},
    {"unshare", "NAME", "end a share",
     (const struct cli_option[]){
	 {"client", CLI_TEXT, "CIDR", "whose, as it was given", CLI_REQUIRED},
	 {0},
     },
     end_share},
    {"put", "FILE NAME/PATH", "copy a file into a datastore",
     (const struct cli_option[]){CLI_OPTION_DETACH, {0}}, put},
    {"get", "NAME/PATH FILE", "copy a file out of a datastore",
     (const struct cli_option[]){CLI_OPTION_DETACH, {0}}, get},
    {"ls", "NAME[/PATH]", "list a directory", NULL, ls},
    {"rm", "NAME/PATH", "remove a file, or a directory that is empty", NULL, rm},
    {"snapshot create", "NAME@SNAP", "keep all files as they are now", NULL, snapshot_create},
    {"snapshot list", "NAME", "list its snapshots", NULL, snapshot_list},
    {"snapshot delete", "NAME@SNAP", "delete a snapshot", NULL, snapshot_delete},
    {"snapshot rollback", "NAME@SNAP", "make all files what they were; newer snapshots stay", NULL,
     snapshot_rollback},
    {"clone", "NAME@SNAP NEW", "make a datastore of a snapshot", NULL, clone_snapshot},
    {0},
};
