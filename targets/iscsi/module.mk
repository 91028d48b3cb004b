iscsi_SRCS :=
iscsi_TESTS :=
