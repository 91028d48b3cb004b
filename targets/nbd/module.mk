nbd_SRCS :=
nbd_TESTS :=
