/*
 * Byte order and overflow-safe ranges. Pure functions, any thread.
 */
#ifndef VS_COMMON_BYTES_H
#define VS_COMMON_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VS_BYTES_GETPUT(bits, order, conv_from, conv_to)                   \
	static inline uint##bits##_t vs_get_##order##bits(const void *p)   \
	{                                                                  \
		uint##bits##_t v;                                          \
		memcpy(&v, p, sizeof(v));                                  \
		return conv_from(v);                                       \
	}                                                                  \
	static inline void vs_put_##order##bits(void *p, uint##bits##_t v) \
	{                                                                  \
		v = conv_to(v);                                            \
		memcpy(p, &v, sizeof(v));                                  \
	}
VS_BYTES_GETPUT(16, le, le16toh, htole16)
VS_BYTES_GETPUT(32, le, le32toh, htole32)
VS_BYTES_GETPUT(64, le, le64toh, htole64)
VS_BYTES_GETPUT(16, be, be16toh, htobe16)
VS_BYTES_GETPUT(32, be, be32toh, htobe32)
VS_BYTES_GETPUT(64, be, be64toh, htobe64)
#undef VS_BYTES_GETPUT

static inline uint32_t vs_get_be24(const void *p)
{
	const uint8_t *b = p;

	return (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];
}

static inline void vs_put_be24(void *p, uint32_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)(v >> 16);
	b[1] = (uint8_t)(v >> 8);
	b[2] = (uint8_t)v;
}

/* Whether [offset, offset + length) lies in [0, size), without overflow. */
static inline bool vs_range_ok(uint64_t offset, uint64_t length, uint64_t size)
{
	return offset <= size && length <= size - offset;
}

#define VS_ALIGN_UP(v, a) (((v) + (a)-1) / (a) * (a))
#define VS_ALIGN_DOWN(v, a) ((v) / (a) * (a))
#define VS_DIV_UP(v, a) (((v) + (a)-1) / (a))
#define VS_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define VS_MIN(a, b) ((a) < (b) ? (a) : (b))
#define VS_MAX(a, b) ((a) > (b) ? (a) : (b))
#define vs_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* For invariants only, kept in release builds; input is checked, never asserted. */
#define VS_ASSERT(cond)                                            \
	do {                                                       \
		if (__builtin_expect(!(cond), 0))                  \
			vs_assert_fail(#cond, __FILE__, __LINE__); \
	} while (0)
_Noreturn void vs_assert_fail(const char *cond, const char *file, int line);

#endif
