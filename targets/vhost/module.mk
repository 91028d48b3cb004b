vhost_SRCS :=
vhost_TESTS :=
