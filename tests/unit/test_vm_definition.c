/* Machine definitions in JSON, the life cycle's table, and QEMU's arguments made from a definition.
 */
#include "common/text.h"
#include "vmm/command_line.h"
#include "vmm/lifecycle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int decode(const char *text, struct vm_definition *d, struct vs_error *err)
{
	json_t *json = json_loads(text, 0, NULL);
	int rc;

	assert_non_null(json);
	rc = vm_definition_decode(json, d, err);
	json_decref(json);
	return rc;
}

static void defaults(void **state)
{
	struct vs_uuid none = {0};
	struct vm_definition d;

	(void)state;
	assert_int_equal(decode("{\"name\": \"a\", \"disks\": [\"v1\", \"v2@s\"], "
				"\"nics\": [\"user\"]}",
				&d, NULL),
			 0);
	assert_int_equal(d.cpus, 1);
	assert_int_equal(d.memory, 512 << 20);
	assert_int_equal(d.accel, VM_ACCEL_AUTO);
	assert_int_equal(d.firmware, VM_BIOS);
	assert_int_equal(d.ndisks, 2);
	assert_string_equal(d.disks[1].volume, "v2@s");
	assert_string_equal(d.nics[0].network, "user");
	assert_false(vs_uuid_equal(&d.uuid, &none));
}

static void round_trip(void **state)
{
	struct vm_definition d, e;
	json_t *json;

	(void)state;
	assert_int_equal(
	    decode("{\"name\": \"web-1\", \"uuid\": "
		   "\"01234567-89ab-4def-8123-456789abcdef\", \"cpus\": 4, "
		   "\"memory\": 8589934592, \"firmware\": \"uefi\", \"accel\": \"tcg\", "
		   "\"disks\": [{\"volume\": \"root\"}, {\"volume\": \"data\", "
		   "\"read_only\": true}], \"nics\": [{\"network\": \"user\", \"mac\": "
		   "\"52:54:00:01:02:03\"}], \"cdrom\": \"/a,b.iso\", \"kernel\": \"/k\", "
		   "\"initrd\": \"/i\", \"append\": \"console=ttyS0 x=\\\"y\\\"\"}",
		   &d, NULL),
	    0);
	json = vm_definition_encode(&d);
	assert_non_null(json);
	assert_int_equal(vm_definition_decode(json, &e, NULL), 0);
	json_decref(json);
	assert_memory_equal(&d, &e, sizeof(d));
	assert_true(e.disks[1].read_only);
	assert_int_equal(e.memory, UINT64_C(8) << 30);
	assert_string_equal(e.append, "console=ttyS0 x=\"y\"");
}

static void bad_definitions(void **state)
{
	static const struct {
		const char *json, *says;
	} cases[] = {
	    {"[]", "object"},
	    {"{}", "not a name"},
	    {"{\"name\": \"../x\"}", "not a name"},
	    {"{\"name\": 5}", "\"name\""},
	    {"{\"name\": \"a\", \"cpu\": 2}", "unknown key \"cpu\""},
	    {"{\"name\": \"a\", \"cpus\": 0}", "CPUs"},
	    {"{\"name\": \"a\", \"cpus\": 4294967297}", "\"cpus\""},
	    {"{\"name\": \"a\", \"cpus\": -1}", "\"cpus\""},
	    {"{\"name\": \"a\", \"memory\": 1048576}", "memory"},
	    {"{\"name\": \"a\", \"memory\": 268435457}", "memory"},
	    {"{\"name\": \"a\", \"memory\": \"1G\"}", "\"memory\""},
	    {"{\"name\": \"a\", \"uuid\": \"x\"}", "\"uuid\""},
	    {"{\"name\": \"a\", \"accel\": \"hvf\"}", "\"accel\""},
	    {"{\"name\": \"a\", \"disks\": \"v\"}", "list"},
	    {"{\"name\": \"a\", \"disks\": [\"v/w\"]}", "volume's name"},
	    {"{\"name\": \"a\", \"disks\": [{}]}", "volume's name"},
	    {"{\"name\": \"a\", \"disks\": [\"v\", \"v\"]}", "twice"},
	    {"{\"name\": \"a\", \"disks\": [{\"volume\": \"v\", \"socket\": \"/x\"}]}",
	     "unknown key \"socket\""},
	    {"{\"name\": \"a\", \"nics\": [\"lan\"]}", "no network"},
	    {"{\"name\": \"a\", \"nics\": [{\"network\": \"user\", \"mac\": \"1:2:3:4:5:6\"}]}",
	     "MAC"},
	    {"{\"name\": \"a\", \"nics\": [{\"network\": \"user\", \"mac\": "
	     "\"01:00:00:00:00:01\"}]}",
	     "MAC"},
	    {"{\"name\": \"a\", \"cdrom\": \"x.iso\"}", "absolute"},
	    {"{\"name\": \"a\", \"append\": \"quiet\"}", "kernel"},
	    {"{\"name\": \"a\", \"append\": \"a\\u0000b\"}", "\"append\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *json = json_loads(cases[i].json, JSON_ALLOW_NUL, NULL);
		struct vm_definition d;
		struct vs_error err = {0};

		assert_non_null(json);
		if (vm_definition_decode(json, &d, &err) != VS_E_INVAL ||
		    !strstr(err.text, cases[i].says))
			fail_msg("%s: %s", cases[i].json, err.text);
		json_decref(json);
	}
}

static void too_many_disks(void **state)
{
	json_t *json = json_pack("{s:s, s:[]}", "name", "a", "disks");
	struct vm_definition d;

	(void)state;
	for (unsigned i = 0; i <= VM_DISKS_MAX; i++)
		json_array_append_new(json_object_get(json, "disks"), json_sprintf("v%u", i));
	assert_int_equal(vm_definition_decode(json, &d, NULL), VS_E_INVAL);
	json_array_remove(json_object_get(json, "disks"), 0);
	assert_int_equal(vm_definition_decode(json, &d, NULL), 0);
	json_decref(json);
}

static const char *after(const struct vm_command_line *c, const char *option, unsigned nth)
{
	for (unsigned i = 0; i + 1 < c->n; i++)
		if (strcmp(c->args[i], option) == 0 && nth-- == 0)
			return c->args[i + 1];
	return NULL;
}

static void arguments(void **state)
{
	const struct vm_command_context x = {.qemu = "/usr/bin/qemu",
					     .folder = "/f",
					     .cpu = "max",
					     .accel = VM_ACCEL_TCG,
					     .qmp_fd = 3,
					     .console_fd = 4};
	struct vm_command_line c;
	struct vm_definition d;

	(void)state;
	assert_int_equal(decode("{\"name\": \"a\", \"memory\": 268435456, \"cpus\": 2, \"disks\": "
				"[\"v\"], \"cdrom\": \"/x,readonly=off.iso\"}",
				&d, NULL),
			 0);
	snprintf(d.disks[0].socket, sizeof(d.disks[0].socket), "/f/a,b.sock");
	assert_int_equal(vm_command_line_build(&d, &x, &c, NULL), 0);
	assert_string_equal(c.args[0], "/usr/bin/qemu");
	assert_null(c.args[c.n]);
	assert_string_equal(after(&c, "-m", 0), "256M");
	assert_string_equal(after(&c, "-smp", 0), "2");
	/* a comma in a name stays one in the name */
	assert_string_equal(after(&c, "-chardev", 2),
			    "socket,id=disk0,path=/f/a,,b.sock,reconnect=1");
	assert_string_equal(after(&c, "-drive", 0), "if=none,id=cdrom,media=cdrom,readonly=on,"
						    "format=raw,file=/x,,readonly=off.iso");
	assert_non_null(strstr(after(&c, "-sandbox", 0), "spawn=deny"));
	vm_command_line_free(&c);
}

static bool has(const struct vm_command_line *c, const char *arg)
{
	for (unsigned i = 0; i < c->n; i++)
		if (strcmp(c->args[i], arg) == 0)
			return true;
	return false;
}

static void image_that_is_served(void **state)
{
	const struct vm_command_context x = {
	    .qemu = "q", .folder = "/f", .cpu = "max", .accel = VM_ACCEL_TCG};
	struct vs_error err = {0};
	struct vm_command_line c;
	struct vm_definition d;

	(void)state;
	assert_int_equal(decode("{\"name\": \"a\", \"cdrom\": \"d/x,readonly=off.iso\"}", &d, NULL),
			 0);
	/* what the user named is not for QEMU to open */
	assert_int_equal(vm_command_line_build(&d, &x, &c, &err), VS_E_INVAL);
	assert_non_null(strstr(err.text, "nobody serves"));
	vm_command_line_free(&c);
	snprintf(d.cdrom_socket, sizeof(d.cdrom_socket), "/f/a,b.sock");
	snprintf(d.cdrom_export, sizeof(d.cdrom_export), "cdrom-1");
	assert_int_equal(vm_command_line_build(&d, &x, &c, NULL), 0);
	assert_string_equal(after(&c, "-drive", 0),
			    "if=none,id=cdrom,media=cdrom,readonly=on,format=raw,"
			    "file.driver=nbd,file.server.type=unix,file.server.path=/f/a,,b.sock,"
			    "file.export=cdrom-1,file.reconnect-delay=600");
	assert_true(has(&c, "ide-cd,drive=cdrom,bootindex=17")); /* after every disk */
	for (unsigned i = 0; i < c.n; i++)
		assert_null(strstr(c.args[i], "x,readonly"));
	vm_command_line_free(&c);
}

static void no_image(void **state)
{
	const struct vm_command_context x = {
	    .qemu = "q", .folder = "/f", .cpu = "max", .accel = VM_ACCEL_TCG};
	struct vm_command_line c;
	struct vm_definition d;

	(void)state;
	assert_int_equal(decode("{\"name\": \"a\", \"cdrom\": \"\"}", &d, NULL), 0);
	assert_int_equal(vm_command_line_build(&d, &x, &c, NULL), 0);
	assert_null(after(&c, "-drive", 0));
	vm_command_line_free(&c);
}

static void largest_machine(void **state)
{
	const struct vm_command_context x = {.qemu = "q",
					     .folder = "/f",
					     .cpu = "max",
					     .accel = VM_ACCEL_TCG,
					     .uefi_code = "/c",
					     .uefi_vars = "/v"};
	struct vm_definition d = {.name = "a",
				  .cpus = 8,
				  .memory = VM_MEMORY_MIN,
				  .firmware = VM_UEFI,
				  .ndisks = VM_DISKS_MAX,
				  .nnics = VM_NICS_MAX,
				  .cdrom = "/c",
				  .kernel = "/k",
				  .initrd = "/i",
				  .append = "x"};
	struct vm_command_line c;

	(void)state;
	assert_int_equal(vm_command_line_build(&d, &x, &c, NULL), 0);
	vm_command_line_free(&c);
}

static void life(void **state)
{
	enum vm_event event;
	enum vm_state s;

	(void)state;
	assert_true(vm_lifecycle_next(VM_STOPPED, VM_EV_START, &s));
	assert_int_equal(s, VM_STARTING);
	assert_true(vm_lifecycle_next(VM_CRASHED, VM_EV_START, &s));
	assert_false(vm_lifecycle_next(VM_RUNNING, VM_EV_START, &s));
	assert_false(vm_lifecycle_next(VM_STOPPED, VM_EV_RUN, &s)); /* a late event */
	assert_false(vm_lifecycle_next(VM_CRASHED, VM_EV_END, &s));
	for (enum vm_state from = VM_STOPPED; from <= VM_CRASHED; from++) {
		bool active = vm_lifecycle_active(from);

		/* whatever an active machine does, the end of its process ends it */
		assert_int_equal(vm_lifecycle_next(from, VM_EV_DIE, &s), active);
		assert_true(!active || s == VM_CRASHED);
		assert_int_equal(vm_lifecycle_next(from, VM_EV_END, &s), active);
		assert_true(!active || s == VM_STOPPED);
		assert_non_null(vm_state_name(from));
	}
	assert_true(vm_lifecycle_of_event("STOP", &event));
	assert_int_equal(event, VM_EV_PAUSE);
	assert_false(vm_lifecycle_of_event("BLOCK_JOB_READY", &event));
	assert_int_equal(vm_lifecycle_of_status("running"), VM_EV_RUN);
	assert_int_equal(vm_lifecycle_of_status("shutdown"), VM_EV_POWEROFF);
	assert_int_equal(vm_lifecycle_of_status("internal-error"), VM_EV_PAUSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults),
	    cmocka_unit_test(round_trip),
	    cmocka_unit_test(bad_definitions),
	    cmocka_unit_test(too_many_disks),
	    cmocka_unit_test(arguments),
	    cmocka_unit_test(image_that_is_served),
	    cmocka_unit_test(no_image),
	    cmocka_unit_test(largest_machine),
	    cmocka_unit_test(life),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("vm_definition", tests, NULL, NULL);
}
