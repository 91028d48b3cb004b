backup_SRCS := backup/object_format.c backup/config_format.c backup/descriptor_format.c \
               backup/pack_format.c backup/index_format.c \
               backup/remote.c backup/remote_dir.c backup/index.c backup/repo.c backup/sink.c backup/fetch.c backup/tree.c backup/backup.c backup/batch.c backup/restore.c backup/export.c backup/check.c
backup_TESTS := tests/unit/test_backup_format.c tests/unit/test_backup_remote.c tests/unit/test_backup_repo.c
