/*
 * Listening sockets: non-blocking, close-on-exec. Any thread.
 */
#ifndef NBD_LISTEN_H
#define NBD_LISTEN_H

#include "common/err.h"

#include <stddef.h>

/* address: "ADDR:PORT" or "[ADDR6]:PORT", numeric. Returns 0 and *fd, or VS_E_*. */
int nbd_listen_tcp(const char *address, int *fd, struct vs_error *err) vs_must_check;
/* Mode 0600; replaces a socket that nobody listens on, and nothing else. */
int nbd_listen_unix(const char *path, int *fd, struct vs_error *err) vs_must_check;
/* The address that a TCP listener has, "ADDR:PORT" or "[ADDR6]:PORT". */
int nbd_listen_name(int fd, char *text, size_t len) vs_must_check;

#endif
