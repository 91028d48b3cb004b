/* The command tables of each group, one file of handlers each. */
#ifndef CLI_GROUPS_H
#define CLI_GROUPS_H

#include "mgmt/cli/cli_command.h"

extern const struct cli_command cli_offline_init[];
extern const struct cli_command cli_offline_check[];
extern const struct cli_command cli_node_status[];
extern const struct cli_command cli_node_df[];
extern const struct cli_command cli_top_commands[];
extern const struct cli_command cli_store[];
extern const struct cli_command cli_volume_commands[];
extern const struct cli_command cli_snapshot_commands[];
extern const struct cli_command cli_repo_commands[];
extern const struct cli_command cli_backup_commands[];
extern const struct cli_command cli_backup_restore[];
extern const struct cli_command cli_target_commands[];
extern const struct cli_command cli_nbd_commands[];
extern const struct cli_command cli_datastore_commands[];
extern const struct cli_command cli_vm_commands[];
extern const struct cli_command cli_activity_task[];
extern const struct cli_command cli_activity_event[];
extern const struct cli_command cli_scrub_commands[];
extern const struct cli_command cli_dedup_commands[];
extern const struct cli_command cli_discover_commands[];
extern const struct cli_command cli_meta_help[];
extern const struct cli_command cli_meta_completion[];

#endif
