/*
 * Virtual machines: QEMU processes, one per running machine, that outlive the daemon.
 *
 * A host owns a folder with one subfolder per machine (its sockets, pid file and log) and a thread
 * that talks QMP to all of them. Whoever owns the machines' disks serves them on the sockets named
 * in the definition before vm_start, and keeps them until the machine's state is stopped or
 * crashed.
 *
 * Ownership: definitions are copied. Threads: any but the host's own; the calls wait for the
 * outcome, each with a bound. Callbacks run on the host's thread and must not block nor call back.
 * Errors: VS_E_NOENT (no such machine here), VS_E_BUSY (wrong state), VS_E_INVAL, VS_E_TIMEDOUT,
 * VS_E_IO (QEMU failed; the text has its last words), VS_E_NOMEM, VS_E_LIMIT.
 */
#ifndef VM_MACHINE_H
#define VM_MACHINE_H

#include "common/err.h"
#include "common/uuid.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VM_NAME_MAX 64	   /* with NUL */
#define VM_VOLUME_MAX 128  /* VOLUME@SNAP with NUL */
#define VM_PATH_MAX 1024   /* of files, with NUL */
#define VM_SOCKET_MAX 108  /* of Unix sockets, with NUL */
#define VM_APPEND_MAX 2048 /* kernel command line, with NUL */
#define VM_DISKS_MAX 16u
#define VM_DISK_QUEUES 4u /* a disk's server must allow so many queues */
#define VM_NICS_MAX 8u
#define VM_CPUS_MAX 255u
#define VM_MEMORY_MIN (UINT64_C(16) << 20)
#define VM_MEMORY_MAX (UINT64_C(4) << 40)
#define VM_MACHINES_MAX 1024u /* on one host */

enum vm_firmware { VM_BIOS, VM_UEFI };
enum vm_accel { VM_ACCEL_AUTO, VM_ACCEL_KVM, VM_ACCEL_TCG };

struct vm_disk {
	char volume[VM_VOLUME_MAX];
	bool read_only;
	char socket[VM_SOCKET_MAX]; /* vhost-user-blk; set by the owner, not part of the JSON */
};

struct vm_nic {
	char network[VM_NAME_MAX]; /* "user": QEMU's own user-mode network */
	char mac[18];		   /* aa:bb:cc:dd:ee:ff; "": derived from the machine's UUID */
};

struct vm_definition {
	char name[VM_NAME_MAX];
	struct vs_uuid uuid;
	unsigned cpus;
	uint64_t memory; /* bytes, multiple of 1 MiB */
	enum vm_firmware firmware;
	enum vm_accel accel;
	unsigned ndisks, nnics;
	struct vm_disk disks[VM_DISKS_MAX]; /* the first one is booted from */
	struct vm_nic nics[VM_NICS_MAX];
	/* DATASTORE/PATH or a URL, which the owner serves, or an absolute path; "": none */
	char cdrom[VM_PATH_MAX];
	/* Where it is served over NBD; "": not. Set by the owner, not part of the JSON. */
	char cdrom_socket[VM_SOCKET_MAX], cdrom_export[VM_VOLUME_MAX];
	char kernel[VM_PATH_MAX], initrd[VM_PATH_MAX];
	char append[VM_APPEND_MAX];
};

/*
 * {"name", "uuid", "cpus", "memory", "firmware": "bios|uefi", "accel": "auto|kvm|tcg",
 *  "disks": [{"volume", "read_only"}], "nics": [{"network", "mac"}],
 *  "cdrom", "kernel", "initrd", "append"}
 * decode: name is needed; a missing uuid is made up, cpus is 1, memory 512 MiB, the rest empty; a
 * disk or nic may be the bare name; unknown keys and values out of range are VS_E_INVAL. Pure.
 */
json_t *vm_definition_encode(const struct vm_definition *def); /* NULL: out of memory */
int vm_definition_decode(const json_t *json, struct vm_definition *def,
			 struct vs_error *err) vs_must_check;
/* What decode checks, for definitions made otherwise. */
int vm_definition_check(const struct vm_definition *def, struct vs_error *err) vs_must_check;
const char *vm_firmware_name(enum vm_firmware f);
const char *vm_accel_name(enum vm_accel a);
int vm_firmware_parse(const char *text, enum vm_firmware *f) vs_must_check;
int vm_accel_parse(const char *text, enum vm_accel *a) vs_must_check;

enum vm_state { VM_STOPPED, VM_STARTING, VM_RUNNING, VM_PAUSED, VM_SUSPENDED, VM_CRASHED };
const char *vm_state_name(enum vm_state s);

struct vm_host;

struct vm_host_options {
	const char *folder; /* made when missing; short: socket paths have at most 107 bytes */
	const char *user;   /* QEMU runs as this user; NULL: as the daemon's */
	const char *qemu;   /* NULL: qemu-system-x86_64 from PATH */
	/* A machine changed its state; reason is one line for people ("the guest powered off"). */
	void (*changed)(void *arg, const char *name, enum vm_state state, const char *reason);
	void *arg;
};

int vm_host_open(const struct vm_host_options *opts, struct vm_host **out,
		 struct vs_error *err) vs_must_check;
/* Leaves running machines alone: vm_adopt finds them again. */
void vm_host_close(struct vm_host *h);
/* Whom disk sockets must belong to so that QEMU can connect. */
void vm_host_owner(const struct vm_host *h, uid_t *uid, gid_t *gid);

/* Makes the machine's folder and gives the path for the socket of its disk number index. */
int vm_disk_socket(struct vm_host *h, const char *name, unsigned index, char path[VM_SOCKET_MAX],
		   struct vs_error *err) vs_must_check;

/* Starts QEMU and returns when the guest runs. VS_E_BUSY when the machine is not stopped. */
int vm_start(struct vm_host *h, const struct vm_definition *def,
	     struct vs_error *err) vs_must_check;
/*
 * After the daemon's start: whether the machine's QEMU still runs, without touching it. Its disks
 * should be served again before vm_adopt, so that a guest waits as briefly as possible.
 */
bool vm_alive(struct vm_host *h, const struct vm_definition *def);
/*
 * Takes over a QEMU that an earlier daemon started. VS_E_NOENT when there is none. One whose guest
 * powered off meanwhile is ended and reported as stopped, one whose process died as crashed.
 */
int vm_adopt(struct vm_host *h, const struct vm_definition *def,
	     struct vs_error *err) vs_must_check;
int vm_shutdown(struct vm_host *h, const char *name, struct vs_error *err) vs_must_check; /* asks */
/* Ends QEMU, by force when it does not answer within 5 s; its process is gone on return. */
int vm_stop(struct vm_host *h, const char *name, struct vs_error *err) vs_must_check;
int vm_reset(struct vm_host *h, const char *name, struct vs_error *err) vs_must_check;
int vm_suspend(struct vm_host *h, const char *name, struct vs_error *err) vs_must_check; /* pause */
int vm_resume(struct vm_host *h, const char *name, struct vs_error *err) vs_must_check;
/* Waits until the machine is stopped or crashed; VS_E_TIMEDOUT after seconds. */
int vm_wait_stopped(struct vm_host *h, const char *name, unsigned seconds,
		    struct vs_error *err) vs_must_check;
/* Any other QMP command. arguments is borrowed (may be NULL); *result is the caller's. */
int vm_qmp(struct vm_host *h, const char *name, const char *command, const json_t *arguments,
	   json_t **result, struct vs_error *err) vs_must_check;
/* Forgets a stopped machine and removes its folder. */
int vm_remove(struct vm_host *h, const char *name, struct vs_error *err) vs_must_check;

struct vm_status {
	enum vm_state state;	     /* VM_STOPPED for machines that the host does not know */
	enum vm_accel accel;	     /* kvm or tcg while it runs */
	pid_t pid;		     /* 0: none */
	int64_t started_ns;	     /* Unix time; 0: not running */
	char console[VM_SOCKET_MAX]; /* serial port: bytes both ways, one client at a time */
	char vnc[VM_SOCKET_MAX];
	char reason[160]; /* of the last change */
};

void vm_status(struct vm_host *h, const char *name, struct vm_status *out);

/* kvm when /dev/kvm can be opened and speaks the stable API, else tcg. */
enum vm_accel vm_accel_detect(void);

#endif
