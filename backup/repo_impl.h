/*
 * An open repository as the jobs see it. Immutable after open but for the index, which locks
 * itself.
 */
#ifndef BK_REPO_IMPL_H
#define BK_REPO_IMPL_H

#include "backup/index.h"
#include "backup/remote.h"
#include "backup/repo.h"

struct bk_repo {
	struct bk_remote *remote;
	struct bk_config config;
	struct bk_index *index;
	bool read_only;
};

/* VS_E_INVAL unless id can be one. name: "backups/ID". */
int bk_repo_backup_name(const char *id, char name[BK_NAME_MAX], struct vs_error *err) vs_must_check;
/* A new id that sorts by time: "20261120-084301-5f3a9c2e", 1/65536 of the second and random bits.
 */
int bk_repo_new_id(int64_t unix_ns, char id[BK_ID_MAX], struct vs_error *err) vs_must_check;

static inline bool bk_watch_canceled(const struct bk_watch *w)
{
	return w && w->cancel && atomic_load_explicit(w->cancel, memory_order_relaxed);
}

#endif
