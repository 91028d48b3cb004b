/* Messages of QEMU's machine protocol: one JSON object a line. Pure functions, any thread. */
#ifndef VM_QMP_FORMAT_H
#define VM_QMP_FORMAT_H

#include "common/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vm_qmp_kind { VM_QMP_GREETING, VM_QMP_RETURN, VM_QMP_ERROR, VM_QMP_EVENT };

struct vm_qmp_message {
	enum vm_qmp_kind kind;
	bool has_id;
	uint64_t id;
	const char *name;   /* EVENT: its name; ERROR: its class; never NULL there */
	const char *text;   /* ERROR: its description; never NULL there */
	const json_t *data; /* RETURN: the value; EVENT: its data or NULL */
	json_t *root;	    /* owns all of the above */
};

/* VS_E_PROTO: not JSON, or none of the four. On success vm_qmp_message_free takes it back. */
int vm_qmp_decode(const char *line, size_t len, struct vm_qmp_message *m) vs_must_check;
void vm_qmp_message_free(struct vm_qmp_message *m);
/* A command as a line with its newline, malloc'ed; NULL: out of memory. arguments may be NULL. */
char *vm_qmp_encode(const char *command, const json_t *arguments, uint64_t id);

#endif
