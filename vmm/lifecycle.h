/* The life of a machine as a table: state and event give the next state. Pure, any thread. */
#ifndef VM_LIFECYCLE_H
#define VM_LIFECYCLE_H

#include "vmm/machine.h"

enum vm_event {
	VM_EV_START,	   /* a process was started, or found */
	VM_EV_RUN,	   /* the guest's CPUs run */
	VM_EV_PAUSE,	   /* they are held */
	VM_EV_SUSPEND,	   /* the guest sleeps (ACPI S3) */
	VM_EV_POWEROFF,	   /* the guest powered off; its process still waits for our word */
	VM_EV_NOT_STARTED, /* the process ended before the guest ran */
	VM_EV_END,	   /* the process ended as it was meant to */
	VM_EV_DIE,	   /* the process ended otherwise */
	VM_EVENTS
};

/* Whether the event means anything in this state; *next is set then. */
bool vm_lifecycle_next(enum vm_state state, enum vm_event event, enum vm_state *next);
/* Of a QMP event's name, or of query-status' "status"; false: of no interest here. */
bool vm_lifecycle_of_event(const char *name, enum vm_event *event);
enum vm_event vm_lifecycle_of_status(const char *status);
/* A process belongs to the machine in this state. */
bool vm_lifecycle_active(enum vm_state state);

#endif
