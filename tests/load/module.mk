load_SRCS := $(addprefix tests/load/,main.c write.c bench.c digest.c journal.c iscsi.c names.c nbd.c nfs.c)

# The store without a front end.
engine_SRCS := tests/load/engine.c tests/load/engine_load.c tests/load/stalls.c
