/* What others offer: targets and LUNs of arrays, exports of NFS servers. */
#include "blockstore/lun_discover.h"
#include "blockstore/nfs_discover.h"
#include "common/bytes.h"
#include "common/loop.h"
#include "mgmt/api.h"

#include <stdio.h>
#include <string.h>

#define TARGETS_MAX 256u
#define PATIENCE 120u			/* seconds that a request may take */
#define ENOUGH_NS UINT64_C(60000000000) /* after which no further LUN is looked at */

struct discovery {
	json_t *targets;
	struct bs_lun_url url;
	struct bs_lun_login login, used; /* as asked for; what the target at hand takes */
	uint64_t begun_ns;
};

static void found(void *arg, const char *target, const char *portal)
{
	struct discovery *d = arg;
	size_t i;
	json_t *t;

	json_array_foreach(d->targets, i, t)
	{
		if (strcmp(json_string_value(json_object_get(t, "target")), target) != 0)
			continue;
		json_array_append_new(json_object_get(t, "portals"), json_string(portal));
		return;
	}
	if (json_array_size(d->targets) < TARGETS_MAX)
		json_array_append_new(d->targets, json_pack("{s:s, s:[s], s:[]}", "target", target,
							    "portals", portal, "luns"));
}

/* One LUN, or why it cannot be used. */
static json_t *look_at(struct discovery *d, struct vs_loop *loop, uint32_t number)
{
	struct bs_lun_spec spec = {.url = d->url, .login = d->used};
	char url[BS_LUN_URL_TEXT];
	struct bs_lun_info info;
	struct vs_error err = {0};
	struct bs_lun *lun;

	spec.url.lun = number;
	(void)bs_lun_url_text(&spec.url, url);
	if (bs_lun_open(loop, &spec, &lun, &err) != 0)
		return json_pack("{s:i, s:s, s:s}", "lun", (int)number, "url", url, "error",
				 err.text);
	info = bs_lun_info(lun);
	bs_lun_close(lun);
	return json_pack("{s:i, s:s, s:I, s:i, s:s, s:s, s:b}", "lun", (int)number, "url", url,
			 "size", (json_int_t)info.size, "sector", (int)info.sector, "vendor",
			 info.vendor, "product", info.product, "read_only", info.read_only);
}

/* The secret is for those who ask for it: some refuse who offers one. */
static int list(struct discovery *d, uint32_t *luns, unsigned max, unsigned *n,
		struct vs_error *err)
{
	int rc;

	d->used = (struct bs_lun_login){0};
	rc = bs_lun_list(&d->url, &d->used, luns, max, n, err);
	if (rc != VS_E_ACCESS || !d->login.secret)
		return rc;
	d->used = d->login;
	return bs_lun_list(&d->url, &d->used, luns, max, n, err);
}

/* Through the portal that we were told to ask, whichever others the target has. */
static void look_into(struct discovery *d, struct vs_loop *loop, json_t *target)
{
	const char *name = json_string_value(json_object_get(target, "target"));
	uint32_t luns[BS_LUN_LIST_MAX];
	struct vs_error err = {0};
	unsigned n = 0;

	if (strlen(name) >= sizeof(d->url.target))
		return;
	memcpy(d->url.target, name, strlen(name) + 1);
	if (list(d, luns, VS_ARRAY_LEN(luns), &n, &err) != 0) {
		json_object_set_new(target, "error", json_string(err.text));
		return;
	}
	for (unsigned i = 0; i < n && vs_now_ns() - d->begun_ns < ENOUGH_NS; i++)
		json_array_append_new(json_object_get(target, "luns"), look_at(d, loop, luns[i]));
}

static int look_into_all(struct discovery *d, struct vs_error *err)
{
	struct vs_loop *loop;
	int rc = vs_loop_new(&loop, err);
	json_t *target;
	size_t i;

	if (rc != 0)
		return rc;
	json_array_foreach(d->targets, i, target) if (vs_now_ns() - d->begun_ns < ENOUGH_NS)
	    look_into(d, loop, target);
	vs_loop_free(loop);
	return 0;
}

static void found_export(void *arg, const char *path, const char *client)
{
	json_t *all = arg, *last = json_array_get(all, json_array_size(all) - 1);

	if (!last || json_object_get(last, "told")) {
		last = json_pack("{s:s, s:[]}", "export", path, "clients");
		json_array_append_new(all, last);
	}
	if (client)
		json_array_append_new(json_object_get(last, "clients"), json_string(client));
	else
		json_object_set_new(last, "told", json_true());
}

static int discover_exports(const char *url, const struct mg_request *req, struct mg_reply *reply,
			    struct vs_error *err)
{
	json_t *all = json_array(), *one;
	struct bs_nfs_url server;
	int rc = bs_nfs_url_parse_server(url, &server, err);
	size_t i;

	req->patience(req, PATIENCE);
	if (rc == 0)
		rc = bs_nfs_discover(&server, found_export, all, err);
	if (rc != 0) {
		json_decref(all);
		return rc;
	}
	json_array_foreach(all, i, one) json_object_del(one, "told");
	return mg_reply_json(reply, 200, all, err);
}

static int discover(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		    struct vs_error *err)
{
	struct discovery d = {.begun_ns = vs_now_ns()};
	const char *url = NULL;
	char user[sizeof(d.url.user)];
	int rc = mg_body(req, err, "{s:s, s?{s?s, s:s}}", "url", &url, "chap", "user",
			 &d.login.user, "secret", &d.login.secret);

	(void)n;
	if (rc == 0 && bs_nfs_url_is(url))
		return d.login.user || d.login.secret
			   ? vs_fail(err, VS_E_INVAL,
				     "a CHAP user and secret are for iscsi:// portals")
			   : discover_exports(url, req, reply, err);
	if (rc == 0)
		rc = bs_lun_url_parse_portal(url, &d.url, err);
	if (rc == 0 && !d.login.secret != !(d.login.user || d.url.user[0]))
		rc = vs_fail(err, VS_E_INVAL, "a CHAP user and a secret go together");
	if (rc != 0)
		return rc;
	memcpy(user, d.url.user, sizeof(user));
	if (!d.login.user && d.login.secret)
		d.login.user = user;
	d.url.user[0] = '\0'; /* a login names it where one is wanted */
	req->patience(req, PATIENCE);
	d.targets = json_array();
	rc = bs_lun_discover(&d.url, &d.used, found, &d, err);
	if (rc == VS_E_ACCESS && d.login.secret)
		rc = bs_lun_discover(&d.url, &d.login, found, &d, err);
	if (rc == 0)
		rc = look_into_all(&d, err);
	if (rc != 0) {
		json_decref(d.targets);
		return rc;
	}
	return mg_reply_json(reply, 200, d.targets, err);
}

const struct mg_route mg_api_discover[] = {
    {"POST", "discover", NULL, discover},
    {NULL, NULL, NULL, NULL},
};
