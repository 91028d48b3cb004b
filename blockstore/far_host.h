/*
 * Hosts and ports as URLs of other machines name them, and where they are. bs_far_resolve waits for
 * a name server, the others are pure functions; any thread.
 */
#ifndef BS_FAR_HOST_H
#define BS_FAR_HOST_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define BS_FAR_HOST_MAX 256 /* with its NUL; without brackets */
#define BS_FAR_HOST_TEXT 300
#define BS_FAR_ADDRS 8

struct bs_far_addrs {
	struct sockaddr_storage at[BS_FAR_ADDRS];
	unsigned n;
};

/* [from, to) as a string; false when it does not fit. */
bool bs_far_take(char *out, size_t max, const char *from, const char *to);
/* "HOST", "HOST:PORT", IPv6 in brackets, from at to end; *port stays as it is when none is said. */
bool bs_far_host_parse(const char *at, const char *end, char host[BS_FAR_HOST_MAX], uint16_t *port);
/* "host:port", IPv6 in brackets, without a port when it is 0; returns buf. */
const char *bs_far_host_text(const char *host, uint16_t port, char buf[BS_FAR_HOST_TEXT]);
/* of: what is to be reached, for the message. */
int bs_far_resolve(const char *host, const char *of, struct bs_far_addrs *out,
		   struct vs_error *err) vs_must_check;
/* The numeric address, without a port; returns buf, or host where that fails. */
const char *bs_far_numeric(const struct sockaddr_storage *a, const char *host,
			   char buf[BS_FAR_HOST_TEXT]);
/* Libraries have error numbers in their texts only, "...(111).": 0 when there is none. */
unsigned bs_far_number_in(const char *text);

#endif
