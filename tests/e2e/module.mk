tools_SRCS += tests/e2e/blocks.c tests/e2e/catalogue.c tests/e2e/twice.c

# Run inside a guest that has no libraries.
file_SRCS := tests/e2e/file_load.c
guest_SRCS := tests/e2e/guest_load.c tests/load/journal.c
