/*
 * Bytes of copies by token (SPC-4, 6.4.5.10 and 7.8.22; SBC-3, 5.21, 5.24 and 5.47): parameter
 * lists, ROD tokens. Pure functions, any thread; what comes from an initiator is checked here as
 * far as bytes tell.
 */
#ifndef ISCSI_TOKEN_FORMAT_H
#define ISCSI_TOKEN_FORMAT_H

#include "targets/iscsi/copy_format.h"

#define SCSI_TOKEN_LEN 512u
#define SCSI_TOKEN_SECRET 32u
#define SCSI_TOKEN_RANGES 16u
#define SCSI_TOKEN_MAX_BYTES (UINT64_C(1) << 30) /* of one token, and of one command */
#define SCSI_TOKEN_BEST_BYTES (UINT64_C(256) << 20)
#define SCSI_TOKEN_TIMEOUT 60u /* seconds without use, where the initiator does not say */
#define SCSI_TOKEN_MAX_TIMEOUT 600u
#define SCSI_TOKEN_POPULATE_LIST (16u + 16u * SCSI_TOKEN_RANGES)
#define SCSI_TOKEN_USE_LIST (536u + 16u * SCSI_TOKEN_RANGES)

struct scsi_token_range {
	uint64_t lba;
	uint32_t blocks;
};

struct scsi_token_list {
	uint32_t timeout;     /* POPULATE TOKEN: seconds; 0: the default */
	bool del_token;	      /* WRITE USING TOKEN */
	uint64_t offset;      /* the same: blocks into the data */
	const uint8_t *token; /* the same */
	unsigned nranges;
	struct scsi_token_range range[SCSI_TOKEN_RANGES];
	uint64_t blocks; /* of all ranges */
};

/* 0, or the additional sense code of an ILLEGAL REQUEST. */
uint16_t scsi_token_decode_populate(const uint8_t *b, size_t len, struct scsi_token_list *out);
uint16_t scsi_token_decode_use(const uint8_t *b, size_t len, struct scsi_token_list *out);

/* What a token says of itself. */
struct scsi_token {
	uint64_t id; /* of the copy manager's */
	uint8_t naa[8];
	uint64_t bytes;
	uint32_t block_length;
	uint8_t secret[SCSI_TOKEN_SECRET];
};

enum scsi_token_kind { SCSI_TOKEN_DATA, SCSI_TOKEN_ZEROS };

void scsi_token_encode(uint8_t b[SCSI_TOKEN_LEN], const struct scsi_token *t);
/* 0 and what it may be: its id is not to be believed; or an additional sense code. */
uint16_t scsi_token_look(const uint8_t b[SCSI_TOKEN_LEN], enum scsi_token_kind *kind, uint64_t *id);

/* RECEIVE ROD TOKEN INFORMATION: token NULL: there is none. Returns the length. */
size_t scsi_token_put_information(uint8_t *b, uint8_t action, const struct scsi_copy_state *s,
				  uint32_t block_length, const uint8_t *token);
/* Parts of the third-party copy VPD page. */
size_t scsi_token_put_limits(uint8_t *b, uint32_t block_length);
size_t scsi_token_put_features(uint8_t *b);
size_t scsi_token_put_types(uint8_t *b);

#endif
