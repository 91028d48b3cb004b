tools_SRCS += tests/e2e/blocks.c
