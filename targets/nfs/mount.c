#include "common/log.h"
#include "targets/nfs/program.h"

#include <stdio.h>

#define LIST_BYTES (64u << 10) /* of EXPORT and DUMP */

static bool decode(struct nfs_call *call, struct nfs_dec *d)
{
	return nfs_mount_args_decode(call->rpc.proc, d, &call->args.path);
}

static bool answer_nothing(struct nfs_call *call)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);

	nfs_call_answer(call, &e);
	return true;
}

/* The next name of a path, without the slashes around it; empty: there is none. */
static struct nfs_bytes next_name(struct nfs_bytes *path)
{
	struct nfs_bytes name;

	while (path->len && *path->p == '/') {
		path->p++;
		path->len--;
	}
	name = (struct nfs_bytes){path->p, 0};
	while (path->len && *path->p != '/') {
		path->p++;
		path->len--;
		name.len++;
	}
	return name;
}

/* The share of "/NAME/...", and what follows its name; NULL: none. */
static struct nfs_served *find_share(struct nfs_worker *w, struct nfs_bytes *path)
{
	struct nfs_bytes name;

	if (path->len == 0 || *path->p != '/')
		return NULL;
	name = next_name(path);
	for (struct nfs_served *s = w->served; s; s = s->next)
		if (!s->leaving && strlen(s->name) == name.len &&
		    memcmp(s->name, name.p, name.len) == 0)
			return s;
	return NULL;
}

static const struct nfs_match *rule_for(const struct nfs_conn *c, const struct nfs_served *s)
{
	return s->leaving ? NULL : nfs_rule_find(s->rules, s->nrules, &c->address);
}

static void answer_mnt(struct nfs_call *call, enum nfs_mount_status status)
{
	struct nfs_enc e = nfs_call_reply(call, NFS_RPC_SUCCESS);
	struct nfs_conn *c = call->conn;
	struct nfs_handle h;

	if (status == NFS_MNT_OK) {
		nfs_handle_make(c->worker->seal, &call->served->store_id, call->req.file, &h);
		nfs_mounts_add(&c->worker->common->mounts, &c->address, call->served->name);
	} else {
		vs_debug("nfs: %s was refused a mount", c->peer);
	}
	nfs_mount_mnt_encode(&e, status, &h);
	nfs_call_answer(call, &e);
}

static enum nfs_mount_status walk_status(const struct ds_req *r)
{
	static const struct {
		enum nfs3_status from;
		enum nfs_mount_status to;
	} table[] = {
	    {NFS3_ERR_NOENT, NFS_MNT_NOENT},   {NFS3_ERR_ACCES, NFS_MNT_ACCES},
	    {NFS3_ERR_NOTDIR, NFS_MNT_NOTDIR}, {NFS3_ERR_NAMETOOLONG, NFS_MNT_NAMETOOLONG},
	    {NFS3_ERR_INVAL, NFS_MNT_INVAL},
	};
	enum nfs3_status status = nfs3_status_from(r->status, r->why);

	if (status == NFS3_ERR_NONE)
		return r->attr.type == DS_DIR ? NFS_MNT_OK : NFS_MNT_NOTDIR;
	for (size_t i = 0; i < VS_ARRAY_LEN(table); i++)
		if (table[i].from == status)
			return table[i].to;
	return NFS_MNT_IO;
}

static void walk(struct nfs_call *call, struct ds_handle dir);

static void walked(struct nfs_call *call)
{
	enum nfs_mount_status status = walk_status(&call->req);

	if (status == NFS_MNT_OK)
		walk(call, call->req.attr.handle);
	else
		answer_mnt(call, status);
}

/* Goes on with what is left of the path, as the caller may. Links are the client's to follow. */
static void walk(struct nfs_call *call, struct ds_handle dir)
{
	struct nfs_bytes name = next_name(&call->args.path);

	memset(&call->req, 0, sizeof(call->req));
	call->req.file = dir;
	if (name.len == 0) {
		answer_mnt(call, NFS_MNT_OK);
		return;
	}
	if (name.p[0] == '.' && (name.len == 1 || (name.len == 2 && name.p[1] == '.'))) {
		answer_mnt(call, NFS_MNT_INVAL);
		return;
	}
	call->req.op = DS_LOOKUP;
	call->req.cred = &call->cred;
	call->req.name = (const char *)name.p;
	call->req.name_len = name.len;
	nfs_call_submit(call, walked);
}

static bool start_mnt(struct nfs_call *call)
{
	struct nfs_conn *c = call->conn;

	call->served = find_share(c->worker, &call->args.path);
	call->rule = call->served ? rule_for(c, call->served) : NULL;
	if (!call->rule) {
		answer_mnt(call, call->served ? NFS_MNT_ACCES : NFS_MNT_NOENT);
		return true;
	}
	nfs_rule_squash(call->rule, &call->rpc.cred, &call->cred);
	walk(call, ds_root);
	return true;
}

static bool start_umnt(struct nfs_call *call)
{
	struct nfs_conn *c = call->conn;
	struct nfs_served *s = find_share(c->worker, &call->args.path);

	if (s)
		nfs_mounts_remove(&c->worker->common->mounts, &c->address, s->name);
	return answer_nothing(call);
}

static bool start_umntall(struct nfs_call *call)
{
	nfs_mounts_remove(&call->conn->worker->common->mounts, &call->conn->address, NULL);
	return answer_nothing(call);
}

/* Both lists tell a client of the shares that it may mount, and of no others. */
static void list_exports(struct nfs_call *call, struct nfs_enc *e)
{
	for (struct nfs_served *s = call->conn->worker->served; s; s = s->next) {
		struct nfs_enc one = *e;

		if (!rule_for(call->conn, s))
			continue;
		nfs_mount_export_encode(&one, s->name);
		for (unsigned i = 0; i < s->nrules; i++) {
			char text[NFS_ADDRESS_MAX];

			nfs_match_text(&s->rules[i], text);
			nfs_mount_group_encode(&one, text);
		}
		nfs_mount_list_end(&one);
		if (one.bad)
			return;
		*e = one;
	}
}

static bool may_see(const struct nfs_conn *c, const struct nfs_mounted *m)
{
	for (struct nfs_served *s = c->worker->served; s; s = s->next)
		if (strcmp(s->name, m->share) == 0)
			return rule_for(c, s);
	return false;
}

static void list_mounts(struct nfs_call *call, struct nfs_enc *e)
{
	struct nfs_mounted m;

	for (unsigned i = 0; nfs_mounts_get(&call->conn->worker->common->mounts, i, &m); i++) {
		struct nfs_enc one = *e;
		char host[NFS_ADDRESS_MAX];

		if (!may_see(call->conn, &m))
			continue;
		nfs_address_text(&m.client, host, sizeof(host));
		nfs_mount_dump_encode(&one, host, m.share);
		if (one.bad)
			return;
		*e = one;
	}
}

static bool start_list(struct nfs_call *call)
{
	struct nfs_enc e, list;

	if (!nfs_call_memory(call, &call->data, LIST_BYTES))
		return false;
	e = nfs_call_reply(call, NFS_RPC_SUCCESS);
	list = (struct nfs_enc){call->data.p, call->data.p + LIST_BYTES - 4, false};
	if (call->rpc.proc == NFS_MOUNT_EXPORT)
		list_exports(call, &list);
	else
		list_mounts(call, &list);
	list.end += 4; /* kept free for this */
	nfs_mount_list_end(&list);
	call->data_len = (uint32_t)(list.p - call->data.p);
	nfs_call_answer(call, &e);
	return true;
}

static const struct nfs_procedure procedures[NFS_MOUNT_PROCS] = {
    [NFS_MOUNT_NULL] = {decode, answer_nothing, false},
    [NFS_MOUNT_MNT] = {decode, start_mnt, false},
    [NFS_MOUNT_DUMP] = {decode, start_list, false},
    [NFS_MOUNT_UMNT] = {decode, start_umnt, false},
    [NFS_MOUNT_UMNTALL] = {decode, start_umntall, false},
    [NFS_MOUNT_EXPORT] = {decode, start_list, false},
};

const struct nfs_version nfs_mount3_version = {NFS_MOUNT_VERSION, NFS_MOUNT_PROCS, procedures};
