nfs_SRCS := $(addprefix targets/nfs/, drc.c handle_format.c mount_format.c mounts.c nfs3_format.c rpc_format.c rule.c)
nfs_TESTS := $(addprefix tests/unit/,test_nfs_drc.c test_nfs_format.c test_nfs_handle.c test_nfs_result.c test_nfs_rule.c)
