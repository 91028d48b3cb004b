#include "mgmt/cli/cli_groups.h"

const struct cli_option cli_globals[] = {
    {"socket", CLI_TEXT, "PATH", "the daemon's control socket (or VSTORE_SOCKET)", 0},
    {"json", CLI_FLAG, NULL, "print one JSON document: sizes in bytes, times RFC 3339", 0},
    {"quiet", CLI_FLAG, NULL, "print no progress and no confirmation of what was done", 0},
    {"yes", CLI_FLAG, NULL, "do not ask before deleting", 0},
    {0},
};

const struct cli_group cli_groups[] = {
    {"init", "format a store", "vstore-store", cli_offline_init, NULL},
    {"check", "recount a store that no daemon uses", "vstore-store", cli_offline_check, NULL},
    {"status", "the node at a glance", "vstore-store", cli_node_status, NULL},
    {"df", "space: what is there, used, saved", "vstore-store", cli_node_df, NULL},
    {"top", "what the store does, live", "vstore-store", cli_top_commands, NULL},
    {"store", "the store's devices and counters", "vstore-store", cli_store, NULL},
    {"volume", "create, list, change, clone, import, export volumes", "vstore-volume",
     cli_volume_commands, NULL},
    {"snapshot", "create, list, compare, roll back snapshots", "vstore-snapshot",
     cli_snapshot_commands, "create"},
    {"repo", "backup repositories", "vstore-repo", cli_repo_commands, NULL},
    {"backup", "back volumes up; list, verify, delete backups", "vstore-backup",
     cli_backup_commands, "create"},
    {"restore", "bring a backup back as a volume", "vstore-backup", cli_backup_restore, NULL},
    {"target", "iSCSI targets", "vstore-target", cli_target_commands, NULL},
    {"discover", "targets and LUNs of other arrays", "vstore-volume", cli_discover_commands, NULL},
    {"nbd", "NBD exports", "vstore-nbd", cli_nbd_commands, NULL},
    {"datastore", "files for other hypervisors, over NFS", "vstore-datastore",
     cli_datastore_commands, NULL},
    {"vm", "virtual machines", "vstore-vm", cli_vm_commands, NULL},
    {"dedup", "merge blocks kept more than once", "vstore-dedup", cli_dedup_commands, NULL},
    {"scrub", "read the whole store back and heal it", "vstore-scrub", cli_scrub_commands, NULL},
    {"task", "long work: list, wait, cancel", "vstore-task", cli_activity_task, NULL},
    {"event", "what happened", "vstore-event", cli_activity_event, NULL},
    {"help", "help on commands", "vstore", cli_meta_help, NULL},
    {"completion", "completion for shells", "vstore", cli_meta_completion, NULL},
    {0},
};
