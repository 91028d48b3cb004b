#include "mgmt/node.h"

#include "common/bytes.h"
#include "common/log.h"
#include "common/loop.h"
#include "mgmt/api.h"
#include "mgmt/attach.h"
#include "mgmt/copy.h"
#include "mgmt/datastore.h"
#include "mgmt/devices.h"
#include "mgmt/draft.h"
#include "mgmt/dedup.h"
#include "mgmt/http.h"
#include "mgmt/iscsi.h"
#include "mgmt/nbd.h"
#include "mgmt/origin.h"
#include "mgmt/scrub.h"
#include "mgmt/space.h"
#include "mgmt/takeover.h"
#include "mgmt/vms.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int path_in(const struct mg_node *n, char *out, size_t max, const char *name,
		   struct vs_error *err)
{
	int len = snprintf(out, max, "%s/%s", n->state, name);

	return len > 0 && (size_t)len < max
		   ? 0
		   : vs_fail(err, VS_E_INVAL, "state folder %s: its path is too long", n->state);
}

/* Guests' processes run as their own user and reach their sockets through it: others may pass. */
static int take_state(struct mg_node *n, struct vs_error *err)
{
	char path[PATH_MAX], *absolute;

	if (mkdir(n->options->state, 0711) != 0 && errno != EEXIST)
		return vs_fail_errno(err, "cannot make state folder %s", n->options->state);
	absolute = realpath(n->options->state, NULL);
	if (!absolute)
		return vs_fail_errno(err, "cannot use state folder %s", n->options->state);
	if (strlen(absolute) >= sizeof(n->state)) {
		free(absolute);
		return vs_fail(
		    err, VS_E_INVAL,
		    "state folder %s: its path has more than %zu bytes, too many for the "
		    "sockets in it",
		    n->options->state, sizeof(n->state) - 1);
	}
	mg_copy(n->state, sizeof(n->state), absolute);
	free(absolute);
	if (chmod(n->state, 0711) != 0)
		return vs_fail_errno(err, "cannot set the mode of state folder %s", n->state);
	if (path_in(n, path, sizeof(path), "lock", err) != 0)
		return VS_E_INVAL;
	n->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (n->lock_fd < 0)
		return vs_fail_errno(err, "cannot open %s", path);
	if (flock(n->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK
			   ? vs_fail(err, VS_E_BUSY,
				     "another vstored uses state folder %s; stop it first, or "
				     "use another folder",
				     n->state)
			   : vs_fail_errno(err, "cannot lock %s", path);
	return 0;
}

/* STATE/run, empty: what is in it belonged to a daemon that is gone. */
static int make_run(struct mg_node *n, struct vs_error *err)
{
	struct dirent *e;
	DIR *dir;

	(void)snprintf(n->run, sizeof(n->run), "%s/run", n->state);
	if (mkdir(n->run, 0700) != 0 && errno != EEXIST)
		return vs_fail_errno(err, "cannot make %s", n->run);
	dir = opendir(n->run);
	if (!dir)
		return vs_fail_errno(err, "cannot use %s", n->run);
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
	return 0;
}

static int open_history(struct mg_node *n, struct vs_error *err)
{
	char path[PATH_MAX], before[PATH_MAX];
	int rc = path_in(n, path, sizeof(path), "history.db", err);

	if (rc == 0)
		rc = path_in(n, before, sizeof(before), MG_BEFORE, err);
	return rc != 0 ? rc
		       : mg_history_open(path, access(before, F_OK) == 0 ? before : NULL,
					 &n->history, err);
}

static int open_events(struct mg_node *n, struct vs_error *err)
{
	return mg_events_open(n->history, &n->events, err);
}

/* On the engine's thread. */
static void store_event(void *arg, enum bs_severity severity, const char *kind, const char *message)
{
	static const enum mg_severity map[] = {
	    [BS_INFO] = MG_INFO, [BS_WARNING] = MG_WARNING, [BS_ERROR] = MG_ERROR};
	struct mg_node *n = arg;

	mg_event(n->events, map[severity], kind, "store", "%s", message);
}

static int open_store(struct mg_node *n, struct vs_error *err)
{
	char witness[PATH_MAX];
	struct bs_open_options o = {.memory = n->options->memory,
				    .keep_free = n->options->discard < 0,
				    .witness_path = witness,
				    .event = store_event,
				    .event_arg = n};
	struct bs_device *devs[MG_STORES_MAX];
	unsigned ndevs = 0;
	int rc = path_in(n, witness, sizeof(witness), "witness", err);

	if (rc == 0)
		rc = mg_devices_open(n, devs, &ndevs, err);
	return rc != 0 ? rc : bs_store_open_all(devs, ndevs, &o, &n->store, err);
}

static int open_catalogue(struct mg_node *n, struct vs_error *err)
{
	int rc = mg_catalogue_open(n->store, &n->catalogue, err);

	return rc != 0 ? rc : mg_take_over(n, err);
}

static int open_tasks(struct mg_node *n, struct vs_error *err)
{
	int rc = mg_draft_clean(n, err);

	return rc != 0 ? rc : mg_tasks_open(n->history, n->events, &n->tasks, err);
}

static int open_origins(struct mg_node *n, struct vs_error *err)
{
	return mg_origins_open(n, &n->origins, err);
}

static int open_attachments(struct mg_node *n, struct vs_error *err)
{
	return mg_attachments_open(n, &n->attachments, err);
}

/* Guests wait for their disks: they come before the networks' front ends. */
static int open_vms(struct mg_node *n, struct vs_error *err)
{
	int rc = mg_vms_open(n, &n->vms, err);

	return rc != 0 ? rc : mg_vms_resume_all(n, err);
}

static int open_iscsi(struct mg_node *n, struct vs_error *err)
{
	return mg_iscsi_open(n, &n->iscsi, err);
}

static int open_nbd(struct mg_node *n, struct vs_error *err)
{
	return mg_nbd_open(n, &n->nbd, err);
}

static int open_datastores(struct mg_node *n, struct vs_error *err)
{
	return mg_datastores_open(n, &n->datastores, err);
}

static int open_space(struct mg_node *n, struct vs_error *err)
{
	return mg_space_open(n, &n->space, err);
}

static int open_scrub(struct mg_node *n, struct vs_error *err)
{
	return mg_scrub_open(n, &n->scrub, err);
}

static int open_dedup(struct mg_node *n, struct vs_error *err)
{
	return mg_dedup_open(n, &n->dedup, err);
}

static int open_http(struct mg_node *n, struct vs_error *err)
{
	char path[PATH_MAX];
	int rc = path_in(n, path, sizeof(path), "vstored.sock", err);

	return rc != 0 ? rc : mg_http_open(n, mg_api, path, &n->http, err);
}

int mg_node_open(const struct mg_options *o, struct mg_node **out, struct vs_error *err)
{
	static int (*const steps[])(struct mg_node * n, struct vs_error * err) = {
	    take_state,	      make_run,	    open_history, open_events, open_store, open_catalogue,
	    open_tasks,	      open_origins, open_scrub,	  open_dedup,  open_vms,   open_datastores,
	    open_attachments, open_iscsi,   open_nbd,	  open_space,  open_http,
	};
	struct mg_node *n = calloc(1, sizeof(*n));
	int rc = 0;

	if (!n)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	n->options = o;
	n->lock_fd = -1;
	n->started_ns = vs_now_ns();
	pthread_mutex_init(&n->config, NULL);
	for (size_t i = 0; i < VS_ARRAY_LEN(steps) && rc == 0; i++)
		rc = steps[i](n, err);
	if (rc != 0) {
		mg_node_close(n);
		return rc;
	}
	*out = n;
	return 0;
}

/* Everybody who waits goes home; then the order of opening, backwards. */
void mg_node_close(struct mg_node *n)
{
	struct vs_error err;

	mg_scrub_leave(n->scrub);
	mg_origins_hush(n->origins);
	if (n->tasks)
		mg_tasks_stop(n->tasks);
	if (n->events)
		mg_events_wake(n->events);
	if (n->vms)
		mg_vms_wake(n->vms);
	mg_http_close(n->http);
	mg_space_close(n->space);
	mg_nbd_close(n->nbd);
	mg_iscsi_close(n->iscsi);
	mg_attachments_close(n->attachments);
	mg_datastores_close(n->datastores);
	mg_vms_close(n->vms);
	mg_origins_close(n->origins);
	mg_tasks_close(n->tasks);
	mg_scrub_close(n->scrub);
	mg_dedup_close(n->dedup);
	mg_catalogue_close(n->catalogue);
	if (n->store && bs_store_close(n->store, &err) != 0)
		vs_err("the store was not closed cleanly: %s", err.text);
	mg_events_close(n->events);
	mg_history_close(n->history);
	if (n->lock_fd >= 0)
		close(n->lock_fd);
	pthread_mutex_destroy(&n->config);
	free(n);
}
