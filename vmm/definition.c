#include "vmm/machine.h"

#include "common/bytes.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_MEMORY (UINT64_C(512) << 20)
#define MIB (UINT64_C(1) << 20)

static const char *const firmware_names[] = {[VM_BIOS] = "bios", [VM_UEFI] = "uefi"};
static const char *const accel_names[] = {
    [VM_ACCEL_AUTO] = "auto", [VM_ACCEL_KVM] = "kvm", [VM_ACCEL_TCG] = "tcg"};

const char *vm_firmware_name(enum vm_firmware f)
{
	return firmware_names[f];
}

const char *vm_accel_name(enum vm_accel a)
{
	return accel_names[a];
}

static int find_name(const char *const *names, size_t n, const char *text, unsigned *out)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(names[i], text) == 0) {
			*out = (unsigned)i;
			return 0;
		}
	}
	return VS_E_INVAL;
}

int vm_firmware_parse(const char *text, enum vm_firmware *f)
{
	unsigned v = VM_BIOS;
	int rc = find_name(firmware_names, VS_ARRAY_LEN(firmware_names), text, &v);

	*f = (enum vm_firmware)v;
	return rc;
}

int vm_accel_parse(const char *text, enum vm_accel *a)
{
	unsigned v = VM_ACCEL_AUTO;
	int rc = find_name(accel_names, VS_ARRAY_LEN(accel_names), text, &v);

	*a = (enum vm_accel)v;
	return rc;
}

static bool mac_ok(const char *mac)
{
	uint8_t b[6];

	if (strlen(mac) != 17)
		return false;
	for (unsigned i = 0; i < 6; i++) {
		const char pair[3] = {mac[3 * i], mac[3 * i + 1], '\0'};

		if (vs_parse_hex(pair, &b[i], 1) != 0 || (i < 5 && mac[3 * i + 2] != ':'))
			return false;
	}
	return !(b[0] & 1);
}

static bool path_ok(const char *path)
{
	return path[0] == '\0' || path[0] == '/';
}

static int disks_check(const struct vm_definition *d, struct vs_error *err)
{
	if (d->ndisks > VM_DISKS_MAX)
		return vs_fail(err, VS_E_INVAL, "machine %s: more than %u disks", d->name,
			       VM_DISKS_MAX);
	for (unsigned i = 0; i < d->ndisks; i++) {
		char volume[64], snap[64];

		if (vs_split_snapshot(d->disks[i].volume, volume, snap) != 0)
			return vs_fail(err, VS_E_INVAL, "machine %s: \"%s\" is not a volume's name",
				       d->name, d->disks[i].volume);
		for (unsigned k = 0; k < i; k++)
			if (strcmp(d->disks[k].volume, d->disks[i].volume) == 0)
				return vs_fail(err, VS_E_INVAL,
					       "machine %s: disk %s is there twice", d->name,
					       d->disks[i].volume);
	}
	return 0;
}

static int nics_check(const struct vm_definition *d, struct vs_error *err)
{
	if (d->nnics > VM_NICS_MAX)
		return vs_fail(err, VS_E_INVAL, "machine %s: more than %u network cards", d->name,
			       VM_NICS_MAX);
	for (unsigned i = 0; i < d->nnics; i++) {
		const struct vm_nic *n = &d->nics[i];

		if (strcmp(n->network, "user") != 0)
			return vs_fail(err, VS_E_INVAL,
				       "machine %s: no network \"%s\"; only "
				       "\"user\" exists",
				       d->name, n->network);
		if (n->mac[0] && !mac_ok(n->mac))
			return vs_fail(err, VS_E_INVAL,
				       "machine %s: \"%s\" is not a MAC address of a network card",
				       d->name, n->mac);
	}
	return 0;
}

int vm_definition_check(const struct vm_definition *d, struct vs_error *err)
{
	int rc;

	if (!vs_name_ok(d->name))
		return vs_fail(err, VS_E_INVAL,
			       "\"%s\" is not a name: letters, digits, '.', '_' and "
			       "'-', at most 63, the first a letter or digit",
			       d->name);
	if (d->cpus < 1 || d->cpus > VM_CPUS_MAX)
		return vs_fail(err, VS_E_INVAL, "machine %s: %u CPUs are not 1 to %u", d->name,
			       d->cpus, VM_CPUS_MAX);
	if (d->memory < VM_MEMORY_MIN || d->memory > VM_MEMORY_MAX || d->memory % MIB != 0)
		return vs_fail(err, VS_E_INVAL, "machine %s: memory must be 16M to 4T in whole MiB",
			       d->name);
	if (d->cdrom[0] && !strchr(d->cdrom, '/'))
		return vs_fail(err, VS_E_INVAL,
			       "machine %s: cdrom must be DATASTORE/PATH, nfs://HOST/EXPORT/PATH "
			       "or an absolute path",
			       d->name);
	if (!path_ok(d->kernel) || !path_ok(d->initrd))
		return vs_fail(err, VS_E_INVAL, "machine %s: kernel and initrd need absolute paths",
			       d->name);
	if (!d->kernel[0] && (d->initrd[0] || d->append[0]))
		return vs_fail(err, VS_E_INVAL, "machine %s: initrd and append need a kernel",
			       d->name);
	rc = disks_check(d, err);
	return rc ? rc : nics_check(d, err);
}

json_t *vm_definition_encode(const struct vm_definition *d)
{
	json_t *disks = json_array(), *nics = json_array();
	char uuid[VS_UUID_TEXT];
	bool ok = disks && nics;

	for (unsigned i = 0; ok && i < d->ndisks; i++)
		ok = json_array_append_new(disks,
					   json_pack("{s:s, s:b}", "volume", d->disks[i].volume,
						     "read_only", d->disks[i].read_only)) == 0;
	for (unsigned i = 0; ok && i < d->nnics; i++)
		ok = json_array_append_new(nics,
					   json_pack("{s:s, s:s}", "network", d->nics[i].network,
						     "mac", d->nics[i].mac)) == 0;
	if (!ok) {
		json_decref(disks);
		json_decref(nics);
		return NULL;
	}
	vs_uuid_format(&d->uuid, uuid);
	return json_pack("{s:s, s:s, s:I, s:I, s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:s}", "name",
			 d->name, "uuid", uuid, "cpus", (json_int_t)d->cpus, "memory",
			 (json_int_t)d->memory, "firmware", vm_firmware_name(d->firmware), "accel",
			 vm_accel_name(d->accel), "disks", disks, "nics", nics, "cdrom", d->cdrom,
			 "kernel", d->kernel, "initrd", d->initrd, "append", d->append);
}

/* One key of an object: where its value goes. */
struct field {
	const char *key;
	enum { F_TEXT, F_UINT, F_BOOL, F_UUID, F_FIRMWARE, F_ACCEL, F_DISKS, F_NICS } type;
	size_t offset, size;
};

#define TEXT(s, name)                                                                  \
	{                                                                              \
#name, F_TEXT, offsetof(struct s, name), sizeof(((struct s *)0)->name) \
	}
#define UINT(s, name)                                                                  \
	{                                                                              \
#name, F_UINT, offsetof(struct s, name), sizeof(((struct s *)0)->name) \
	}
#define OTHER(s, name, type)                             \
	{                                                \
#name, type, offsetof(struct s, name), 0 \
	}

static const struct field disk_fields[] = {
    TEXT(vm_disk, volume), OTHER(vm_disk, read_only, F_BOOL), {0}};
static const struct field nic_fields[] = {TEXT(vm_nic, network), TEXT(vm_nic, mac), {0}};
static const struct field machine_fields[] = {TEXT(vm_definition, name),
					      OTHER(vm_definition, uuid, F_UUID),
					      UINT(vm_definition, cpus),
					      UINT(vm_definition, memory),
					      OTHER(vm_definition, firmware, F_FIRMWARE),
					      OTHER(vm_definition, accel, F_ACCEL),
					      OTHER(vm_definition, disks, F_DISKS),
					      OTHER(vm_definition, nics, F_NICS),
					      TEXT(vm_definition, cdrom),
					      TEXT(vm_definition, kernel),
					      TEXT(vm_definition, initrd),
					      TEXT(vm_definition, append),
					      {0}};

static int decode_object(const json_t *json, const struct field *fields, void *out,
			 struct vs_error *err);

static int decode_array(const json_t *json, const char *what, const struct field *fields,
			void *items, size_t size, unsigned max, unsigned *n, struct vs_error *err)
{
	if (!json_is_array(json) || json_array_size(json) > max)
		return vs_fail(err, VS_E_INVAL,
			       "machine definition: %s must be a list of at most %u", what, max);
	for (*n = 0; *n < json_array_size(json); (*n)++) {
		const json_t *v = json_array_get(json, *n);
		char *item = (char *)items + *n * size;
		json_t *object;
		int rc;

		if (!json_is_string(v)) {
			rc = decode_object(v, fields, item, err);
		} else { /* the bare name, which is the first field */
			object = json_pack("{s:s}", fields[0].key, json_string_value(v));
			rc = object ? decode_object(object, fields, item, err) : VS_E_NOMEM;
			json_decref(object);
		}
		if (rc)
			return rc;
	}
	return 0;
}

static int decode_uint(const json_t *v, void *to, size_t size)
{
	json_int_t i = json_integer_value(v);
	unsigned u;

	if (!json_is_integer(v) || i < 0 || (size == sizeof(u) && i > UINT32_MAX))
		return VS_E_INVAL;
	if (size == sizeof(u)) {
		u = (unsigned)i;
		memcpy(to, &u, sizeof(u));
	} else {
		uint64_t w = (uint64_t)i;

		memcpy(to, &w, sizeof(w));
	}
	return 0;
}

static int decode_text(const json_t *v, char *to, size_t size)
{
	if (!json_is_string(v) || json_string_length(v) >= size ||
	    strlen(json_string_value(v)) != json_string_length(v))
		return VS_E_INVAL;
	memcpy(to, json_string_value(v), json_string_length(v) + 1);
	return 0;
}

static int decode_field(const struct field *f, const json_t *v, void *out, struct vs_error *err)
{
	void *to = (char *)out + f->offset;
	struct vm_definition *d = out;
	char text[VS_UUID_TEXT];
	int rc = VS_E_INVAL;

	switch (f->type) {
	case F_TEXT:
		rc = decode_text(v, to, f->size);
		break;
	case F_UINT:
		rc = decode_uint(v, to, f->size);
		break;
	case F_BOOL:
		if (json_is_boolean(v)) {
			*(bool *)to = json_is_true(v);
			rc = 0;
		}
		break;
	case F_UUID:
		rc = decode_text(v, text, sizeof(text));
		if (!rc)
			rc = vs_uuid_parse(text, to);
		break;
	case F_FIRMWARE:
		rc = json_is_string(v) ? vm_firmware_parse(json_string_value(v), to) : VS_E_INVAL;
		break;
	case F_ACCEL:
		rc = json_is_string(v) ? vm_accel_parse(json_string_value(v), to) : VS_E_INVAL;
		break;
	case F_DISKS:
		return decode_array(v, "disks", disk_fields, d->disks, sizeof(d->disks[0]),
				    VM_DISKS_MAX, &d->ndisks, err);
	case F_NICS:
		return decode_array(v, "nics", nic_fields, d->nics, sizeof(d->nics[0]), VM_NICS_MAX,
				    &d->nnics, err);
	}
	return rc ? vs_fail(err, VS_E_INVAL, "machine definition: bad value of \"%s\"", f->key) : 0;
}

static int decode_object(const json_t *json, const struct field *fields, void *out,
			 struct vs_error *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(json))
		return vs_fail(err, VS_E_INVAL, "machine definition: an object was expected");
	json_object_foreach((json_t *)(uintptr_t)json, key, value)
	{
		const struct field *f = fields;
		int rc;

		while (f->key && strcmp(f->key, key) != 0)
			f++;
		if (!f->key)
			return vs_fail(err, VS_E_INVAL, "machine definition: unknown key \"%.64s\"",
				       key);
		rc = decode_field(f, value, out, err);
		if (rc)
			return rc;
	}
	return 0;
}

int vm_definition_decode(const json_t *json, struct vm_definition *d, struct vs_error *err)
{
	int rc;

	memset(d, 0, sizeof(*d));
	d->cpus = 1;
	d->memory = DEFAULT_MEMORY;
	rc = decode_object(json, machine_fields, d, err);
	if (rc)
		return rc;
	if (!json_object_get(json, "uuid")) {
		rc = vs_uuid_new(&d->uuid);
		if (rc)
			return vs_fail(err, rc, "cannot make a UUID");
	}
	return vm_definition_check(d, err);
}
