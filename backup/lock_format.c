#include "backup/format.h"

#include "common/bytes.h"

#include <string.h>

enum {
	L_EXCLUSIVE = 0,
	L_PID = 4,
	L_CREATED = 8,
	L_REFRESHED = 16,
	L_PROCESS_START = 24,
	L_HOST = 32,  /* 64 */
	L_WHERE = 96, /* 96 */
	L_SIZE = 256,
};

void bk_lock_encode(const struct bk_lock_info *l, uint8_t *obj)
{
	uint8_t *p = obj + BK_HEADER_SIZE;

	memset(p, 0, L_SIZE);
	p[L_EXCLUSIVE] = l->exclusive;
	vs_put_le32(p + L_PID, l->pid);
	vs_put_le64(p + L_CREATED, (uint64_t)l->created_ns);
	vs_put_le64(p + L_REFRESHED, (uint64_t)l->refreshed_ns);
	vs_put_le64(p + L_PROCESS_START, l->process_start);
	memcpy(p + L_HOST, l->host, strnlen(l->host, sizeof(l->host) - 1));
	memcpy(p + L_WHERE, l->where, strnlen(l->where, sizeof(l->where) - 1));
	bk_header_encode(obj, BK_OBJ_LOCK, L_SIZE);
}

int bk_lock_decode(const uint8_t *obj, uint64_t size, struct bk_lock_info *l, const char *what,
		   struct vs_error *err)
{
	const uint8_t *p = obj + BK_HEADER_SIZE;
	int rc = bk_header_decode(obj, size, BK_OBJ_LOCK, true, what, err);
	size_t i;

	if (rc)
		return rc;
	if (size != BK_LOCK_SIZE || p[L_EXCLUSIVE] > 1 || p[L_HOST + sizeof(l->host) - 1] ||
	    p[L_WHERE + sizeof(l->where) - 1])
		return vs_fail(err, VS_E_CORRUPT, "%s: its fields are out of range", what);
	l->exclusive = p[L_EXCLUSIVE];
	l->pid = vs_get_le32(p + L_PID);
	l->created_ns = (int64_t)vs_get_le64(p + L_CREATED);
	l->refreshed_ns = (int64_t)vs_get_le64(p + L_REFRESHED);
	l->process_start = vs_get_le64(p + L_PROCESS_START);
	memcpy(l->host, p + L_HOST, sizeof(l->host));
	memcpy(l->where, p + L_WHERE, sizeof(l->where));
	for (i = 0; l->host[i]; i++)
		if ((uint8_t)l->host[i] < 0x20 || l->host[i] == 0x7f)
			return vs_fail(err, VS_E_CORRUPT, "%s: the host's name is not valid", what);
	return 0;
}
