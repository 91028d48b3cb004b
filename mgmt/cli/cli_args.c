#include "mgmt/cli/cli_command.h"

#include "common/text.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS_MAX 48

static size_t add_options(struct option *longs, const struct cli_option **by_index, size_t n,
			  const struct cli_option *table)
{
	for (; table && table->name && n < OPTIONS_MAX; table++, n++) {
		longs[n] = (struct option){
		    .name = table->name,
		    .has_arg = table->value == CLI_FLAG ? no_argument : required_argument,
		};
		by_index[n] = table;
	}
	return n;
}

static bool choice_ok(const char *words, const char *text)
{
	size_t len = strlen(text);

	while (*words) {
		size_t n = strcspn(words, "|");

		if (n == len && memcmp(words, text, n) == 0)
			return true;
		words += n + (words[n] == '|');
	}
	return false;
}

static int check_value(const struct cli_option *o, const char *text, struct vs_error *err)
{
	uint64_t value;

	switch (o->value) {
	case CLI_SIZE:
		if (vs_parse_size(text, &value) < 0)
			return vs_fail(
			    err, VS_E_INVAL,
			    "--%s: '%.64s' is not a size: give bytes, or a number with K, "
			    "M, G or T",
			    o->name, text);
		return 0;
	case CLI_NUMBER:
		if (vs_parse_u64(text, UINT64_MAX, &value) < 0)
			return vs_fail(err, VS_E_INVAL,
				       "--%s: '%.64s' is not a number: give decimal digits",
				       o->name, text);
		return 0;
	case CLI_CHOICE:
		if (!choice_ok(o->arg, text))
			return vs_fail(err, VS_E_INVAL,
				       "--%s: '%.64s' is not known: give one of %s", o->name, text,
				       o->arg);
		return 0;
	default:
		return 0;
	}
}

static int add_given(struct cli_args *args, const struct cli_option *o, const char *text,
		     struct vs_error *err)
{
	int rc = o->value == CLI_FLAG ? 0 : check_value(o, text, err);

	if (rc < 0)
		return rc;
	if (args->ngiven == CLI_GIVEN_MAX)
		return vs_fail(err, VS_E_INVAL, "too many options: at most %d are taken",
			       CLI_GIVEN_MAX);
	if (o->value != CLI_FLAG && !(o->flags & CLI_REPEAT) && cli_args_has(args, o->name))
		return vs_fail(err, VS_E_INVAL, "--%s: given twice: give it once", o->name);
	args->given[args->ngiven].option = o;
	args->given[args->ngiven++].text = text ? text : "";
	return 0;
}

int cli_args_parse(struct cli_args *args, const struct cli_command *command, int argc, char *argv[],
		   bool stop, int *rest, struct vs_error *err)
{
	struct option longs[OPTIONS_MAX + 2] = {0};
	const struct cli_option *by_index[OPTIONS_MAX];
	size_t n = add_options(longs, by_index, 0, cli_globals);
	int opt, index = -1, rc;

	n = add_options(longs, by_index, n, command ? command->options : NULL);
	longs[n] = (struct option){.name = "help", .has_arg = no_argument, .val = 'h'};
	optind = 0; /* glibc: start over, with a new argv */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, stop ? "+:h" : ":h", longs, &index)) != -1) {
		switch (opt) {
		case 'h':
			return CLI_HELP_ASKED;
		case ':':
			return vs_fail(err, VS_E_INVAL, "%s: needs a value", argv[optind - 1]);
		case '?':
			return vs_fail(
			    err, VS_E_INVAL,
			    "%.64s: no such option here, or not unique, or takes no value",
			    argv[optind - 1]);
		default:
			rc = add_given(args, by_index[index], optarg, err);
			if (rc < 0)
				return rc;
		}
	}
	*rest = optind;
	for (; !stop && optind < argc; optind++) {
		if (args->npos == CLI_ARGS_MAX)
			return vs_fail(err, VS_E_INVAL, "too many arguments: at most %d are taken",
				       CLI_ARGS_MAX);
		args->pos[args->npos++] = argv[optind];
	}
	return 0;
}

/* The n-th word of a description, for "NAME is missing". */
static void nth_word(const char *words, size_t n, char *out, size_t len)
{
	while (n-- && *words) {
		words += strcspn(words, " ");
		words += strspn(words, " ");
	}
	(void)snprintf(out, len, "%.*s", (int)strcspn(words, " ."), words);
}

int cli_args_check(const struct cli_args *args, const struct cli_command *command,
		   struct vs_error *err)
{
	const struct cli_option *o;
	size_t min, max, i;
	char word[64];

	cli_command_arity(command->args, &min, &max);
	if (args->npos < min) {
		nth_word(command->args, args->npos, word, sizeof(word));
		return vs_fail(err, VS_E_INVAL, "%s is missing", word);
	}
	if (args->npos > max)
		return vs_fail(err, VS_E_INVAL, "'%.64s' is one argument too many", args->pos[max]);
	for (i = 0; i < args->npos; i++)
		if (args->pos[i][0] == '\0')
			return vs_fail(err, VS_E_INVAL, "an argument is empty");
	for (o = command->options; o && o->name; o++)
		if ((o->flags & CLI_REQUIRED) && !cli_args_has(args, o->name))
			return vs_fail(err, VS_E_INVAL, "--%s %s is missing", o->name, o->arg);
	return 0;
}

const char *cli_args_nth(const struct cli_args *args, const char *option, size_t i)
{
	size_t g;

	for (g = 0; g < args->ngiven; g++)
		if (strcmp(args->given[g].option->name, option) == 0 && i-- == 0)
			return args->given[g].text;
	return NULL;
}

const char *cli_args_text(const struct cli_args *args, const char *option)
{
	const char *text, *last = NULL;
	size_t i;

	for (i = 0; (text = cli_args_nth(args, option, i)) != NULL; i++)
		last = text;
	return last;
}

bool cli_args_has(const struct cli_args *args, const char *option)
{
	return cli_args_nth(args, option, 0) != NULL;
}

uint64_t cli_args_u64(const struct cli_args *args, const char *option, uint64_t dflt)
{
	const char *text = cli_args_text(args, option);
	uint64_t value;

	if (!text)
		return dflt;
	if (vs_parse_u64(text, UINT64_MAX, &value) == 0 || vs_parse_size(text, &value) == 0)
		return value;
	return dflt;
}
