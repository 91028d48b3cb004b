nfs_SRCS := $(addprefix targets/nfs/, accept.c call.c conn.c drc.c handle_format.c mount.c mount_format.c mounts.c nfs3.c nfs3_dir.c nfs3_file.c \
	nfs3_format.c nlm.c nlm_call.c nlm_format.c nlm_host.c nlm_lock.c nlm_peer.c nlm_share.c nlm_wait.c nsm_udp.c receive.c rpc_format.c rule.c server.c worker.c)
nfs_TESTS := $(addprefix tests/unit/,test_nfs_drc.c test_nfs_format.c test_nfs_handle.c test_nfs_nlm.c test_nfs_nlm_format.c test_nfs_nlm_keep.c test_nfs_nlm_lock.c test_nfs_nlm_peer.c test_nfs_nlm_wait.c test_nfs_proc.c test_nfs_result.c test_nfs_rule.c test_nfs_server.c test_nfs_share.c)

nfs_SRCS += $(addprefix targets/nfs/,portmap.c portmap_format.c register.c rpcbind.c)
nfs_TESTS += tests/unit/test_nfs_portmap.c

nfs_SRCS += $(addprefix targets/nfs/nfs4_, attr_format.c attr_set_format.c client.c compound.c control.c copy.c dir.c file.c format.c grace.c held.c hold.c keep.c keep_format.c \
	io.c lock.c name.c open.c ops.c place.c range.c result_format.c session.c session_format.c share.c)
nfs_TESTS += $(addprefix tests/unit/test_nfs4_,attr.c file.c format.c range.c session.c state.c)
