load_SRCS := $(addprefix tests/load/,main.c write.c bench.c digest.c journal.c iscsi.c nbd.c)
