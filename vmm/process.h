/*
 * QEMU processes: starting them so that they outlive the daemon, and knowing them again.
 *
 * A process is held by its pidfd, so a number used anew is never mistaken for it. Any thread.
 */
#ifndef VM_PROCESS_H
#define VM_PROCESS_H

#include "common/err.h"
#include "common/uuid.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vm_process {
	pid_t pid;
	int pidfd; /* readable when the process has ended; -1: none */
};

/* The child sees its listening sockets under these numbers. */
#define VM_PROCESS_QMP_FD 3
#define VM_PROCESS_CONSOLE_FD 4

struct vm_process_options {
	char *const *argv;
	const char *folder; /* working directory */
	const char *log;    /* its standard output and error, started anew */
	int qmp_fd, console_fd;
	uid_t uid;	    /* (uid_t)-1: as the caller */
	gid_t gid, kvm_gid; /* kvm_gid: one more group, or (gid_t)-1 */
};

/* In a session of its own, with nothing inherited but the above. */
int vm_process_start(const struct vm_process_options *o, struct vm_process *out,
		     struct vs_error *err) vs_must_check;
/*
 * The process in a pid file, if it lives and was started for this machine: its arguments hold the
 * UUID. VS_E_NOENT otherwise; *stale then says whether there is a pid file, which QEMU removes when
 * it ends well.
 */
int vm_process_find(const char *pidfile, const struct vs_uuid *uuid, struct vm_process *out,
		    bool *stale) vs_must_check;
int vm_process_kill(const struct vm_process *p);
/*
 * After it has ended: reaps a child and says how it ended ("was killed by signal 9"), as far as
 * that can be known: init reaps what an earlier daemon started.
 */
void vm_process_reap(struct vm_process *p, char *how, size_t len);
/* When it was started, Unix time; 0: unknown. */
int64_t vm_process_started_ns(pid_t pid);
/* The last line of a log, for error messages; "" when there is none. */
void vm_process_last_words(const char *log, char *out, size_t len);

#endif
