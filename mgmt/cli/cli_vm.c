/* vm: create, set, start ... resume, delete, list, show, console. */
#include "mgmt/cli/cli_groups.h"

#include "common/text.h"
#include "mgmt/cli/cli_body.h"
#include "mgmt/cli/cli_console.h"
#include "mgmt/cli/cli_fields.h"

#include <stdio.h>
#include <string.h>

static const struct cli_field list_fields[] = {
    {"name", "NAME", CLI_AS_TEXT},
    {"state", "STATE", CLI_AS_STATE},
    {"cpus", "CPUS", CLI_AS_COUNT},
    {"memory", "MEMORY", CLI_AS_SIZE},
    {"disks", "DISKS", CLI_AS_LIST},
    {"pid", "PID", CLI_AS_COUNT},
    {0},
};

static const struct cli_field show_fields[] = {
    {"name", "name", CLI_AS_TEXT},
    {"uuid", "UUID", CLI_AS_TEXT},
    {"state", "state", CLI_AS_STATE},
    {"reason", "because", CLI_AS_TEXT},
    {"started", "since", CLI_AS_TIME},
    {"cpus", "CPUs", CLI_AS_COUNT},
    {"memory", "memory", CLI_AS_SIZE},
    {"accel", "accelerator", CLI_AS_TEXT},
    {"firmware", "firmware", CLI_AS_TEXT},
    {"disks", "disks", CLI_AS_LIST},
    {"cdrom", "CD", CLI_AS_TEXT},
    {"nics", "networks", CLI_AS_LIST},
    {"kernel", "kernel", CLI_AS_TEXT},
    {"initrd", "initrd", CLI_AS_TEXT},
    {"append", "kernel options", CLI_AS_TEXT},
    {"autostart", "starts with the node", CLI_AS_YES_NO},
    {"pid", "process", CLI_AS_COUNT},
    {0},
};

/* "NET[,mac=..]" into {network, mac?}; NULL after printing why. */
static json_t *parse_nic(const struct cli *c, const char *text)
{
	size_t n = strcspn(text, ",");
	json_t *nic = json_object();

	(void)json_object_set_new(nic, "network", json_stringn(text, n));
	if (text[n] == ',' && strncmp(text + n, ",mac=", 5) == 0) {
		(void)json_object_set_new(nic, "mac", json_string(text + n + 5));
	} else if (text[n] == ',') {
		(void)cli_usage(c, "--nic %s: only mac=AA:BB:CC:DD:EE:FF may follow the network",
				text);
		json_decref(nic);
		return NULL;
	}
	return nic;
}

static int add_nics(const struct cli *c, json_t *body)
{
	json_t *nics, *nic;
	const char *text;
	size_t i;

	if (!cli_args_has(&c->args, "nic"))
		return 0;
	nics = json_array();
	(void)json_object_set_new(body, "nics", nics);
	for (i = 0; (text = cli_args_nth(&c->args, "nic", i)) != NULL; i++) {
		nic = parse_nic(c, text);
		if (!nic)
			return CLI_USAGE;
		(void)json_array_append_new(nics, nic);
	}
	return 0;
}

static int add_machine(const struct cli *c, json_t *body)
{
	const char *cdrom = cli_args_text(&c->args, "cdrom");
	int status;

	cli_body_u64(c, body, "cpus", "cpus");
	cli_body_u64(c, body, "memory", "memory");
	cli_body_list(c, body, "disk", "disks");
	cli_body_text(c, body, "firmware", "firmware");
	cli_body_text(c, body, "accel", "accel");
	cli_body_text(c, body, "append", "append");
	cli_body_flag(c, body, "share-disks", "share_disks");
	if (cdrom) /* "none" is the drive without an image */
		(void)json_object_set_new(body, "cdrom",
					  json_string(strcmp(cdrom, "none") == 0 ? "" : cdrom));
	status = add_nics(c, body);
	if (status == 0)
		status = cli_body_path(c, body, "kernel", "kernel");
	return status ? status : cli_body_path(c, body, "initrd", "initrd");
}

static int create(struct cli *c)
{
	json_t *body = json_pack("{s:s}", "name", c->args.pos[0]), *vm;
	int status = add_machine(c, body);

	if (status) {
		json_decref(body);
		return status;
	}
	vm = cli_call(c, "POST", body, "/v1/vms");
	return vm ? cli_done(c, vm, "created VM %s", c->args.pos[0]) : CLI_FAILED;
}

static int set(struct cli *c)
{
	json_t *body = json_object(), *vm;
	const char *autostart = cli_args_text(&c->args, "autostart");
	int status = add_machine(c, body);

	if (autostart)
		(void)json_object_set_new(body, "autostart",
					  json_boolean(strcmp(autostart, "on") == 0));
	if (status == 0 && json_object_size(body) == 0)
		status = cli_usage(c, "nothing to set: give an option");
	if (status) {
		json_decref(body);
		return status;
	}
	vm = cli_call(c, "PATCH", body, "/v1/vms/%s", c->args.pos[0]);
	return vm ? cli_done(c, vm, "changed VM %s", c->args.pos[0]) : CLI_FAILED;
}

/* One handler for start, stop ...: the verb is the route. */
static int act(struct cli *c)
{
	const char *name = c->args.pos[0], *verb = c->command->verb;
	json_t *vm = cli_call(c, "POST", NULL, "/v1/vms/%s/%s", name, verb);

	if (!vm)
		return CLI_FAILED;
	return cli_done(c, vm, "%s: VM %s is %s", verb, name, cli_text(vm, "state"));
}

static int shutdown_vm(struct cli *c)
{
	uint64_t wait = cli_args_u64(&c->args, "wait", 0), step;
	const char *name = c->args.pos[0];
	json_t *vm = cli_call(c, "POST", NULL, "/v1/vms/%s/shutdown", name);
	char seconds[24];

	while (vm && wait && strcmp(cli_text(vm, "state"), "stopped") != 0) {
		step = wait < 30 ? wait : 30;
		wait -= step;
		(void)snprintf(seconds, sizeof(seconds), "%u", (unsigned)step);
		json_decref(vm);
		vm = cli_call(c, "GET", NULL, "/v1/vms/%s?wait=%s&state=stopped", name, seconds);
	}
	if (!vm)
		return CLI_FAILED;
	if (strcmp(cli_text(vm, "state"), "stopped") == 0)
		return cli_done(c, vm, "VM %s is stopped", name);
	if (cli_args_has(&c->args, "wait")) {
		json_decref(vm);
		return cli_fail("VM %s: the guest has not shut down in time; 'vstore vm stop' "
				"pulls the plug",
				name);
	}
	return cli_done(c, vm, "VM %s was asked to shut down", name);
}

static int delete_vm(struct cli *c)
{
	bool disks = cli_args_has(&c->args, "with-disks");
	const char *name = c->args.pos[0];
	json_t *answer;

	if (!cli_confirm(c, "Delete VM %s%s for good?", name,
			 disks ? " and the volumes that are its disks" : ""))
		return CLI_FAILED;
	answer =
	    cli_call(c, "DELETE", NULL, "/v1/vms/%s?disks=%s", name, disks ? "delete" : "keep");
	return answer ? cli_done(c, answer, "deleted VM %s", name) : CLI_FAILED;
}

static int list(struct cli *c)
{
	return cli_fields_list(c, cli_call(c, "GET", NULL, "/v1/vms"), list_fields);
}

static int show(struct cli *c)
{
	return cli_fields_object(c, cli_call(c, "GET", NULL, "/v1/vms/%s", c->args.pos[0]),
				 show_fields);
}

static int console(struct cli *c)
{
	struct vs_error err = {0};
	json_t *answer;
	int rc;

	answer = cli_call(c, "GET", NULL, "/v1/vms/%s/console", c->args.pos[0]);
	if (!answer)
		return CLI_FAILED;
	if (c->json)
		return cli_done(c, answer, " ");
	if (!c->quiet)
		(void)fprintf(stderr, "console of %s; Ctrl-] detaches\r\n", c->args.pos[0]);
	rc = cli_console_run(cli_text(answer, "socket"), &err);
	json_decref(answer);
	return rc < 0 ? cli_fail("%s", err.text) : CLI_DONE;
}

#define OPTIONS_MACHINE                                                                        \
	{"disk", CLI_TEXT, "VOLUME", "a volume as a disk, in this order", CLI_REPEAT},         \
	    {"cdrom", CLI_TEXT, "IMAGE",                                                       \
	     "DATASTORE/PATH, nfs://HOST/EXPORT/PATH or /PATH in a CD drive; none: empty", 0}, \
	    {"nic", CLI_TEXT, "NET[,mac=MAC]", "a network card; NET: user", CLI_REPEAT},       \
	    {"firmware", CLI_CHOICE, "bios|uefi", "(default bios)", 0},                        \
	    {"accel", CLI_CHOICE, "auto|kvm|tcg", "auto: kvm where it works, else tcg", 0},    \
	    {"kernel", CLI_TEXT, "FILE", "boot this kernel on the node directly", 0},          \
	    {"initrd", CLI_TEXT, "FILE", "with this initrd", 0},                               \
	    {"append", CLI_TEXT, "STRING", "and these kernel options", 0},                     \
	{                                                                                      \
		"share-disks", CLI_FLAG, NULL, "take disks that others use too", 0             \
	}

const struct cli_command cli_vm_commands[] = {
    {"create", "NAME", "define a VM; 'vm start' runs it",
     (const struct cli_option[]){
	 {"cpus", CLI_NUMBER, "N", "virtual processors", CLI_REQUIRED},
	 {"memory", CLI_SIZE, "SIZE", "of the guest", CLI_REQUIRED},
	 OPTIONS_MACHINE,
	 {0},
     },
     create},
    {"set", "NAME", "change a stopped VM; what is given replaces what was",
     (const struct cli_option[]){
	 {"cpus", CLI_NUMBER, "N", "virtual processors", 0},
	 {"memory", CLI_SIZE, "SIZE", "of the guest", 0},
	 OPTIONS_MACHINE,
	 {"autostart", CLI_CHOICE, "on|off", "start it with the node", 0},
	 {0},
     },
     set},
    {"list", "", "list VMs", NULL, list},
    {"show", "NAME", "show a VM", NULL, show},
    {"start", "NAME", "start a VM", NULL, act},
    {"shutdown", "NAME", "ask the guest to shut down",
     (const struct cli_option[]){
	 {"wait", CLI_NUMBER, "SECONDS", "wait so long for it; exit 1 if it has not", 0},
	 {0},
     },
     shutdown_vm},
    {"stop", "NAME", "stop a VM at once, as if its plug were pulled", NULL, act},
    {"reset", "NAME", "reset a VM, as its button would", NULL, act},
    {"suspend", "NAME", "stop a VM's processors; its memory stays", NULL, act},
    {"resume", "NAME", "let a suspended VM go on", NULL, act},
    {"console", "NAME", "use a VM's serial console; Ctrl-] detaches", NULL, console},
    {"delete", "NAME", "delete a stopped VM; its volumes stay",
     (const struct cli_option[]){
	 {"with-disks", CLI_FLAG, NULL, "delete the volumes that are its disks too", 0},
	 {0},
     },
     delete_vm},
    {0},
};
