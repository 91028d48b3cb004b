/*
 * Listening TCP sockets: non-blocking, close-on-exec. Any thread.
 */
#ifndef VS_COMMON_LISTEN_H
#define VS_COMMON_LISTEN_H

#include "common/err.h"

#include <stddef.h>

/*
 * address: "ADDR:PORT" or "[ADDR6]:PORT", numeric. what: the protocol, for messages. Returns 0 and
 * *fd, or VS_E_INVAL (address), VS_E_EXIST (in use), VS_E_ACCESS.
 */
int vs_listen_tcp(const char *what, const char *address, int *fd,
		  struct vs_error *err) vs_must_check;
/* Fills err for the errno of a listening socket that could not be made at where. */
int vs_listen_fail(const char *what, const char *where, struct vs_error *err);
/* The address that a TCP listener has, "ADDR:PORT" or "[ADDR6]:PORT"; VS_E_NOENT: none. */
int vs_listen_name(int fd, char *text, size_t len) vs_must_check;

#endif
