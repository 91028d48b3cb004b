/*
 * Listening Unix sockets: non-blocking, close-on-exec. Any thread.
 */
#ifndef NBD_LISTEN_H
#define NBD_LISTEN_H

#include "common/err.h"

/* Mode 0600; replaces a socket that nobody listens on, and nothing else. Returns 0 and *fd. */
int nbd_listen_unix(const char *path, int *fd, struct vs_error *err) vs_must_check;

#endif
