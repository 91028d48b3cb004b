mgmt_SRCS :=
mgmt_TESTS :=
