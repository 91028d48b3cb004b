# All but main.c goes into build/libmgmt.a, where the unit tests find it. The names begin with cli_
# because an archive keeps one member of a name, and mgmt/ has members of its own.
mgmt_SRCS += $(addprefix mgmt/cli/,cli.c cli_activity.c cli_args.c cli_backup.c cli_body.c cli_command.c \
	cli_console.c cli_datastore.c cli_dedup.c cli_direct.c cli_discover.c cli_export.c cli_fields.c cli_help.c cli_http.c cli_import.c cli_meta.c cli_nbd.c cli_nbd_exports.c cli_nbd_format.c \
	cli_node.c cli_offline.c cli_progress.c cli_repo.c cli_scrub.c cli_snapshot.c cli_store.c cli_stream.c cli_table.c cli_tables.c cli_target.c \
	cli_task.c cli_top.c cli_vm.c cli_volume.c)
vstore_SRCS := mgmt/cli/main.c
mgmt_TESTS += tests/unit/test_cli_args.c tests/unit/test_cli_nbd.c tests/unit/test_cli_output.c
