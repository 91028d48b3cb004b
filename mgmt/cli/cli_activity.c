/* task: list, show, wait, cancel. event: list. */
#include "mgmt/cli/cli_groups.h"

#include "common/text.h"
#include "mgmt/cli/cli_fields.h"
#include "mgmt/cli/cli_table.h"
#include "mgmt/cli/cli_task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX "1000"

static const struct cli_field task_list_fields[] = {
    {"id", "ID", CLI_AS_TEXT},
    {"kind", "KIND", CLI_AS_TEXT},
    {"subject", "SUBJECT", CLI_AS_TEXT},
    {"state", "STATE", CLI_AS_STATE},
    {"progress", "DONE", CLI_AS_PERCENT},
    {"created", "CREATED", CLI_AS_TIME},
    {"error", "ERROR", CLI_AS_TEXT},
    {0},
};

static const struct cli_field task_fields[] = {
    {"id", "task", CLI_AS_TEXT},
    {"kind", "kind", CLI_AS_TEXT},
    {"subject", "subject", CLI_AS_TEXT},
    {"state", "state", CLI_AS_STATE},
    {"progress", "progress", CLI_AS_PERCENT},
    {"bytes_done", "done", CLI_AS_SIZE},
    {"bytes_total", "of", CLI_AS_SIZE},
    {"created", "created", CLI_AS_TIME},
    {"started", "started", CLI_AS_TIME},
    {"finished", "finished", CLI_AS_TIME},
    {"error", "error", CLI_AS_TEXT},
    {0},
};

static const struct cli_field event_fields[] = {
    {"time", "TIME", CLI_AS_TIME},	 {"severity", "SEVERITY", CLI_AS_STATE},
    {"kind", "KIND", CLI_AS_TEXT},	 {"subject", "SUBJECT", CLI_AS_TEXT},
    {"message", "MESSAGE", CLI_AS_TEXT}, {0},
};

static int task_list(struct cli *c)
{
	return cli_fields_list(c, cli_call(c, "GET", NULL, "/v1/tasks"), task_list_fields);
}

static int task_show(struct cli *c)
{
	return cli_fields_object(c, cli_call(c, "GET", NULL, "/v1/tasks/%s", c->args.pos[0]),
				 task_fields);
}

static int task_wait(struct cli *c)
{
	json_t *task;
	int status = cli_task_wait(c, c->args.pos[0], c->args.pos[0], &task);

	return status == CLI_DONE ? cli_done(c, task, "task %s is done", c->args.pos[0]) : status;
}

static int task_cancel(struct cli *c)
{
	json_t *task = cli_call(c, "POST", NULL, "/v1/tasks/%s/cancel", c->args.pos[0]);

	if (!task)
		return CLI_FAILED;
	return cli_done(c, task, "task %s: asked to stop", c->args.pos[0]);
}

/* "2h" and the like into a time that long ago; anything else is left to the daemon. */
static const char *since_when(const char *text, char *buf, size_t len)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char digits[8];
	uint64_t n;
	size_t k = strlen(text), i;

	if (k < 2 || k > sizeof(digits))
		return text;
	(void)snprintf(digits, sizeof(digits), "%.*s", (int)(k - 1), text);
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].unit == text[k - 1] && vs_parse_u64(digits, 9999999, &n) == 0)
			return vs_format_time(
			    vs_unix_ns() - (int64_t)(n * units[i].seconds * 1000000000), buf, len);
	return text;
}

/* One event a line, as it comes: columns cannot be aligned with what is still to come. */
static void print_events(const struct cli *c, const json_t *events)
{
	char text[1024];
	const json_t *e;
	size_t i, f;

	for (i = 0; i < json_array_size(events); i++) {
		e = json_array_get(events, i);
		if (c->json)
			(void)json_dumpf(e, stdout, JSON_COMPACT);
		for (f = 0; !c->json && event_fields[f].key; f++) {
			cli_fields_format(e, &event_fields[f], text, sizeof(text));
			(void)fputs(f ? "  " : "", stdout);
			cli_table_safe(text, stdout);
		}
		(void)putchar('\n');
	}
	(void)fflush(stdout);
}

static void last_id(const json_t *events, char after[24])
{
	const json_t *last = json_array_get(events, json_array_size(events) - 1);

	if (last)
		(void)snprintf(after, 24, "%" PRIu64, cli_u64(last, "id"));
}

/* Prints events and then what happens after them, or after the id given when there are none. */
static int follow(struct cli *c, json_t *events, char after[24])
{
	while (events && !ferror(stdout)) {
		print_events(c, events);
		last_id(events, after);
		json_decref(events);
		events = cli_call(c, "GET", NULL, "/v1/events?after=%s&wait=30&limit=" EVENTS_MAX,
				  after);
	}
	json_decref(events);
	return CLI_FAILED;
}

/* All events since then: the daemon gives a page at a time. */
static json_t *all_since(struct cli *c, const char *since)
{
	char when[32], after[24];
	json_t *events, *page;
	size_t n;

	events = cli_call(c, "GET", NULL, "/v1/events?since=%s&limit=" EVENTS_MAX,
			  since_when(since, when, sizeof(when)));
	n = json_array_size(events);
	while (events && n == strtoul(EVENTS_MAX, NULL, 10)) {
		last_id(events, after);
		page = cli_call(c, "GET", NULL, "/v1/events?after=%s&limit=" EVENTS_MAX, after);
		n = json_array_size(page);
		if (!page || json_array_extend(events, page) < 0) {
			json_decref(events);
			events = NULL;
		}
		json_decref(page);
	}
	return events;
}

static int event_list(struct cli *c)
{
	const char *since = cli_args_text(&c->args, "since");
	json_t *events = cli_call(c, "GET", NULL, "/v1/events");
	char after[24] = "0";

	if (!events)
		return CLI_FAILED;
	last_id(events, after);
	if (since) {
		json_decref(events);
		events = all_since(c, since);
	}
	if (cli_args_has(&c->args, "follow"))
		return follow(c, events, after);
	return cli_fields_list(c, events, event_fields);
}

const struct cli_command cli_activity_task[] = {
    {"list", "", "list tasks", NULL, task_list},
    {"show", "ID", "show a task", NULL, task_show},
    {"wait", "ID", "wait until a task has ended; exit 1 if it failed", NULL, task_wait},
    {"cancel", "ID", "stop a task; what it had begun is undone", NULL, task_cancel},
    {0},
};

const struct cli_command cli_activity_event[] = {
    {"list", "", "list the newest events",
     (const struct cli_option[]){
	 {"since", CLI_TEXT, "TIME", "from then on: RFC 3339, or 30m, 2h, 7d ago", 0},
	 {"follow", CLI_FLAG, NULL, "then go on with what happens", 0},
	 {0},
     },
     event_list},
    {0},
};
