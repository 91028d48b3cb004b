/* What LUNs of other arrays answer, their URLs and those of NFS files. */
#include "blockstore/lun_format.h"
#include "blockstore/lun_url.h"
#include "blockstore/nfs_url.h"
#include "common/bytes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t max)
{
	size_t n = strnlen(text, max);

	VS_ASSERT(n < max);
	for (size_t i = 0; i < n; i++)
		VS_ASSERT((unsigned char)text[i] >= ' ');
}

static void answers(const uint8_t *p, size_t n)
{
	struct bs_lun_caps c = {0};
	struct bs_lba_status s;
	uint32_t lun;
	unsigned i;

	if (bs_lun_decode_inquiry(p, n, &c) == 0) {
		check_text(c.vendor, sizeof(c.vendor));
		check_text(c.product, sizeof(c.product));
	}
	if (bs_lun_decode_capacity(p, n, &c) == 0)
		VS_ASSERT(c.blocks && c.blocks <= (UINT64_C(1) << 62) / c.sector);
	(void)!bs_lun_decode_identity(p, n, &c);
	(void)!bs_lun_decode_limits(p, n, &c);
	(void)!bs_lun_decode_provisioning(p, n, &c);
	(void)!bs_lun_decode_mode(p, n, &c);
	for (i = 0; bs_lun_decode_status(p, n, i, &s) == 1; i++)
		VS_ASSERT(i < n / 16);
	for (i = 0; bs_lun_decode_luns(p, n, i, &lun) == 1; i++)
		VS_ASSERT(i < n / 8 && lun <= BS_LUN_MAX);
}

/* What is accepted comes back the same from its own text. */
static void url(const char *text)
{
	struct bs_lun_url u, again;
	char buf[BS_LUN_URL_TEXT];

	if (bs_lun_url_parse(text, &u, NULL) == 0) {
		VS_ASSERT(bs_lun_url_parse(bs_lun_url_text(&u, buf), &again, NULL) == 0);
		VS_ASSERT(strcmp(u.host, again.host) == 0 && strcmp(u.target, again.target) == 0);
		VS_ASSERT(u.port == again.port && u.lun == again.lun && !again.user[0]);
	}
	(void)!bs_lun_url_parse_portal(text, &u, NULL);
}

static void file_url(const char *text)
{
	struct bs_nfs_url u, again;
	char buf[BS_NFS_URL_TEXT];

	if (bs_nfs_url_parse(text, &u, NULL) == 0) {
		VS_ASSERT(bs_nfs_url_parse(bs_nfs_url_text(&u, buf), &again, NULL) == 0);
		VS_ASSERT(strcmp(u.host, again.host) == 0 && strcmp(u.path, again.path) == 0);
		VS_ASSERT(u.port == again.port && !strstr(u.path, "/../") && u.path[0] == '/');
	}
	(void)!bs_nfs_url_parse_server(text, &u, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	answers(data, size);
	if (text) {
		memcpy(text, data, size);
		text[size] = '\0';
		url(text);
		file_url(text);
	}
	free(text);
	return 0;
}
