/* QEMU's arguments for a machine. Pure functions, any thread. */
#ifndef VM_COMMAND_LINE_H
#define VM_COMMAND_LINE_H

#include "vmm/machine.h"

#define VM_ARGS_MAX 256

struct vm_command_line {
	unsigned n;
	char *args[VM_ARGS_MAX + 1]; /* malloc'ed, NULL at the end */
};

struct vm_command_context {
	const char *qemu;
	const char *folder;		   /* of the machine */
	enum vm_accel accel;		   /* kvm or tcg */
	const char *cpu;		   /* model */
	int qmp_fd, console_fd;		   /* listening sockets, as QEMU will see them */
	const char *uefi_code, *uefi_vars; /* with VM_UEFI */
};

/* VS_E_NOMEM, VS_E_LIMIT; the caller frees in every case. */
int vm_command_line_build(const struct vm_definition *def, const struct vm_command_context *ctx,
			  struct vm_command_line *out, struct vs_error *err) vs_must_check;
void vm_command_line_free(struct vm_command_line *c);

#endif
