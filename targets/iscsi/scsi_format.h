/*
 * SCSI's bytes: sense data, fields of CDBs (SPC-4, SBC-3). Pure functions, any thread.
 */
#ifndef ISCSI_SCSI_FORMAT_H
#define ISCSI_SCSI_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum scsi_status {
	SCSI_GOOD = 0x00,
	SCSI_CHECK_CONDITION = 0x02,
	SCSI_BUSY = 0x08,
	SCSI_RESERVATION_CONFLICT = 0x18,
	SCSI_TASK_ABORTED = 0x40,
};

enum scsi_key {
	SCSI_NO_SENSE = 0x0,
	SCSI_NOT_READY = 0x2,
	SCSI_MEDIUM_ERROR = 0x3,
	SCSI_HARDWARE_ERROR = 0x4,
	SCSI_ILLEGAL_REQUEST = 0x5,
	SCSI_UNIT_ATTENTION = 0x6,
	SCSI_DATA_PROTECT = 0x7,
	SCSI_COPY_ABORTED = 0xa,
	SCSI_ABORTED_COMMAND = 0xb,
	SCSI_MISCOMPARE = 0xe,
};

/* ASC and ASCQ (SPC-4, annex D). */
enum scsi_asc {
	SCSI_NO_ADDITIONAL_SENSE = 0x0000,
	SCSI_OPERATION_IN_PROGRESS = 0x0016,
	SCSI_NOT_READY_MANUAL = 0x0403,
	SCSI_SANITIZE_IN_PROGRESS = 0x041b,
	SCSI_UNREACHABLE_COPY_TARGET = 0x0804,
	SCSI_UNEXPECTED_UNSOLICITED_DATA = 0x0c0c,
	SCSI_WRITE_ERROR = 0x0c00,
	SCSI_INCORRECT_AMOUNT_OF_DATA = 0x0c0d,
	SCSI_THIRD_PARTY_DEVICE_FAILURE = 0x0d01,
	SCSI_COPY_TARGET_NOT_REACHABLE = 0x0d02,
	SCSI_INCORRECT_COPY_TARGET_TYPE = 0x0d03,
	SCSI_UNRECOVERED_READ_ERROR = 0x1100,
	SCSI_PARAMETER_LIST_LENGTH_ERROR = 0x1a00,
	SCSI_MISCOMPARE_DURING_VERIFY = 0x1d00,
	SCSI_INVALID_OPCODE = 0x2000,
	SCSI_LBA_OUT_OF_RANGE = 0x2100,
	SCSI_UNSUPPORTED_TOKEN_TYPE = 0x2301,
	SCSI_TOKEN_UNKNOWN = 0x2304,
	SCSI_TOKEN_REVOKED = 0x2306,
	SCSI_TOKEN_EXPIRED = 0x2307,
	SCSI_TOKEN_DELETED = 0x2309,
	SCSI_INVALID_TOKEN_LENGTH = 0x230a,
	SCSI_INVALID_FIELD_IN_CDB = 0x2400,
	SCSI_LUN_NOT_SUPPORTED = 0x2500,
	SCSI_INVALID_FIELD_IN_LIST = 0x2600,
	SCSI_INVALID_RELEASE = 0x2604,
	SCSI_TOO_MANY_CSCDS = 0x2606,
	SCSI_UNSUPPORTED_CSCD = 0x2607,
	SCSI_TOO_MANY_SEGMENTS = 0x2608,
	SCSI_UNSUPPORTED_SEGMENT = 0x2609,
	SCSI_UNEXPECTED_INEXACT_SEGMENT = 0x260a,
	SCSI_INLINE_DATA_EXCEEDED = 0x260b,
	SCSI_WRITE_PROTECTED = 0x2700,
	SCSI_SPACE_ALLOCATION_FAILED = 0x2707,
	SCSI_MEDIUM_MAY_HAVE_CHANGED = 0x2800,
	SCSI_POWER_ON = 0x2900,
	SCSI_BUS_RESET = 0x2902,
	SCSI_BUS_DEVICE_RESET = 0x2903,
	SCSI_MODE_CHANGED = 0x2a01,
	SCSI_RESERVATIONS_PREEMPTED = 0x2a03,
	SCSI_RESERVATIONS_RELEASED = 0x2a04,
	SCSI_REGISTRATIONS_PREEMPTED = 0x2a05,
	SCSI_CAPACITY_CHANGED = 0x2a09,
	SCSI_COMMANDS_CLEARED = 0x2f00,
	SCSI_SANITIZE_FAILED = 0x3103,
	SCSI_THRESHOLD_REACHED = 0x3807,
	SCSI_SAVING_NOT_SUPPORTED = 0x3900,
	SCSI_MEDIUM_NOT_PRESENT = 0x3a00,
	SCSI_REPORTED_LUNS_CHANGED = 0x3f0e,
	SCSI_INTERNAL_TARGET_FAILURE = 0x4400,
	SCSI_INVALID_MESSAGE_ERROR = 0x4900,
	SCSI_REMOVAL_PREVENTED = 0x5302,
	SCSI_INSUFFICIENT_REGISTRATIONS = 0x5504,
	SCSI_NO_ROOM_FOR_TOKEN = 0x550d,
	SCSI_PROTOCOL_SERVICE_CRC_ERROR = 0x4705,
	SCSI_DATA_PHASE_ERROR = 0x4b00,
};

#define SCSI_SENSE_LEN 18

/* Fixed format (SPC-4, 4.5.3). */
void scsi_sense_encode(uint8_t sense[SCSI_SENSE_LEN], uint8_t key, uint16_t asc);
/* Sets INFORMATION; values that need more than 32 bits are left out. */
void scsi_sense_information(uint8_t sense[SCSI_SENSE_LEN], uint64_t value);
/* Sets the progress indication (SPC-4, 4.5.2.4.4), of 65536. */
void scsi_sense_progress(uint8_t sense[SCSI_SENSE_LEN], uint16_t progress);
#define SCSI_SENSE_DESCRIPTOR_MAX 28
/* The same in descriptor format (SPC-4, 4.5.2); its length. */
size_t scsi_sense_to_descriptor(const uint8_t fixed[SCSI_SENSE_LEN],
				uint8_t out[SCSI_SENSE_DESCRIPTOR_MAX]);

/* LBA and number of blocks of the read and write commands' CDBs of 6, 10, 12 and 16 bytes. */
void scsi_cdb_range(const uint8_t *cdb, uint64_t *lba, uint64_t *blocks);
/* Length of a CDB by its operation code's group; 0: unknown. */
unsigned scsi_cdb_len(uint8_t opcode);

/* UNMAP parameter list (SBC-3, 5.28). Number of descriptors, or -1 when it is malformed. */
int scsi_unmap_count(const uint8_t *list, size_t len);
void scsi_unmap_descriptor(const uint8_t *list, int i, uint64_t *lba, uint64_t *blocks);

/* A text field of SPC: n bytes, padded with spaces. */
void scsi_put_text(uint8_t *field, size_t n, const char *text);

#endif
