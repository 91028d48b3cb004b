/*
 * iSNS messages (RFC 4171) as a target needs them: registration and deregistration of its entity,
 * and their responses. Pure functions, any thread.
 */
#ifndef ISCSI_ISNS_FORMAT_H
#define ISCSI_ISNS_FORMAT_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ISNS_HEADER 12
#define ISNS_PDU_MAX 65532u /* payload of one PDU: 16 bits, a multiple of 4 */

enum isns_function { ISNS_DEV_ATTR_REG = 0x0001, ISNS_DEV_DEREG = 0x0004 };
#define ISNS_RESPONSE 0x8000u

/* RFC 4171, 6.1 */
enum isns_tag {
	ISNS_DELIMITER = 0,
	ISNS_ENTITY_ID = 1,
	ISNS_ENTITY_PROTOCOL = 2,
	ISNS_REGISTRATION_PERIOD = 6,
	ISNS_PORTAL_ADDRESS = 16,
	ISNS_PORTAL_PORT = 17,
	ISNS_ISCSI_NAME = 32,
	ISNS_NODE_TYPE = 33,
	ISNS_ALIAS = 34,
	ISNS_GROUP_NAME = 48,
	ISNS_GROUP_ADDRESS = 49,
	ISNS_GROUP_PORT = 50,
	ISNS_GROUP_TAG = 51,
};
#define ISNS_PROTOCOL_ISCSI 2
#define ISNS_NODE_TARGET 1

/* flags of a PDU (RFC 4171, 5.1.4) */
#define ISNS_CLIENT 0x8000u
#define ISNS_REPLACE 0x1000u
#define ISNS_LAST 0x0800u
#define ISNS_FIRST 0x0400u

/* A payload that grows; what does not fit sets overflow. The caller owns buf. */
struct isns_out {
	uint8_t *buf;
	size_t size, len;
	bool overflow;
};

struct isns_header {
	uint16_t function, length, flags, transaction, sequence;
};

struct isns_response {
	uint32_t status;
	uint32_t period; /* seconds until the registration ends; 0: not said */
};

void isns_put_text(struct isns_out *out, uint32_t tag, const char *text);
void isns_put_u32(struct isns_out *out, uint32_t tag, uint32_t value);
void isns_put_address(struct isns_out *out, uint32_t tag, const uint8_t address[16]);
void isns_put_null(struct isns_out *out, uint32_t tag); /* without a value */
void isns_put_delimiter(struct isns_out *out);
void isns_header_encode(uint8_t raw[ISNS_HEADER], const struct isns_header *h);
int isns_header_decode(const uint8_t raw[ISNS_HEADER], struct isns_header *h) vs_must_check;
/* VS_E_PROTO when attributes do not lie in the payload. */
int isns_response_decode(const uint8_t *payload, size_t len,
			 struct isns_response *out) vs_must_check;

#endif
