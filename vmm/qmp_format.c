#include "vmm/qmp_format.h"

#include <stdlib.h>
#include <string.h>

static const char *string_or(const json_t *v, const char *fallback)
{
	return json_is_string(v) ? json_string_value(v) : fallback;
}

static int classify(struct vm_qmp_message *m)
{
	const json_t *error, *event, *id = json_object_get(m->root, "id");

	if (json_is_integer(id) && json_integer_value(id) >= 0) {
		m->has_id = true;
		m->id = (uint64_t)json_integer_value(id);
	}
	if (json_is_object(json_object_get(m->root, "QMP"))) {
		m->kind = VM_QMP_GREETING;
		return 0;
	}
	m->data = json_object_get(m->root, "return");
	if (m->data) {
		m->kind = VM_QMP_RETURN;
		return 0;
	}
	error = json_object_get(m->root, "error");
	if (json_is_object(error)) {
		m->kind = VM_QMP_ERROR;
		m->name = string_or(json_object_get(error, "class"), "GenericError");
		m->text = string_or(json_object_get(error, "desc"), "no description");
		return 0;
	}
	event = json_object_get(m->root, "event");
	if (json_is_string(event)) {
		m->kind = VM_QMP_EVENT;
		m->name = json_string_value(event);
		m->data = json_object_get(m->root, "data");
		return 0;
	}
	return VS_E_PROTO;
}

int vm_qmp_decode(const char *line, size_t len, struct vm_qmp_message *m)
{
	int rc;

	memset(m, 0, sizeof(*m));
	m->root = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(m->root)) {
		vm_qmp_message_free(m);
		return VS_E_PROTO;
	}
	rc = classify(m);
	if (rc)
		vm_qmp_message_free(m);
	return rc;
}

void vm_qmp_message_free(struct vm_qmp_message *m)
{
	json_decref(m->root);
	memset(m, 0, sizeof(*m));
}

char *vm_qmp_encode(const char *command, const json_t *arguments, uint64_t id)
{
	json_t *root = json_pack("{s:s, s:I}", "execute", command, "id", (json_int_t)id);
	char *text, *line = NULL;

	if (!root)
		return NULL;
	if (arguments && json_object_set_new(root, "arguments", json_deep_copy(arguments)) != 0) {
		json_decref(root);
		return NULL;
	}
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text) {
		size_t len = strlen(text);

		line = realloc(text, len + 2);
		if (!line) {
			free(text);
			return NULL;
		}
		line[len] = '\n';
		line[len + 1] = '\0';
	}
	return line;
}
