/* snapshot: create, list, show, delete, diff, rollback. */
#include "mgmt/cli/cli_groups.h"

#include "mgmt/cli/cli_fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct cli_field list_fields[] = {
    {"name", "SNAPSHOT", CLI_AS_TEXT},
    {"created", "CREATED", CLI_AS_TIME},
    {"size", "SIZE", CLI_AS_SIZE},
    {"logical_bytes", "MAPPED", CLI_AS_SIZE},
    {"frees_if_deleted_bytes", "FREES", CLI_AS_SIZE},
    {"as_of", "THAT AS OF", CLI_AS_TIME},
    {0},
};

static int create(struct cli *c)
{
	json_t *names = json_array(), *answer;
	size_t i;

	for (i = 0; i < c->args.npos; i++)
		(void)json_array_append_new(names, json_string(c->args.pos[i]));
	answer = cli_call(c, "POST", json_pack("{s:o}", "names", names), "/v1/snapshots");
	if (!answer)
		return CLI_FAILED;
	if (c->args.npos == 1)
		return cli_done(c, answer, "created snapshot %s", c->args.pos[0]);
	return cli_done(c, answer, "created %zu snapshots of one instant", c->args.npos);
}

static int list(struct cli *c)
{
	json_t *answer = c->args.npos ? cli_call(c, "GET", NULL, "/v1/snapshots?volume=%s&wait=2",
						 c->args.pos[0])
				      : cli_call(c, "GET", NULL, "/v1/snapshots");

	return cli_fields_list(c, answer, list_fields);
}

static int delete_snapshot(struct cli *c)
{
	const char *name = c->args.pos[0];
	json_t *answer;

	if (!cli_confirm(c, "Delete snapshot %s for good?", name))
		return CLI_FAILED;
	answer = cli_call(c, "DELETE", NULL, "/v1/snapshots/%s", name);
	return answer ? cli_done(c, answer, "deleted snapshot %s", name) : CLI_FAILED;
}

static int rollback(struct cli *c)
{
	const char *name = c->args.pos[0];
	int volume = (int)strcspn(name, "@");
	json_t *answer;

	if (!cli_confirm(c, "Replace the content of %.*s by %s?", volume, name, name))
		return CLI_FAILED;
	answer = cli_call(c, "POST", NULL, "/v1/snapshots/%s/rollback", name);
	return answer ? cli_done(c, answer, "rolled %.*s back to %s", volume, name, name)
		      : CLI_FAILED;
}

/* Prints a page's entries as they come, so that a long diff needs no memory. */
static void print_entries(const struct cli *c, const json_t *entries, bool *first)
{
	const json_t *e;
	size_t i;

	for (i = 0; i < json_array_size(entries); i++, *first = false) {
		e = json_array_get(entries, i);
		if (c->json) {
			(void)fputs(*first ? "[\n  " : ",\n  ", stdout);
			(void)json_dumpf(e, stdout, JSON_COMPACT);
			continue;
		}
		if (*first)
			(void)printf("%20s  %20s  KIND\n", "OFFSET", "LENGTH");
		(void)printf("%20" PRIu64 "  %20" PRIu64 "  %s\n", cli_u64(e, "offset"),
			     cli_u64(e, "length"), cli_text(e, "kind"));
	}
}

static int diff(struct cli *c)
{
	char cursor[24] = "0";
	bool first = true;
	json_t *answer;
	const json_t *next;

	for (;;) {
		answer = cli_call(c, "GET", NULL, "/v1/diff?from=%s&to=%s&cursor=%s&limit=65536",
				  c->args.pos[0], c->args.pos[1], cursor);
		if (!answer)
			return CLI_FAILED;
		print_entries(c, json_object_get(answer, "entries"), &first);
		next = json_object_get(answer, "next");
		if (!json_is_integer(next))
			break;
		(void)snprintf(cursor, sizeof(cursor), "%" JSON_INTEGER_FORMAT,
			       json_integer_value(next));
		json_decref(answer);
	}
	json_decref(answer);
	if (c->json)
		(void)puts(first ? "[]" : "\n]");
	else if (first && !c->quiet)
		(void)fputs("no difference\n", stderr);
	return CLI_DONE;
}

const struct cli_command cli_snapshot_commands[] = {
    {"create", "NAME@SNAP...", "take snapshots, several at one instant", NULL, create},
    {"list", "[NAME]", "list snapshots, of all volumes or one", NULL, list},
    {"delete", "NAME@SNAP", "delete a snapshot", NULL, delete_snapshot},
    {"diff", "NAME@A NAME[@B]", "list the byte ranges that differ", NULL, diff},
    {"rollback", "NAME@SNAP", "make a volume what it was; newer snapshots stay", NULL, rollback},
    {0},
};
