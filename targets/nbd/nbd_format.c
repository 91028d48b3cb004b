#include "targets/nbd/nbd_format.h"

#include "common/bytes.h"

#include <string.h>

#define MAGIC_HELLO UINT64_C(0x4e42444d41474943)  /* "NBDMAGIC" */
#define MAGIC_OPTION UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define MAGIC_OPTION_REPLY UINT64_C(0x0003e889045565a9)
#define MAGIC_REQUEST 0x25609513u
#define MAGIC_SIMPLE 0x67446698u
#define MAGIC_CHUNK 0x668e33efu

#define CHUNK_DONE 1u
#define CHUNK_NONE 0u
#define CHUNK_DATA 1u
#define CHUNK_STATUS 5u
#define CHUNK_ERROR (1u << 15 | 1u)

#define EXPORT_NAME_ZEROES 124

/* Input that is consumed from the front; every take checks what is left. */
struct reader {
	const uint8_t *p;
	size_t left;
};

static bool take(struct reader *r, size_t n, const uint8_t **at)
{
	if (n > r->left)
		return false;
	*at = r->p;
	r->p += n;
	r->left -= n;
	return true;
}

static bool take_u16(struct reader *r, uint16_t *v)
{
	const uint8_t *at;

	if (!take(r, 2, &at))
		return false;
	*v = vs_get_be16(at);
	return true;
}

static bool take_u32(struct reader *r, uint32_t *v)
{
	const uint8_t *at;

	if (!take(r, 4, &at))
		return false;
	*v = vs_get_be32(at);
	return true;
}

static bool take_string(struct reader *r, struct nbd_string *s)
{
	const uint8_t *at;

	if (!take_u32(r, &s->len) || s->len > NBD_STRING_MAX || !take(r, s->len, &at))
		return false;
	s->s = (const char *)at;
	return true;
}

size_t nbd_hello_encode(uint8_t *to)
{
	vs_put_be64(to, MAGIC_HELLO);
	vs_put_be64(to + 8, MAGIC_OPTION);
	vs_put_be16(to + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	return NBD_HELLO_BYTES;
}

int nbd_client_flags_decode(const uint8_t from[NBD_CLIENT_FLAGS_BYTES], uint32_t *flags)
{
	*flags = vs_get_be32(from);
	return *flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES) ? VS_E_PROTO : 0;
}

int nbd_option_decode(const uint8_t from[NBD_OPTION_BYTES], struct nbd_option *out)
{
	out->option = vs_get_be32(from + 8);
	out->length = vs_get_be32(from + 12);
	return vs_get_be64(from) == MAGIC_OPTION ? 0 : VS_E_PROTO;
}

int nbd_go_decode(const uint8_t *from, size_t n, struct nbd_go *out)
{
	struct reader r = {from, n};
	uint16_t count, info;

	memset(out, 0, sizeof(*out));
	if (!take_string(&r, &out->name) || !take_u16(&r, &count) || r.left != (size_t)count * 2)
		return VS_E_PROTO;
	while (take_u16(&r, &info)) {
		out->want_name |= info == NBD_INFO_NAME;
		out->want_block_size |= info == NBD_INFO_BLOCK_SIZE;
	}
	return 0;
}

static bool string_is(const struct nbd_string *s, const char *want)
{
	return s->len == strlen(want) && memcmp(s->s, want, s->len) == 0;
}

int nbd_meta_decode(const uint8_t *from, size_t n, bool list, struct nbd_meta *out)
{
	struct reader r = {from, n};
	struct nbd_string query;

	memset(out, 0, sizeof(*out));
	if (!take_string(&r, &out->name) || !take_u32(&r, &out->queries))
		return VS_E_PROTO;
	/* Each query takes at least the 4 bytes of its length: the loop is bounded by n. */
	for (uint32_t i = 0; i < out->queries; i++) {
		if (!take_string(&r, &query))
			return VS_E_PROTO;
		out->allocation |=
		    string_is(&query, NBD_META_ALLOCATION) || (list && string_is(&query, "base:"));
	}
	return r.left == 0 ? 0 : VS_E_PROTO;
}

size_t nbd_option_reply_encode(uint8_t *to, uint32_t option, uint32_t type, uint32_t length)
{
	vs_put_be64(to, MAGIC_OPTION_REPLY);
	vs_put_be32(to + 8, option);
	vs_put_be32(to + 12, type);
	vs_put_be32(to + 16, length);
	return NBD_OPTION_REPLY_BYTES;
}

size_t nbd_option_error_encode(uint8_t *to, uint32_t option, uint32_t type, const char *text)
{
	size_t len = strlen(text), n = nbd_option_reply_encode(to, option, type, (uint32_t)len);

	memcpy(to + n, text, len);
	return n + len;
}

size_t nbd_server_encode(uint8_t *to, const char *name)
{
	size_t len = strlen(name);
	size_t n = nbd_option_reply_encode(to, NBD_OPT_LIST, NBD_REP_SERVER, (uint32_t)len + 4);

	vs_put_be32(to + n, (uint32_t)len);
	memcpy(to + n + 4, name, len);
	return n + 4 + len;
}

size_t nbd_info_export_encode(uint8_t *to, uint32_t option, uint64_t size, uint16_t flags)
{
	size_t n = nbd_option_reply_encode(to, option, NBD_REP_INFO, 12);

	vs_put_be16(to + n, NBD_INFO_EXPORT);
	vs_put_be64(to + n + 2, size);
	vs_put_be16(to + n + 10, flags);
	return n + 12;
}

size_t nbd_info_name_encode(uint8_t *to, uint32_t option, const char *name)
{
	size_t len = strlen(name);
	size_t n = nbd_option_reply_encode(to, option, NBD_REP_INFO, (uint32_t)len + 2);

	vs_put_be16(to + n, NBD_INFO_NAME);
	memcpy(to + n + 2, name, len);
	return n + 2 + len;
}

size_t nbd_info_block_size_encode(uint8_t *to, uint32_t option, uint32_t min, uint32_t preferred,
				  uint32_t max)
{
	size_t n = nbd_option_reply_encode(to, option, NBD_REP_INFO, 14);

	vs_put_be16(to + n, NBD_INFO_BLOCK_SIZE);
	vs_put_be32(to + n + 2, min);
	vs_put_be32(to + n + 6, preferred);
	vs_put_be32(to + n + 10, max);
	return n + 14;
}

size_t nbd_meta_context_encode(uint8_t *to, uint32_t option, uint32_t id, const char *name)
{
	size_t len = strlen(name);
	size_t n = nbd_option_reply_encode(to, option, NBD_REP_META_CONTEXT, (uint32_t)len + 4);

	vs_put_be32(to + n, id);
	memcpy(to + n + 4, name, len);
	return n + 4 + len;
}

size_t nbd_export_name_encode(uint8_t *to, uint64_t size, uint16_t flags, bool no_zeroes)
{
	vs_put_be64(to, size);
	vs_put_be16(to + 8, flags);
	if (no_zeroes)
		return 10;
	memset(to + 10, 0, EXPORT_NAME_ZEROES);
	return 10 + EXPORT_NAME_ZEROES;
}

int nbd_request_decode(const uint8_t from[NBD_REQUEST_BYTES], struct nbd_cmd_header *out)
{
	out->flags = vs_get_be16(from + 4);
	out->type = vs_get_be16(from + 6);
	out->cookie = vs_get_be64(from + 8);
	out->offset = vs_get_be64(from + 16);
	out->length = vs_get_be32(from + 24);
	return vs_get_be32(from) == MAGIC_REQUEST ? 0 : VS_E_PROTO;
}

/* What a command may carry and what it needs; commands that are not offered are not listed. */
static const struct command {
	bool known;
	bool changes;	  /* refused on a read-only export */
	bool ranged;	  /* offset and length name a range of the export */
	bool limited;	  /* length up to max_length */
	uint16_t flags;	  /* valid besides FUA */
	uint16_t offered; /* transmission flag without which it must not be sent */
	enum nbd_error beyond;
} commands[] = {
    [NBD_CMD_READ] = {true, false, true, true, NBD_CMD_FLAG_DF, 0, NBD_EINVAL},
    [NBD_CMD_WRITE] = {true, true, true, true, 0, 0, NBD_ENOSPC},
    [NBD_CMD_FLUSH] = {true, false, false, false, 0, NBD_FLAG_SEND_FLUSH, 0},
    [NBD_CMD_TRIM] = {true, true, true, false, 0, NBD_FLAG_SEND_TRIM, NBD_EINVAL},
    [NBD_CMD_WRITE_ZEROES] = {true, true, true, false,
			      NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
			      NBD_FLAG_SEND_WRITE_ZEROES, NBD_ENOSPC},
    [NBD_CMD_BLOCK_STATUS] = {true, false, true, false, NBD_CMD_FLAG_REQ_ONE, 0, NBD_EINVAL},
};

enum nbd_error nbd_request_check(const struct nbd_limits *limits, const struct nbd_cmd_header *h)
{
	const struct command *c;

	if (h->type >= VS_ARRAY_LEN(commands) || !commands[h->type].known)
		return NBD_EINVAL;
	c = &commands[h->type];
	if (c->changes && limits->flags & NBD_FLAG_READ_ONLY)
		return NBD_EPERM;
	if ((limits->flags & c->offered) != c->offered)
		return NBD_EINVAL;
	if (h->flags & ~(c->flags | NBD_CMD_FLAG_FUA))
		return NBD_EINVAL;
	if (h->flags & NBD_CMD_FLAG_DF && !(limits->flags & NBD_FLAG_SEND_DF))
		return NBD_EINVAL;
	if (h->type == NBD_CMD_BLOCK_STATUS && !limits->status)
		return NBD_EINVAL;
	if (!c->ranged)
		return h->offset || h->length ? NBD_EINVAL : NBD_OK;
	if (h->length == 0 || h->offset % limits->align || h->length % limits->align)
		return NBD_EINVAL;
	if (c->limited && h->length > limits->max_length)
		return NBD_EINVAL;
	return vs_range_ok(h->offset, h->length, limits->size) ? NBD_OK : c->beyond;
}

enum nbd_error nbd_error_from(int code)
{
	static const struct {
		int code;
		enum nbd_error error;
	} map[] = {
	    {VS_E_INVAL, NBD_EINVAL},	  {VS_E_RANGE, NBD_EINVAL},
	    {VS_E_ROFS, NBD_EPERM},	  {VS_E_ACCESS, NBD_EPERM},
	    {VS_E_NOSPC, NBD_ENOSPC},	  {VS_E_NOMEM, NBD_ENOMEM},
	    {VS_E_TOOBIG, NBD_EOVERFLOW}, {VS_E_NOTSUP, NBD_ENOTSUP},
	    {VS_E_CLOSED, NBD_ESHUTDOWN}, {VS_E_CANCELED, NBD_ESHUTDOWN},
	};

	if (code == 0)
		return NBD_OK;
	for (size_t i = 0; i < VS_ARRAY_LEN(map); i++)
		if (map[i].code == code)
			return map[i].error;
	return NBD_EIO;
}

size_t nbd_simple_encode(uint8_t to[NBD_SIMPLE_BYTES], uint64_t cookie, enum nbd_error error)
{
	vs_put_be32(to, MAGIC_SIMPLE);
	vs_put_be32(to + 4, error);
	vs_put_be64(to + 8, cookie);
	return NBD_SIMPLE_BYTES;
}

static void chunk(uint8_t *to, uint64_t cookie, uint16_t type, bool done, uint32_t length)
{
	vs_put_be32(to, MAGIC_CHUNK);
	vs_put_be16(to + 4, done ? CHUNK_DONE : 0);
	vs_put_be16(to + 6, type);
	vs_put_be64(to + 8, cookie);
	vs_put_be32(to + 16, length);
}

size_t nbd_done_encode(uint8_t to[NBD_CHUNK_BYTES], uint64_t cookie)
{
	chunk(to, cookie, CHUNK_NONE, true, 0);
	return NBD_CHUNK_BYTES;
}

size_t nbd_data_encode(uint8_t to[NBD_DATA_CHUNK_BYTES], uint64_t cookie, uint64_t offset,
		       uint32_t length, bool done)
{
	chunk(to, cookie, CHUNK_DATA, done, length + 8);
	vs_put_be64(to + NBD_CHUNK_BYTES, offset);
	return NBD_DATA_CHUNK_BYTES;
}

size_t nbd_error_encode(uint8_t to[NBD_ERROR_CHUNK_BYTES], uint64_t cookie, enum nbd_error error,
			uint16_t text_length)
{
	chunk(to, cookie, CHUNK_ERROR, true, 6 + (uint32_t)text_length);
	vs_put_be32(to + NBD_CHUNK_BYTES, error);
	vs_put_be16(to + NBD_CHUNK_BYTES + 4, text_length);
	return NBD_ERROR_CHUNK_BYTES;
}

size_t nbd_status_encode(uint8_t to[NBD_STATUS_CHUNK_BYTES], uint64_t cookie, uint32_t n)
{
	chunk(to, cookie, CHUNK_STATUS, true, 4 + n * NBD_EXTENT_BYTES);
	vs_put_be32(to + NBD_CHUNK_BYTES, NBD_META_ALLOCATION_ID);
	return NBD_STATUS_CHUNK_BYTES;
}

size_t nbd_extent_encode(uint8_t to[NBD_EXTENT_BYTES], uint32_t length, uint32_t state)
{
	vs_put_be32(to, length);
	vs_put_be32(to + 4, state);
	return NBD_EXTENT_BYTES;
}
