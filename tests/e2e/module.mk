tools_SRCS += tests/e2e/blocks.c

# Runs inside a guest that has no libraries.
guest_SRCS := tests/e2e/guest_load.c tests/load/journal.c
