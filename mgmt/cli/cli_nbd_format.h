/*
 * The bytes of the NBD protocol that the client needs (NBD protocol document, "fixed newstyle
 * negotiation" and "transmission"). Pure functions, any thread.
 */
#ifndef CLI_NBD_FORMAT_H
#define CLI_NBD_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_NBD_GREETING 18 /* NBDMAGIC, IHAVEOPT, flags */
#define CLI_NBD_NAME_MAX 255
#define CLI_NBD_GO_MAX (4 + 16 + 4 + CLI_NBD_NAME_MAX + 2) /* client flags and NBD_OPT_GO */
#define CLI_NBD_OPTION_REPLY 20
#define CLI_NBD_REQUEST 28
#define CLI_NBD_REPLY 16

enum { CLI_NBD_REP_ACK = 1, CLI_NBD_REP_INFO = 3 };
#define CLI_NBD_REP_ERROR 0x80000000u

enum {
	CLI_NBD_READ = 0,
	CLI_NBD_WRITE = 1,
	CLI_NBD_DISC = 2,
	CLI_NBD_FLUSH = 3,
};

#define CLI_NBD_FLAG_READ_ONLY 2u
#define CLI_NBD_FLAG_SEND_FLUSH 4u

struct cli_nbd_option_reply {
	uint32_t type, length;
};

struct cli_nbd_request {
	uint16_t type;
	uint64_t cookie, offset;
	uint32_t length;
};

struct cli_nbd_reply {
	uint32_t error; /* NBD_E*, which are Linux's errno values */
	uint64_t cookie;
};

/* Whether the server speaks fixed newstyle and leaves out the zeroes. */
bool cli_nbd_format_greeting(const uint8_t in[CLI_NBD_GREETING]);
/* The client's flags and NBD_OPT_GO for name (at most CLI_NBD_NAME_MAX bytes); returns the length.
 */
size_t cli_nbd_format_go(const char *name, uint8_t out[CLI_NBD_GO_MAX]);
bool cli_nbd_format_option_reply(const uint8_t in[CLI_NBD_OPTION_REPLY],
				 struct cli_nbd_option_reply *out);
/* True when the payload of an NBD_REP_INFO is NBD_INFO_EXPORT. */
bool cli_nbd_format_export(const uint8_t *in, size_t len, uint64_t *size, uint16_t *flags);
void cli_nbd_format_request(const struct cli_nbd_request *in, uint8_t out[CLI_NBD_REQUEST]);
bool cli_nbd_format_reply(const uint8_t in[CLI_NBD_REPLY], struct cli_nbd_reply *out);

#endif
