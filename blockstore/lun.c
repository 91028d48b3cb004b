#include "blockstore/lun.h"

#include "blockstore/lun_int.h"
#include "common/secret.h"

#include <stdlib.h>

#define OPEN_NS (30 * LUN_SECOND)

static bool copy(char *to, size_t max, const char *from)
{
	size_t n = from ? strlen(from) : 0;

	if (n >= max)
		return false;
	if (n)
		memcpy(to, from, n);
	to[n] = '\0';
	return true;
}

static int take_login(struct bs_lun *l, const struct bs_lun_spec *spec, struct vs_error *err)
{
	const struct bs_lun_login *in = &spec->login;
	const char *user = in->user ? in->user : spec->url.user[0] ? spec->url.user : NULL;

	if (!user != !in->secret)
		return vs_fail(err, VS_E_INVAL, "%s: a CHAP user and a secret go together",
			       l->name);
	if (!in->mutual_user != !in->mutual_secret || (in->mutual_user && !user))
		return vs_fail(
		    err, VS_E_INVAL,
		    "%s: a mutual CHAP user needs a secret, and a user and secret of our "
		    "own",
		    l->name);
	if (!copy(l->user, sizeof(l->user), user) ||
	    !copy(l->secret, sizeof(l->secret), in->secret) ||
	    !copy(l->mutual_user, sizeof(l->mutual_user), in->mutual_user) ||
	    !copy(l->mutual_secret, sizeof(l->mutual_secret), in->mutual_secret))
		return vs_fail(err, VS_E_TOOBIG,
			       "%s: CHAP users and secrets have 255 bytes at most", l->name);
	return 0;
}

static int wait_open(struct bs_lun *l, const atomic_bool *cancel, struct vs_error *err)
{
	uint64_t until = vs_now_ns() + OPEN_NS;
	unsigned tries = 0;

	while (!l->path.opened) {
		if (l->state == LUN_DOWN) {
			/* whatever concerns one address only may be otherwise at the next */
			if (tries++ == l->addrs.n ||
			    (tries > 1 && l->why.code != VS_E_IO && l->why.code != VS_E_TIMEDOUT))
				break;
			lun_session_start(l);
			lun_settle(l);
		}
		if (cancel && atomic_load(cancel))
			return vs_fail(err, VS_E_CANCELED, "%s: canceled", l->name);
		if (vs_now_ns() > until)
			return vs_fail(err, VS_E_TIMEDOUT, "%s: no answer within %llu s", l->name,
				       (unsigned long long)(OPEN_NS / LUN_SECOND));
		vs_loop_turn(l->loop, 100);
	}
	return l->path.opened ? 0 : vs_fail(err, l->why.code, "%s", l->why.text);
}

static const struct bs_far_ops far_ops;

int bs_lun_open(struct vs_loop *loop, const struct bs_lun_spec *spec, struct bs_lun **out,
		struct vs_error *err)
{
	struct bs_lun *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return vs_fail(err, VS_E_NOMEM, "out of memory");
	l->far.ops = &far_ops;
	l->loop = loop;
	l->url = spec->url;
	l->path.hold_ns = spec->hold_ns ? spec->hold_ns : BS_FAR_HOLD_NS;
	l->writes = spec->keep != 0;
	(void)bs_lun_url_text(&l->url, l->name);
	lun_cmd_init(l);
	lun_session_init(l);
	rc = take_login(l, spec, err);
	if (rc == 0 && bs_redo_init(&l->redo, spec->keep) != 0)
		rc = vs_fail(err, VS_E_NOMEM, "%s: out of memory", l->name);
	if (rc == 0)
		rc = lun_host_init(l, spec->session, err);
	if (rc == 0)
		rc = wait_open(l, spec->cancel, err);
	if (rc == 0)
		*out = l;
	else
		bs_lun_close(l);
	return rc;
}

void bs_lun_close(struct bs_lun *l)
{
	lun_session_end(l);
	bs_redo_free(&l->redo);
	vs_secret_wipe(l, sizeof(*l));
	free(l);
}

static bool range_ok(const struct bs_lun *l, const struct bs_far_req *req)
{
	uint64_t sector = l->caps.sector;

	return req->length && req->offset % sector == 0 && req->length % sector == 0 &&
	       vs_range_ok(req->offset, req->length, l->caps.blocks * sector);
}

/* What is known without asking; -1: it has to be asked. */
static int answer(struct bs_lun *l, struct bs_far_req *req)
{
	if (req->op == BS_FAR_FLUSH)
		return l->lost ? VS_E_IO : -1;
	if (!range_ok(l, req))
		return VS_E_RANGE;
	if (req->op == BS_FAR_STATUS && (l->no_status || !l->caps.thin || !l->caps.zeros)) {
		req->runs[0] = (struct bs_far_run){.length = req->length, .mapped = true};
		req->nruns = 1;
		return 0;
	}
	if (req->op == BS_FAR_READ || req->op == BS_FAR_STATUS)
		return -1;
	if (!l->writes || l->caps.read_only)
		return VS_E_ROFS;
	return req->op == BS_FAR_UNMAP && !l->caps.unmap ? VS_E_NOTSUP : -1;
}

void bs_lun_submit(struct bs_lun *l, struct bs_far_req *req)
{
	int known = answer(l, req);

	if (known == -1 && l->path.expired)
		known = VS_E_IO;
	lun_io_submit(l, req, known);
}

struct bs_lun_info bs_lun_info(const struct bs_lun *l)
{
	struct bs_lun_info i = {.size = l->caps.blocks * l->caps.sector,
				.sector = l->caps.sector,
				.read_only = l->caps.read_only,
				.unmap = l->caps.unmap,
				.sparse = l->caps.thin && l->caps.zeros && !l->no_status,
				.up = l->state == LUN_UP,
				.identity = l->caps.identity};

	memcpy(i.vendor, l->caps.vendor, sizeof(i.vendor));
	memcpy(i.product, l->caps.product, sizeof(i.product));
	return i;
}

const char *bs_lun_name(const struct bs_lun *l)
{
	return l->name;
}

struct bs_far *bs_lun_far(struct bs_lun *l)
{
	return &l->far;
}

static void far_submit(struct bs_far *f, struct bs_far_req *req)
{
	bs_lun_submit((struct bs_lun *)f, req);
}

static struct bs_far_info far_info(const struct bs_far *f)
{
	struct bs_lun_info i = bs_lun_info((const struct bs_lun *)f);

	return (struct bs_far_info){
	    .size = i.size, .sector = i.sector, .read_only = i.read_only, .identity = i.identity};
}

static const char *far_name(const struct bs_far *f)
{
	return bs_lun_name((const struct bs_lun *)f);
}

static void far_close(struct bs_far *f)
{
	bs_lun_close((struct bs_lun *)f);
}

static const struct bs_far_ops far_ops = {
    .submit = far_submit, .info = far_info, .name = far_name, .close = far_close};
