tools_SRCS += tests/e2e/blocks.c tests/e2e/twice.c

# Runs inside a guest that has no libraries.
guest_SRCS := tests/e2e/guest_load.c tests/load/journal.c
