dedup_SRCS :=
dedup_TESTS :=
