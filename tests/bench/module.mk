benches_SRCS += tests/bench/dedup_rate.c
