/*
 * Who may do what: POSIX's rules, and nothing else. Pure functions, any thread.
 */
#ifndef DS_PERMIT_H
#define DS_PERMIT_H

#include "datastore/record_format.h"

#define DS_X 1u
#define DS_W 2u
#define DS_R 4u

/* Whether all of `want` (DS_R | DS_W | DS_X) is allowed. cred NULL, as everywhere here: all is. */
bool ds_may(const struct ds_cred *cred, const struct ds_perm *p, unsigned want);
bool ds_is_owner(const struct ds_cred *cred, const struct ds_perm *p);
bool ds_in_group(const struct ds_cred *cred, uint32_t gid);
/* Whether a name of `file` in `dir` may be taken away: write, search, and the sticky bit. */
bool ds_may_unname(const struct ds_cred *cred, const struct ds_perm *dir,
		   const struct ds_perm *file);
/* Which of DS_MAY_* are allowed. */
uint32_t ds_access(const struct ds_cred *cred, const struct ds_perm *p, uint32_t asked);
/*
 * Whether SETATTR may set what it says, and the mode that the file has then: set-ID bits go when
 * somebody else than root changes the owner, and set-group-ID when the caller is not in the group.
 * 0, VS_E_ACCESS, or VS_E_INVAL with *why DS_NOT_OWNER. owner_may: the owner may set the size.
 */
int ds_may_set(const struct ds_cred *cred, const struct ds_perm *p, const struct ds_set *set,
	       bool owner_may, struct ds_perm *after, enum ds_status *why) vs_must_check;
/* Mode after bytes of the file were changed by this caller. */
uint32_t ds_mode_written(const struct ds_cred *cred, uint32_t mode);
/* Mode and owner of a new file. 0, or VS_E_INVAL with *why DS_NOT_OWNER. */
int ds_new_perm(const struct ds_cred *cred, const struct ds_perm *dir, enum ds_type type,
		const struct ds_set *set, struct ds_perm *out, enum ds_status *why) vs_must_check;

#endif
