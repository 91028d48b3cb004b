#include "mgmt/cli/cli_body.h"

#include "common/secret.h"

#include <stdio.h>
#include <stdlib.h>

void cli_body_text(const struct cli *c, json_t *body, const char *option, const char *key)
{
	const char *text = cli_args_text(&c->args, option);

	if (text)
		(void)json_object_set_new(body, key, json_string(text));
}

void cli_body_u64(const struct cli *c, json_t *body, const char *option, const char *key)
{
	uint64_t value = cli_args_u64(&c->args, option, 0);

	if (!cli_args_has(&c->args, option))
		return;
	value = value > INT64_MAX ? INT64_MAX : value;
	(void)json_object_set_new(body, key, json_integer((json_int_t)value));
}

void cli_body_flag(const struct cli *c, json_t *body, const char *option, const char *key)
{
	if (cli_args_has(&c->args, option))
		(void)json_object_set_new(body, key, json_true());
}

void cli_body_list(const struct cli *c, json_t *body, const char *option, const char *key)
{
	const char *text;
	json_t *list;
	size_t i;

	if (!cli_args_has(&c->args, option))
		return;
	list = json_array();
	for (i = 0; (text = cli_args_nth(&c->args, option, i)) != NULL; i++)
		(void)json_array_append_new(list, json_string(text));
	(void)json_object_set_new(body, key, list);
}

int cli_body_path(const struct cli *c, json_t *body, const char *option, const char *key)
{
	const char *text = cli_args_text(&c->args, option);
	char *path;

	if (!text)
		return 0;
	path = cli_absolute(text);
	if (!path)
		return CLI_FAILED;
	(void)json_object_set_new(body, key, json_string(path));
	free(path);
	return 0;
}

int cli_body_secret(const char *path, json_t *body, const char *key)
{
	struct vs_error err = {0};
	char secret[4096];
	int rc = vs_secret_read(path, secret, sizeof(secret), &err);

	if (rc == 0 && json_object_set_new(body, key, json_string(secret)) < 0)
		rc = vs_fail(&err, VS_E_INVAL, "%s: the secret is no UTF-8 text", path);
	vs_secret_wipe(secret, sizeof(secret));
	return rc < 0 ? cli_fail("%s", err.text) : 0;
}

int cli_body_lun(const struct cli *c, json_t *body)
{
	const char *user = cli_args_text(&c->args, "chap-user");
	const char *file = cli_args_text(&c->args, "chap-secret-file");
	json_t *chap;

	if (user && !file)
		return cli_usage(c, "--chap-user and --chap-secret-file go together");
	if (!file)
		return 0;
	chap = json_object();
	if (user && json_object_set_new(chap, "user", json_string(user)) < 0)
		return cli_fail("--chap-user: the name is no UTF-8 text");
	if (json_object_set_new(body, "chap", chap) < 0)
		return cli_fail("out of memory");
	return cli_body_secret(file, chap, "secret");
}

int cli_body_chap(const struct cli *c, const char *prefix, json_t *body)
{
	char user_opt[32], file_opt[32];
	const char *user, *file;
	json_t *chap;

	(void)snprintf(user_opt, sizeof(user_opt), "%s-user", prefix);
	(void)snprintf(file_opt, sizeof(file_opt), "%s-secret-file", prefix);
	user = cli_args_text(&c->args, user_opt);
	file = cli_args_text(&c->args, file_opt);
	if (!user && !file)
		return 0;
	if (!user || !file)
		return cli_usage(c, "--%s and --%s go together", user_opt, file_opt);
	chap = json_pack("{s:s}", "user", user);
	if (!chap)
		return cli_fail("--%s: the name is no UTF-8 text", user_opt);
	if (json_object_set_new(body, prefix, chap) < 0)
		return cli_fail("out of memory");
	return cli_body_secret(file, chap, "secret");
}
