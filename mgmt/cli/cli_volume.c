/* volume: create, list, show, rename, resize, set, delete, clone. */
#include "mgmt/cli/cli_groups.h"

#include "common/text.h"
#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_fields.h"
#include "mgmt/cli/cli_image.h"
#include "mgmt/cli/cli_task.h"

#include <stdio.h>
#include <string.h>

#define OPTION_COMPRESSION                                                                     \
	{                                                                                      \
		"compression", CLI_CHOICE, "lz4|zstd|none", "of blocks written from now on", 0 \
	}

#define OPTION_DEDUP                                                                \
	{                                                                           \
		"dedup", CLI_CHOICE, "on|off", "share blocks with other volumes", 0 \
	}

static const struct cli_field list_fields[] = {
    {"name", "NAME", CLI_AS_TEXT},
    {"size", "SIZE", CLI_AS_SIZE},
    {"logical_bytes", "MAPPED", CLI_AS_SIZE},
    {"unique_bytes", "UNIQUE", CLI_AS_SIZE},
    {"snapshots", "SNAPSHOTS", CLI_AS_LENGTH},
    {"compression", "COMPRESSION", CLI_AS_TEXT},
    {"exports", "USED BY", CLI_AS_KINDS},
    {0},
};

static const struct cli_field show_fields[] = {
    {"name", "name", CLI_AS_TEXT},
    {"uuid", "UUID", CLI_AS_TEXT},
    {"size", "size", CLI_AS_SIZE},
    {"logical_bytes", "mapped", CLI_AS_SIZE},
    {"unique_bytes", "shared with nobody", CLI_AS_SIZE},
    {"as_of", "that as of", CLI_AS_TIME},
    {"provisioning", "provisioning", CLI_AS_TEXT},
    {"reserved_bytes", "reserved", CLI_AS_SIZE},
    {"sector", "sector size", CLI_AS_SIZE},
    {"compression", "compression", CLI_AS_TEXT},
    {"dedup", "dedup", CLI_AS_YES_NO},
    {"created", "created", CLI_AS_TIME},
    {"origin", "cloned from", CLI_AS_TEXT},
    {"live", "fetched from", CLI_AS_TEXT},
    {"exports", "used by", CLI_AS_KINDS},
    {0},
};

static const struct cli_field snapshot_fields[] = {
    {"name", "SNAPSHOT", CLI_AS_TEXT},	      {"created", "CREATED", CLI_AS_TIME},
    {"logical_bytes", "MAPPED", CLI_AS_SIZE}, {"frees_if_deleted_bytes", "FREES", CLI_AS_SIZE},
    {"as_of", "THAT AS OF", CLI_AS_TIME},     {0},
};

static int done_with(const struct cli *c, json_t *volume, const char *what)
{
	char size[16];

	if (!volume)
		return CLI_FAILED;
	(void)vs_format_size(cli_u64(volume, "size"), size, sizeof(size));
	return cli_done(c, volume, "%s volume %s, %s", what, cli_text(volume, "name"), size);
}

static void body_dedup(const struct cli *c, json_t *body)
{
	const char *text = cli_args_text(&c->args, "dedup");

	if (text)
		(void)json_object_set_new(body, "dedup", json_boolean(strcmp(text, "on") == 0));
}

static int create(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "name", c->args.pos[0]);

	cli_body_u64(c, body, "size", "size");
	cli_body_u64(c, body, "sector", "sector");
	cli_body_text(c, body, "compression", "compression");
	body_dedup(c, body);
	cli_body_flag(c, body, "thick", "thick");
	return done_with(c, cli_call(c, "POST", body, "/v1/volumes"), "created");
}

static int list(struct cli *c)
{
	return cli_fields_list(c, cli_call(c, "GET", NULL, "/v1/volumes"), list_fields);
}

/* Where the rest of a volume comes from, as one text. */
static void describe_origin(json_t *volume)
{
	const json_t *origin = json_object_get(volume, "origin");
	char left[16];

	if (!json_is_object(origin))
		return;
	(void)vs_format_size(cli_u64(origin, "bytes_left"), left, sizeof(left));
	(void)json_object_set_new(volume, "live",
				  json_sprintf("%s, %s left", cli_text(origin, "url"), left));
	(void)json_object_set_new(volume, "origin", json_null());
}

static int show(struct cli *c)
{
	json_t *volume = cli_call(c, "GET", NULL, "/v1/volumes/%s", c->args.pos[0]);
	const json_t *snapshots = json_object_get(volume, "snapshots");
	int status;

	if (!volume)
		return CLI_FAILED;
	if (c->json)
		return cli_done(c, volume, " ");
	describe_origin(volume);
	status = cli_fields_print_object(volume, show_fields);
	if (json_array_size(snapshots) && status == CLI_DONE) {
		(void)putchar('\n');
		status = cli_fields_print_list(snapshots, snapshot_fields);
	}
	json_decref(volume);
	return status;
}

static int rename_volume(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "name", c->args.pos[1]);

	return done_with(c, cli_call(c, "POST", body, "/v1/volumes/%s/rename", c->args.pos[0]),
			 "renamed: it is now");
}

static int resize(struct cli *c)
{
	json_t *body = json_object();

	cli_body_u64(c, body, "size", "size");
	cli_body_flag(c, body, "force", "force");
	return done_with(c, cli_call(c, "POST", body, "/v1/volumes/%s/resize", c->args.pos[0]),
			 "resized");
}

static int set(struct cli *c)
{
	bool thick = cli_args_has(&c->args, "thick"), thin = cli_args_has(&c->args, "thin");
	json_t *body;

	if (thick && thin)
		return cli_usage(c, "--thick and --thin exclude each other");
	body = json_object();
	cli_body_text(c, body, "compression", "compression");
	body_dedup(c, body);
	if (thick || thin)
		(void)json_object_set_new(body, "thick", json_boolean(thick));
	if (json_object_size(body) == 0) {
		json_decref(body);
		return cli_usage(c, "nothing to set: give an option");
	}
	return done_with(c, cli_call(c, "PATCH", body, "/v1/volumes/%s", c->args.pos[0]),
			 "changed");
}

static int delete_volume(struct cli *c)
{
	const char *name = c->args.pos[0], *mode = "refuse";
	bool with = cli_args_has(&c->args, "with-snapshots");
	json_t *answer;

	if (with && cli_args_has(&c->args, "keep-snapshots"))
		return cli_usage(c, "--with-snapshots and --keep-snapshots exclude each other");
	if (with)
		mode = "delete";
	else if (cli_args_has(&c->args, "keep-snapshots"))
		mode = "keep";
	if (!cli_confirm(c, "Delete volume %s%s for good?", name,
			 with ? " and all its snapshots" : ""))
		return CLI_FAILED;
	answer = cli_call(c, "DELETE", NULL, "/v1/volumes/%s?snapshots=%s", name, mode);
	return answer ? cli_done(c, answer, "deleted volume %s", name) : CLI_FAILED;
}

static int clone(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "name", c->args.pos[1]);

	return done_with(c, cli_call(c, "POST", body, "/v1/volumes/%s/clone", c->args.pos[0]),
			 "created");
}

const struct cli_command cli_volume_commands[] = {
    {"create", "NAME", "create a volume that reads as zeros",
     (const struct cli_option[]){
	 {"size", CLI_SIZE, "SIZE", "a multiple of 4 KiB", CLI_REQUIRED},
	 {"sector", CLI_CHOICE, "512|4096", "what clients are told (default 512)", 0},
	 OPTION_COMPRESSION,
	 OPTION_DEDUP,
	 {"thick", CLI_FLAG, NULL, "keep room for all of it; not deduplicated", 0},
	 {0},
     },
     create},
    {"list", "", "list volumes", NULL, list},
    {"show", "NAME", "show a volume or a snapshot (NAME@SNAP)", NULL, show},
    {"rename", "NAME NEW", "give a volume another name", NULL, rename_volume},
    {"resize", "NAME", "change a volume's size",
     (const struct cli_option[]){
	 {"size", CLI_SIZE, "SIZE", "the new size, a multiple of 4 KiB", CLI_REQUIRED},
	 {"force", CLI_FLAG, NULL, "shrink although data is cut off", 0},
	 {0},
     },
     resize},
    {"set", "NAME", "change a volume's properties",
     (const struct cli_option[]){
	 OPTION_COMPRESSION,
	 OPTION_DEDUP,
	 {"thick", CLI_FLAG, NULL, "keep room for all of it; not deduplicated", 0},
	 {"thin", CLI_FLAG, NULL, "take room only for what is written", 0},
	 {0},
     },
     set},
    {"delete", "NAME", "delete a volume; refuses when it has snapshots and neither is said",
     (const struct cli_option[]){
	 {"with-snapshots", CLI_FLAG, NULL, "delete its snapshots too", 0},
	 {"keep-snapshots", CLI_FLAG, NULL, "keep them: they can still be cloned", 0},
	 {0},
     },
     delete_volume},
    {"clone", "NAME@SNAP NEW", "make a writable volume of a snapshot", NULL, clone},
    {"import", "SOURCE NAME", "make a volume of a disk image, a block device, a LUN or - (stdin)",
     (const struct cli_option[]){
	 {"format", CLI_CHOICE, "raw|qcow2|vmdk|vhdx|vdi", "the image's (default: looked at)", 0},
	 {"size", CLI_SIZE, "SIZE", "from stdin: the volume's size", 0},
	 {"sector", CLI_CHOICE, "512|4096", "what clients are told (default 512, or the LUN's)", 0},
	 OPTION_COMPRESSION,
	 CLI_OPTIONS_LUN,
	 {"live", CLI_FLAG, NULL, "of a LUN: usable at once, blocks are fetched meanwhile", 0},
	 CLI_OPTION_DETACH,
	 {0},
     },
     cli_import_run},
    {"export", "NAME[@SNAP] DEST",
     "write a volume to a file, a block device, a LUN or - (stdout, raw)",
     (const struct cli_option[]){
	 {"format", CLI_CHOICE, "raw|qcow2|vmdk|vhdx", "of the file (default raw)", 0},
	 {"force", CLI_FLAG, NULL, "replace a file that exists", 0},
	 CLI_OPTIONS_LUN,
	 CLI_OPTION_DETACH,
	 {0},
     },
     cli_export_run},
    {0},
};
