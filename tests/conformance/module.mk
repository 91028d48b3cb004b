# Run inside a guest that has no libraries.
inside_SRCS += tests/conformance/nfs_files.c tests/conformance/nfs_instant.c tests/conformance/nfs_lock.c
