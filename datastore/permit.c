#include "datastore/permit.h"

#define SETUID 04000u
#define SETGID 02000u
#define STICKY 01000u
#define ANY_X 00111u
#define GROUP_X 00010u

static bool is_root(const struct ds_cred *cred)
{
	return !cred || cred->uid == 0;
}

bool ds_in_group(const struct ds_cred *cred, uint32_t gid)
{
	if (is_root(cred) || cred->gid == gid)
		return true;
	for (uint32_t i = 0; i < cred->ngroups && i < DS_GROUPS_MAX; i++)
		if (cred->group[i] == gid)
			return true;
	return false;
}

bool ds_is_owner(const struct ds_cred *cred, const struct ds_perm *p)
{
	return is_root(cred) || cred->uid == p->uid;
}

/* Only one class counts: an owner who is denied is not helped by what others may. */
bool ds_may(const struct ds_cred *cred, const struct ds_perm *p, unsigned want)
{
	unsigned allowed;

	if (is_root(cred)) /* but nobody runs what has no bit for it */
		return !(want & DS_X) || p->type == DS_DIR || (p->mode & ANY_X) || !cred;
	if (cred->uid == p->uid)
		allowed = p->mode >> 6;
	else if (ds_in_group(cred, p->gid))
		allowed = p->mode >> 3;
	else
		allowed = p->mode;
	return (want & ~allowed & 7u) == 0;
}

bool ds_may_unname(const struct ds_cred *cred, const struct ds_perm *dir,
		   const struct ds_perm *file)
{
	if (!ds_may(cred, dir, DS_W | DS_X))
		return false;
	return !(dir->mode & STICKY) || ds_is_owner(cred, dir) || ds_is_owner(cred, file);
}

uint32_t ds_access(const struct ds_cred *cred, const struct ds_perm *p, uint32_t asked)
{
	bool dir = p->type == DS_DIR;
	uint32_t may = 0;

	if (ds_may(cred, p, DS_R))
		may |= DS_MAY_READ;
	if (ds_may(cred, p, DS_W))
		may |= DS_MAY_MODIFY | DS_MAY_EXTEND | (dir ? DS_MAY_DELETE : 0);
	if (ds_may(cred, p, DS_X))
		may |= dir ? DS_MAY_LOOKUP : DS_MAY_EXECUTE;
	return asked & may;
}

static int not_owner(enum ds_status *why)
{
	*why = DS_NOT_OWNER;
	return VS_E_INVAL;
}

static int may_chown(const struct ds_cred *cred, const struct ds_perm *p, const struct ds_set *set)
{
	if (is_root(cred))
		return 0;
	if (!ds_is_owner(cred, p))
		return VS_E_INVAL;
	if (set->what & DS_SET_UID && set->uid != p->uid)
		return VS_E_INVAL;
	return set->what & DS_SET_GID && set->gid != p->gid && !ds_in_group(cred, set->gid)
		   ? VS_E_INVAL
		   : 0;
}

static uint32_t drop_set_ids(uint32_t mode)
{
	mode &= ~SETUID;
	/* without execution by the group it means something else (mandatory locks) and stays */
	return mode & GROUP_X ? mode & ~SETGID : mode;
}

int ds_may_set(const struct ds_cred *cred, const struct ds_perm *p, const struct ds_set *set,
	       bool owner_may, struct ds_perm *after, enum ds_status *why)
{
	bool owner = ds_is_owner(cred, p), write = ds_may(cred, p, DS_W);

	*after = *p;
	if (set->what & (DS_SET_UID | DS_SET_GID)) {
		if (may_chown(cred, p, set))
			return not_owner(why);
		if (set->what & DS_SET_UID)
			after->uid = set->uid;
		if (set->what & DS_SET_GID)
			after->gid = set->gid;
		if (!is_root(cred) && p->type != DS_DIR)
			after->mode = drop_set_ids(after->mode);
	}
	if (set->what & DS_SET_MODE) {
		if (!owner)
			return not_owner(why);
		after->mode = set->mode & 07777;
		if (!ds_in_group(cred, after->gid))
			after->mode &= ~SETGID;
	}
	if (set->what & (DS_SET_ATIME | DS_SET_MTIME) && !owner)
		return not_owner(why);
	if (set->what & (DS_SET_ATIME_NOW | DS_SET_MTIME_NOW) && !owner && !write)
		return VS_E_ACCESS;
	if (set->what & DS_SET_SIZE) {
		if (!write && !(owner_may && owner))
			return VS_E_ACCESS;
		if (!(set->what & DS_SET_MODE))
			after->mode = ds_mode_written(cred, after->mode);
	}
	return 0;
}

uint32_t ds_mode_written(const struct ds_cred *cred, uint32_t mode)
{
	return is_root(cred) ? mode : drop_set_ids(mode);
}

int ds_new_perm(const struct ds_cred *cred, const struct ds_perm *dir, enum ds_type type,
		const struct ds_set *set, struct ds_perm *out, enum ds_status *why)
{
	*out = (struct ds_perm){.type = type,
				.mode = set->what & DS_SET_MODE ? set->mode & 07777 : 0,
				.uid = cred ? cred->uid : 0,
				.gid = cred ? cred->gid : 0};
	if (type == DS_LNK)
		out->mode = 0777;
	if (dir->mode & SETGID)
		out->gid = dir->gid;
	if (may_chown(cred, out, set))
		return not_owner(why);
	if (set->what & DS_SET_UID)
		out->uid = set->uid;
	if (set->what & DS_SET_GID)
		out->gid = set->gid;
	if (!ds_in_group(cred, out->gid))
		out->mode &= ~SETGID;
	if (type == DS_DIR && dir->mode & SETGID)
		out->mode |= SETGID;
	return 0;
}
