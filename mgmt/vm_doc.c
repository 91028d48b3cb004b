#include "mgmt/vms_impl.h"

#include "common/text.h"
#include "mgmt/draft.h"
#include "mgmt/volume.h"

#include <stdlib.h>
#include <string.h>

/* Exchanges the volumes of an encoded definition: names for UUIDs, or back. */
static int exchange(json_t *definition, const struct mg_vm_doc *d, bool to_uuid)
{
	json_t *disks = json_object_get(definition, "disks"), *disk;
	char uuid[VS_UUID_TEXT];
	size_t i;

	json_array_foreach(disks, i, disk)
	{
		vs_uuid_format(&d->uuids[i], uuid);
		if (json_object_set_new(disk, "volume",
					json_string(to_uuid ? uuid : d->def.disks[i].volume)) != 0)
			return VS_E_NOMEM;
	}
	return 0;
}

int mg_vm_doc_decode(struct mg_node *n, const json_t *doc, struct mg_vm_doc *out,
		     struct vs_error *err)
{
	const json_t *definition = json_object_get(doc, "definition");
	const char *cdrom;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = vm_definition_decode(definition, &out->def, err);
	for (unsigned i = 0; rc == 0 && i < out->def.ndisks; i++) {
		rc = vs_uuid_parse(out->def.disks[i].volume, &out->uuids[i]);
		if (rc != 0)
			rc = vs_fail(err, VS_E_CORRUPT, "catalogue: a disk of %s has no volume",
				     out->def.name);
		else
			mg_volume_name(n, &out->uuids[i], out->def.disks[i].volume);
	}
	cdrom = json_string_value(json_object_get(doc, "cdrom_volume"));
	out->cdrom.has_volume = cdrom && vs_uuid_parse(cdrom, &out->cdrom.volume) == 0;
	if (out->cdrom.has_volume)
		mg_volume_name(n, &out->cdrom.volume, out->def.cdrom_export);
	out->autostart = json_is_true(json_object_get(doc, "autostart"));
	out->share_disks = json_is_true(json_object_get(doc, "share_disks"));
	out->held = json_is_true(json_object_get(doc, "held"));
	return rc;
}

int mg_vm_doc_load(struct mg_node *n, const char *name, struct mg_vm_doc *out, struct vs_error *err)
{
	json_t *doc = NULL;
	int rc = mg_catalogue_get(n->catalogue, MG_VM, name, &doc, err);

	if (rc == 0)
		rc = mg_vm_doc_decode(n, doc, out, err);
	json_decref(doc);
	return rc;
}

static int take_bool(json_t *body, const char *key, bool *value, struct vs_error *err)
{
	json_t *given = json_object_get(body, key);

	if (!given)
		return 0;
	if (!json_is_boolean(given))
		return vs_fail(err, VS_E_INVAL, "%s must be true or false", key);
	*value = json_is_true(given);
	return json_object_del(body, key);
}

static int resolve(struct mg_node *n, struct mg_vm_doc *d, struct vs_error *err)
{
	struct bs_volume_info info;
	int rc = 0;

	for (unsigned i = 0; i < d->def.ndisks && rc == 0; i++) {
		rc = mg_draft_find(n, d->def.disks[i].volume, &info, err);
		if (rc != 0)
			break;
		d->uuids[i] = info.uuid;
		d->def.disks[i].read_only |= info.snapshot;
		for (unsigned k = 0; k < i; k++)
			if (vs_uuid_equal(&d->uuids[k], &info.uuid) && !info.snapshot)
				rc = vs_fail(err, VS_E_INVAL, "%s is named twice",
					     d->def.disks[i].volume);
	}
	return rc;
}

/* The whole definition that a body describes: over base's, where there is one. Takes given. */
static json_t *lay_over(const struct mg_vm_doc *base, json_t *given)
{
	json_t *whole;

	if (!base)
		return given;
	whole = vm_definition_encode(&base->def);
	if (whole && json_object_update(whole, given) != 0) {
		json_decref(whole);
		whole = NULL;
	}
	json_decref(given);
	return whole;
}

int mg_vm_doc_parse(struct mg_node *n, const json_t *body, const struct mg_vm_doc *base,
		    const struct mg_cdrom *cd, struct mg_vm_doc *out, struct vs_error *err)
{
	json_t *given = json_deep_copy(body), *whole;
	int rc;

	if (!given)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	memset(out, 0, sizeof(*out));
	if (base) {
		out->autostart = base->autostart;
		out->share_disks = base->share_disks;
	}
	out->cdrom = base && !cd->given ? base->cdrom : *cd;
	rc = take_bool(given, "autostart", &out->autostart, err);
	if (rc == 0)
		rc = take_bool(given, "share_disks", &out->share_disks, err);
	if (rc == 0 && base && (json_object_get(given, "name") || json_object_get(given, "uuid")))
		rc = vs_fail(err, VS_E_INVAL, "a VM's name and uuid stay as they are");
	if (rc != 0) {
		json_decref(given);
		return rc;
	}
	whole = lay_over(base, given);
	if (!whole)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = vm_definition_decode(whole, &out->def, err);
	json_decref(whole);
	return rc == 0 ? resolve(n, out, err) : rc;
}

int mg_vm_doc_store(struct mg_node *n, const struct mg_vm_doc *d, bool insert, struct vs_error *err)
{
	json_t *definition = vm_definition_encode(&d->def), *doc;
	struct vs_uuid volumes[VM_DISKS_MAX + 1];
	size_t nvolumes = d->def.ndisks;
	char cdrom[VS_UUID_TEXT];
	int rc;

	if (!definition || exchange(definition, d, true) != 0) {
		json_decref(definition);
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	}
	memcpy(volumes, d->uuids, nvolumes * sizeof(volumes[0]));
	if (d->cdrom.has_volume)
		volumes[nvolumes++] = d->cdrom.volume;
	vs_uuid_format(&d->cdrom.volume, cdrom);
	doc = json_pack("{s:o, s:b, s:b, s:b, s:s*}", "definition", definition, "autostart",
			d->autostart, "share_disks", d->share_disks, "held", d->held,
			"cdrom_volume", d->cdrom.has_volume ? cdrom : NULL);
	if (!doc)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	rc = insert ? mg_catalogue_insert(n->catalogue, MG_VM, d->def.name, doc, volumes, nvolumes,
					  err)
		    : mg_catalogue_update(n->catalogue, MG_VM, d->def.name, doc, volumes, nvolumes,
					  err);
	json_decref(doc);
	return rc;
}

json_t *mg_vm_doc_json(const struct mg_vm_doc *d, struct vm_status *st)
{
	json_t *json = vm_definition_encode(&d->def), *more;
	bool runs = st->pid != 0;

	if (!json)
		return NULL;
	vs_clean_line(st->reason); /* QEMU's words, it may be */
	more = json_pack(
	    "{s:s, s:s, s:o, s:o, s:s, s:b, s:b, s:s?, s:[]}", "state", vm_state_name(st->state),
	    "accel", vm_accel_name(runs ? st->accel : d->def.accel), "pid",
	    runs ? json_integer(st->pid) : json_null(), "started",
	    st->started_ns ? mg_time_json(st->started_ns) : json_null(), "reason", st->reason,
	    "autostart", d->autostart, "share_disks", d->share_disks, "cdrom_volume",
	    d->cdrom.has_volume ? d->def.cdrom_export : NULL, "snapshots");
	if (!more || json_object_update_new(json, more) != 0) {
		json_decref(json);
		return NULL;
	}
	return json;
}

void mg_vm_note_held(struct mg_vm *m, bool held)
{
	struct mg_vm_doc *d = calloc(1, sizeof(*d));
	struct mg_node *n = m->vms->node;
	struct vs_error err;
	int rc =
	    d ? mg_vm_doc_load(n, m->name, d, &err) : vs_fail(&err, VS_E_NOMEM, "out of memory");

	if (rc == 0 && d->held != held) {
		d->held = held;
		rc = mg_vm_doc_store(n, d, false, &err);
	}
	if (rc != 0)
		mg_event(n->events, MG_WARNING, "vm.failed", m->name,
			 "whether it waits for space could not be kept: %s", err.text);
	free(d);
}
