common_SRCS := common/arena.c common/err.c common/listen.c common/log.c common/loop.c common/ring.c common/text.c common/secret.c common/uuid.c
common_TESTS := tests/unit/test_common.c tests/unit/test_loop.c
