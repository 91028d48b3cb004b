/* target: create, list, show, set, delete, map, unmap, sessions. */
#include "mgmt/cli/cli_groups.h"

#include "common/text.h"
#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LUN_MAX 16383 /* flat space addressing, SAM-5 section 4.7.7.3 */

#define OPTIONS_ACCESS                                                                         \
	{"initiator", CLI_TEXT, "IQN", "who may log in; others may not", CLI_REPEAT},          \
	    {"chap-user", CLI_TEXT, "NAME", "who logs in gives this name ...", 0},             \
	    {"chap-secret-file", CLI_TEXT, "FILE", "... and the secret in this file", 0},      \
	    {"mutual-user", CLI_TEXT, "NAME", "the target proves itself by this name ...", 0}, \
	    {"mutual-secret-file", CLI_TEXT, "FILE", "... and the secret in this file", 0},    \
	    {"portal-group", CLI_NUMBER, "TAG", "the portals it is reached by", 0},            \
	{                                                                                      \
		"alias", CLI_TEXT, "TEXT", "a name for people, shown to initiators", 0         \
	}

static const struct cli_field list_fields[] = {
    {"iqn", "TARGET", CLI_AS_TEXT},	     {"luns", "LUNS", CLI_AS_LUNS},
    {"chap", "CHAP", CLI_AS_YES_NO},	     {"open", "OPEN TO ALL", CLI_AS_YES_NO},
    {"sessions", "SESSIONS", CLI_AS_LENGTH}, {0},
};

static const struct cli_field show_fields[] = {
    {"iqn", "target", CLI_AS_TEXT},
    {"alias", "alias", CLI_AS_TEXT},
    {"portal_group", "portal group", CLI_AS_COUNT},
    {"initiators", "initiators", CLI_AS_LIST},
    {"open", "open to all", CLI_AS_YES_NO},
    {"chap", "CHAP", CLI_AS_YES_NO},
    {"mutual", "mutual CHAP", CLI_AS_YES_NO},
    {"redirect.address", "redirected to", CLI_AS_TEXT},
    {0},
};

static const struct cli_field lun_fields[] = {
    {"lun", "LUN", CLI_AS_COUNT},
    {"volume", "VOLUME", CLI_AS_TEXT},
    {"read_only", "READ-ONLY", CLI_AS_YES_NO},
    {"removable", "REMOVABLE", CLI_AS_YES_NO},
    {"naa", "NAA", CLI_AS_TEXT},
    {"initiator", "ONLY FOR", CLI_AS_TEXT},
    {0},
};

static const struct cli_field session_fields[] = {
    {"initiator", "INITIATOR", CLI_AS_TEXT},
    {"address", "ADDRESS", CLI_AS_TEXT},
    {"iqn", "TARGET", CLI_AS_TEXT},
    {"connected", "SINCE", CLI_AS_TIME},
    {0},
};

/* "NAME[:LUN]" into {volume, lun?, read_only?, removable?}; NULL after printing why. */
static json_t *parse_lun(const struct cli *c, const char *text)
{
	const char *colon = strchr(text, ':');
	json_t *lun = json_object();
	uint64_t n;

	if (colon && vs_parse_u64(colon + 1, LUN_MAX, &n) < 0) {
		(void)cli_usage(c, "--volume %s: a LUN is a number from 0 to %d", text, LUN_MAX);
		json_decref(lun);
		return NULL;
	}
	if (colon)
		(void)json_object_set_new(lun, "lun", json_integer((json_int_t)n));
	(void)json_object_set_new(
	    lun, "volume", colon ? json_stringn(text, (size_t)(colon - text)) : json_string(text));
	if (cli_args_has(&c->args, "read-only"))
		(void)json_object_set_new(lun, "read_only", json_true());
	if (cli_args_has(&c->args, "removable"))
		(void)json_object_set_new(lun, "removable", json_true());
	return lun;
}

static int add_luns(const struct cli *c, json_t *body)
{
	json_t *luns = json_array(), *lun;
	const char *text;
	size_t i;

	(void)json_object_set_new(body, "volumes", luns);
	for (i = 0; (text = cli_args_nth(&c->args, "volume", i)) != NULL; i++) {
		lun = parse_lun(c, text);
		if (!lun)
			return CLI_USAGE;
		(void)json_array_append_new(luns, lun);
	}
	return 0;
}

static int add_access(const struct cli *c, json_t *body)
{
	int status;

	cli_body_list(c, body, "initiator", "initiators");
	cli_body_u64(c, body, "portal-group", "portal_group");
	cli_body_text(c, body, "alias", "alias");
	status = cli_body_chap(c, "chap", body);
	return status ? status : cli_body_chap(c, "mutual", body);
}

static int done_with(const struct cli *c, json_t *target, const char *what)
{
	if (!target)
		return CLI_FAILED;
	if (json_is_true(json_object_get(target, "open")) && !c->quiet)
		cli_warn("target %s is open to all who reach its portal; 'target set --initiator' "
			 "or CHAP closes it",
			 cli_text(target, "iqn"));
	return cli_done(c, target, "%s target %s", what, cli_text(target, "iqn"));
}

static int create(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "iqn", c->args.pos[0]);
	int status = add_luns(c, body);

	if (status == 0)
		status = add_access(c, body);
	if (status) {
		json_decref(body);
		return status;
	}
	cli_body_flag(c, body, "read-only", "read_only");
	return done_with(c, cli_call(c, "POST", body, "/v1/targets"), "created");
}

static int add_redirect(const struct cli *c, json_t *body)
{
	const char *address = cli_args_text(&c->args, "redirect");
	bool permanent = cli_args_has(&c->args, "permanent");

	if (permanent && !address)
		return cli_usage(c, "--permanent goes with --redirect");
	if (address && cli_args_has(&c->args, "no-redirect"))
		return cli_usage(c, "--redirect or --no-redirect, not both");
	if (address)
		(void)json_object_set_new(
		    body, "redirect",
		    json_pack("{s:s, s:b}", "address", address, "permanent", permanent));
	if (cli_args_has(&c->args, "no-redirect"))
		(void)json_object_set_new(body, "redirect", json_null());
	return 0;
}

static int set(struct cli *c)
{
	json_t *body = json_object();
	int status = add_access(c, body);

	if (status == 0)
		status = add_redirect(c, body);

	if (status == 0 && cli_args_has(&c->args, "any-initiator"))
		(void)json_object_set_new(body, "initiators", json_array());
	if (status == 0 && cli_args_has(&c->args, "no-chap"))
		(void)json_object_set_new(body, "chap", json_null());
	if (status == 0 && cli_args_has(&c->args, "no-mutual"))
		(void)json_object_set_new(body, "mutual", json_null());
	if (status == 0 && json_object_size(body) == 0)
		status = cli_usage(c, "nothing to set: give an option");
	if (status) {
		json_decref(body);
		return status;
	}
	return done_with(c, cli_call(c, "PATCH", body, "/v1/targets/%s", c->args.pos[0]),
			 "changed");
}

static int map(struct cli *c)
{
	json_t *body = parse_lun(c, cli_args_text(&c->args, "volume"));

	if (!body)
		return CLI_USAGE;
	cli_body_text(c, body, "initiator", "initiator");
	return done_with(c, cli_call(c, "POST", body, "/v1/targets/%s/luns", c->args.pos[0]),
			 "changed");
}

static bool wanted_lun(const json_t *lun, const json_t *wanted, const char *initiator)
{
	return strcmp(cli_text(lun, "volume"), cli_text(wanted, "volume")) == 0 &&
	       strcmp(cli_text(lun, "initiator"), initiator) == 0 &&
	       (!json_object_get(wanted, "lun") || cli_u64(lun, "lun") == cli_u64(wanted, "lun"));
}

/* The lowest LUN that is mapped as wanted ({volume, lun?}) says; false after printing why. */
static bool find_lun(struct cli *c, const json_t *wanted, const char *initiator, uint64_t *number)
{
	json_t *target = cli_call(c, "GET", NULL, "/v1/targets/%s", c->args.pos[0]);
	const json_t *luns = json_object_get(target, "luns"), *lun;
	bool found = false;
	size_t i;

	for (i = 0; !found && i < json_array_size(luns); i++) {
		lun = json_array_get(luns, i);
		*number = cli_u64(lun, "lun");
		found = wanted_lun(lun, wanted, initiator);
	}
	if (!found && target)
		(void)cli_fail("target %s: %s is not mapped%s%s; see 'vstore target show'",
			       c->args.pos[0], cli_args_text(&c->args, "volume"),
			       *initiator ? " for " : "", initiator);
	json_decref(target);
	return found;
}

static int unmap(struct cli *c)
{
	json_t *wanted = parse_lun(c, cli_args_text(&c->args, "volume")), *answer;
	const char *initiator = cli_args_text(&c->args, "initiator");
	char text[24];
	uint64_t lun;
	bool found;

	if (!wanted)
		return CLI_USAGE;
	found = find_lun(c, wanted, initiator ? initiator : "", &lun);
	json_decref(wanted);
	if (!found)
		return CLI_FAILED;
	(void)snprintf(text, sizeof(text), "%" PRIu64, lun);
	if (initiator)
		answer = cli_call(c, "DELETE", NULL, "/v1/targets/%s/luns/%s?initiator=%s",
				  c->args.pos[0], text, initiator);
	else
		answer =
		    cli_call(c, "DELETE", NULL, "/v1/targets/%s/luns/%s", c->args.pos[0], text);
	return done_with(c, answer, "changed");
}

static int list(struct cli *c)
{
	return cli_fields_list(c, cli_call(c, "GET", NULL, "/v1/targets"), list_fields);
}

static int show(struct cli *c)
{
	json_t *target = cli_call(c, "GET", NULL, "/v1/targets/%s", c->args.pos[0]);
	const json_t *luns = json_object_get(target, "luns");
	const json_t *sessions = json_object_get(target, "sessions");
	int status;

	if (!target || c->json)
		return cli_fields_object(c, target, show_fields);
	status = cli_fields_print_object(target, show_fields);
	if (status == CLI_DONE && json_array_size(luns)) {
		(void)putchar('\n');
		status = cli_fields_print_list(luns, lun_fields);
	}
	if (status == CLI_DONE && json_array_size(sessions)) {
		(void)putchar('\n');
		status = cli_fields_print_list(sessions, session_fields);
	}
	json_decref(target);
	return status;
}

static int delete_target(struct cli *c)
{
	const char *iqn = c->args.pos[0];
	json_t *answer;

	if (!cli_confirm(c, "Delete target %s? Its sessions end; its volumes stay.", iqn))
		return CLI_FAILED;
	answer = cli_call(c, "DELETE", NULL, "/v1/targets/%s", iqn);
	return answer ? cli_done(c, answer, "deleted target %s", iqn) : CLI_FAILED;
}

static int sessions(struct cli *c)
{
	json_t *answer = c->args.npos
			     ? cli_call(c, "GET", NULL, "/v1/targets/%s/sessions", c->args.pos[0])
			     : cli_call(c, "GET", NULL, "/v1/sessions");

	return cli_fields_list(c, answer, session_fields);
}

const struct cli_command cli_target_commands[] = {
    {"create", "IQN", "create a target; without --initiator and CHAP it is open to all",
     (const struct cli_option[]){
	 {"volume", CLI_TEXT, "NAME[:LUN]", "a volume to show (LUN: lowest free)", CLI_REPEAT},
	 OPTIONS_ACCESS,
	 {"read-only", CLI_FLAG, NULL, "refuse writes to these volumes", 0},
	 {"removable", CLI_FLAG, NULL, "initiators may eject and load these volumes", 0},
	 {0},
     },
     create},
    {"list", "", "list targets", NULL, list},
    {"show", "IQN", "show a target, its LUNs and sessions", NULL, show},
    {"set", "IQN", "change who may log in, and how",
     (const struct cli_option[]){
	 OPTIONS_ACCESS,
	 {"any-initiator", CLI_FLAG, NULL, "every initiator may log in", 0},
	 {"no-chap", CLI_FLAG, NULL, "ask for no secret", 0},
	 {"no-mutual", CLI_FLAG, NULL, "do not prove itself", 0},
	 {"redirect", CLI_TEXT, "ADDR:PORT[,TAG]", "send initiators there: the target moved", 0},
	 {"permanent", CLI_FLAG, NULL, "for good; initiators may remember it", 0},
	 {"no-redirect", CLI_FLAG, NULL, "serve it here again", 0},
	 {0},
     },
     set},
    {"delete", "IQN", "delete a target; its volumes stay", NULL, delete_target},
    {"map", "IQN", "show a volume through a target",
     (const struct cli_option[]){
	 {"initiator", CLI_TEXT, "IQN", "to this initiator only, which then sees no others", 0},
	 {"volume", CLI_TEXT, "NAME[:LUN]", "the volume (LUN: lowest free)", CLI_REQUIRED},
	 {"read-only", CLI_FLAG, NULL, "refuse writes", 0},
	 {"removable", CLI_FLAG, NULL, "initiators may eject and load it", 0},
	 {0},
     },
     map},
    {"unmap", "IQN", "take a volume out of a target",
     (const struct cli_option[]){
	 {"initiator", CLI_TEXT, "IQN", "out of what this initiator alone sees", 0},
	 {"volume", CLI_TEXT, "NAME[:LUN]", "the volume", CLI_REQUIRED},
	 {0},
     },
     unmap},
    {"sessions", "[IQN]", "list who is logged in, to all targets or one", NULL, sessions},
    {0},
};
