/* Who uses a volume: what it is refused for, and what follows when its name changes. */
#include "mgmt/volume_impl.h"

#include "mgmt/attach.h"
#include "mgmt/iscsi.h"
#include "mgmt/nbd.h"

#include <string.h>

int mg_volume_users(struct mg_node *n, const struct vs_uuid *uuid, const char *full, json_t **out,
		    struct vs_error *err)
{
	int rc = mg_catalogue_users(n->catalogue, uuid, out, err);
	size_t i = 0;

	if (rc != 0)
		return rc;
	while (i < json_array_size(*out)) {
		json_t *user = json_array_get(*out, i);
		const char *kind = json_string_value(json_object_get(user, "kind"));

		if (strcmp(kind, mg_kind_name[MG_DRAFT]) == 0 ||
		    strcmp(kind, mg_kind_name[MG_BASE]) == 0) {
			json_array_remove(*out, i);
			continue;
		}
		if (strcmp(kind, mg_kind_name[MG_TARGET]) == 0)
			json_object_set_new(user, "kind", json_string("iscsi"));
		else if (strcmp(kind, mg_kind_name[MG_NBD]) == 0)
			json_object_set_new(user, "name", json_string(full));
		i++;
	}
	mg_attach_users(n->attachments, uuid, *out);
	return 0;
}

/* Fails for the first user that is not VM `but` (NULL: none is excepted). */
static int refuse_users(struct mg_node *n, const struct vs_uuid *uuid, const char *full,
			const char *what, const char *but, struct vs_error *err)
{
	json_t *list = NULL, *user;
	size_t i;
	int rc = mg_volume_users(n, uuid, full, &list, err);

	json_array_foreach(list, i, user)
	{
		const char *kind = json_string_value(json_object_get(user, "kind"));
		const char *name = json_string_value(json_object_get(user, "name"));

		if (rc != 0 ||
		    (but && strcmp(kind, mg_kind_name[MG_VM]) == 0 && strcmp(name, but) == 0))
			continue;
		rc = vs_fail(err, VS_E_BUSY, "cannot %s %s: it is used by %s %s; end that first",
			     what, full, kind, name);
	}
	json_decref(list);
	return rc;
}

int mg_volume_unused(struct mg_node *n, const struct vs_uuid *uuid, const char *full,
		     const char *what, struct vs_error *err)
{
	return refuse_users(n, uuid, full, what, NULL, err);
}

int mg_volume_unused_but(struct mg_node *n, const struct vs_uuid *uuid, const char *full,
			 const char *vm, struct vs_error *err)
{
	return refuse_users(n, uuid, full, "use", vm, err);
}

struct unused_check {
	struct mg_node *node;
	const struct vs_uuid *volume;
	const char *what;
	struct vs_error *err;
	int rc;
};

static int check_snapshot(void *arg, const struct bs_volume_info *v)
{
	struct unused_check *c = arg;
	char full[BS_FULL_NAME_MAX];

	if (c->rc == 0 && v->snapshot && vs_uuid_equal(&v->origin, c->volume))
		c->rc = mg_volume_unused(c->node, &v->uuid, mg_full_name(v, full), c->what, c->err);
	return 0;
}

int mg_snapshots_unused(struct mg_node *n, const struct vs_uuid *volume, const char *what,
			struct vs_error *err)
{
	struct unused_check c = {.node = n, .volume = volume, .what = what, .err = err};
	int rc = mg_volume_walk(n, check_snapshot, &c, err);

	return rc != 0 ? rc : c.rc;
}

int mg_volume_idle(struct mg_node *n, const char *name, const char *what, struct vs_error *err)
{
	struct bs_volume_info info;
	int rc = bs_volume_find(n->store, name, &info, err);

	if (rc == 0 && info.open_handles > 0)
		rc = vs_fail(
		    err, VS_E_BUSY,
		    "cannot %s %s: a session, a running VM, an export or a task has it open; "
		    "end that first",
		    what, name);
	return rc;
}

void mg_volume_renamed(struct mg_node *n, const char *from, const char *to)
{
	mg_iscsi_volume_renamed(n, to);
	mg_nbd_volume_renamed(n, from, to);
}
