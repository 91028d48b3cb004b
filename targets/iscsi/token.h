/*
 * Tokens that stand for data (SPC-4, 5.16.6): a table of the server's, and a temporary volume of
 * the store in which each token has a place of its own.
 *
 * Threads: any; a lock is held for a few instructions. What a token's place holds is copied by the
 * sessions' threads; it is erased on the first I/O thread.
 * Invariants: a token that is LIVE never changes what it stands for; a place is erased when nobody
 * copies to or from it, and given out again when it has been.
 */
#ifndef ISCSI_TOKEN_H
#define ISCSI_TOKEN_H

#include "blockstore/io.h"
#include "targets/iscsi/server.h"
#include "targets/iscsi/token_format.h"

#define ISCSI_TOKENS 512     /* of a server */
#define ISCSI_TOKENS_EACH 64 /* of an initiator's name */

struct iscsi_tokens;

/* A part of a token's data, and where it is in the temporary volume: at the same place of its 4
 * KiB block as in the source, so that copies share. */
struct iscsi_token_part {
	uint64_t at, bytes;
};

/* What a task works on. */
struct iscsi_token_use {
	unsigned index; /* plus 1; 0: none */
	struct bs_volume *volume;
	uint32_t nparts;
	struct iscsi_token_part part[SCSI_TOKEN_RANGES];
};

/* NULL: out of memory, or the store takes no writes (err says why). */
struct iscsi_tokens *iscsi_tokens_new(struct bs_store *s, struct vs_error *err);
/* On the thread whose loop and port they are; until iscsi_tokens_stop there. */
int iscsi_tokens_start(struct iscsi_tokens *ts, struct vs_loop *loop,
		       struct bs_port *port) vs_must_check;
void iscsi_tokens_stop(struct iscsi_tokens *ts);
void iscsi_tokens_free(struct iscsi_tokens *ts); /* after the port is closed */

struct iscsi_token_maker {
	const char *initiator;
	struct vs_uuid source;
	uint8_t naa[8];
	uint32_t block_length, timeout;
};
/* A token to be filled. parts: bytes and, in at, the source's offsets. VS_E_LIMIT: too many. */
int iscsi_token_begin(struct iscsi_tokens *ts, const struct iscsi_token_maker *m,
		      struct iscsi_token_use *use) vs_must_check;
/* It is filled: *id names it for iscsi_token_bytes. */
void iscsi_token_finish(struct iscsi_tokens *ts, struct iscsi_token_use *use, uint64_t *id);

/* Finds a token for use; *source: the volume that it was made of. 0 or an additional sense code. */
uint16_t iscsi_token_take(struct iscsi_tokens *ts, const uint8_t token[SCSI_TOKEN_LEN], uint64_t id,
			  struct iscsi_token_use *use, struct vs_uuid *source);
/* Nobody takes the tokens that were made of a volume any more: what it held is to be gone. */
void iscsi_tokens_revoke(struct iscsi_tokens *ts, const struct vs_uuid *source);
/* Ends a use; one that was being filled is gone, and so is one that is to be deleted. */
void iscsi_token_put(struct iscsi_tokens *ts, struct iscsi_token_use *use, bool del_token);
/* Its 512 bytes; false: it is no more. */
bool iscsi_token_bytes(struct iscsi_tokens *ts, uint64_t id, uint8_t out[SCSI_TOKEN_LEN]);

#endif
