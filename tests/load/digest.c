#include "tests/load/link.h"
#include "tests/load/load.h"

#include "common/bytes.h"
#include "common/text.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE (1u << 20)

struct round {
	unsigned outstanding;
	bool failed;
};

static void piece_done(struct link_req *req, int status)
{
	struct round *r = req->arg;

	r->outstanding--;
	r->failed |= status < 0;
}

/* Reads depth pieces at once and hashes them in their order; 0 at the end of the disk. */
static int64_t one_round(struct link *l, uint64_t at, uint64_t depth, uint8_t *data, EVP_MD_CTX *md)
{
	struct link_req req[LOAD_MAX_DEPTH];
	struct round r = {0};
	uint64_t bytes = 0;

	for (uint64_t i = 0; i < depth && at + bytes < l->size; i++) {
		req[i] = (struct link_req){.op = LINK_READ,
					   .offset = at + bytes,
					   .length = (uint32_t)VS_MIN(PIECE, l->size - at - bytes),
					   .data = data + bytes,
					   .done = piece_done,
					   .arg = &r};
		bytes += req[i].length;
		r.outstanding++;
		link_submit(l, &req[i]);
	}
	while (r.outstanding)
		if (link_turn(l) < 0)
			return -1;
	if (r.failed || (bytes && EVP_DigestUpdate(md, data, bytes) != 1))
		return -1;
	return (int64_t)bytes;
}

int load_digest(const char *url, const struct load_options *o)
{
	uint64_t depth = VS_MIN(o->depth, 16);
	uint8_t *data = malloc(depth * PIECE), sum[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	struct link *l = link_open(url);
	unsigned len = 0;
	int64_t n = -1;

	if (l && data && md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1)
		for (uint64_t at = 0; (n = one_round(l, at, depth, data, md)) > 0;)
			at += (uint64_t)n;
	if (n == 0 && EVP_DigestFinal_ex(md, sum, &len) == 1) {
		vs_format_hex(sum, len, hex);
		printf("{\"size\": %lu, \"sha256\": \"%s\"}\n", l->size, hex);
		link_close(l);
	}
	EVP_MD_CTX_free(md);
	free(data);
	return n == 0 ? 0 : 1;
}
