#include "backup/format.h"

#include "common/bytes.h"
#include "common/text.h"

#include <string.h>

enum {
	D_ID = 0,	  /* 64 */
	D_VOLUME = 64,	  /* 64 */
	D_SNAPSHOT = 128, /* 64 */
	D_TAG = 192,	  /* 128 */
	D_PARENT = 320,	  /* 64 */
	D_VOLUME_UUID = 384,
	D_SNAPSHOT_UUID = 400,
	D_SIZE_BYTES = 416,
	D_SECTOR = 424,
	D_LEVELS = 428,
	D_CREATED = 432,
	D_SNAPSHOT_TIME = 440,
	D_ROOT = 448, /* 32 */
	D_TOTAL = 480,
	D_CHANGED = 488,
	D_SENT = 496,
	D_BYTES_SENT = 504,
	D_DURATION = 512,
	D_SIZE = 1024,
};

#define VOLUME_SIZE_MAX (UINT64_C(1) << 47)

unsigned bk_levels(uint64_t blocks)
{
	unsigned levels = 1;

	while (levels < BK_LEVELS_MAX && blocks > UINT64_C(1) << (9 * levels))
		levels++;
	return levels;
}

static void put_text(uint8_t *p, const char *text, size_t room)
{
	size_t n = strnlen(text, room - 1);

	memcpy(p, text, n);
}

/* NUL-padded text: no control characters, nothing after the first NUL. */
static bool get_text(const uint8_t *p, char *text, size_t room)
{
	size_t n = strnlen((const char *)p, room), i;

	if (n == room)
		return false;
	for (i = 0; i < n; i++)
		if (p[i] < 0x20 || p[i] == 0x7f)
			return false;
	for (i = n; i < room; i++)
		if (p[i])
			return false;
	memcpy(text, p, room);
	return true;
}

void bk_backup_encode(const struct bk_backup_info *b, uint8_t *obj)
{
	uint8_t *p = obj + BK_HEADER_SIZE;

	memset(p, 0, D_SIZE);
	put_text(p + D_ID, b->id, sizeof(b->id));
	put_text(p + D_VOLUME, b->volume, sizeof(b->volume));
	put_text(p + D_SNAPSHOT, b->snapshot, sizeof(b->snapshot));
	put_text(p + D_TAG, b->tag, sizeof(b->tag));
	put_text(p + D_PARENT, b->parent, sizeof(b->parent));
	memcpy(p + D_VOLUME_UUID, b->volume_uuid.b, sizeof(b->volume_uuid.b));
	memcpy(p + D_SNAPSHOT_UUID, b->snapshot_uuid.b, sizeof(b->snapshot_uuid.b));
	vs_put_le64(p + D_SIZE_BYTES, b->size);
	vs_put_le32(p + D_SECTOR, b->sector);
	vs_put_le32(p + D_LEVELS, bk_levels(b->size / 4096));
	vs_put_le64(p + D_CREATED, (uint64_t)b->created_ns);
	vs_put_le64(p + D_SNAPSHOT_TIME, (uint64_t)b->snapshot_ns);
	memcpy(p + D_ROOT, b->root.b, sizeof(b->root.b));
	vs_put_le64(p + D_TOTAL, b->blocks_total);
	vs_put_le64(p + D_CHANGED, b->blocks_changed);
	vs_put_le64(p + D_SENT, b->blocks_sent);
	vs_put_le64(p + D_BYTES_SENT, b->bytes_sent);
	vs_put_le64(p + D_DURATION, b->duration_ns);
	bk_header_encode(obj, BK_OBJ_BACKUP, D_SIZE);
}

int bk_backup_decode(const uint8_t *obj, uint64_t size, struct bk_backup_info *b, const char *what,
		     struct vs_error *err)
{
	const uint8_t *p = obj + BK_HEADER_SIZE;
	int rc = bk_header_decode(obj, size, BK_OBJ_BACKUP, true, what, err);

	if (rc)
		return rc;
	if (size != BK_BACKUP_SIZE)
		return vs_fail(err, VS_E_CORRUPT, "%s: has the wrong length", what);
	memset(b, 0, sizeof(*b));
	if (!get_text(p + D_ID, b->id, sizeof(b->id)) ||
	    !get_text(p + D_VOLUME, b->volume, sizeof(b->volume)) ||
	    !get_text(p + D_SNAPSHOT, b->snapshot, sizeof(b->snapshot)) ||
	    !get_text(p + D_TAG, b->tag, sizeof(b->tag)) ||
	    !get_text(p + D_PARENT, b->parent, sizeof(b->parent)) || !vs_name_ok(b->id) ||
	    !vs_name_ok(b->volume) || (b->parent[0] && !vs_name_ok(b->parent)) ||
	    (b->snapshot[0] && !vs_name_ok(b->snapshot)))
		return vs_fail(err, VS_E_CORRUPT, "%s: a name in it is not valid", what);
	memcpy(b->volume_uuid.b, p + D_VOLUME_UUID, sizeof(b->volume_uuid.b));
	memcpy(b->snapshot_uuid.b, p + D_SNAPSHOT_UUID, sizeof(b->snapshot_uuid.b));
	b->size = vs_get_le64(p + D_SIZE_BYTES);
	b->sector = vs_get_le32(p + D_SECTOR);
	b->created_ns = (int64_t)vs_get_le64(p + D_CREATED);
	b->snapshot_ns = (int64_t)vs_get_le64(p + D_SNAPSHOT_TIME);
	memcpy(b->root.b, p + D_ROOT, sizeof(b->root.b));
	b->blocks_total = vs_get_le64(p + D_TOTAL);
	b->blocks_changed = vs_get_le64(p + D_CHANGED);
	b->blocks_sent = vs_get_le64(p + D_SENT);
	b->bytes_sent = vs_get_le64(p + D_BYTES_SENT);
	b->duration_ns = vs_get_le64(p + D_DURATION);
	if (b->size == 0 || b->size % 4096 || b->size > VOLUME_SIZE_MAX ||
	    (b->sector != 512 && b->sector != 4096) || b->blocks_total != b->size / 4096 ||
	    vs_get_le32(p + D_LEVELS) != bk_levels(b->blocks_total))
		return vs_fail(err, VS_E_CORRUPT, "%s: its sizes are out of range", what);
	return 0;
}
