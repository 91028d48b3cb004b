vhost_SRCS := $(addprefix targets/vhost/,blk_format.c disk.c inflight.c mem.c message.c msg_format.c queue.c request.c ring.c server.c \
              session.c)
vhost_TESTS := $(addprefix tests/unit/,test_vhost_disk.c test_vhost_format.c test_vhost_ring.c)
