backup_SRCS := backup/object_format.c backup/config_format.c backup/descriptor_format.c \
               backup/pack_format.c backup/index_format.c backup/lock_format.c \
               backup/remote.c backup/remote_dir.c backup/lock.c \
               backup/index.c backup/index_load.c backup/index_marks.c \
               backup/repo.c backup/sink.c backup/writer.c backup/fetch.c backup/batch.c backup/tree.c \
               backup/backup.c backup/restore.c backup/export.c backup/check.c \
               backup/gc_mark.c backup/gc.c
backup_TESTS := tests/unit/test_backup_format.c tests/unit/test_backup_remote.c \
                tests/unit/test_backup_repo.c tests/unit/test_backup_job.c \
                tests/unit/test_backup_gc.c tests/unit/test_backup_damage.c \
                tests/unit/test_backup_history.c
