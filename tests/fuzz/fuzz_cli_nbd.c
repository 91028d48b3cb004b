/*
 * What an NBD server says to the command line's client. The first byte chooses the decoder; what
 * one accepts must be what its encoder, or the protocol's constants, would have said.
 */
#include "common/bytes.h"
#include "mgmt/cli/cli_nbd_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void greeting(const uint8_t *data)
{
	if (cli_nbd_format_greeting(data))
		VS_ASSERT(memcmp(data, "NBDMAGICIHAVEOPT", 16) == 0 && (data[17] & 3) == 3);
}

static void option_reply(const uint8_t *data)
{
	struct cli_nbd_option_reply r;

	if (cli_nbd_format_option_reply(data, &r))
		VS_ASSERT(vs_get_be32(data + 8) == 7 && r.length == vs_get_be32(data + 16));
}

static void reply(const uint8_t *data)
{
	struct cli_nbd_reply r;

	if (cli_nbd_format_reply(data, &r))
		VS_ASSERT(vs_get_be32(data) == 0x67446698 && r.cookie == vs_get_be64(data + 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t bytes = 0;
	uint16_t flags = 0;
	uint8_t which;

	if (size == 0)
		return 0;
	which = *data++ % 4;
	size--;
	if (which == 0 && size >= CLI_NBD_GREETING)
		greeting(data);
	if (which == 1 && size >= CLI_NBD_OPTION_REPLY)
		option_reply(data);
	if (which == 2 && size >= CLI_NBD_REPLY)
		reply(data);
	if (which == 3 && cli_nbd_format_export(data, size, &bytes, &flags))
		VS_ASSERT(size == 12);
	return 0;
}
