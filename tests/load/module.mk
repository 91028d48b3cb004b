load_SRCS := $(addprefix tests/load/,main.c write.c bench.c journal.c iscsi.c nbd.c)
