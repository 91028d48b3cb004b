/*
 * What people type and read: sizes, names, times. Pure functions, any thread.
 */
#ifndef VS_COMMON_TEXT_H
#define VS_COMMON_TEXT_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "512", "20G", "1.5T" (powers of 1024, optional B or iB): 0, VS_E_INVAL or VS_E_RANGE. */
int vs_parse_size(const char *text, uint64_t *bytes) vs_must_check;
/* "20.0 GiB"; buf of at least 16 bytes; returns buf. */
const char *vs_format_size(uint64_t bytes, char *buf, size_t len);
/* [A-Za-z0-9][A-Za-z0-9._-]{0,62} */
bool vs_name_ok(const char *name);
/* "VOLUME@SNAP" into its two names (64 bytes each); snap is "" without '@'. */
int vs_split_snapshot(const char *text, char volume[64], char snap[64]) vs_must_check;
/* RFC 3339 in UTC, "2026-11-20T08:43:01Z"; buf of at least 32 bytes; returns buf. */
const char *vs_format_time(int64_t unix_ns, char *buf, size_t len);
int64_t vs_unix_ns(void); /* CLOCK_REALTIME */
/* Decimal with nothing around it: 0 or VS_E_INVAL / VS_E_RANGE. */
int vs_parse_u64(const char *text, uint64_t max, uint64_t *value) vs_must_check;
void vs_format_hex(const void *data, size_t n, char *out); /* 2n+1 bytes */
/*
 * Makes one line that a terminal and JSON take: control characters and what is not UTF-8 become
 * '?', in place. What people, files and clients sent is quoted in messages.
 */
void vs_clean_line(char *text);
/* 2n hex digits, nothing after them: 0 or VS_E_INVAL. */
int vs_parse_hex(const char *text, void *out, size_t n) vs_must_check;

#endif
