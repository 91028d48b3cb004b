backup_SRCS :=
backup_TESTS :=
