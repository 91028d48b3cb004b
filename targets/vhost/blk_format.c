#include "targets/vhost/blk_format.h"

#include "common/bytes.h"

#define STORE_BLOCK 4096u

void vhost_blk_header_decode(const uint8_t b[VHOST_BLK_HEADER_SIZE], struct vhost_blk_header *h)
{
	h->type = vs_get_le32(b);
	h->sector = vs_get_le64(b + 8);
}

void vhost_blk_segment_decode(const uint8_t b[VHOST_BLK_SEGMENT_SIZE], struct vhost_blk_segment *s)
{
	s->sector = vs_get_le64(b);
	s->sectors = vs_get_le32(b + 8);
	s->flags = vs_get_le32(b + 12);
}

/* struct virtio_blk_config, section 5.2.4 */
void vhost_blk_config_encode(const struct vhost_blk_geometry *g, uint8_t b[VHOST_BLK_CONFIG_SIZE])
{
	uint32_t per_block = STORE_BLOCK / g->sector;

	memset(b, 0, VHOST_BLK_CONFIG_SIZE);
	vs_put_le64(b, g->size / VHOST_BLK_SECTOR);
	vs_put_le32(b + 12, VHOST_BLK_SEG_MAX);
	vs_put_le32(b + 20, g->sector);
	b[24] = (uint8_t)__builtin_ctz(per_block); /* physical block, log2 of sectors */
	vs_put_le16(b + 26, (uint16_t)per_block);  /* smallest good request, sectors */
	vs_put_le32(b + 28, 128u * 1024 / g->sector);
	b[32] = 1; /* write back */
	vs_put_le16(b + 34, g->queues);
	vs_put_le32(b + 36, VHOST_BLK_SEGMENT_SECTORS_MAX);
	vs_put_le32(b + 40, VHOST_BLK_SEGMENTS_MAX);
	vs_put_le32(b + 44, STORE_BLOCK / VHOST_BLK_SECTOR);
	vs_put_le32(b + 48, VHOST_BLK_SEGMENT_SECTORS_MAX);
	vs_put_le32(b + 52, VHOST_BLK_SEGMENTS_MAX);
	b[56] = 1; /* write zeroes may unmap */
}
