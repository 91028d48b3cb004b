#include "targets/iscsi/text_format.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void iscsi_text_start(struct iscsi_text_cursor *c, char *text, size_t len)
{
	c->at = text;
	c->end = text + len;
}

static bool key_char(char ch)
{
	return isalnum((unsigned char)ch) || strchr(".-+@_", ch);
}

int iscsi_text_next(struct iscsi_text_cursor *c, char **key, char **value)
{
	char *nul, *eq;

	while (c->at < c->end && !*c->at) /* padding that was counted in */
		c->at++;
	if (c->at == c->end)
		return 0;
	nul = memchr(c->at, 0, (size_t)(c->end - c->at));
	if (!nul)
		return VS_E_PROTO;
	eq = strchr(c->at, '=');
	if (!eq || eq == c->at || eq - c->at > ISCSI_KEY_MAX)
		return VS_E_PROTO;
	for (char *p = c->at; p < eq; p++)
		if (!key_char(*p))
			return VS_E_PROTO;
	*eq = '\0';
	*key = c->at;
	*value = eq + 1;
	c->at = nul + 1;
	return 1;
}

void iscsi_text_add(struct iscsi_text_out *out, const char *key, const char *fmt, ...)
{
	size_t left = out->size - out->len, klen = strlen(key);
	va_list ap;
	int n;

	if (klen + 2 > left) {
		out->overflow = true;
		return;
	}
	va_start(ap, fmt);
	n = vsnprintf(out->buf + out->len + klen + 1, left - klen - 1, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= left - klen - 1) {
		out->overflow = true;
		return;
	}
	memcpy(out->buf + out->len, key, klen);
	out->buf[out->len + klen] = '=';
	out->len += klen + 2 + (size_t)n;
}

static int hex_digit(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if (ch >= 'a' && ch <= 'f')
		return ch - 'a' + 10;
	return ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

int iscsi_text_number(const char *text, uint64_t *value)
{
	unsigned base = 10;
	uint64_t v = 0;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
	}
	if (!*text)
		return VS_E_PROTO;
	for (; *text; text++) {
		int d = hex_digit(*text);

		if (d < 0 || (unsigned)d >= base || __builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)d, &v))
			return VS_E_PROTO;
	}
	*value = v;
	return 0;
}

static int hex_binary(const char *text, uint8_t *out, size_t size, size_t *len)
{
	size_t digits = strlen(text), n = (digits + 1) / 2;
	bool odd = digits & 1; /* "0x1ab" is 01 ab */

	if (!digits)
		return VS_E_PROTO;
	if (n > size)
		return VS_E_TOOBIG;
	memset(out, 0, n);
	for (size_t i = 0; i < digits; i++) {
		int d = hex_digit(text[i]);
		size_t at = i + odd;

		if (d < 0)
			return VS_E_PROTO;
		out[at / 2] = (uint8_t)(out[at / 2] << 4 | d);
	}
	*len = n;
	return 0;
}

static int base64_digit(char ch)
{
	if (ch >= 'A' && ch <= 'Z')
		return ch - 'A';
	if (ch >= 'a' && ch <= 'z')
		return ch - 'a' + 26;
	if (ch >= '0' && ch <= '9')
		return ch - '0' + 52;
	return ch == '+' ? 62 : ch == '/' ? 63 : -1;
}

static int base64_binary(const char *text, uint8_t *out, size_t size, size_t *len)
{
	unsigned bits = 0, acc = 0;
	size_t n = 0;

	for (; *text && *text != '='; text++) {
		int d = base64_digit(*text);

		if (d < 0)
			return VS_E_PROTO;
		acc = (acc << 6 | (unsigned)d) & 0xfff;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (n == size)
			return VS_E_TOOBIG;
		out[n++] = (uint8_t)(acc >> bits);
	}
	if (!n || strspn(text, "=") != strlen(text) || strlen(text) > 2)
		return VS_E_PROTO;
	*len = n;
	return 0;
}

int iscsi_text_binary(const char *text, uint8_t *out, size_t size, size_t *len)
{
	if (text[0] != '0')
		return VS_E_PROTO;
	if (text[1] == 'x' || text[1] == 'X')
		return hex_binary(text + 2, out, size, len);
	if (text[1] == 'b' || text[1] == 'B')
		return base64_binary(text + 2, out, size, len);
	return VS_E_PROTO;
}

bool iscsi_text_list_next(const char **rest, char *item, size_t size)
{
	size_t n;

	if (!*rest)
		return false;
	n = strcspn(*rest, ",");
	snprintf(item, size, "%.*s", (int)(n < size ? n : size - 1), *rest);
	*rest = (*rest)[n] ? *rest + n + 1 : NULL;
	return true;
}

bool iscsi_text_list_has(const char *list, const char *item)
{
	char one[256];

	while (iscsi_text_list_next(&list, one, sizeof(one)))
		if (strcmp(one, item) == 0)
			return true;
	return false;
}
