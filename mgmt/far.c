#include "mgmt/far.h"

#include "common/bytes.h"
#include "mgmt/copy.h"
#include "mgmt/image_magic.h"

#include <string.h>

bool mg_far_is(const char *text)
{
	return bs_lun_url_is(text) || bs_nfs_url_is(text);
}

static int file_access(struct mg_far_access *a, const char *url, const char *user,
		       const char *secret, struct vs_error *err)
{
	if (user || secret)
		return vs_fail(err, VS_E_INVAL, "a CHAP user and secret are for iscsi:// LUNs");
	a->nfs = true;
	return bs_nfs_url_parse(url, &a->file, err);
}

int mg_far_access(struct mg_far_access *a, const char *url, const char *user, const char *secret,
		  struct vs_error *err)
{
	int rc;

	if (bs_nfs_url_is(url))
		return file_access(a, url, user, secret, err);
	a->nfs = false;
	rc = bs_lun_url_parse(url, &a->lun, err);
	if (rc != 0)
		return rc;
	if (!user && a->lun.user[0])
		user = a->lun.user;
	if (!user != !secret)
		return vs_fail(err, VS_E_INVAL, "a CHAP user and a secret go together");
	if (!user)
		return 0;
	if (strlen(user) >= sizeof(a->user) || strlen(secret) >= sizeof(a->secret))
		return vs_fail(err, VS_E_TOOBIG,
			       "a CHAP user has at most %zu bytes, a secret at most %zu",
			       sizeof(a->user) - 1, sizeof(a->secret) - 1);
	mg_copy(a->user, sizeof(a->user), user);
	mg_copy(a->secret, sizeof(a->secret), secret);
	return 0;
}

const char *mg_far_text(const struct mg_far_access *a, char buf[MG_FAR_TEXT])
{
	return a->nfs ? bs_nfs_url_text(&a->file, buf) : bs_lun_url_text(&a->lun, buf);
}

static int open_lun(const struct mg_far_access *a, struct vs_loop *loop, bool writable,
		    const atomic_bool *cancel, struct bs_far **out, struct vs_error *err)
{
	struct bs_lun_spec spec = {
	    .url = a->lun,
	    .login = {.user = a->user[0] ? a->user : NULL, .secret = a->user[0] ? a->secret : NULL},
	    .keep = writable ? MG_FAR_KEEP : 0,
	    .cancel = cancel};
	struct bs_lun *lun;
	int rc = bs_lun_open(loop, &spec, &lun, err);

	if (rc == 0)
		*out = bs_lun_far(lun);
	return rc;
}

int mg_far_open(const struct mg_far_access *a, struct vs_loop *loop, bool writable,
		const atomic_bool *cancel, struct bs_far **out, struct vs_error *err)
{
	struct bs_nfs_spec spec = {
	    .url = a->file, .keep = writable ? MG_FAR_KEEP : 0, .cancel = cancel};
	struct bs_nfs_file *file;
	int rc;

	if (!a->nfs)
		return open_lun(a, loop, writable, cancel, out, err);
	rc = bs_nfs_open(loop, &spec, &file, err);
	if (rc == 0)
		*out = bs_nfs_far(file);
	return rc;
}

static void looked(struct bs_far_req *req)
{
	*(bool *)req->arg = true;
}

int mg_far_check_raw(const struct mg_far_access *a, struct bs_far *far, struct vs_loop *loop,
		     const char *format, const atomic_bool *cancel, struct vs_error *err)
{
	uint8_t head[512];
	bool done = false;
	struct bs_far_req req = {.op = BS_FAR_READ, .iovcnt = 1, .done = looked, .arg = &done};
	const char *found;

	if (!a->nfs || format)
		return 0;
	req.length = VS_MIN(bs_far_info(far).size, (uint64_t)sizeof(head));
	req.iov[0] = (struct iovec){head, (size_t)req.length};
	if (req.length == 0)
		return 0; /* whoever has use for its size says that */
	bs_far_submit(far, &req);
	while (!done) {
		if (atomic_load(cancel))
			return vs_fail(err, VS_E_CANCELED, "%s: canceled", bs_far_name(far));
		vs_loop_turn(loop, 200);
	}
	if (req.status != 0)
		return vs_fail(err, req.status, "%s: %s", bs_far_name(far),
			       vs_err_text(req.status));
	found = mg_image_magic(head, (size_t)req.length);
	return found ? vs_fail(err, VS_E_INVAL,
			       "%s is a %s image, and over NFS only raw ones can be read: mount "
			       "the export and import the file, or take its bytes as they are with "
			       "--format raw",
			       bs_far_name(far), found)
		     : 0;
}
