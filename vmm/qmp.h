/*
 * A connection to one QEMU's machine protocol, on one event loop's thread.
 *
 * Ownership: vm_qmp_open gives, vm_qmp_close takes back. Callbacks run on the loop's thread; they
 * may send commands, but must not close the connection (closed says when it must be).
 */
#ifndef VM_QMP_H
#define VM_QMP_H

#include "common/loop.h"

#include <jansson.h>

#define VM_QMP_PENDING_MAX 64	     /* commands without answer */
#define VM_QMP_LINE_MAX (4u << 20)   /* bytes of one answer */
#define VM_QMP_UNSENT_MAX (1u << 20) /* bytes of commands that QEMU does not read */

struct vm_qmp_conn;

struct vm_qmp_handlers {
	void (*ready)(void *arg); /* capabilities are negotiated: commands may be sent */
	void (*event)(void *arg, const char *name, const json_t *data); /* data may be NULL */
	/* The connection is of no use any more; every command was answered with VS_E_CLOSED. */
	void (*closed)(void *arg, const char *why);
	void *arg;
};

/* rc is 0, VS_E_IO (QEMU refused, with its words in text), VS_E_TIMEDOUT or VS_E_CLOSED. */
typedef void (*vm_qmp_answer)(void *arg, int rc, const json_t *value, const char *text);

/* Connects to a listening Unix socket without waiting: VS_E_NOENT when nobody listens. */
int vm_qmp_open(struct vs_loop *loop, const char *path, const struct vm_qmp_handlers *handlers,
		struct vm_qmp_conn **out, struct vs_error *err) vs_must_check;
void vm_qmp_close(struct vm_qmp_conn *c); /* NULL is accepted; what waits is answered VS_E_CLOSED */

/* VS_E_LIMIT, VS_E_NOMEM, VS_E_CLOSED: answer is not called. arguments is borrowed, may be NULL. */
int vm_qmp_send(struct vm_qmp_conn *c, const char *command, const json_t *arguments,
		uint64_t timeout_ns, vm_qmp_answer answer, void *arg) vs_must_check;

#endif
