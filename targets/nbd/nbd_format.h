/*
 * The wire format of NBD, fixed newstyle: nothing else here touches bytes of the wire.
 *
 * Pure functions, any thread. Decoders take exactly the bytes they are given and never read past
 * them; strings in results point into the input and carry their length, they have no NUL. Decoders
 * return 0 or VS_E_PROTO. Encoders return the number of bytes written.
 * Integers on the wire are big-endian.
 */
#ifndef NBD_FORMAT_H
#define NBD_FORMAT_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Handshake */
#define NBD_HELLO_BYTES 18
#define NBD_CLIENT_FLAGS_BYTES 4
#define NBD_OPTION_BYTES 16
#define NBD_OPTION_REPLY_BYTES 20
#define NBD_STRING_MAX 4096 /* limit of the protocol for every string */

#define NBD_FLAG_FIXED_NEWSTYLE 1u
#define NBD_FLAG_NO_ZEROES 2u

enum nbd_opt {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ACK 1u
#define NBD_REP_SERVER 2u
#define NBD_REP_INFO 3u
#define NBD_REP_META_CONTEXT 4u
#define NBD_REP_ERROR(n) (UINT32_C(1) << 31 | (n))
#define NBD_REP_ERR_UNSUP NBD_REP_ERROR(1)
#define NBD_REP_ERR_POLICY NBD_REP_ERROR(2)
#define NBD_REP_ERR_INVALID NBD_REP_ERROR(3)
#define NBD_REP_ERR_UNKNOWN NBD_REP_ERROR(6)
#define NBD_REP_ERR_SHUTDOWN NBD_REP_ERROR(7)
#define NBD_REP_ERR_TOO_BIG NBD_REP_ERROR(9)

#define NBD_INFO_EXPORT 0u
#define NBD_INFO_NAME 1u
#define NBD_INFO_BLOCK_SIZE 3u

/* Transmission flags */
#define NBD_FLAG_HAS_FLAGS (1u << 0)
#define NBD_FLAG_READ_ONLY (1u << 1)
#define NBD_FLAG_SEND_FLUSH (1u << 2)
#define NBD_FLAG_SEND_FUA (1u << 3)
#define NBD_FLAG_SEND_TRIM (1u << 5)
#define NBD_FLAG_SEND_WRITE_ZEROES (1u << 6)
#define NBD_FLAG_SEND_DF (1u << 7)
#define NBD_FLAG_CAN_MULTI_CONN (1u << 8)
#define NBD_FLAG_SEND_FAST_ZERO (1u << 11)

struct nbd_option {
	uint32_t option; /* enum nbd_opt, or one not known here */
	uint32_t length; /* bytes of data that follow */
};

struct nbd_string {
	const char *s;
	uint32_t len;
};

/* Data of INFO and GO. */
struct nbd_go {
	struct nbd_string name;
	bool want_name, want_block_size; /* what the client asked for and is known here */
};

/* Data of LIST_META_CONTEXT and SET_META_CONTEXT. */
struct nbd_meta {
	struct nbd_string name;
	uint32_t queries;
	bool allocation; /* a query matches base:allocation */
};

#define NBD_META_ALLOCATION "base:allocation"
#define NBD_META_ALLOCATION_ID 1u

size_t nbd_hello_encode(uint8_t *to);
/* VS_E_PROTO when the client sets a flag that the server has not offered. */
int nbd_client_flags_decode(const uint8_t from[NBD_CLIENT_FLAGS_BYTES],
			    uint32_t *flags) vs_must_check;
int nbd_option_decode(const uint8_t from[NBD_OPTION_BYTES], struct nbd_option *out) vs_must_check;
int nbd_go_decode(const uint8_t *from, size_t n, struct nbd_go *out) vs_must_check;
/* list: whether a query "base:" stands for all contexts of the namespace (LIST_META_CONTEXT). */
int nbd_meta_decode(const uint8_t *from, size_t n, bool list, struct nbd_meta *out) vs_must_check;

size_t nbd_option_reply_encode(uint8_t *to, uint32_t option, uint32_t type, uint32_t length);
/* Option replies with their data; to has room for NBD_OPTION_REPLY_BYTES + 16 + the name. */
size_t nbd_option_error_encode(uint8_t *to, uint32_t option, uint32_t type, const char *text);
size_t nbd_server_encode(uint8_t *to, const char *name);
size_t nbd_info_export_encode(uint8_t *to, uint32_t option, uint64_t size, uint16_t flags);
size_t nbd_info_name_encode(uint8_t *to, uint32_t option, const char *name);
size_t nbd_info_block_size_encode(uint8_t *to, uint32_t option, uint32_t min, uint32_t preferred,
				  uint32_t max);
size_t nbd_meta_context_encode(uint8_t *to, uint32_t option, uint32_t id, const char *name);
/* The answer to EXPORT_NAME; at most 134 bytes. */
size_t nbd_export_name_encode(uint8_t *to, uint64_t size, uint16_t flags, bool no_zeroes);

/* Transmission */
#define NBD_REQUEST_BYTES 28
#define NBD_SIMPLE_BYTES 16
#define NBD_CHUNK_BYTES 20
#define NBD_DATA_CHUNK_BYTES (NBD_CHUNK_BYTES + 8)
#define NBD_ERROR_CHUNK_BYTES (NBD_CHUNK_BYTES + 6)
#define NBD_EXTENT_BYTES 8
#define NBD_STATUS_CHUNK_BYTES (NBD_CHUNK_BYTES + 4)

enum nbd_cmd {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
};

#define NBD_CMD_FLAG_FUA (1u << 0)
#define NBD_CMD_FLAG_NO_HOLE (1u << 1)
#define NBD_CMD_FLAG_DF (1u << 2)
#define NBD_CMD_FLAG_REQ_ONE (1u << 3)
#define NBD_CMD_FLAG_FAST_ZERO (1u << 4)

#define NBD_STATE_HOLE 1u
#define NBD_STATE_ZERO 2u

enum nbd_error {
	NBD_OK = 0,
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_EOVERFLOW = 75,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108,
};

struct nbd_cmd_header {
	uint16_t flags;
	uint16_t type; /* enum nbd_cmd, or one not known here */
	uint64_t cookie;
	uint64_t offset;
	uint32_t length;
};

/* What was agreed with the client, for nbd_request_check. */
struct nbd_limits {
	uint64_t size; /* bytes */
	uint32_t align;
	uint32_t max_length; /* of READ and WRITE */
	uint16_t flags;	     /* transmission flags */
	bool status;	     /* base:allocation was selected */
};

int nbd_request_decode(const uint8_t from[NBD_REQUEST_BYTES],
		       struct nbd_cmd_header *out) vs_must_check;
/* Whether the request may be carried out: NBD_OK or the error that answers it. */
enum nbd_error nbd_request_check(const struct nbd_limits *limits, const struct nbd_cmd_header *h);
/* The one table from VS_E_* to NBD. */
enum nbd_error nbd_error_from(int code);

size_t nbd_simple_encode(uint8_t to[NBD_SIMPLE_BYTES], uint64_t cookie, enum nbd_error error);
/* The only or the last chunk, without payload. */
size_t nbd_done_encode(uint8_t to[NBD_CHUNK_BYTES], uint64_t cookie);
/* Before length bytes of data. */
size_t nbd_data_encode(uint8_t to[NBD_DATA_CHUNK_BYTES], uint64_t cookie, uint64_t offset,
		       uint32_t length, bool done);
/* Before text_length bytes of text; always the last chunk. */
size_t nbd_error_encode(uint8_t to[NBD_ERROR_CHUNK_BYTES], uint64_t cookie, enum nbd_error error,
			uint16_t text_length);
/* Before n extents of the context base:allocation; always the last chunk. */
size_t nbd_status_encode(uint8_t to[NBD_STATUS_CHUNK_BYTES], uint64_t cookie, uint32_t n);
size_t nbd_extent_encode(uint8_t to[NBD_EXTENT_BYTES], uint32_t length, uint32_t state);

#endif
