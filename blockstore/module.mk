blockstore_SRCS :=
blockstore_TESTS :=
blockstore_SRCS += blockstore/device.c blockstore/device_open.c blockstore/device_file.c blockstore/device_helper.c
blockstore_TESTS += tests/unit/test_device.c
