/*
 * Repositories read by this process: without a daemon (--repo-url), and to write a backup to a file
 * or a pipe. One thread; SIGINT, SIGTERM and SIGHUP stop an export, which then leaves nothing.
 */
#ifndef CLI_DIRECT_H
#define CLI_DIRECT_H

#include "mgmt/cli/cli.h"

/*
 * The backups in the repository at url, of one volume or of all (NULL), as the API's objects (id
 * without REPO:, repo the URL); NULL after printing why.
 */
json_t *cli_direct_list(const char *url, const char *volume);
json_t *cli_direct_show(const char *url, const char *id);
/*
 * Writes a backup's bytes to dest: a file, a block device, or "-". A file that exists is refused
 * unless force; a file appears when it is whole. Returns the exit status.
 */
int cli_direct_export(const struct cli *c, const char *url, const char *id, const char *dest,
		      bool force);

#endif
