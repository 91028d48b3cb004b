#include "mgmt/cli/cli_fields.h"

#include "common/text.h"
#include "mgmt/cli/cli_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CELL_MAX 1024

static const struct {
	const char *state;
	enum cli_colour colour;
} state_colours[] = {
    {"running", CLI_GREEN},   {"done", CLI_GREEN},	 {"ok", CLI_GREEN},
    {"failed", CLI_RED},      {"crashed", CLI_RED},	 {"error", CLI_RED},
    {"degraded", CLI_RED},    {"paused", CLI_YELLOW},	 {"suspended", CLI_YELLOW},
    {"warning", CLI_YELLOW},  {"cancelled", CLI_YELLOW}, {"read-only", CLI_YELLOW},
    {"starting", CLI_YELLOW}, {"queued", CLI_DIM},	 {"stopped", CLI_DIM},
};

bool cli_fields_colours(void)
{
	const char *no_color = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(no_color && no_color[0]);
}

static enum cli_colour colour_of(const struct cli_field *f, const char *text)
{
	size_t i;

	if (f->kind != CLI_AS_STATE)
		return CLI_PLAIN;
	for (i = 0; i < sizeof(state_colours) / sizeof(state_colours[0]); i++)
		if (strcmp(state_colours[i].state, text) == 0)
			return state_colours[i].colour;
	return CLI_PLAIN;
}

/* The member that a dotted key names. */
static const json_t *member(const json_t *object, const char *key)
{
	char part[64];

	for (;;) {
		size_t n = strcspn(key, ".");

		(void)snprintf(part, sizeof(part), "%.*s", (int)n, key);
		object = json_object_get(object, part);
		if (key[n] == '\0')
			return object;
		key += n + 1;
	}
}

static void format_time(const char *text, char *buf, size_t len)
{
	struct tm tm = {0};
	time_t t;

	if (!strptime(text, "%Y-%m-%dT%H:%M:%S", &tm)) {
		(void)snprintf(buf, len, "%s", text);
		return;
	}
	t = timegm(&tm);
	localtime_r(&t, &tm);
	(void)strftime(buf, len, "%Y-%m-%d %H:%M:%S", &tm);
}

static void format_seconds(double seconds, char *buf, size_t len)
{
	uint64_t s = seconds > 0 ? (uint64_t)seconds : 0;

	if (s >= 86400)
		(void)snprintf(buf, len, "%" PRIu64 "d %02" PRIu64 "h", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		(void)snprintf(buf, len, "%" PRIu64 "h %02" PRIu64 "m", s / 3600, s / 60 % 60);
	else if (s >= 60)
		(void)snprintf(buf, len, "%" PRIu64 "m %02" PRIu64 "s", s / 60, s % 60);
	else
		(void)snprintf(buf, len, "%.1fs", seconds);
}

static void format_element(const json_t *e, enum cli_kind kind, char *buf, size_t len)
{
	if (kind == CLI_AS_LUNS)
		(void)snprintf(buf, len, "%" PRIu64 ":%s%s", cli_u64(e, "lun"),
			       cli_text(e, "volume"),
			       json_is_true(json_object_get(e, "read_only")) ? " (ro)" : "");
	else if (kind == CLI_AS_KINDS)
		(void)snprintf(buf, len, "%s %s%s", cli_text(e, "kind"), cli_text(e, "name"),
			       cli_text(e, "address"));
	else if (json_is_string(e))
		(void)snprintf(buf, len, "%s", json_string_value(e));
	else
		(void)snprintf(buf, len, "%s%s%s%s", cli_text(e, "name"), cli_text(e, "volume"),
			       cli_text(e, "network"),
			       json_is_true(json_object_get(e, "read_only")) ? " (ro)" : "");
}

static void format_list(const json_t *array, enum cli_kind kind, char *buf, size_t len)
{
	char one[512];
	size_t i, n = 0;
	int k;

	(void)snprintf(buf, len, "-");
	for (i = 0; i < json_array_size(array); i++) {
		format_element(json_array_get(array, i), kind, one, sizeof(one));
		k = snprintf(buf + n, len - n, "%s%s", i ? ", " : "", one);
		if (k < 0 || (size_t)k >= len - n)
			return;
		n += (size_t)k;
	}
}

void cli_fields_format(const json_t *object, const struct cli_field *f, char *buf, size_t len)
{
	const json_t *v = member(object, f->key);
	double number = json_number_value(v);

	if (!v || json_is_null(v)) {
		(void)snprintf(buf, len, "-");
		return;
	}
	switch (f->kind) {
	case CLI_AS_SIZE:
		(void)vs_format_size(number > 0 ? (uint64_t)json_integer_value(v) : 0, buf, len);
		break;
	case CLI_AS_RATIO:
		(void)snprintf(buf, len, "%.2fx", number);
		break;
	case CLI_AS_PERCENT:
		(void)snprintf(buf, len, "%.0f%%", number * 100);
		break;
	case CLI_AS_SECONDS:
		format_seconds(number, buf, len);
		break;
	case CLI_AS_TIME:
		format_time(json_is_string(v) ? json_string_value(v) : "-", buf, len);
		break;
	case CLI_AS_YES_NO:
		(void)snprintf(buf, len, "%s", json_is_true(v) ? "yes" : "no");
		break;
	case CLI_AS_LENGTH:
		(void)snprintf(buf, len, "%zu", json_array_size(v));
		break;
	case CLI_AS_LIST:
	case CLI_AS_LUNS:
	case CLI_AS_KINDS:
		format_list(v, f->kind, buf, len);
		break;
	default:
		if (json_is_integer(v))
			(void)snprintf(buf, len, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		else
			(void)snprintf(buf, len, "%s",
				       json_is_string(v) ? json_string_value(v) : "?");
		break;
	}
	if (buf[0] == '\0')
		(void)snprintf(buf, len, "-");
}

static bool is_figure(enum cli_kind kind)
{
	return kind == CLI_AS_COUNT || kind == CLI_AS_SIZE || kind == CLI_AS_RATIO ||
	       kind == CLI_AS_PERCENT || kind == CLI_AS_SECONDS || kind == CLI_AS_LENGTH;
}

static int print_table(struct cli_table *t)
{
	int rc = cli_table_print(t, cli_fields_colours(), stdout);

	cli_table_free(t);
	return rc < 0 ? cli_fail("the table: out of memory; use --json") : CLI_DONE;
}

int cli_fields_print_list(const json_t *array, const struct cli_field *fields)
{
	struct cli_table *t;
	char text[CELL_MAX];
	size_t i, n, columns = 0;

	while (fields[columns].key)
		columns++;
	t = cli_table_new(columns);
	for (i = 0; i < columns; i++) {
		if (is_figure(fields[i].kind))
			cli_table_right(t, i);
		cli_table_cell(t, fields[i].title, CLI_DIM);
	}
	for (n = 0; n < json_array_size(array); n++) {
		for (i = 0; i < columns; i++) {
			cli_fields_format(json_array_get(array, n), &fields[i], text, sizeof(text));
			cli_table_cell(t, text, colour_of(&fields[i], text));
		}
	}
	return print_table(t);
}

int cli_fields_print_object(const json_t *object, const struct cli_field *fields)
{
	struct cli_table *t = cli_table_new(2);
	char text[CELL_MAX];

	for (; fields->key; fields++) {
		cli_fields_format(object, fields, text, sizeof(text));
		cli_table_cell(t, fields->title, CLI_DIM);
		cli_table_cell(t, text, colour_of(fields, text));
	}
	return print_table(t);
}

int cli_fields_list(const struct cli *c, json_t *array, const struct cli_field *fields)
{
	int status = CLI_DONE;

	if (!array)
		return CLI_FAILED;
	if (c->json)
		cli_print_json(array);
	else if (json_array_size(array))
		status = cli_fields_print_list(array, fields);
	else if (!c->quiet)
		(void)fputs("none\n", stderr);
	json_decref(array);
	return status;
}

int cli_fields_object(const struct cli *c, json_t *object, const struct cli_field *fields)
{
	int status = CLI_DONE;

	if (!object)
		return CLI_FAILED;
	if (c->json)
		cli_print_json(object);
	else
		status = cli_fields_print_object(object, fields);
	json_decref(object);
	return status;
}
