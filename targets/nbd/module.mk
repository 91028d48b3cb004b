nbd_SRCS := targets/nbd/nbd_format.c targets/nbd/export.c targets/nbd/listen.c targets/nbd/opener.c \
            targets/nbd/conn.c targets/nbd/handshake.c targets/nbd/transmit.c targets/nbd/request.c \
            targets/nbd/server.c
nbd_TESTS := tests/unit/test_nbd_format.c
