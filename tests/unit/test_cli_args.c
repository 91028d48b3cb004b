/* The command line: finding commands, options, arguments, what is refused. */
#include "mgmt/cli/cli_command.h"
#include "mgmt/cli/cli_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 16

/* A command line split at spaces; getopt permutes it, so each test has its own. */
struct line {
	char text[256];
	char *argv[WORDS_MAX + 1];
	int argc;
};

static struct line *split(struct line *l, const char *text)
{
	char *save = NULL, *word;

	(void)snprintf(l->text, sizeof(l->text), "%s", text);
	l->argc = 0;
	for (word = strtok_r(l->text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		l->argv[l->argc++] = word;
	l->argv[l->argc] = NULL;
	return l;
}

static const struct cli_command *find(const char *text, int *used)
{
	const struct cli_group *group;
	const struct cli_command *command;
	struct line l;

	split(&l, text);
	if (cli_command_find(l.argc, l.argv, &group, &command, used, NULL) < 0)
		return NULL;
	return command;
}

static void finds_commands(void **state)
{
	int used;

	(void)state;
	assert_string_equal(find("volume create web1", &used)->verb, "create");
	assert_int_equal(used, 2);
	assert_string_equal(find("status", &used)->verb, "");
	assert_int_equal(used, 1);
	assert_null(find("volume", &used));
	assert_null(find("volume creat", &used));
	assert_null(find("volumes list", &used));
	assert_null(find("", &used));
}

static void shorthand_means_create(void **state)
{
	int used;

	(void)state;
	assert_string_equal(find("snapshot web1@a", &used)->verb, "create");
	assert_int_equal(used, 1);
	assert_string_equal(find("backup web1", &used)->verb, "create");
	assert_int_equal(used, 1);
	assert_string_equal(find("snapshot list", &used)->verb, "list");
	assert_int_equal(used, 2);
}

static void arity_is_read_from_the_description(void **state)
{
	size_t min, max;

	(void)state;
	cli_command_arity("", &min, &max);
	assert_int_equal(min, 0);
	assert_int_equal(max, 0);
	cli_command_arity("NAME [NEW]", &min, &max);
	assert_int_equal(min, 1);
	assert_int_equal(max, 2);
	cli_command_arity("NAME@A NAME[@B]", &min, &max);
	assert_int_equal(min, 2);
	assert_int_equal(max, 2);
	cli_command_arity("NAME@SNAP...", &min, &max);
	assert_int_equal(min, 1);
	assert_int_equal(max, CLI_ARGS_MAX);
	cli_command_arity("[COMMAND...]", &min, &max);
	assert_int_equal(min, 0);
	assert_int_equal(max, CLI_ARGS_MAX);
}

static int noop(struct cli *c)
{
	(void)c;
	return 0;
}

static const struct cli_option options[] = {
    {"size", CLI_SIZE, "SIZE", "", CLI_REQUIRED},
    {"count", CLI_NUMBER, "N", "", 0},
    {"mode", CLI_CHOICE, "fast|slow", "", 0},
    {"disk", CLI_TEXT, "VOLUME", "", CLI_REPEAT},
    {"force", CLI_FLAG, NULL, "", 0},
    {0},
};
static const struct cli_command command = {"make", "NAME [NEW]", "", options, noop};

/* Parses and checks; the outcome's error text, "" when all is well. */
static const char *parse(struct cli_args *args, const char *text)
{
	static struct line l;
	static struct vs_error err;
	int rest, rc;

	memset(args, 0, sizeof(*args));
	memset(&err, 0, sizeof(err));
	split(&l, text);
	rc = cli_args_parse(args, &command, l.argc, l.argv, false, &rest, &err);
	if (rc == CLI_HELP_ASKED)
		return "help";
	if (rc == 0)
		rc = cli_args_check(args, &command, &err);
	assert_true((rc == 0) == (err.text[0] == '\0'));
	return err.text;
}

static void takes_options_anywhere(void **state)
{
	struct cli_args a;

	(void)state;
	assert_string_equal(parse(&a, "x --size 2M web1 --disk a --force --disk=b --json new"), "");
	assert_int_equal(a.npos, 2);
	assert_string_equal(a.pos[0], "web1");
	assert_string_equal(a.pos[1], "new");
	assert_int_equal(cli_args_u64(&a, "size", 0), 2 << 20);
	assert_int_equal(cli_args_u64(&a, "count", 7), 7);
	assert_true(cli_args_has(&a, "force"));
	assert_true(cli_args_has(&a, "json"));
	assert_false(cli_args_has(&a, "yes"));
	assert_string_equal(cli_args_nth(&a, "disk", 0), "a");
	assert_string_equal(cli_args_text(&a, "disk"), "b");
	assert_null(cli_args_nth(&a, "disk", 2));
	assert_string_equal(parse(&a, "x --size 1 - --help"), "help");
	assert_string_equal(parse(&a, "x --size 1 -"), "");
	assert_string_equal(a.pos[0], "-");
	a = (struct cli_args){.pos = {""}, .npos = 1};
	assert_int_equal(cli_args_check(&a, &command, NULL), VS_E_INVAL);
	assert_string_equal(parse(&a, "x --size 1 -- --force"), "");
	assert_string_equal(a.pos[0], "--force");
	assert_false(cli_args_has(&a, "force"));
}

static void refuses_bad_lines(void **state)
{
	static const struct {
		const char *line, *says;
	} bad[] = {
	    {"x --size 1M", "NAME is missing"},
	    {"x a", "--size SIZE is missing"},
	    {"x a b c --size 1", "'c' is one argument too many"},
	    {"x a --size 1Q", "is not a size"},
	    {"x a --size -1", "is not a size"},
	    {"x a --size 99999999999G", "is not a size"},
	    {"x a --size 1 --count 0x1", "is not a number"},
	    {"x a --size 1 --count 99999999999999999999", "is not a number"},
	    {"x a --size 1 --mode fas", "give one of fast|slow"},
	    {"x a --size 1 --mode fast|slow", "give one of fast|slow"},
	    {"x a --size 1 --size 2", "given twice"},
	    {"x a --size", "needs a value"},
	    {"x a --size 1 --nope", "no such option"},
	    {"x a --size 1 -z", "no such option"},
	    {"x a --size 1 --force=1", "takes no value"},
	};
	struct cli_args a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *text = parse(&a, bad[i].line);

		if (!strstr(text, bad[i].says))
			fail_msg("'%s' says '%s', not '%s'", bad[i].line, text, bad[i].says);
	}
}

static void bounds_hold(void **state)
{
	char *argv[CLI_GIVEN_MAX * 2 + 4];
	struct cli_args a = {0};
	int rest, n = 0, i;

	(void)state;
	argv[n++] = "x";
	for (i = 0; i < CLI_ARGS_MAX + 1; i++)
		argv[n++] = "word";
	argv[n] = NULL;
	assert_int_equal(cli_args_parse(&a, &command, n, argv, false, &rest, NULL), VS_E_INVAL);
	memset(&a, 0, sizeof(a));
	for (n = 1, i = 0; i < CLI_GIVEN_MAX + 1; i++)
		argv[n++] = "--force";
	argv[n] = NULL;
	assert_int_equal(cli_args_parse(&a, &command, n, argv, false, &rest, NULL), VS_E_INVAL);
}

static void globals_stop_at_the_command(void **state)
{
	struct cli_args a = {0};
	struct line l;
	int rest;

	(void)state;
	split(&l, "vstore --json --socket /s volume list --json");
	assert_int_equal(cli_args_parse(&a, NULL, l.argc, l.argv, true, &rest, NULL), 0);
	assert_string_equal(l.argv[rest], "volume");
	assert_string_equal(cli_args_text(&a, "socket"), "/s");
}

/* No option of a command hides a global one, and every choice and value has its description. */
static void tables_are_sound(void **state)
{
	const struct cli_group *g;
	const struct cli_command *c;
	const struct cli_option *o, *other;

	(void)state;
	for (g = cli_groups; g->name; g++) {
		assert_true(g->help[0] && g->page[0]);
		for (c = g->commands; c->verb; c++) {
			assert_non_null(c->run);
			assert_true(c->help[0]);
			for (o = c->options; o && o->name; o++) {
				assert_int_equal(o->value == CLI_FLAG, o->arg == NULL);
				assert_true(o->help[0]);
				for (other = cli_globals; other->name; other++)
					assert_string_not_equal(o->name, other->name);
				for (other = o + 1; other->name; other++)
					assert_string_not_equal(o->name, other->name);
			}
		}
	}
}

static void help_names_every_command(void **state)
{
	const struct cli_group *g;
	const struct cli_command *c;
	char *text = NULL, usage[128];
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	assert_non_null(f);
	cli_help_all(f);
	assert_int_equal(fclose(f), 0);
	for (g = cli_groups; g->name; g++) {
		for (c = g->commands; c->verb; c++) {
			(void)snprintf(usage, sizeof(usage), "usage: vstore %s%s%s", g->name,
				       c->verb[0] ? " " : "", c->verb);
			if (!strstr(text, usage))
				fail_msg("no help says '%s'", usage);
		}
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_commands),
	    cmocka_unit_test(shorthand_means_create),
	    cmocka_unit_test(arity_is_read_from_the_description),
	    cmocka_unit_test(takes_options_anywhere),
	    cmocka_unit_test(refuses_bad_lines),
	    cmocka_unit_test(bounds_hold),
	    cmocka_unit_test(globals_stop_at_the_command),
	    cmocka_unit_test(tables_are_sound),
	    cmocka_unit_test(help_names_every_command),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
