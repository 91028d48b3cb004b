#include "mgmt/nfs_dest.h"

#include "mgmt/copy.h"
#include "mgmt/far.h"

#include <stdio.h>

/* Nothing is overwritten that the user did not say may be. */
static int look(const struct bs_nfs_url *url, struct vs_loop *loop, const atomic_bool *cancel,
		struct vs_error *err)
{
	struct bs_nfs_spec spec = {.url = *url, .cancel = cancel};
	char text[BS_NFS_URL_TEXT];
	struct bs_nfs_file *file;
	int rc = bs_nfs_open(loop, &spec, &file, err);

	if (rc == VS_E_NOENT)
		return 0;
	if (rc != 0)
		return rc;
	bs_far_close(bs_nfs_far(file));
	return vs_fail(err, VS_E_EXIST, "%s exists; remove it or use force",
		       bs_nfs_url_text(url, text));
}

int mg_nfs_dest_open(struct mg_nfs_dest *d, const struct bs_nfs_url *url, int64_t id, bool force,
		     uint64_t size, struct vs_loop *loop, const atomic_bool *cancel,
		     struct vs_error *err)
{
	struct bs_nfs_spec spec = {.keep = MG_FAR_KEEP, .create = true, .size = size};
	const char *name = strrchr(url->path, '/') + 1;
	char suffix[32];
	size_t n = strlen(url->path);
	int rc = force ? 0 : look(url, loop, cancel, err);

	if (rc != 0)
		return rc;
	d->part = *url;
	d->force = force;
	mg_copy(d->name, sizeof(d->name), name);
	(void)snprintf(suffix, sizeof(suffix), ".part-%lld", (long long)id);
	if (n + strlen(suffix) >= BS_NFS_PATH_MAX ||
	    strlen(name) + strlen(suffix) >= BS_NFS_NAME_MAX)
		return vs_fail(err, VS_E_TOOBIG, "the name '%.80s...' is too long", name);
	mg_copy(d->part.path + n, sizeof(d->part.path) - n, suffix);
	spec.url = d->part;
	spec.cancel = cancel;
	return bs_nfs_open(loop, &spec, &d->file, err);
}

int mg_nfs_dest_keep(struct mg_nfs_dest *d, struct vs_error *err)
{
	return bs_nfs_rename(d->file, d->name, d->force, err);
}

int mg_nfs_dest_drop(struct mg_nfs_dest *d, struct vs_loop *loop, struct vs_error *err)
{
	struct bs_nfs_spec spec = {.url = d->part};
	int rc = bs_nfs_open(loop, &spec, &d->file, err);

	if (rc != 0)
		return rc;
	rc = bs_nfs_remove(d->file, err);
	bs_far_close(bs_nfs_far(d->file));
	d->file = NULL;
	return rc;
}
