/*
 * Who works on a repository: backups hold it shared, gc alone. A lock is an object under locks/
 * that its holder refreshes; one that was not refreshed for 30 minutes, or whose process is gone
 * from this machine, does not count. Threads: one at a time. Errors: VS_E_BUSY (the text says who
 * holds it), VS_E_TIMEDOUT (the own lock could not be refreshed in time: what was written must not
 * be referred to any more).
 */
#ifndef BK_LOCK_H
#define BK_LOCK_H

#include "backup/remote.h"

#include <stdbool.h>

struct bk_lock;

int bk_lock_take(struct bk_remote *r, bool exclusive, struct bk_lock **out,
		 struct vs_error *err) vs_must_check;
/* To be called at least every few minutes, and before the last step. Cheap when nothing is due. */
int bk_lock_refresh(struct bk_lock *l, struct vs_error *err) vs_must_check;
void bk_lock_release(struct bk_lock *l);

#endif
