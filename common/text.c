#include "common/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static int unit_shift(const char *unit)
{
	static const char letters[] = "KMGTPE";
	const char *l;

	if (*unit == '\0' || strcasecmp(unit, "B") == 0)
		return 0;
	l = strchr(letters, toupper((unsigned char)*unit));
	if (!l)
		return -1;
	if (unit[1] != '\0' && strcasecmp(unit + 1, "B") != 0 && strcasecmp(unit + 1, "iB") != 0)
		return -1;
	return 10 * (int)(l - letters + 1);
}

int vs_parse_size(const char *text, uint64_t *bytes)
{
	char *end;
	unsigned long long whole;
	uint64_t value, frac = 0, scale = 1;
	int shift;

	if (!isdigit((unsigned char)*text))
		return VS_E_INVAL;
	errno = 0;
	whole = strtoull(text, &end, 10);
	if (errno == ERANGE)
		return VS_E_RANGE;
	if (*end == '.') {
		for (end++; isdigit((unsigned char)*end); end++) {
			if (scale < 1000000) {
				frac = frac * 10 + (uint64_t)(*end - '0');
				scale *= 10;
			}
		}
	}
	shift = unit_shift(end);
	if (shift < 0 || (shift == 0 && frac))
		return VS_E_INVAL;
	if (shift && whole > (UINT64_MAX >> shift) - 1)
		return VS_E_RANGE;
	value = (uint64_t)whole << shift;
	if (frac) {
		unsigned __int128 part = ((unsigned __int128)frac << shift) / scale;

		value += (uint64_t)part;
	}
	*bytes = value;
	return 0;
}

const char *vs_format_size(uint64_t bytes, char *buf, size_t len)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1023.95 && u + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1024;
		u++;
	}
	(void)snprintf(buf, len, u ? "%.1f %s" : "%.0f %s", v, units[u]);
	return buf;
}

bool vs_name_ok(const char *name)
{
	size_t n = strnlen(name, 64);

	if (n == 0 || n > 63 || !isalnum((unsigned char)name[0]))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

int vs_split_snapshot(const char *text, char volume[64], char snap[64])
{
	const char *at = strchr(text, '@');
	size_t n = at ? (size_t)(at - text) : strlen(text);

	if (n > 63)
		return VS_E_INVAL;
	memcpy(volume, text, n);
	volume[n] = '\0';
	snap[0] = '\0';
	if (at) {
		if (!vs_name_ok(at + 1))
			return VS_E_INVAL;
		memcpy(snap, at + 1, strlen(at + 1) + 1);
	}
	return vs_name_ok(volume) ? 0 : VS_E_INVAL;
}

const char *vs_format_time(int64_t unix_ns, char *buf, size_t len)
{
	time_t t = (time_t)(unix_ns / 1000000000);
	struct tm tm;

	gmtime_r(&t, &tm);
	if (strftime(buf, len, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		buf[0] = '\0';
	return buf;
}

int64_t vs_unix_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int vs_parse_u64(const char *text, uint64_t max, uint64_t *value)
{
	char *end;
	unsigned long long v;

	if (!isdigit((unsigned char)*text))
		return VS_E_INVAL;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (*end != '\0')
		return VS_E_INVAL;
	if (errno == ERANGE || v > max)
		return VS_E_RANGE;
	*value = v;
	return 0;
}

void vs_format_hex(const void *data, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *b = data;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[b[i] >> 4];
		out[2 * i + 1] = digits[b[i] & 15];
	}
	out[2 * n] = '\0';
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int vs_parse_hex(const char *text, void *out, size_t n)
{
	unsigned char *b = out;

	for (size_t i = 0; i < n; i++) {
		int hi = nibble(text[2 * i]);
		int lo = hi < 0 ? -1 : nibble(text[2 * i + 1]);

		if (lo < 0)
			return VS_E_INVAL;
		b[i] = (unsigned char)(hi << 4 | lo);
	}
	return text[2 * n] == '\0' ? 0 : VS_E_INVAL;
}

/* Bytes of the UTF-8 character at p (RFC 3629), 0 when it is none or a control character. */
static size_t utf8_char(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t c = n > 1 ? p[0] & (0x7fu >> n) : p[0];

	if (n == 0 || p[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
		return 0;
	if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000))
		return 0;
	return n;
}

void vs_clean_line(char *text)
{
	while (*text) {
		size_t n = utf8_char((const unsigned char *)text);

		if (n == 0) {
			*text = '?';
			n = 1;
		}
		text += n;
	}
}
