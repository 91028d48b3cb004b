#include "blockstore/lun_format.h"

#include "common/bytes.h"
#include "common/text.h"

#include <xxhash.h>

static void take_text(char *out, const uint8_t *p, size_t n)
{
	memcpy(out, p, n);
	out[n] = '\0';
	while (n && (out[n - 1] == ' ' || out[n - 1] == '\0'))
		out[--n] = '\0';
	vs_clean_line(out);
}

/* Standard INQUIRY data, SPC-4 section 6.6.2. */
int bs_lun_decode_inquiry(const uint8_t *p, size_t n, struct bs_lun_caps *c)
{
	if (n < 36)
		return VS_E_PROTO;
	if (p[0] >> 5) /* PERIPHERAL QUALIFIER: nothing is there */
		return VS_E_NOENT;
	if (p[0] & 0x1f) /* not a direct access block device */
		return VS_E_NOTSUP;
	take_text(c->vendor, p + 8, 8);
	take_text(c->product, p + 16, 16);
	return 0;
}

/* The payload of VPD page `code`, SPC-4 section 7.8.2: at least `least` bytes long, or NULL. */
static const uint8_t *vpd(const uint8_t *p, size_t n, uint8_t code, size_t least, size_t *len)
{
	if (n < 4 || p[1] != code)
		return NULL;
	*len = VS_MIN(n - 4, (size_t)vs_get_be16(p + 2));
	return *len >= least ? p + 4 : NULL;
}

/* Designators of the logical unit only: those of ports differ by path. SPC-4 section 7.8.6. */
int bs_lun_decode_identity(const uint8_t *p, size_t n, struct bs_lun_caps *c)
{
	size_t len = 0, at, size;
	const uint8_t *d = vpd(p, n, 0x83, 0, &len);
	XXH64_hash_t hash = 0;

	if (!d)
		return VS_E_PROTO;
	for (at = 0; len - at >= 4; at += size) {
		size = 4 + (size_t)d[at + 3];
		if (size > len - at)
			break;
		if (((d[at + 1] >> 4) & 3) == 0)
			hash = XXH3_64bits_withSeed(d + at, size, hash);
	}
	c->identity = hash;
	return 0;
}

/* READ CAPACITY (16), SBC-3 section 5.16.2. */
int bs_lun_decode_capacity(const uint8_t *p, size_t n, struct bs_lun_caps *c)
{
	uint64_t last;

	if (n < 16)
		return VS_E_PROTO;
	last = vs_get_be64(p);
	c->sector = vs_get_be32(p + 8);
	if (c->sector != 512 && c->sector != 4096)
		return VS_E_NOTSUP;
	if (last >= (UINT64_C(1) << 62) / c->sector)
		return VS_E_PROTO;
	c->blocks = last + 1;
	c->thin = (p[14] & 0x80) != 0;
	c->zeros = (p[14] & 0x40) != 0;
	return 0;
}

/* Block limits, SBC-3 section 6.6.4; devices of older standards say less. */
int bs_lun_decode_limits(const uint8_t *p, size_t n, struct bs_lun_caps *c)
{
	size_t len = 0;
	const uint8_t *d = vpd(p, n, 0xb0, 12, &len);

	if (!d)
		return VS_E_PROTO;
	c->max_transfer = vs_get_be32(d + 4);
	c->max_unmap = len >= 20 ? vs_get_be32(d + 16) : 0;
	c->max_same = len >= 40 ? vs_get_be64(d + 32) : 0;
	return 0;
}

/* Logical block provisioning, SBC-3 section 6.6.6. */
int bs_lun_decode_provisioning(const uint8_t *p, size_t n, struct bs_lun_caps *c)
{
	size_t len = 0;
	const uint8_t *d = vpd(p, n, 0xb2, 2, &len);

	if (!d)
		return VS_E_PROTO;
	c->unmap = (d[1] & 0x80) != 0;
	c->same_unmap = (d[1] & 0x40) != 0;
	return 0;
}

/* MODE SENSE (6): WP and DPOFUA of the header, SBC-3 section 6.4.1. */
int bs_lun_decode_mode(const uint8_t *p, size_t n, struct bs_lun_caps *c)
{
	if (n < 4)
		return VS_E_PROTO;
	c->read_only = (p[2] & 0x80) != 0;
	c->fua = (p[2] & 0x10) != 0;
	return 0;
}

/*
 * SBC-3 section 5.5.2: 1h and 2h are deallocated and anchored. All else may hold data: 0h is
 * mapped or not known, and SBC-4 has 3h for mapped and 4h for not known.
 */
int bs_lun_decode_status(const uint8_t *p, size_t n, unsigned i, struct bs_lba_status *out)
{
	uint64_t said;
	const uint8_t *d;

	if (n < 8)
		return VS_E_PROTO;
	said = (uint64_t)vs_get_be32(p) + 4;
	n = (size_t)VS_MIN((uint64_t)n, said);
	if (!vs_range_ok(8 + (uint64_t)i * 16, 16, n))
		return 0;
	d = p + 8 + (size_t)i * 16;
	out->lba = vs_get_be64(d);
	out->blocks = vs_get_be32(d + 8);
	out->mapped = (d[12] & 0x0f) != 1 && (d[12] & 0x0f) != 2;
	return 1;
}

/* SPC-4 section 6.33; peripheral device and flat space addressing, SAM-5 section 4.7.7. */
int bs_lun_decode_luns(const uint8_t *p, size_t n, unsigned i, uint32_t *lun)
{
	const uint8_t *d;

	if (n < 8)
		return VS_E_PROTO;
	n = (size_t)VS_MIN((uint64_t)n, (uint64_t)vs_get_be32(p) + 8);
	if (!vs_range_ok(8 + (uint64_t)i * 8, 8, n))
		return 0;
	d = p + 8 + (size_t)i * 8;
	if (d[0] >> 6 > 1 || (d[0] >> 6 == 0 && d[0] != 0))
		return VS_E_NOTSUP;
	*lun = (uint32_t)(d[0] & 0x3f) << 8 | d[1];
	return 1;
}
