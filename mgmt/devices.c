#include "mgmt/devices.h"

#include "blockstore/devices.h"
#include "blockstore/lun_url.h"
#include "common/bytes.h"
#include "common/log.h"
#include "common/secret.h"
#include "mgmt/copy.h"
#include "mgmt/event.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int devices_path(const struct mg_node *n, const char *suffix, char *path, size_t max)
{
	int len = snprintf(path, max, "%s/devices%s", n->state, suffix);

	return len > 0 && (size_t)len < max ? 0 : VS_E_INVAL;
}

static void add_path(struct mg_stores *s, const char *path)
{
	for (unsigned i = 0; i < s->n; i++)
		if (strcmp(s->at[i], path) == 0)
			return;
	if (s->n < MG_STORES_MAX && *path && strlen(path) < sizeof(s->at[0]))
		mg_copy(s->at[s->n++], sizeof(s->at[0]), path);
}

static void recall(const struct mg_node *n, struct mg_stores *s)
{
	char line[PATH_MAX + 2];
	FILE *f;

	if (devices_path(n, "", line, sizeof(line)))
		return;
	f = fopen(line, "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		add_path(s, line);
	}
	if (f)
		(void)fclose(f);
}

int mg_device_open(const struct mg_node *n, const char *path, struct bs_device **out,
		   struct vs_error *err)
{
	const struct mg_options *o = n->options;
	struct bs_device_lun lun = {.hold_ns = o->store_hold_ns};
	char secret[256] = "";
	int rc = 0;

	if (bs_lun_url_is(path) && o->store_secret_file[0]) {
		rc = vs_secret_read(o->store_secret_file, secret, sizeof(secret), err);
		lun.secret = secret;
	}
	if (rc == 0)
		rc = bs_device_open_as(path, 0, 0, &lun, out, err);
	vs_secret_wipe(secret, sizeof(secret));
	return rc;
}

int mg_devices_open(struct mg_node *n, struct bs_device *devs[MG_STORES_MAX], unsigned *ndevs,
		    struct vs_error *err)
{
	struct mg_stores *s = malloc(sizeof(*s));
	int rc = 0;

	*ndevs = 0;
	if (!s)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	*s = n->options->stores;
	recall(n, s);
	for (unsigned i = 0; i < s->n; i++) {
		rc = mg_device_open(n, s->at[i], &devs[*ndevs], err);
		if (rc == 0)
			++*ndevs;
		else if (s->n > 1)
			mg_event(n->events, MG_WARNING, "device", "store", "%s", err->text);
	}
	free(s);
	return *ndevs ? 0 : rc;
}

static int write_list(FILE *f, const struct bs_device_info *info, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (info[i].name[0] && fprintf(f, "%s\n", info[i].name) < 0)
			return -1;
	return fflush(f) == 0 && fsync(fileno(f)) == 0 ? 0 : -1;
}

int mg_devices_remember(struct mg_node *n, struct vs_error *err)
{
	struct bs_device_info info[MG_STORES_MAX];
	char path[PATH_MAX], fresh[PATH_MAX];
	size_t count;
	FILE *f;
	int rc = bs_devices_list(n->store, info, MG_STORES_MAX, &count, err);

	if (rc)
		return rc;
	if (devices_path(n, "", path, sizeof(path)) ||
	    devices_path(n, ".new", fresh, sizeof(fresh)))
		return vs_fail(err, VS_E_INVAL, "state folder %s: its path is too long", n->state);
	f = fopen(fresh, "we");
	if (!f)
		return vs_fail_errno(err, "cannot write %s", fresh);
	if (write_list(f, info, count)) {
		rc = vs_fail_errno(err, "cannot write %s", fresh);
		(void)fclose(f);
		return rc;
	}
	(void)fclose(f);
	return rename(fresh, path) == 0 ? 0 : vs_fail_errno(err, "cannot write %s", path);
}

static const char *state_text(enum bs_device_state state)
{
	static const char *const texts[] = {[BS_DEVICE_SYNC] = "in sync",
					    [BS_DEVICE_RESILVERING] = "resilvering",
					    [BS_DEVICE_LEAVING] = "leaving",
					    [BS_DEVICE_MISSING] = "missing"};

	return texts[state];
}

static json_t *device_json(const struct bs_device_info *d)
{
	char uuid[VS_UUID_TEXT];
	double done = d->segments ? 1.0 - (double)d->left / d->segments : 1.0;

	vs_uuid_format(&d->uuid, uuid);
	return json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:f, s:I, s:I, s:I}", "device", d->name,
			 "uuid", uuid, "state", state_text(d->state), "group", (int)d->group,
			 "size", (json_int_t)d->size, "used_size", (json_int_t)d->used_size,
			 "progress", d->state == BS_DEVICE_MISSING ? 0.0 : done, "read_errors",
			 (json_int_t)d->read_errors, "write_errors", (json_int_t)d->write_errors,
			 "healed", (json_int_t)d->healed);
}

json_t *mg_devices_json(struct mg_node *n)
{
	struct bs_device_info info[MG_STORES_MAX];
	json_t *list = json_array();
	size_t count = 0;

	if (list && bs_devices_list(n->store, info, MG_STORES_MAX, &count, NULL) == 0)
		for (size_t i = 0; i < count; i++)
			(void)json_array_append_new(list, device_json(&info[i]));
	return list;
}
