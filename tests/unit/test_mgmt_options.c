#include "mgmt/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS(...)                            \
	(char *[])                           \
	{                                    \
		"vstored", __VA_ARGS__, NULL \
	}

static struct mg_options options;

static enum mg_options_action parse(char **argv, struct vs_error *err)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	memset(err, 0, sizeof(*err));
	return mg_options_parse(argc, argv, &options, err);
}

/* Writes text into a new file below the working directory's build/. */
static void config(char path[64], const char *text)
{
	int fd;

	(void)snprintf(path, 64, "%s", "/tmp/test_mgmt_options.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_defaults(void **state)
{
	struct vs_error err;

	(void)state;
	assert_int_equal(parse(ARGS("--config", "/dev/null"), &err), MG_RUN);
	assert_string_equal(options.state, "/var/lib/vstore");
	assert_string_equal(options.stores.at[0], "/var/lib/vstore/store.img");
	assert_int_equal(options.iscsi.n, 1);
	assert_string_equal(options.iscsi.at[0].host, "127.0.0.1");
	assert_int_equal(options.iscsi.at[0].port, 3260);
	assert_int_equal(options.nbd.n, 0);
	assert_true(options.memory >= UINT64_C(256) << 20);
	assert_int_equal(options.log_level, VS_LOG_INFO);
}

/* The port mapper is off unless told, is for NFS only, and may be off again on the command line. */
static void test_portmap(void **state)
{
	char path[64];
	struct vs_error err;

	(void)state;
	assert_int_equal(parse(ARGS("--config", "/dev/null"), &err), MG_RUN);
	assert_int_equal(options.nfs_portmap.n, 0);
	config(path, "nfs-portmap = 127.0.0.1:111\nnfs-portmap = [::1]:111\n");
	assert_int_equal(parse(ARGS("--config", path), &err), MG_RUN);
	assert_int_equal(options.nfs_portmap.n, 2);
	assert_int_equal(options.nfs_portmap.at[1].port, 111);
	assert_int_equal(parse(ARGS("--config", path, "--nfs", "off"), &err), MG_USAGE);
	assert_non_null(strstr(err.text, "NFS is off"));
	assert_int_equal(
	    parse(ARGS("--config", path, "--nfs", "off", "--nfs-portmap", "off"), &err), MG_RUN);
	assert_int_equal(options.nfs_portmap.n, 0);
	assert_int_equal(unlink(path), 0);
}

/* A store on a LUN: its secret and how long it is waited for; the command line wins. */
static void test_lun(void **state)
{
	static char *const bad[] = {"0", "-1", "1s", "86401", ""};
	struct vs_error err;
	char path[64];

	(void)state;
	config(path, "store = iscsi://joe@10.0.0.1/iqn.2026-11.org.example/0\n"
		     "store-secret-file = /etc/vstore/lun.secret\nstore-hold = 90\n");
	assert_int_equal(parse(ARGS("--config", path, "--store-hold", "5"), &err), MG_RUN);
	assert_string_equal(options.stores.at[0], "iscsi://joe@10.0.0.1/iqn.2026-11.org.example/0");
	assert_string_equal(options.store_secret_file, "/etc/vstore/lun.secret");
	assert_int_equal(options.store_hold_ns, UINT64_C(5000000000));
	unlink(path);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(ARGS("--config", "/dev/null", "--store-hold", bad[i]), &err),
				 MG_USAGE);
		assert_non_null(strstr(err.text, "store-hold"));
	}
}

static void test_help_and_version(void **state)
{
	struct vs_error err;

	(void)state;
	assert_int_equal(parse(ARGS("--help"), &err), MG_HELP);
	assert_int_equal(parse(ARGS("--version"), &err), MG_SHOW_VERSION);
}

static void test_file_and_command_line(void **state)
{
	struct vs_error err;
	char path[64];

	(void)state;
	config(path, "# a node\nstate = /srv/a\nmemory = 512M\niscsi = 127.0.0.1:1\n"
		     "iscsi = 7@[::1]:2\nnbd = 127.0.0.1:3\nlog-level = debug\n");
	assert_int_equal(parse(ARGS("--config", path), &err), MG_RUN);
	assert_string_equal(options.stores.at[0], "/srv/a/store.img");
	assert_int_equal(options.memory, 512 << 20);
	assert_int_equal(options.iscsi.n, 2);
	assert_int_equal(options.iscsi.at[0].tag, 1);
	assert_int_equal(options.iscsi.at[1].tag, 7);
	assert_string_equal(options.iscsi.at[1].host, "::1");
	assert_int_equal(options.nbd.at[0].port, 3);
	assert_int_equal(options.log_level, VS_LOG_DEBUG);

	/* "off" drops what stands before it. */
	assert_int_equal(parse(ARGS("--config", path, "--nbd", "127.0.0.1:1", "--nbd", "off",
				    "--iscsi", "off", "--iscsi", "127.0.0.1:2"),
			       &err),
			 MG_RUN);
	assert_int_equal(options.nbd.n, 0);
	assert_int_equal(options.iscsi.n, 1);
	assert_int_equal(options.iscsi.at[0].port, 2);

	/* The command line wins, and a list replaces the file's. */
	assert_int_equal(
	    parse(ARGS("--config", path, "--iscsi", "off", "--nbd", "127.0.0.1:9", "--memory", "1G",
		       "--store", "/dev/sdz", "--log-level", "error"),
		  &err),
	    MG_RUN);
	assert_int_equal(options.iscsi.n, 0);
	assert_int_equal(options.nbd.n, 1);
	assert_int_equal(options.nbd.at[0].port, 9);
	assert_int_equal(options.memory, 1 << 30);
	assert_string_equal(options.stores.at[0], "/dev/sdz");
	assert_string_equal(options.state, "/srv/a");
	assert_int_equal(options.log_level, VS_LOG_ERROR);
	unlink(path);
}

static void test_bad_files(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"state\n", ":1: expected \"key = value\""},
	    {"\n\nmemory = lots\n", ":3: memory: 'lots' is not a size"},
	    {"memory = 1M\n", "at least 256M"},
	    {"colour = red\n", ":1: unknown key 'colour'"},
	    {"[net]\nnbd = off\n", ":2: unknown section [net]"},
	    {"nbd = example.org:1\n", "not a numeric address"},
	    {"log-level = loud\n", "none of error, warning"},
	    {"discard = maybe\n", "neither on nor off"},
	    {"state = \n", "a path is missing"},
	    {"\x01\x02\xff\xfe garbage \x7f", ":1:"},
	};
	struct vs_error err;
	char path[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		config(path, cases[i].text);
		assert_int_equal(parse(ARGS("--config", path), &err), MG_USAGE);
		if (!strstr(err.text, cases[i].says) || strchr(err.text, '\n'))
			fail_msg("%s: %s", cases[i].says, err.text);
		unlink(path);
	}
	assert_int_equal(parse(ARGS("--config", "/nonexistent/vstore.conf"), &err), MG_USAGE);
	assert_non_null(strstr(err.text, "/nonexistent/vstore.conf"));
}

static void test_bad_arguments(void **state)
{
	struct vs_error err;

	(void)state;
	assert_int_equal(parse(ARGS("--colour", "red"), &err), MG_USAGE);
	assert_non_null(strstr(err.text, "--colour"));
	assert_int_equal(parse(ARGS("--state"), &err), MG_USAGE);
	assert_non_null(strstr(err.text, "--state"));
	assert_int_equal(parse(ARGS("stray"), &err), MG_USAGE);
	assert_non_null(strstr(err.text, "stray"));
	assert_int_equal(parse(ARGS("--iscsi", "0@127.0.0.1:1"), &err), MG_USAGE);
	assert_int_equal(parse(ARGS("--nbd", "1@127.0.0.1:1"), &err), MG_USAGE);
}

static void test_addresses(void **state)
{
	static const char *const bad[] = {
	    "",		  "127.0.0.1",	     ":1",
	    "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x",
	    "::1:3260",	  "[::1]3260",	     "[::1:3260",
	    "[]:1",	  "host:1",	     "65536@[::1]:1",
	    "x@[::1]:1",  "127.0.0.1:1 off",
	};
	struct mg_listen l;
	struct vs_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (mg_options_listen(bad[i], true, &l, &err) == 0)
			fail_msg("'%s' was taken", bad[i]);
	assert_int_equal(mg_options_listen("65535@[::1]:0", true, &l, &err), 0);
	assert_int_equal(l.tag, 65535);
	assert_int_equal(l.port, 0);
	assert_int_equal(l.addr.ss_family, AF_INET6);
	assert_string_equal(l.text, "[::1]:0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_portmap),
	    cmocka_unit_test(test_lun),
	    cmocka_unit_test(test_help_and_version),
	    cmocka_unit_test(test_file_and_command_line),
	    cmocka_unit_test(test_bad_files),
	    cmocka_unit_test(test_bad_arguments),
	    cmocka_unit_test(test_addresses),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
