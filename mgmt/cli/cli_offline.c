/* init, check: on a device that no daemon has open. */
#include "mgmt/cli/cli_groups.h"

#include "blockstore/check.h"
#include "blockstore/device.h"
#include "blockstore/lun_url.h"
#include "blockstore/nfs_url.h"
#include "blockstore/store.h"
#include "common/bytes.h"
#include "common/loop.h"
#include "common/secret.h"
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

#define DEVICES_MAX 16
#define OPTION_SECRET                                                                         \
	{                                                                                     \
		"chap-secret-file", CLI_TEXT, "FILE", "of an iscsi:// LUN, its URL's user", 0 \
	}

/* The devices of a command, and which of them are files that it has made. */
struct devices {
	struct bs_device *dev[DEVICES_MAX];
	bool made[DEVICES_MAX];
	unsigned n;
};

static void close_devices(struct devices *d)
{
	for (unsigned i = 0; i < d->n; i++)
		bs_device_close(d->dev[i]);
}

static void unmake(const struct cli *c, const struct devices *d)
{
	struct vs_error err;

	for (unsigned i = 0; i < d->n; i++)
		if (d->made[i] && bs_device_unmake(c->args.pos[i], &err) != 0)
			(void)cli_fail("%s", err.text);
}

/* Whether it has to be there already. Of an NFS server's file only --size says that it has not. */
static bool exists(const struct cli *c, const char *path)
{
	struct stat st;

	if (bs_nfs_url_is(path))
		return !cli_args_has(&c->args, "size");
	return bs_lun_url_is(path) || stat(path, &st) == 0 || errno != ENOENT;
}

static int open_device(const struct cli *c, const char *path, unsigned flags, uint64_t size,
		       struct bs_device **out, struct vs_error *err)
{
	const char *file = cli_args_text(&c->args, "chap-secret-file");
	struct bs_device_lun lun = {0};
	char secret[256] = "";
	int rc = 0;

	if (file && bs_lun_url_is(path)) {
		rc = vs_secret_read(file, secret, sizeof(secret), err);
		lun.secret = secret;
	}
	if (rc == 0)
		rc = bs_device_open_as(path, flags, size, &lun, out, err);
	vs_secret_wipe(secret, sizeof(secret));
	return rc;
}

static int format_devices(struct cli *c, struct devices *d, struct vs_error *err)
{
	struct bs_init_options opts = {
	    .segment_size = cli_args_u64(&c->args, "segment", 0),
	    .compression = coding_of(cli_args_text(&c->args, "compression")),
	    .force = cli_args_has(&c->args, "force"),
	    .mirror = cli_args_has(&c->args, "mirror"),
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < c->args.npos; i++) {
		d->made[i] = !exists(c, c->args.pos[i]);
		rc = open_device(c, c->args.pos[i], d->made[i] ? BS_DEVICE_CREATE : 0,
				 cli_args_u64(&c->args, "size", 0), &d->dev[i], err);
		d->n += rc == 0;
	}
	return rc ? rc : bs_store_init_all(d->dev, d->n, &opts, err);
}

static int init_usage(struct cli *c)
{
	bool size = cli_args_has(&c->args, "size"), any_new = false;

	if (c->args.npos > DEVICES_MAX)
		return cli_usage(c, "a store has at most %d devices", DEVICES_MAX);
	if (cli_args_has(&c->args, "mirror") && c->args.npos < 2)
		return cli_usage(c, "--mirror needs two devices or more");
	for (size_t i = 0; i < c->args.npos; i++) {
		bool is_new = !exists(c, c->args.pos[i]);

		if (is_new && !size)
			return cli_usage(c, "%s does not exist: --size SIZE creates a file",
					 c->args.pos[i]);
		any_new |= is_new;
	}
	return size && !any_new ? cli_usage(c, "%s exists: --size is only for a file to be created",
					    c->args.pos[0])
				: CLI_DONE;
}

static int init_done(struct cli *c, const struct devices *d)
{
	bool mirror = cli_args_has(&c->args, "mirror");
	json_t *names = json_array();
	uint64_t size = mirror ? UINT64_MAX : 0;
	char text[16];

	for (unsigned i = 0; i < d->n; i++) {
		(void)json_array_append_new(names, json_string(c->args.pos[i]));
		size = mirror ? VS_MIN(size, d->dev[i]->size) : size + d->dev[i]->size;
	}
	(void)vs_format_size(size, text, sizeof(text));
	return cli_done(c,
			json_pack("{s:s,s:I,s:o}", "device", c->args.pos[0], "size",
				  (json_int_t)size, "devices", names),
			d->n == 1 ? "formatted %s, %s" : "formatted %s and others, %s",
			c->args.pos[0], text);
}

static int init(struct cli *c)
{
	struct devices d = {0};
	struct vs_error err = {0};
	int status = init_usage(c), rc;

	if (status != CLI_DONE)
		return status;
	rc = format_devices(c, &d, &err);
	status = rc < 0 ? cli_fail("%s", err.text) : init_done(c, &d);
	close_devices(&d);
	if (rc < 0)
		unmake(c, &d);
	return status;
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
	json_t *answer =
	    json_pack("{s:s,s:I,s:I,s:o,s:I,s:I,s:I,s:I,s:I}", "device", path, "problems",
		      (json_int_t)r->problems, "repaired", (json_int_t)r->repaired, "lines", lines,
		      "volumes", (json_int_t)r->volumes, "snapshots", (json_int_t)r->snapshots,
		      "contents", (json_int_t)r->contents, "map_pages", (json_int_t)r->map_pages,
		      "stored_bytes", (json_int_t)r->stored_bytes);
	char text[16];

	if (r->problems) {
		if (c->json)
			cli_print_json(answer);
		json_decref(answer);
		return cli_fail("%s: differences found: %" PRIu64 "; keep the device as it is and "
				"restore what they name from a backup",
				path, r->problems);
	}
	if (r->repaired)
		return cli_done(c, answer, "%s: repaired %" PRIu64 " differences; nothing was lost",
				path, r->repaired);
	(void)vs_format_size(r->stored_bytes, text, sizeof(text));
	return cli_done(c, answer,
			"%s: nothing wrong; %" PRIu64 " volumes, %" PRIu64 " snapshots, %" PRIu64
			" contents, %s stored",
			path, r->volumes, r->snapshots, r->contents, text);
}

static int check(struct cli *c)
{
	struct check_output o = {.c = c, .lines = json_array()};
	struct bs_check_options opts = {.read_data = cli_args_has(&c->args, "read-data"),
					.repair = cli_args_has(&c->args, "repair"),
					.report = report,
					.arg = &o};
	struct bs_check_result result = {0};
	struct vs_error err = {0};
	struct devices d = {0};
	int rc = 0;

	if (c->args.npos > DEVICES_MAX)
		return cli_usage(c, "a store has at most %d devices", DEVICES_MAX);
	for (size_t i = 0; rc == 0 && i < c->args.npos; i++) {
		rc = open_device(c, c->args.pos[i], opts.repair ? 0 : BS_DEVICE_READ_ONLY, 0,
				 &d.dev[i], &err);
		d.n += rc == 0;
	}
	cli_progress_start(&o.progress, "check", c->quiet);
	if (rc == 0)
		rc = bs_check_run_all(d.dev, d.n, &opts, &result, &err);
	else
		close_devices(&d);
	cli_progress_end(&o.progress);
	if (rc == 0)
		return print_result(c, &result, o.lines);
	json_decref(o.lines);
	return cli_fail("%s", err.text);
}

const struct cli_command cli_offline_init[] = {
    {"", "DEVICE...", "format block devices, files or LUNs as a store",
     (const struct cli_option[]){
	 {"size", CLI_SIZE, "SIZE", "of the file to be created", 0},
	 {"mirror", CLI_FLAG, NULL, "each device holds everything, instead of a part", 0},
	 {"segment", CLI_SIZE, "SIZE", "of segments: 256K to 16M (default 8M)", 0},
	 {"compression", CLI_CHOICE, "lz4|zstd|none", "of new volumes (default lz4)", 0},
	 {"force", CLI_FLAG, NULL, "overwrite what holds data", 0},
	 OPTION_SECRET,
	 {0},
     },
     init},
    {0},
};

const struct cli_command cli_offline_check[] = {
    {"", "DEVICE...", "recount a store that no daemon uses; exit 1 if anything differs",
     (const struct cli_option[]){
	 {"read-data", CLI_FLAG, NULL, "also read all content and compare digests", 0},
	 {"repair", CLI_FLAG, NULL, "put right what needs no guess; if anything does, nothing", 0},
	 OPTION_SECRET,
	 {0},
     },
     check},
    {0},
};
