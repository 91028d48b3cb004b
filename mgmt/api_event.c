#include "mgmt/api.h"
#include "mgmt/node.h"

#include <string.h>
#include <time.h>

#define EVENTS_DEFAULT 100
#define EVENTS_MAX 1000

/* RFC 3339 in UTC ("2026-11-20T08:43:01Z", a fraction may stand). */
static int parse_time(const char *text, int64_t *ns, struct vs_error *err)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (end && *end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	if (!end || strcmp(end, "Z") != 0)
		return vs_fail(err, VS_E_INVAL,
			       "since '%s' is not a time such as 2026-11-20T08:43:01Z", text);
	*ns = (int64_t)timegm(&tm) * 1000000000;
	return 0;
}

static int list(struct mg_node *n, const struct mg_request *req, struct mg_reply *reply,
		struct vs_error *err)
{
	const char *since = mg_query(req, "since");
	bool newest = !since && !mg_query(req, "after");
	uint64_t after = 0, limit = 0, wait = 0;
	int64_t since_ns = 0;
	json_t *json = NULL;
	int rc = mg_query_u64(req, "after", INT64_MAX, 0, &after, err);

	if (rc == 0)
		rc = mg_query_u64(req, "limit", EVENTS_MAX, EVENTS_DEFAULT, &limit, err);
	if (rc == 0)
		rc = mg_query_u64(req, "wait", MG_TASK_WAIT_MAX, 0, &wait, err);
	if (rc == 0 && since)
		rc = parse_time(since, &since_ns, err);
	if (rc != 0)
		return rc;
	if (wait && mg_query(req, "after")) {
		req->patience(req, (unsigned)wait);
		mg_events_wait(n->events, (int64_t)after, (unsigned)wait);
	}
	rc = mg_history_event_list(n->history, (int64_t)after, since_ns, (unsigned)limit, newest,
				   &json, err);
	return rc != 0 ? rc : mg_reply_json(reply, 200, json, err);
}

const struct mg_route mg_api_event[] = {
    {"GET", "events", " since after limit wait ", list},
    {NULL, NULL, NULL, NULL},
};
