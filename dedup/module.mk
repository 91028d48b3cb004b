dedup_SRCS := dedup/digest.c dedup/index.c dedup/many.c
dedup_TESTS := tests/unit/test_dedup.c
