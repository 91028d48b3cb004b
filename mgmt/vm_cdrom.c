#include "mgmt/vm_cdrom.h"

#include "blockstore/io.h"
#include "blockstore/nfs_url.h"
#include "common/bytes.h"
#include "common/secret.h"
#include "common/text.h"
#include "mgmt/copy.h"
#include "mgmt/datastore_visit.h"
#include "mgmt/draft.h"
#include "mgmt/origin.h"
#include "mgmt/transfer.h"
#include "mgmt/vms_impl.h"
#include "mgmt/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (1u << 20)
#define IMAGE_MAX (UINT64_C(8) << 40) /* 2^32 blocks of 2 KiB are all that a drive can address */
#define SOCKET "cdrom.sock"

/* ---- made ------------------------------------------------------------------------------------ */

static int make_name(char name[BS_NAME_MAX], struct vs_error *err)
{
	uint8_t random[6];
	char hex[2 * sizeof(random) + 1];

	if (vs_random(random, sizeof(random)) != 0)
		return vs_fail(err, VS_E_IO, "cannot get random bytes");
	vs_format_hex(random, sizeof(random), hex);
	(void)snprintf(name, BS_NAME_MAX, "cdrom-%s", hex);
	return 0;
}

/* A file of a datastore on its way into a volume. */
struct copy {
	struct mg_visit visit;
	struct ds_attr file;
	struct bs_port *port;
	struct bs_volume *volume;
	uint8_t *buf;
};

static int copy_piece(struct copy *c, uint64_t at, const char *path, struct vs_error *err)
{
	size_t len = (size_t)VS_MIN(c->file.size - at, (uint64_t)PIECE);
	size_t whole = VS_ALIGN_UP(len, (size_t)BS_BLOCK);
	struct iovec iov = {c->buf, len};
	struct ds_req req = {.op = DS_READ,
			     .file = c->file.handle,
			     .offset = at,
			     .length = len,
			     .iov = &iov,
			     .iovcnt = 1};
	int rc = mg_visit_ask(&c->visit, &req, "read", path, err);

	if (rc != 0)
		return rc;
	if (req.count != len)
		return vs_fail(err, VS_E_IO, "%s became shorter while it was read", path);
	memset(c->buf + len, 0, whole - len);
	rc = bs_io_write(c->port, c->volume, at, c->buf, whole);
	return rc == 0 ? 0
		       : vs_fail(err, rc, "cannot copy %s: the volume failed: %s", path,
				 vs_err_text(rc));
}

/* Moves *at, which is on a block, to the next block with data; to the end if there is none. */
static int skip_hole(struct copy *c, uint64_t *at, const char *path, struct vs_error *err)
{
	struct ds_req req = {.op = DS_SEEK, .file = c->file.handle, .offset = *at};
	int rc = mg_visit_ask(&c->visit, &req, "read", path, err);

	if (rc == 0)
		*at = req.eof ? c->file.size : VS_ALIGN_DOWN(req.offset, (uint64_t)BS_BLOCK);
	return rc;
}

static int copy_all(struct mg_node *n, struct copy *c, const char *path, struct vs_error *err)
{
	struct ds_req again = {.op = DS_GETATTR, .file = c->file.handle};
	uint64_t at = 0;
	int rc = skip_hole(c, &at, path, err);

	while (rc == 0 && at < c->file.size) {
		if (atomic_load(mg_origins_stopping(n->origins)))
			return vs_fail(err, VS_E_CANCELED, "the node stops");
		rc = copy_piece(c, at, path, err);
		at += PIECE;
		if (rc == 0 && at < c->file.size)
			rc = skip_hole(c, &at, path, err);
	}
	if (rc == 0)
		rc = mg_visit_ask(&c->visit, &again, "read", path, err);
	if (rc == 0 && again.attr.change != c->file.change)
		rc = vs_fail(err, VS_E_BUSY, "%s was changed while it was copied; try again", path);
	if (rc == 0 && bs_io_flush(c->port) != 0)
		rc = vs_fail(err, VS_E_IO, "cannot copy %s: the store failed", path);
	return rc;
}

static int fill(struct mg_node *n, struct copy *c, const char *volume, const char *path,
		struct vs_error *err)
{
	int rc = bs_volume_open(n->store, volume, &c->volume, err);

	if (rc != 0)
		return rc;
	c->buf = aligned_alloc(BS_BLOCK, PIECE);
	rc = c->buf ? bs_port_open(n->store, c->visit.loop, 2, &c->port, err)
		    : vs_fail(err, VS_E_NOMEM, "out of memory");
	if (rc == 0) {
		rc = copy_all(n, c, path, err);
		bs_port_close(c->port);
	}
	free(c->buf);
	bs_volume_close(c->volume);
	return rc;
}

/* what: DATASTORE/PATH; at: where PATH begins */
static int from_file(struct mg_node *n, struct copy *c, const char *name, const char *what,
		     const char *at, struct vs_uuid *out, struct vs_error *err)
{
	struct bs_volume_spec spec = {.name = name, .sector = 512, .compression = -1};
	struct bs_volume_info info;
	int rc = mg_visit_walk(&c->visit, at, NULL, &c->file, err);

	if (rc == 0 && c->file.type != DS_REG)
		rc = vs_fail(err, VS_E_INVAL, "%s is not a file", what);
	if (rc == 0 && c->file.size == 0)
		rc = vs_fail(err, VS_E_INVAL, "%s is empty", what);
	if (rc == 0 && c->file.size > IMAGE_MAX)
		rc = vs_fail(err, VS_E_TOOBIG, "%s is larger than any CD: more than 8T", what);
	if (rc != 0)
		return rc;
	spec.size = VS_ALIGN_UP(c->file.size, (uint64_t)BS_BLOCK);
	rc = mg_draft_volume(n, &spec, &info, err);
	if (rc != 0)
		return rc;
	rc = fill(n, c, name, what, err);
	if (rc != 0)
		mg_draft_drop(n, &info.uuid);
	*out = info.uuid;
	return rc;
}

/* what: DATASTORE/PATH */
static int from_datastore(struct mg_node *n, const char *what, const char *name,
			  struct vs_uuid *out, struct vs_error *err)
{
	size_t len = strcspn(what, "/");
	char datastore[BS_NAME_MAX];
	struct copy c = {0};
	int rc;

	(void)snprintf(datastore, sizeof(datastore), "%.*s", (int)VS_MIN(len, sizeof(datastore)),
		       what);
	if (what[len] != '/' || !vs_name_ok(datastore) || strlen(datastore) != len)
		return vs_fail(err, VS_E_INVAL,
			       "%s is neither DATASTORE/PATH nor nfs://HOST/EXPORT/PATH nor an "
			       "absolute path",
			       what);
	rc = mg_visit_open(n, datastore, &c.visit, err);
	if (rc != 0)
		return rc;
	rc = from_file(n, &c, name, what, what + len + 1, out, err);
	mg_visit_close(&c.visit);
	return rc;
}

static int from_nfs(struct mg_node *n, const char *url, const char *name, struct vs_uuid *out,
		    struct vs_error *err)
{
	const struct mg_import_spec spec = {
	    .source = url, .name = name, .format = "raw", .compression = -1};
	struct bs_volume_info info;
	json_t *shown = NULL;
	int rc = mg_import_live(n, &spec, &shown, err);

	json_decref(shown);
	if (rc == 0)
		rc = bs_volume_find(n->store, name, &info, err);
	if (rc != 0)
		return rc;
	*out = info.uuid;
	rc = mg_draft_note(n, out, err);
	if (rc != 0 && bs_volume_delete(n->store, name, BS_DELETE_PLAIN, NULL) != 0)
		mg_event(n->events, MG_WARNING, "draft.left", name, "could not be deleted");
	return rc;
}

int mg_cdrom_make(struct mg_node *n, const json_t *body, struct mg_cdrom *out, struct vs_error *err)
{
	const json_t *given = json_object_get(body, "cdrom");
	const char *what = json_string_value(given);
	char name[BS_NAME_MAX];
	int rc;

	*out = (struct mg_cdrom){.given = given != NULL};
	if (!what || what[0] == '\0' || what[0] == '/')
		return 0;
	if (strlen(what) >= VM_PATH_MAX)
		return vs_fail(err, VS_E_TOOBIG, "cdrom has more than %d bytes", VM_PATH_MAX - 1);
	rc = make_name(name, err);
	if (rc == 0)
		rc = bs_nfs_url_is(what) ? from_nfs(n, what, name, &out->volume, err)
					 : from_datastore(n, what, name, &out->volume, err);
	out->has_volume = rc == 0;
	return rc;
}

void mg_cdrom_settle(struct mg_node *n, const struct mg_cdrom *cd, bool taken)
{
	struct vs_error err;

	if (cd->has_volume && !taken)
		mg_draft_drop(n, &cd->volume);
	else if (cd->has_volume && mg_draft_keep(n, &cd->volume, &err) != 0)
		mg_event(n->events, MG_WARNING, "catalogue.failed", "cdrom", "%s", err.text);
}

void mg_cdrom_drop(struct mg_node *n, const struct mg_cdrom *cd)
{
	struct bs_volume_info info;
	struct vs_error err;

	if (!cd->has_volume || bs_volume_find_uuid(n->store, &cd->volume, &info, NULL) != 0)
		return;
	if (mg_volume_unused(n, &cd->volume, info.name, "delete", &err) != 0 ||
	    bs_volume_delete(n->store, info.name, BS_DELETE_PLAIN, &err) != 0)
		mg_event(n->events, MG_WARNING, "cdrom.left", info.name, "%s", err.text);
}

int mg_cdrom_renamable(struct mg_node *n, const struct vs_uuid *volume, struct vs_error *err)
{
	struct mg_vm_doc *d = calloc(1, sizeof(*d));
	json_t *users = NULL, *user;
	size_t i;
	int rc = d ? mg_catalogue_users(n->catalogue, volume, &users, err)
		   : vs_fail(err, VS_E_NOMEM, "out of memory");

	json_array_foreach(users, i, user)
	{
		const char *kind = json_string_value(json_object_get(user, "kind"));
		const char *name = json_string_value(json_object_get(user, "name"));

		if (rc == 0 && d && strcmp(kind, mg_kind_name[MG_VM]) == 0 &&
		    mg_vm_doc_load(n, name, d, NULL) == 0 && d->cdrom.has_volume &&
		    vs_uuid_equal(&d->cdrom.volume, volume))
			rc = vs_fail(err, VS_E_BUSY,
				     "it is in the CD drive of VM %s, which knows it by its name",
				     name);
	}
	json_decref(users);
	free(d);
	return rc;
}

/* ---- served ---------------------------------------------------------------------------------- */

static void socket_of(const struct mg_vms *v, char path[VM_SOCKET_MAX])
{
	(void)snprintf(path, VM_SOCKET_MAX, "%s/" SOCKET, v->node->state);
}

int mg_cdroms_open(struct mg_vms *v, struct vs_error *err)
{
	char path[VM_SOCKET_MAX];
	const char *paths[] = {path};
	struct nbd_server_options o = {.store = v->node->store,
				       .unix_paths = paths,
				       .nunix = 1,
				       .max_connections = VM_MACHINES_MAX,
				       .threads = 1};
	uid_t uid;
	gid_t gid;
	int rc;

	socket_of(v, path);
	rc = nbd_server_start(&o, &v->cdroms, err);
	if (rc != 0)
		return rc;
	vm_host_owner(v->host, &uid, &gid);
	if (uid != (uid_t)-1 && chown(path, uid, gid) != 0)
		return vs_fail_errno(err, "cannot give %s to its user", path);
	return 0;
}

void mg_cdroms_close(struct mg_vms *v)
{
	if (v->cdroms)
		nbd_server_stop(v->cdroms);
	v->cdroms = NULL;
}

int mg_cdrom_start(struct mg_vm *m, struct mg_vm_doc *d, struct vs_error *err)
{
	struct mg_node *n = m->vms->node;
	struct bs_volume_info info;
	int rc;

	if (!d->cdrom.has_volume)
		return 0;
	rc = bs_volume_find_uuid(n->store, &d->cdrom.volume, &info, NULL);
	if (rc != 0)
		return vs_fail(err, rc,
			       "the volume with the image in the CD drive has gone; put "
			       "the image in again, or take it out");
	rc = nbd_server_export(m->vms->cdroms, info.name, true, err);
	if (rc != 0)
		return rc;
	mg_copy(m->cdrom, sizeof(m->cdrom), info.name);
	mg_copy(d->def.cdrom_export, sizeof(d->def.cdrom_export), info.name);
	socket_of(m->vms, d->def.cdrom_socket);
	return 0;
}

void mg_cdrom_stop(struct mg_vm *m)
{
	if (m->cdrom[0])
		(void)!nbd_server_unexport(m->vms->cdroms, m->cdrom, NULL);
	m->cdrom[0] = '\0';
}
