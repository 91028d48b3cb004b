blockstore_SRCS :=
blockstore_TESTS :=
