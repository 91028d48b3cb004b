#include "targets/iscsi/isns_format.h"

#include "common/bytes.h"

#define VERSION 1
#define TLV 8

static uint8_t *put(struct isns_out *out, uint32_t tag, uint32_t len)
{
	uint8_t *at = out->buf + out->len;

	if (out->overflow || out->size - out->len < TLV + (size_t)len) {
		out->overflow = true;
		return NULL;
	}
	vs_put_be32(at, tag);
	vs_put_be32(at + 4, len);
	out->len += TLV + len;
	return at + TLV;
}

/* With NUL, filled up to a multiple of 4 that counts in the length (RFC 4171, 6.1). */
void isns_put_text(struct isns_out *out, uint32_t tag, const char *text)
{
	size_t len = strlen(text) + 1;
	uint8_t *at = put(out, tag, (uint32_t)VS_ALIGN_UP(len, 4));

	if (!at)
		return;
	memset(at, 0, VS_ALIGN_UP(len, 4));
	memcpy(at, text, len);
}

void isns_put_u32(struct isns_out *out, uint32_t tag, uint32_t value)
{
	uint8_t *at = put(out, tag, 4);

	if (at)
		vs_put_be32(at, value);
}

void isns_put_address(struct isns_out *out, uint32_t tag, const uint8_t address[16])
{
	uint8_t *at = put(out, tag, 16);

	if (at)
		memcpy(at, address, 16);
}

void isns_put_null(struct isns_out *out, uint32_t tag)
{
	(void)put(out, tag, 0);
}

void isns_put_delimiter(struct isns_out *out)
{
	isns_put_null(out, ISNS_DELIMITER);
}

void isns_header_encode(uint8_t raw[ISNS_HEADER], const struct isns_header *h)
{
	vs_put_be16(raw, VERSION);
	vs_put_be16(raw + 2, h->function);
	vs_put_be16(raw + 4, h->length);
	vs_put_be16(raw + 6, h->flags);
	vs_put_be16(raw + 8, h->transaction);
	vs_put_be16(raw + 10, h->sequence);
}

int isns_header_decode(const uint8_t raw[ISNS_HEADER], struct isns_header *h)
{
	*h = (struct isns_header){.function = vs_get_be16(raw + 2),
				  .length = vs_get_be16(raw + 4),
				  .flags = vs_get_be16(raw + 6),
				  .transaction = vs_get_be16(raw + 8),
				  .sequence = vs_get_be16(raw + 10)};
	return vs_get_be16(raw) == VERSION && h->length % 4 == 0 ? 0 : VS_E_PROTO;
}

int isns_response_decode(const uint8_t *payload, size_t len, struct isns_response *out)
{
	size_t at = 4;

	*out = (struct isns_response){0};
	if (len < 4)
		return VS_E_PROTO;
	out->status = vs_get_be32(payload);
	while (at < len) {
		uint32_t tag, n;

		if (len - at < TLV)
			return VS_E_PROTO;
		tag = vs_get_be32(payload + at);
		n = vs_get_be32(payload + at + 4);
		at += TLV;
		if (n > len - at)
			return VS_E_PROTO;
		if (tag == ISNS_REGISTRATION_PERIOD && n == 4)
			out->period = vs_get_be32(payload + at);
		at += n;
	}
	return 0;
}
