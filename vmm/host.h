/*
 * What host.c (threads and the public calls) and machine.c (one machine's life) share. Everything
 * belongs to the host's thread, but for what a call's own lock guards.
 *
 * Invariants: an active machine (lifecycle.h) has a process with a watched pidfd; every call in its
 * list is answered at the latest when that process ends.
 */
#ifndef VM_HOST_H
#define VM_HOST_H

#include "common/loop.h"
#include "vmm/lifecycle.h"
#include "vmm/machine.h"
#include "vmm/process.h"
#include "vmm/qmp.h"

#include <pthread.h>

enum vm_wait { VM_WAIT_UP, VM_WAIT_END };

struct vm_call {
	struct vs_post post;
	void (*run)(struct vm_call *c);
	struct vm_host *host;
	const char *name;
	const struct vm_definition *def;
	const char *command;
	const json_t *arguments;
	void *out;
	unsigned seconds;
	struct vs_error *err;
	int rc;
	/* while it waits for a machine */
	struct vm_machine *machine;
	enum vm_wait wait;
	struct vs_timer timer;
	struct vm_call *next;
	bool done; /* under lock */
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

struct vm_machine {
	struct vm_host *host;
	char name[VM_NAME_MAX];
	struct vs_uuid uuid;
	enum vm_state state;
	enum vm_accel accel;
	char reason[160];
	int64_t started_ns;
	struct vm_process process;
	struct vs_watch exit_watch; /* the pidfd */
	struct vm_qmp_conn *qmp;
	bool qmp_ready, qmp_closed; /* closed: to be freed by the next connect */
	struct vs_timer reconnect, deadline, force, rearm;
	bool adopted;
	bool ending;	/* the end of its process is expected */
	bool timed_out; /* the start took too long */
	bool rearming;	/* its CPUs are held for a moment, by us: no change of state */
	struct vm_call *calls;
	struct vm_machine *next;
};

struct vm_host {
	struct vs_loop *loop;
	pthread_t thread;
	char folder[VM_PATH_MAX];
	char qemu[VM_PATH_MAX];
	bool has_user;
	uid_t uid;
	gid_t gid;
	void (*changed)(void *arg, const char *name, enum vm_state state, const char *reason);
	void *arg;
	struct vm_machine *machines;
	unsigned nmachines;
};

/* host.c */
void vm_call_done(struct vm_call *c, int rc);
void vm_call_wait_for(struct vm_call *c, struct vm_machine *m, enum vm_wait wait);
int vm_call_fail(struct vm_call *c, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* machine.c: on the host's thread */
int vm_machine_start(struct vm_machine *m, const struct vm_definition *def,
		     struct vs_error *err) vs_must_check;
int vm_machine_adopt(struct vm_machine *m, const struct vs_uuid *uuid,
		     struct vs_error *err) vs_must_check;
void vm_machine_end(struct vm_machine *m); /* quit, or kill */
/* An event of the life cycle: the new state, said to the owner and to calls that wait for it. */
void vm_machine_apply(struct vm_machine *m, enum vm_event event, const char *reason);
void vm_machine_forget(struct vm_machine *m);
void vm_machine_init(struct vm_machine *m, struct vm_host *h, const char *name);

/* monitor.c: the machine's QMP connection, on the host's thread */
void vm_monitor_connect(struct vs_timer *t); /* m->reconnect: until it works */
void vm_monitor_close(struct vm_machine *m);
void vm_monitor_rearm(struct vs_timer *t); /* m->rearm */

#endif
