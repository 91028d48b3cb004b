/*
 * Text of login and text PDUs: "key=value" pairs, each ended by a NUL (RFC 7143, 6.1).
 * Pure functions, any thread.
 */
#ifndef ISCSI_TEXT_FORMAT_H
#define ISCSI_TEXT_FORMAT_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ISCSI_KEY_MAX 63

struct iscsi_text_cursor {
	char *at, *end;
};

/* The text is changed: '=' becomes NUL, so that keys and values are strings in place. */
void iscsi_text_start(struct iscsi_text_cursor *c, char *text, size_t len);
/*
 * Next pair: 1, 0 at the end, VS_E_PROTO for text that is not of the form: a key of no or more than
 * 63 characters or of characters that keys do not have, no '=', no NUL after the last value.
 */
int iscsi_text_next(struct iscsi_text_cursor *c, char **key, char **value);

struct iscsi_text_out {
	char *buf;
	size_t size, len;
	bool overflow; /* something did not fit and was left out */
};
void iscsi_text_add(struct iscsi_text_out *out, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Decimal or 0x constant: 0, VS_E_PROTO. */
int iscsi_text_number(const char *text, uint64_t *value);
/* Large binary value, 0x hex or 0b base64 (RFC 7143, 6.1): 0, VS_E_PROTO, VS_E_TOOBIG. */
int iscsi_text_binary(const char *text, uint8_t *out, size_t size, size_t *len);
/* Whether a comma separated list has the item; *rest is moved behind each item when iterating. */
bool iscsi_text_list_next(const char **rest, char *item, size_t size);
bool iscsi_text_list_has(const char *list, const char *item);

#endif
