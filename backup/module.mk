backup_SRCS := backup/object_format.c backup/config_format.c backup/descriptor_format.c \
               backup/pack_format.c backup/index_format.c
backup_TESTS := tests/unit/test_backup_format.c
