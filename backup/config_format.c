#include "backup/format.h"

#include "common/bytes.h"

#include <string.h>

enum {
	C_UUID = 0,
	C_CREATED = 16,
	C_BLOCK = 24,
	C_PAGE_ENTRIES = 28,
	C_PACK_TARGET = 32,
	C_FRAME_RAW = 36,
	C_COMPAT = 40,
	C_RO_COMPAT = 48,
	C_INCOMPAT = 56,
	C_ENCRYPTION = 64,
	C_KDF = 65,
	C_DIGEST = 66,
	C_SIZE = 256,
};

#define BLOCK_BYTES 4096u
#define DIGEST_SHA256 1u

void bk_config_encode(const struct bk_config *c, uint8_t *obj)
{
	uint8_t *p = obj + BK_HEADER_SIZE;

	memset(p, 0, C_SIZE);
	memcpy(p + C_UUID, c->uuid.b, sizeof(c->uuid.b));
	vs_put_le64(p + C_CREATED, (uint64_t)c->created_ns);
	vs_put_le32(p + C_BLOCK, BLOCK_BYTES);
	vs_put_le32(p + C_PAGE_ENTRIES, BK_PAGE_ENTRIES);
	vs_put_le32(p + C_PACK_TARGET, c->pack_target);
	vs_put_le32(p + C_FRAME_RAW, c->frame_raw);
	vs_put_le64(p + C_COMPAT, c->compat);
	vs_put_le64(p + C_RO_COMPAT, c->ro_compat);
	vs_put_le64(p + C_INCOMPAT, c->incompat);
	p[C_DIGEST] = DIGEST_SHA256;
	bk_header_encode(obj, BK_OBJ_CONFIG, C_SIZE);
}

int bk_config_decode(const uint8_t *obj, uint64_t size, struct bk_config *c, const char *what,
		     struct vs_error *err)
{
	const uint8_t *p = obj + BK_HEADER_SIZE;
	int rc = bk_header_decode(obj, size, BK_OBJ_CONFIG, true, what, err);

	if (rc)
		return rc;
	if (size != BK_CONFIG_SIZE)
		return vs_fail(err, VS_E_CORRUPT, "%s: has the wrong length", what);
	memcpy(c->uuid.b, p + C_UUID, sizeof(c->uuid.b));
	c->created_ns = (int64_t)vs_get_le64(p + C_CREATED);
	c->pack_target = vs_get_le32(p + C_PACK_TARGET);
	c->frame_raw = vs_get_le32(p + C_FRAME_RAW);
	c->compat = vs_get_le64(p + C_COMPAT);
	c->ro_compat = vs_get_le64(p + C_RO_COMPAT);
	c->incompat = vs_get_le64(p + C_INCOMPAT);
	if (c->incompat)
		return vs_fail(err, VS_E_FEATURE,
			       "%s: the repository uses features (%#llx) that this vstore does not "
			       "know: use the version that made it",
			       what, (unsigned long long)c->incompat);
	if (p[C_ENCRYPTION] || p[C_KDF] || p[C_DIGEST] != DIGEST_SHA256 ||
	    vs_get_le32(p + C_BLOCK) != BLOCK_BYTES ||
	    vs_get_le32(p + C_PAGE_ENTRIES) != BK_PAGE_ENTRIES)
		return vs_fail(err, VS_E_FEATURE,
			       "%s: encryption, digest or block size is not known to this vstore",
			       what);
	if (c->pack_target < BK_PACK_TARGET_MIN || c->pack_target > BK_PACK_BYTES_MAX / 2 ||
	    c->frame_raw < BK_FRAME_RAW_MIN || c->frame_raw > BK_FRAME_RAW_MAX ||
	    c->frame_raw % BK_PAGE_BYTES != 0)
		return vs_fail(err, VS_E_CORRUPT, "%s: its sizes are out of range", what);
	return 0;
}
