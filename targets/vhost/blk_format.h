/* Bytes of a virtio block device (virtio 1.2 section 5.2). Pure functions, any thread. */
#ifndef VHOST_BLK_FORMAT_H
#define VHOST_BLK_FORMAT_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHOST_BLK_SECTOR 512u
#define VHOST_BLK_HEADER_SIZE 16u
#define VHOST_BLK_SEGMENT_SIZE 16u
#define VHOST_BLK_CONFIG_SIZE 60u
#define VHOST_BLK_ID_SIZE 20u

/* Segments of one discard or write-zeroes request, and their size. */
#define VHOST_BLK_SEGMENTS_MAX 16u
#define VHOST_BLK_SEGMENT_SECTORS_MAX (1u << 22) /* 2 GiB */
/* Data descriptors of one request: fits QEMU's default queue of 128 with header and status. */
#define VHOST_BLK_SEG_MAX 126u

/* Feature bits, section 5.2.3 */
#define VHOST_BLK_F_SEG_MAX (UINT64_C(1) << 2)
#define VHOST_BLK_F_RO (UINT64_C(1) << 5)
#define VHOST_BLK_F_BLK_SIZE (UINT64_C(1) << 6)
#define VHOST_BLK_F_FLUSH (UINT64_C(1) << 9)
#define VHOST_BLK_F_TOPOLOGY (UINT64_C(1) << 10)
#define VHOST_BLK_F_MQ (UINT64_C(1) << 12)
#define VHOST_BLK_F_DISCARD (UINT64_C(1) << 13)
#define VHOST_BLK_F_WRITE_ZEROES (UINT64_C(1) << 14)

/* Request types and status bytes, section 5.2.6 */
enum vhost_blk_type {
	VHOST_BLK_IN = 0,
	VHOST_BLK_OUT = 1,
	VHOST_BLK_FLUSH = 4,
	VHOST_BLK_GET_ID = 8,
	VHOST_BLK_DISCARD = 11,
	VHOST_BLK_WRITE_ZEROES = 13,
};
enum vhost_blk_status { VHOST_BLK_OK = 0, VHOST_BLK_IOERR = 1, VHOST_BLK_UNSUPP = 2 };

#define VHOST_BLK_FLAG_UNMAP 1u

struct vhost_blk_header {
	uint32_t type;
	uint64_t sector;
};

struct vhost_blk_segment {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct vhost_blk_geometry {
	uint64_t size;	 /* bytes */
	uint32_t sector; /* 512 or 4096 */
	uint16_t queues;
};

void vhost_blk_header_decode(const uint8_t b[VHOST_BLK_HEADER_SIZE], struct vhost_blk_header *h);
void vhost_blk_segment_decode(const uint8_t b[VHOST_BLK_SEGMENT_SIZE], struct vhost_blk_segment *s);
void vhost_blk_config_encode(const struct vhost_blk_geometry *g, uint8_t b[VHOST_BLK_CONFIG_SIZE]);

#endif
