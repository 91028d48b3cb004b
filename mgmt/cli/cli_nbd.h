/*
 * A small NBD client over a Unix socket, for streams through "-": CLI_NBD_DEPTH slots, each with a
 * buffer and at most one request in flight. One thread.
 *
 * Requests may be answered in any order; cli_nbd_wait takes answers until that of its slot is
 * there. After an error only cli_nbd_close may be called.
 */
#ifndef CLI_NBD_H
#define CLI_NBD_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

#define CLI_NBD_DEPTH 8u
#define CLI_NBD_CHUNK (512u << 10) /* bytes of a slot's buffer */

struct cli_nbd;

int cli_nbd_open(const char *socket, const char *export, struct cli_nbd **out,
		 struct vs_error *err) vs_must_check;
void cli_nbd_close(struct cli_nbd *n); /* says NBD_CMD_DISC; NULL is fine */
uint64_t cli_nbd_size(const struct cli_nbd *n);
uint8_t *cli_nbd_buffer(struct cli_nbd *n, unsigned slot);

/* length: 1 to CLI_NBD_CHUNK; the slot must be free. */
int cli_nbd_read(struct cli_nbd *n, unsigned slot, uint64_t offset, uint32_t length,
		 struct vs_error *err) vs_must_check;
int cli_nbd_write(struct cli_nbd *n, unsigned slot, uint64_t offset, uint32_t length,
		  struct vs_error *err) vs_must_check;
/* Until the slot is free; 0 at once when it is. */
int cli_nbd_wait(struct cli_nbd *n, unsigned slot, struct vs_error *err) vs_must_check;
/* Waits for all slots, then makes what was written durable. */
int cli_nbd_flush(struct cli_nbd *n, struct vs_error *err) vs_must_check;

#endif
