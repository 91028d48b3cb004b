/* store: the devices of the node's store and its figures. */
#include "mgmt/cli/cli_groups.h"

#include "common/text.h"
#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_fields.h"
#include "mgmt/cli/cli_task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_field store_fields[] = {
    {"device", "device", CLI_AS_TEXT},
    {"state", "state", CLI_AS_STATE},
    {"uuid", "UUID", CLI_AS_TEXT},
    {"format_version", "format version", CLI_AS_COUNT},
    {"segment_size", "segment size", CLI_AS_SIZE},
    {"segments", "segments", CLI_AS_COUNT},
    {"free_segments", "segments free", CLI_AS_COUNT},
    {"segments_cleaned", "segments cleaned", CLI_AS_COUNT},
    {"memory_bytes", "memory", CLI_AS_SIZE},
    {"device_reads", "device reads", CLI_AS_COUNT},
    {"device_read_bytes", "read from device", CLI_AS_SIZE},
    {"device_writes", "device writes", CLI_AS_COUNT},
    {"device_write_bytes", "written to device", CLI_AS_SIZE},
    {"device_flushes", "device flushes", CLI_AS_COUNT},
    {"cache_hits", "cache hits", CLI_AS_COUNT},
    {"cache_misses", "cache misses", CLI_AS_COUNT},
    {"dedup_hits", "deduplicated blocks", CLI_AS_COUNT},
    {"checkpoints", "checkpoints", CLI_AS_COUNT},
    {"bytes_written", "written by clients", CLI_AS_SIZE},
    {"write_amplification", "write amplification", CLI_AS_RATIO},
    {"bytes_data", "written: data", CLI_AS_SIZE},
    {"bytes_maps", "written: maps", CLI_AS_SIZE},
    {"bytes_tables", "written: tables", CLI_AS_SIZE},
    {"bytes_cleaner", "written: cleaner", CLI_AS_SIZE},
    {"bytes_discarded", "discarded", CLI_AS_SIZE},
    {0},
};

static const struct cli_field device_fields[] = {
    {"device", "DEVICE", CLI_AS_TEXT},
    {"group", "GROUP", CLI_AS_COUNT},
    {"state", "STATE", CLI_AS_STATE},
    {"progress", "DONE", CLI_AS_PERCENT},
    {"size", "SIZE", CLI_AS_SIZE},
    {"read_errors", "READ ERRORS", CLI_AS_COUNT},
    {"write_errors", "WRITE ERRORS", CLI_AS_COUNT},
    {"healed", "HEALED", CLI_AS_COUNT},
    {"uuid", "UUID", CLI_AS_TEXT},
    {0},
};

static int show(struct cli *c)
{
	json_t *answer = cli_call(c, "GET", NULL, "/v1/store");
	int status;

	if (!answer)
		return CLI_FAILED;
	if (c->json)
		return cli_fields_object(c, answer, store_fields);
	status = cli_fields_print_object(answer, store_fields);
	(void)printf("\n");
	if (status == CLI_DONE)
		status = cli_fields_print_list(json_object_get(answer, "devices"), device_fields);
	json_decref(answer);
	return status;
}

/* Paths as the daemon sees them; a UUID stays what it is. */
static int put_device(json_t *body, const char *key, const char *name)
{
	char *path = strchr(name, '/') || strlen(name) != 36 ? cli_absolute(name) : strdup(name);

	if (!path)
		return CLI_FAILED;
	json_object_set_new(body, key, json_string(path));
	free(path);
	return CLI_DONE;
}

static int follow(struct cli *c, json_t *body, const char *device, const char *said)
{
	json_t *result;
	int status;

	cli_body_flag(c, body, "force", "force");
	status =
	    cli_task_run(c, cli_call(c, "POST", body, "/v1/store/devices"), "resilver", &result);
	return result ? cli_done(c, result, "%s: %s", device, said) : status;
}

static int add(struct cli *c)
{
	const char *other = cli_args_text(&c->args, "mirror-of");
	json_t *body = json_object();
	int status = put_device(body, "device", c->args.pos[0]);

	if (status == CLI_DONE && other)
		status = put_device(body, "mirror_of", other);
	if (status != CLI_DONE) {
		json_decref(body);
		return status;
	}
	return follow(c, body, c->args.pos[0], "part of the store, in sync");
}

static int replace(struct cli *c)
{
	json_t *body = json_object();
	int status = put_device(body, "replaces", c->args.pos[0]);

	if (status == CLI_DONE)
		status = put_device(body, "device", c->args.pos[1]);
	if (status != CLI_DONE) {
		json_decref(body);
		return status;
	}
	return follow(c, body, c->args.pos[1],
		      "has everything; the old device is not used any more");
}

static int remove_device(struct cli *c)
{
	json_t *body = json_object(), *result;
	int status = put_device(body, "device", c->args.pos[0]);

	if (status != CLI_DONE) {
		json_decref(body);
		return status;
	}
	status =
	    cli_task_run(c, cli_call(c, "POST", body, "/v1/store/remove"), "emptying", &result);
	return result ? cli_done(c, result, "%s is not part of the store any more", c->args.pos[0])
		      : status;
}

static int grow(struct cli *c)
{
	json_t *answer = cli_call(c, "POST", NULL, "/v1/store/grow");
	char text[16];

	if (!answer)
		return CLI_FAILED;
	if (cli_u64(answer, "grown_bytes") == 0)
		return cli_done(c, answer, "the devices are not larger than what is used");
	(void)vs_format_size(cli_u64(answer, "grown_bytes"), text, sizeof(text));
	return cli_done(c, answer, "the store is larger by %s", text);
}

const struct cli_command cli_store[] = {
    {"show", "", "show the store's devices, format and counters", NULL, show},
    {"add", "DEVICE", "add a device: more room, a mirror's side, or one that was away",
     (const struct cli_option[]){
	 {"mirror-of", CLI_TEXT, "DEVICE", "hold the same as this device", 0},
	 {"force", CLI_FLAG, NULL, "overwrite what holds data", 0},
	 CLI_OPTION_DETACH,
	 {0},
     },
     add},
    {"replace", "OLD NEW", "move what a device holds to another one",
     (const struct cli_option[]){
	 {"force", CLI_FLAG, NULL, "overwrite what holds data", 0},
	 CLI_OPTION_DETACH,
	 {0},
     },
     replace},
    {"remove", "DEVICE", "take a device out of the store",
     (const struct cli_option[]){
	 CLI_OPTION_DETACH,
	 {0},
     },
     remove_device},
    {"grow", "", "use what the devices have grown by", NULL, grow},
    {0},
};
