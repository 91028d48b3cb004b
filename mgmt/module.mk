mgmt_SRCS := $(addprefix mgmt/,api_backup.c api_datastore.c api_dedup.c api_devices.c api_discover.c api_event.c api_nbd.c api_node.c api_repo.c api_scrub.c api_snapshot.c \
	api_target.c api_task.c api_transfer.c api_vm.c api_volume.c attach.c backup_task.c catalogue.c \
	catalogue_object.c datastore.c datastore_copy.c datastore_file.c datastore_part.c datastore_share.c datastore_show.c datastore_visit.c dedup.c devices.c draft.c event.c export.c far.c fetch.c fetch_job.c history.c http.c image.c image_magic.c import.c import_live.c iscsi.c iscsi_config.c iscsi_keep.c farcopy.c nbd.c nfs_dest.c nfs_keep.c \
	node.c notify.c options.c origin.c origin_open.c private_nbd.c process.c rawcopy.c repo.c route.c scrub.c scrub_damage.c shown.c source_far.c space.c sql.c takeover.c task.c task_follow.c transfer_far.c vdi_format.c \
	vm_cdrom.c vm_doc.c vm_ops.c vm_show.c vms.c volume.c volume_users.c)
vstored_SRCS := mgmt/vstored.c
mgmt_TESTS := $(addprefix tests/unit/,test_mgmt_catalogue.c test_mgmt_fetch.c test_mgmt_history.c test_mgmt_options.c test_mgmt_route.c test_mgmt_space.c test_mgmt_task.c)
