#include "vmm/lifecycle.h"

#include "common/bytes.h"

static const char *const names[] = {
    [VM_STOPPED] = "stopped", [VM_STARTING] = "starting",   [VM_RUNNING] = "running",
    [VM_PAUSED] = "paused",   [VM_SUSPENDED] = "suspended", [VM_CRASHED] = "crashed",
};

static const struct row {
	enum vm_state from;
	enum vm_event event;
	enum vm_state to;
} rows[] = {
    {VM_STOPPED, VM_EV_START, VM_STARTING},	{VM_CRASHED, VM_EV_START, VM_STARTING},

    {VM_STARTING, VM_EV_RUN, VM_RUNNING},	{VM_STARTING, VM_EV_PAUSE, VM_PAUSED},
    {VM_STARTING, VM_EV_SUSPEND, VM_SUSPENDED}, {VM_STARTING, VM_EV_NOT_STARTED, VM_STOPPED},
    {VM_STARTING, VM_EV_END, VM_STOPPED},	{VM_STARTING, VM_EV_DIE, VM_CRASHED},

    {VM_RUNNING, VM_EV_PAUSE, VM_PAUSED},	{VM_RUNNING, VM_EV_SUSPEND, VM_SUSPENDED},
    {VM_RUNNING, VM_EV_END, VM_STOPPED},	{VM_RUNNING, VM_EV_DIE, VM_CRASHED},

    {VM_PAUSED, VM_EV_RUN, VM_RUNNING},		{VM_PAUSED, VM_EV_SUSPEND, VM_SUSPENDED},
    {VM_PAUSED, VM_EV_END, VM_STOPPED},		{VM_PAUSED, VM_EV_DIE, VM_CRASHED},

    {VM_SUSPENDED, VM_EV_RUN, VM_RUNNING},	{VM_SUSPENDED, VM_EV_PAUSE, VM_PAUSED},
    {VM_SUSPENDED, VM_EV_END, VM_STOPPED},	{VM_SUSPENDED, VM_EV_DIE, VM_CRASHED},
};

static const struct word {
	const char *name;
	enum vm_event event;
} qmp_events[] =
    {
	{"RESUME", VM_EV_RUN},	    {"WAKEUP", VM_EV_RUN},	  {"STOP", VM_EV_PAUSE},
	{"SUSPEND", VM_EV_SUSPEND}, {"SHUTDOWN", VM_EV_POWEROFF},
},
  qmp_statuses[] = {
      {"running", VM_EV_RUN},
      {"suspended", VM_EV_SUSPEND},
      {"shutdown", VM_EV_POWEROFF},
};

const char *vm_state_name(enum vm_state s)
{
	return names[s];
}

bool vm_lifecycle_next(enum vm_state state, enum vm_event event, enum vm_state *next)
{
	for (size_t i = 0; i < VS_ARRAY_LEN(rows); i++) {
		if (rows[i].from == state && rows[i].event == event) {
			*next = rows[i].to;
			return true;
		}
	}
	return false;
}

bool vm_lifecycle_of_event(const char *name, enum vm_event *event)
{
	for (size_t i = 0; i < VS_ARRAY_LEN(qmp_events); i++) {
		if (strcmp(qmp_events[i].name, name) == 0) {
			*event = qmp_events[i].event;
			return true;
		}
	}
	return false;
}

enum vm_event vm_lifecycle_of_status(const char *status)
{
	for (size_t i = 0; i < VS_ARRAY_LEN(qmp_statuses); i++)
		if (strcmp(qmp_statuses[i].name, status) == 0)
			return qmp_statuses[i].event;
	return VM_EV_PAUSE; /* paused, prelaunch, io-error, guest-panicked, ...: CPUs are held */
}

bool vm_lifecycle_active(enum vm_state state)
{
	return state != VM_STOPPED && state != VM_CRASHED;
}
