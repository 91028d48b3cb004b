/* Paths of requests, lines of addresses and headers of VDI images, as clients and files give them.
 */
#include "common/bytes.h"
#include "mgmt/options.h"
#include "mgmt/route.h"
#include "mgmt/vdi_format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int handler(struct mg_node *node, const struct mg_request *req, struct mg_reply *reply,
		   struct vs_error *err)
{
	(void)node;
	(void)req;
	(void)reply;
	(void)err;
	return 0;
}

static const struct mg_route routes[] = {
    {"GET", "volumes/?", " wait ", handler},
    {"POST", "volumes/?/clone", NULL, handler},
    {"DELETE", "targets/?/luns/?", NULL, handler},
    {NULL, NULL, NULL, NULL},
};
static const struct mg_route *const tables[] = {routes, NULL};

static void check_path(const char *text)
{
	struct mg_request *req = calloc(1, sizeof(*req));
	const struct mg_route *r;
	struct vs_error err;
	char allow[64];

	if (!req)
		return;
	req->method = "GET";
	if (mg_route_split(text, req, &err) == 0) {
		VS_ASSERT(req->nsegments <= MG_ROUTE_SEGMENTS);
		for (unsigned i = 0; i < req->nsegments; i++)
			VS_ASSERT(strlen(req->segment[i]) < MG_ROUTE_SEGMENT);
		r = mg_route_find(tables, req, allow, sizeof(allow));
		VS_ASSERT(!r || (r == &routes[0] && req->param[0][0] != '\0'));
	}
	free(req);
}

static void check_address(const char *text)
{
	struct vs_error err;
	struct mg_listen l;

	if (mg_options_listen(text, true, &l, &err) == 0)
		VS_ASSERT(l.tag >= 1 && l.host[0] != '\0' && l.addr_len > 0);
	else
		VS_ASSERT(err.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t header[MG_VDI_HEADER] = {0};
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	check_path(text);
	check_address(text);
	free(text);
	memcpy(header, data, VS_MIN(size, sizeof(header)));
	VS_ASSERT(mg_vdi_length(header) >= vs_get_le32(header + 0x158));
	return 0;
}
