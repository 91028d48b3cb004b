#include "datastore/record_format.h"

struct ds_perm ds_record_perm(const uint64_t *word)
{
	return (struct ds_perm){
	    .type = (enum ds_type)(word[DS_W_MODE] >> 16),
	    .mode = (uint32_t)word[DS_W_MODE] & 07777,
	    .uid = (uint32_t)word[DS_W_OWNER],
	    .gid = (uint32_t)(word[DS_W_OWNER] >> 32),
	};
}

int ds_record_check(const uint64_t *word, struct ds_handle h)
{
	uint64_t type = word[DS_W_MODE] >> 16;

	if (!h.generation || word[DS_W_GENERATION] != h.generation)
		return VS_E_STALE;
	return type > DS_NONE && type <= DS_BLK ? 0 : VS_E_CORRUPT;
}

void ds_record_attr(const uint64_t *word, uint64_t mapped, struct ds_handle h, struct ds_attr *out)
{
	struct ds_perm perm = ds_record_perm(word);

	*out = (struct ds_attr){
	    .handle = h,
	    .type = perm.type,
	    .mode = perm.mode,
	    .links = (uint32_t)word[DS_W_LINKS],
	    .uid = perm.uid,
	    .gid = perm.gid,
	    .major = (uint32_t)word[DS_W_DEVICE],
	    .minor = (uint32_t)(word[DS_W_DEVICE] >> 32),
	    .size = word[DS_W_SIZE],
	    .used = mapped * BS_BLOCK,
	    .atime = (int64_t)word[DS_W_ATIME],
	    .mtime = (int64_t)word[DS_W_MTIME],
	    .ctime = (int64_t)word[DS_W_CTIME],
	    .btime = (int64_t)word[DS_W_BTIME],
	    .change = word[DS_W_CHANGE],
	};
}

struct ds_handle ds_record_parent(const uint64_t *word, uint32_t snapshot)
{
	return (struct ds_handle){
	    .object = (uint32_t)word[DS_W_PARENT],
	    .generation = (uint32_t)(word[DS_W_PARENT] >> 32),
	    .snapshot = snapshot,
	};
}
