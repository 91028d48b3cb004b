/*
 * Bytes of third-party copies (SPC-4, 6.4 to 6.6; SBC-3). Pure functions, any thread; what comes
 * from an initiator is checked here as far as bytes tell.
 */
#ifndef ISCSI_COPY_FORMAT_H
#define ISCSI_COPY_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCSI_COPY_HEADER 16u
#define SCSI_COPY_CSCD 32u    /* bytes of a CSCD descriptor */
#define SCSI_COPY_SEGMENT 28u /* of a segment descriptor of type 02h */
#define SCSI_COPY_MAX_CSCDS 8u
#define SCSI_COPY_MAX_SEGMENTS 16u
#define SCSI_COPY_MAX_LIST \
	(SCSI_COPY_MAX_CSCDS * SCSI_COPY_CSCD + SCSI_COPY_MAX_SEGMENTS * SCSI_COPY_SEGMENT)
#define SCSI_COPY_THIS_LU 0xffffu /* CSCD descriptor ID: the unit that got the command */

enum scsi_copy_usage { SCSI_COPY_HOLD = 0, SCSI_COPY_DISCARD = 2, SCSI_COPY_NO_ID = 3 };

/* A parameter list of EXTENDED COPY(LID1). It points into the bytes that it was made from. */
struct scsi_copy_list {
	uint8_t id, usage;
	unsigned ncscds, nsegments;
	const uint8_t *cscds, *segments;
};

struct scsi_copy_cscd {
	uint8_t device_type;
	bool naa; /* the designator is an NAA of 8 bytes */
	uint8_t id[8];
	uint32_t block_length;
};

struct scsi_copy_segment {
	uint16_t source, destination; /* CSCD descriptor IDs */
	bool dc;		      /* blocks are the destination's */
	uint32_t blocks;
	uint64_t source_lba, lba;
};

/* 0, or the additional sense code of an ILLEGAL REQUEST. */
uint16_t scsi_copy_decode(const uint8_t *b, size_t len, struct scsi_copy_list *out);
void scsi_copy_cscd(const struct scsi_copy_list *list, unsigned i, struct scsi_copy_cscd *out);
void scsi_copy_segment(const struct scsi_copy_list *list, unsigned i,
		       struct scsi_copy_segment *out);

/* What a copy came to. */
struct scsi_copy_state {
	uint8_t manager_status; /* 0 in progress, 1 done, 2 failed */
	uint16_t segments;	/* processed */
	uint64_t bytes;
	uint8_t status; /* of the command, when it failed */
	uint8_t sense_len, sense[18];
};

/* Parameter data of RECEIVE COPY RESULTS; they return its length. */
size_t scsi_copy_put_status(uint8_t *b, const struct scsi_copy_state *s);
size_t scsi_copy_put_failed(uint8_t *b, const struct scsi_copy_state *s);
size_t scsi_copy_put_parameters(uint8_t *b);
/* Of the third-party copy VPD page (SPC-4, 7.8.22), what follows the page's header. */
size_t scsi_copy_put_page(uint8_t *b, uint32_t block_length);

#endif
