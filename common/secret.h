/*
 * Secrets come from files or a prompt, never from arguments or the environment. Any thread.
 */
#ifndef VS_COMMON_SECRET_H
#define VS_COMMON_SECRET_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Reads a secret of 1 to len-1 bytes; one trailing newline is dropped. Refuses files that others
 * can read (mode & 077). The caller wipes buf with vs_secret_wipe.
 */
int vs_secret_read(const char *path, char *buf, size_t len, struct vs_error *err) vs_must_check;
void vs_secret_wipe(void *p, size_t n);
bool vs_secret_equal(const void *a, const void *b, size_t n); /* constant time */
int vs_random(void *p, size_t n) vs_must_check;		      /* getrandom(2) */

#endif
