#include "mgmt/cli/cli_nbd_format.h"

#include "common/bytes.h"

#define MAGIC UINT64_C(0x4e42444d41474943)    /* "NBDMAGIC" */
#define HAVE_OPT UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define OPTION_REPLY UINT64_C(0x0003e889045565a9)
#define REQUEST 0x25609513u
#define SIMPLE_REPLY 0x67446698u
#define OPT_GO 7u
#define INFO_EXPORT 0u
#define FIXED_NEWSTYLE 1u
#define NO_ZEROES 2u

bool cli_nbd_format_greeting(const uint8_t in[CLI_NBD_GREETING])
{
	return vs_get_be64(in) == MAGIC && vs_get_be64(in + 8) == HAVE_OPT &&
	       (vs_get_be16(in + 16) & FIXED_NEWSTYLE) && (vs_get_be16(in + 16) & NO_ZEROES);
}

size_t cli_nbd_format_go(const char *name, uint8_t out[CLI_NBD_GO_MAX])
{
	uint32_t n = (uint32_t)strnlen(name, CLI_NBD_NAME_MAX);

	vs_put_be32(out, FIXED_NEWSTYLE | NO_ZEROES);
	vs_put_be64(out + 4, HAVE_OPT);
	vs_put_be32(out + 12, OPT_GO);
	vs_put_be32(out + 16, 4 + n + 2);
	vs_put_be32(out + 20, n);
	memcpy(out + 24, name, n);
	vs_put_be16(out + 24 + n, 0); /* no further information asked for */
	return 26 + n;
}

bool cli_nbd_format_option_reply(const uint8_t in[CLI_NBD_OPTION_REPLY],
				 struct cli_nbd_option_reply *out)
{
	out->type = vs_get_be32(in + 12);
	out->length = vs_get_be32(in + 16);
	return vs_get_be64(in) == OPTION_REPLY && vs_get_be32(in + 8) == OPT_GO;
}

bool cli_nbd_format_export(const uint8_t *in, size_t len, uint64_t *size, uint16_t *flags)
{
	if (len != 12 || vs_get_be16(in) != INFO_EXPORT)
		return false;
	*size = vs_get_be64(in + 2);
	*flags = vs_get_be16(in + 10);
	return true;
}

void cli_nbd_format_request(const struct cli_nbd_request *in, uint8_t out[CLI_NBD_REQUEST])
{
	vs_put_be32(out, REQUEST);
	vs_put_be16(out + 4, 0);
	vs_put_be16(out + 6, in->type);
	vs_put_be64(out + 8, in->cookie);
	vs_put_be64(out + 16, in->offset);
	vs_put_be32(out + 24, in->length);
}

bool cli_nbd_format_reply(const uint8_t in[CLI_NBD_REPLY], struct cli_nbd_reply *out)
{
	out->error = vs_get_be32(in + 4);
	out->cookie = vs_get_be64(in + 8);
	return vs_get_be32(in) == SIMPLE_REPLY;
}
