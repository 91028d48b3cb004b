#include "mgmt/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int handler(struct mg_node *node, const struct mg_request *req, struct mg_reply *reply,
		   struct vs_error *err)
{
	(void)node;
	(void)req;
	(void)reply;
	(void)err;
	return 0;
}

static const struct mg_route one[] = {
    {"GET", "things", NULL, handler},
    {"POST", "things", NULL, handler},
    {"GET", "things/?", " wait since ", handler},
    {"DELETE", "things/?/parts/?", NULL, handler},
    {NULL, NULL, NULL, NULL},
};
static const struct mg_route two[] = {
    {"POST", "things/?/start", NULL, handler},
    {NULL, NULL, NULL, NULL},
};
static const struct mg_route *const tables[] = {one, two, NULL};

static struct mg_request req;

static const struct mg_route *find(const char *method, const char *path, char allow[64])
{
	memset(&req, 0, sizeof(req));
	req.method = method;
	assert_int_equal(mg_route_split(path, &req, NULL), 0);
	return mg_route_find(tables, &req, allow, 64);
}

static void test_finds(void **state)
{
	char allow[64];

	(void)state;
	assert_ptr_equal(find("GET", "/v1/things", allow), &one[0]);
	assert_ptr_equal(find("POST", "/v1/things", allow), &one[1]);
	assert_ptr_equal(find("GET", "/v1/things/v@a", allow), &one[2]);
	assert_string_equal(req.param[0], "v@a");
	assert_ptr_equal(find("DELETE", "/v1/things/iqn.2026%2Fx/parts/3", allow), &one[3]);
	assert_string_equal(req.param[0], "iqn.2026/x");
	assert_string_equal(req.param[1], "3");
	assert_ptr_equal(find("POST", "/v1/things/a/start", allow), &two[0]);
}

static void test_does_not_find(void **state)
{
	static const char *const paths[] = {"/v1",	   "/v2/things",
					    "/things",	   "/v1/thing",
					    "/v1/things/", "/v1/things/a/b",
					    "/v1//things", "/v1/things/a/parts",
					    "/v1/thingsx", "/v1/things/a/start/now"};
	char allow[64];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (find("GET", paths[i], allow) || *allow)
			fail_msg("%s was found", paths[i]);
	}
	assert_null(find("PUT", "/v1/things", allow));
	assert_string_equal(allow, "GET, POST");
	assert_null(find("GET", "/v1/things/a/start", allow));
	assert_string_equal(allow, "POST");
}

static void test_bad_paths(void **state)
{
	static const char *const paths[] = {"",	       "v1/x",	  "/v1/%",     "/v1/%2",
					    "/v1/%zz", "/v1/%00", "/v1/a%00b", "/1/2/3/4/5/6/7"};
	char *lengthy = malloc(MG_ROUTE_SEGMENT + 8);

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (mg_route_split(paths[i], &req, NULL) == 0)
			fail_msg("'%s' was taken", paths[i]);
	memset(lengthy, 'a', MG_ROUTE_SEGMENT + 8);
	lengthy[0] = '/';
	lengthy[MG_ROUTE_SEGMENT] = '\0'; /* the longest */
	assert_int_equal(mg_route_split(lengthy, &req, NULL), 0);
	lengthy[MG_ROUTE_SEGMENT] = 'a';
	lengthy[MG_ROUTE_SEGMENT + 1] = '\0';
	assert_int_equal(mg_route_split(lengthy, &req, NULL), VS_E_INVAL);
	free(lengthy);
}

static void test_queries(void **state)
{
	struct vs_error err;
	uint64_t value;
	bool flag;

	(void)state;
	memset(&req, 0, sizeof(req));
	assert_int_equal(mg_route_check_query(&one[0], &req, &err), 0);
	req.nqueries = 2;
	(void)snprintf(req.query[0].key, sizeof(req.query[0].key), "%s", "wait");
	(void)snprintf(req.query[0].value, sizeof(req.query[0].value), "%s", "30");
	(void)snprintf(req.query[1].key, sizeof(req.query[1].key), "%s", "since");
	(void)snprintf(req.query[1].value, sizeof(req.query[1].value), "%s", "true");
	assert_int_equal(mg_route_check_query(&one[2], &req, &err), 0);
	assert_int_equal(mg_route_check_query(&one[0], &req, &err), VS_E_INVAL);
	(void)snprintf(req.query[1].key, sizeof(req.query[1].key), "%s", "wait since");
	assert_int_equal(mg_route_check_query(&one[2], &req, &err), VS_E_INVAL);
	(void)snprintf(req.query[1].key, sizeof(req.query[1].key), "%s", "");
	assert_int_equal(mg_route_check_query(&one[2], &req, &err), VS_E_INVAL);
	(void)snprintf(req.query[1].key, sizeof(req.query[1].key), "%s", "since");

	assert_int_equal(mg_query_u64(&req, "wait", 60, 0, &value, &err), 0);
	assert_int_equal(value, 30);
	assert_int_equal(mg_query_u64(&req, "wait", 29, 0, &value, &err), VS_E_INVAL);
	assert_int_equal(mg_query_u64(&req, "since", 60, 0, &value, &err), VS_E_INVAL);
	assert_int_equal(mg_query_u64(&req, "none", 60, 7, &value, &err), 0);
	assert_int_equal(value, 7);
	assert_int_equal(mg_query_bool(&req, "since", &flag, &err), 0);
	assert_true(flag);
	assert_int_equal(mg_query_bool(&req, "wait", &flag, &err), VS_E_INVAL);
	assert_int_equal(mg_query_bool(&req, "none", &flag, &err), 0);
	assert_false(flag);
}

static void test_bodies(void **state)
{
	struct vs_error err;
	const char *name;
	json_int_t size = 5;

	(void)state;
	memset(&req, 0, sizeof(req));
	req.body = json_pack("{s:s}", "name", "v");
	assert_int_equal(mg_body(&req, &err, "{s:s, s?I}", "name", &name, "size", &size), 0);
	assert_string_equal(name, "v");
	assert_int_equal(size, 5);
	json_object_set_new(req.body, "size", json_string("big"));
	assert_int_equal(mg_body(&req, &err, "{s:s, s?I}", "name", &name, "size", &size),
			 VS_E_INVAL);
	json_object_del(req.body, "size");
	json_object_set_new(req.body, "colour", json_string("red"));
	assert_int_equal(mg_body(&req, &err, "{s:s, s?I}", "name", &name, "size", &size),
			 VS_E_INVAL);
	assert_non_null(strstr(err.text, "colour"));
	json_object_clear(req.body);
	assert_int_equal(mg_body(&req, &err, "{s:s}", "name", &name), VS_E_INVAL);
	assert_non_null(strstr(err.text, "name"));
	json_decref(req.body);
}

static void test_every_error_has_a_status(void **state)
{
	(void)state;
	for (int code = VS_E_FIRST_ + 1; code < VS_E_LAST_; code++)
		assert_in_range(mg_http_status(code), 400, 599);
	assert_int_equal(mg_http_status(VS_E_NOENT), 404);
	assert_int_equal(mg_http_status(VS_E_EXIST), 409);
	assert_int_equal(mg_http_status(VS_E_NOSPC), 507);
	assert_int_equal(mg_http_status(VS_E_IO), 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_finds),     cmocka_unit_test(test_does_not_find),
	    cmocka_unit_test(test_bad_paths), cmocka_unit_test(test_queries),
	    cmocka_unit_test(test_bodies),    cmocka_unit_test(test_every_error_has_a_status),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
