/* init, check: on a device that no daemon has open. */
#include "mgmt/cli/cli_groups.h"

#include "blockstore/check.h"
#include "blockstore/device.h"
#include "blockstore/store.h"
#include "common/loop.h"
#include "common/text.h"
#include "mgmt/cli/cli.h"
#include "mgmt/cli/cli_progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum bs_coding coding_of(const char *name)
{
	if (!name || strcmp(name, "lz4") == 0)
		return BS_CODING_LZ4;
	return strcmp(name, "zstd") == 0 ? BS_CODING_ZSTD : BS_CODING_PLAIN;
}

static int format_device(struct cli *c, const char *path, bool create, struct bs_device **dev,
			 struct vs_error *err)
{
	struct bs_init_options opts = {
	    .segment_size = cli_args_u64(&c->args, "segment", 0),
	    .compression = coding_of(cli_args_text(&c->args, "compression")),
	    .force = cli_args_has(&c->args, "force"),
	};
	int rc = bs_device_open(path, create ? BS_DEVICE_CREATE : 0,
				cli_args_u64(&c->args, "size", 0), dev, err);

	return rc < 0 ? rc : bs_store_init(*dev, &opts, err);
}

static int init(struct cli *c)
{
	const char *path = c->args.pos[0];
	struct bs_device *dev = NULL;
	struct vs_error err = {0};
	char text[16];
	struct stat st;
	uint64_t size;
	bool create = stat(path, &st) < 0 && errno == ENOENT;
	int rc;

	if (create && !cli_args_has(&c->args, "size"))
		return cli_usage(c, "%s does not exist: --size SIZE creates a file", path);
	if (!create && cli_args_has(&c->args, "size"))
		return cli_usage(c, "%s exists: --size is only for a file to be created", path);
	rc = format_device(c, path, create, &dev, &err);
	size = dev ? dev->size : 0;
	if (dev)
		bs_device_close(dev);
	if (rc < 0) {
		if (create && dev)
			(void)unlink(path);
		return cli_fail("%s", err.text);
	}
	(void)vs_format_size(size, text, sizeof(text));
	return cli_done(c, json_pack("{s:s,s:I}", "device", path, "size", (json_int_t)size),
			"formatted %s, %s", path, text);
}

struct check_output {
	const struct cli *c;
	json_t *lines;
	struct cli_progress progress;
};

static void report(void *arg, const char *line, uint64_t done, uint64_t total)
{
	struct check_output *o = arg;

	if (!line) {
		cli_progress_update(&o->progress, done * BS_BLOCK, total * BS_BLOCK, vs_now_ns());
		return;
	}
	cli_progress_end(&o->progress);
	if (o->c->json)
		(void)json_array_append_new(o->lines, json_string(line));
	else
		(void)printf("%s\n", line);
}

static int print_result(const struct cli *c, const struct bs_check_result *r, json_t *lines)
{
	const char *path = c->args.pos[0];
	json_t *answer = json_pack(
	    "{s:s,s:I,s:o,s:I,s:I,s:I,s:I,s:I}", "device", path, "problems",
	    (json_int_t)r->problems, "lines", lines, "volumes", (json_int_t)r->volumes, "snapshots",
	    (json_int_t)r->snapshots, "contents", (json_int_t)r->contents, "map_pages",
	    (json_int_t)r->map_pages, "stored_bytes", (json_int_t)r->stored_bytes);
	char text[16];

	if (r->problems) {
		if (c->json)
			cli_print_json(answer);
		json_decref(answer);
		return cli_fail("%s: differences found: %" PRIu64 "; keep the device as it is and "
				"restore what they name from a backup",
				path, r->problems);
	}
	(void)vs_format_size(r->stored_bytes, text, sizeof(text));
	return cli_done(c, answer,
			"%s: nothing wrong; %" PRIu64 " volumes, %" PRIu64 " snapshots, %" PRIu64
			" contents, %s stored",
			path, r->volumes, r->snapshots, r->contents, text);
}

static int check(struct cli *c)
{
	struct check_output o = {.c = c, .lines = json_array()};
	struct bs_check_options opts = {
	    .read_data = cli_args_has(&c->args, "read-data"), .report = report, .arg = &o};
	struct bs_check_result result = {0};
	struct vs_error err = {0};
	struct bs_device *dev;
	int rc = bs_device_open(c->args.pos[0], BS_DEVICE_READ_ONLY, 0, &dev, &err);

	cli_progress_start(&o.progress, "check", c->quiet);
	if (rc == 0)
		rc = bs_check_run(dev, &opts, &result, &err);
	cli_progress_end(&o.progress);
	if (rc == 0)
		return print_result(c, &result, o.lines);
	json_decref(o.lines);
	return cli_fail("%s", err.text);
}

const struct cli_command cli_offline_init[] = {
    {"", "DEVICE", "format a block device or a file as a store",
     (const struct cli_option[]){
	 {"size", CLI_SIZE, "SIZE", "of the file to be created", 0},
	 {"segment", CLI_SIZE, "SIZE", "of segments: 256K to 16M (default 8M)", 0},
	 {"compression", CLI_CHOICE, "lz4|zstd|none", "of new volumes (default lz4)", 0},
	 {"force", CLI_FLAG, NULL, "overwrite what holds data", 0},
	 {0},
     },
     init},
    {0},
};

const struct cli_command cli_offline_check[] = {
    {"", "DEVICE", "recount a store that no daemon uses; exit 1 if anything differs",
     (const struct cli_option[]){
	 {"read-data", CLI_FLAG, NULL, "also read all content and compare digests", 0},
	 {0},
     },
     check},
    {0},
};
