/*
 * Repositories that the node knows, and what links volumes to their backups there.
 *
 * A handle is opened for each use: they share nothing, and an index in memory costs nothing while
 * no job runs. Threads: any that may wait for the repository's place.
 */
#ifndef MG_REPO_H
#define MG_REPO_H

#include "backup/job.h"
#include "mgmt/node.h"

#define MG_REPO_INDEX (UINT64_C(32) << 20) /* bytes of index in memory for each handle */
#define MG_REPO_LINES 100		   /* of a check that are kept */

/* The repository `name`, opened. */
int mg_repo_use(struct mg_node *n, const char *name, struct bk_repo **out,
		struct vs_error *err) vs_must_check;
/* "REPO:ID" into its parts, repo of 64 bytes. */
int mg_backup_split(const char *text, char repo[64], char id[BK_ID_MAX],
		    struct vs_error *err) vs_must_check;
json_t *mg_backup_json(const char *repo, const struct bk_backup_info *b);

/*
 * The base of a volume's next backup in a repository: a snapshot that must stay until then. own: it
 * was made for the backup and goes with the next one.
 */
struct mg_base {
	struct vs_uuid repo, volume, snapshot;
	char backup[BK_ID_MAX];
	bool own;
};
/* VS_E_NOENT: there is none. */
int mg_base_get(struct mg_node *n, const struct vs_uuid *repo, const struct vs_uuid *volume,
		struct mg_base *out, struct vs_error *err) vs_must_check;
int mg_base_put(struct mg_node *n, const struct mg_base *b, struct vs_error *err) vs_must_check;
/*
 * Before a volume is deleted: when all its snapshots are bases made for backups they go first, so
 * that backing up does not stand in the way of deleting. With node->config held.
 */
int mg_base_drop_all(struct mg_node *n, const struct bs_volume_info *volume,
		     struct vs_error *err) vs_must_check;

/* For struct bk_watch: progress of a task in blocks, and its lines of problems. */
struct mg_repo_watch {
	struct mg_task *task;
	json_t *lines;
	uint64_t unit; /* bytes that one step of progress stands for */
};
void mg_repo_progress(void *arg, uint64_t done, uint64_t total);
void mg_repo_report(void *arg, const char *line);

#endif
