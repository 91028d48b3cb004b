/*
 * Everything of NBD that a client can make the server decode: flags, option headers and data,
 * request headers. The first byte chooses the decoder; what a decoder returns must lie within the
 * input, and a request that passes the check must be one that the engine can be given.
 */
#include "common/bytes.h"
#include "targets/nbd/nbd_format.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(const struct nbd_string *s, const uint8_t *data, size_t size)
{
	const uint8_t *at = (const uint8_t *)s->s;

	VS_ASSERT(at >= data && at <= data + size && s->len <= (size_t)(data + size - at));
	VS_ASSERT(s->len <= NBD_STRING_MAX);
}

static void fuzz_request(const uint8_t *data)
{
	static const uint16_t flags[] = {
	    NBD_FLAG_HAS_FLAGS,
	    NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_DF,
	    NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
		NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_DF,
	};
	struct nbd_limits l = {.size = 1u << 30, .align = 512, .max_length = 32u << 20};
	struct nbd_cmd_header h;

	if (nbd_request_decode(data, &h))
		return;
	for (unsigned i = 0; i < 2 * VS_ARRAY_LEN(flags); i++) {
		l.flags = flags[i / 2];
		l.status = i % 2;
		if (nbd_request_check(&l, &h) != NBD_OK || h.type == NBD_CMD_FLUSH)
			continue;
		VS_ASSERT(h.length && h.offset % 512 == 0 && h.length % 512 == 0);
		VS_ASSERT(h.offset < l.size && h.length <= l.size - h.offset);
		VS_ASSERT(h.type == NBD_CMD_READ || h.type == NBD_CMD_BLOCK_STATUS ||
			  !(l.flags & NBD_FLAG_READ_ONLY));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nbd_option option;
	struct nbd_meta meta;
	struct nbd_go go;
	uint32_t flags;
	uint8_t which;

	if (size == 0)
		return 0;
	which = *data++ % 6;
	size--;
	if (which == 0 && size >= NBD_CLIENT_FLAGS_BYTES)
		(void)!nbd_client_flags_decode(data, &flags);
	if (which == 1 && size >= NBD_OPTION_BYTES)
		(void)!nbd_option_decode(data, &option);
	if (which == 2 && nbd_go_decode(data, size, &go) == 0)
		inside(&go.name, data, size);
	if ((which == 3 || which == 4) && nbd_meta_decode(data, size, which == 3, &meta) == 0)
		inside(&meta.name, data, size);
	if (which == 5 && size >= NBD_REQUEST_BYTES)
		fuzz_request(data);
	return 0;
}
