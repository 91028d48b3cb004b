vhost_SRCS := $(addprefix targets/vhost/,blk_format.c disk.c inflight.c mem.c msg_format.c queue.c request.c ring.c server.c \
              session.c)
vhost_TESTS := tests/unit/test_vhost_format.c tests/unit/test_vhost_ring.c
