blockstore_SRCS := \
	blockstore/ahead.c blockstore/cache.c blockstore/check.c blockstore/checksum.c blockstore/checksum_avx2.c blockstore/checkpoint.c \
	blockstore/checkpoint_place.c blockstore/checkpoint_seg.c \
	blockstore/checkpoint_unit.c blockstore/clean.c \
	blockstore/clean_move.c blockstore/clean_pick.c blockstore/clean_read.c \
	blockstore/content.c blockstore/context.c blockstore/device.c blockstore/device_far.c blockstore/device_file.c \
	blockstore/device_helper.c blockstore/device_open.c blockstore/device_pace.c blockstore/devices.c blockstore/discard.c blockstore/drop.c blockstore/drop_run.c \
	blockstore/dry.c blockstore/exact.c blockstore/thick.c \
	blockstore/engine.c blockstore/evacuate.c \
	blockstore/far_host.c blockstore/feature.c blockstore/fiber.c blockstore/frame.c blockstore/ids.c blockstore/index.c blockstore/index_format.c blockstore/index_save.c \
	blockstore/init.c \
	blockstore/lun.c blockstore/lun_answer.c blockstore/lun_cmd.c blockstore/lun_discover.c blockstore/lun_format.c blockstore/lun_host.c blockstore/lun_io.c blockstore/lun_probe.c blockstore/lun_redo.c \
	blockstore/lun_replay.c blockstore/lun_sense.c blockstore/lun_session.c blockstore/lun_url.c \
	blockstore/log.c blockstore/log_flush.c blockstore/log_format.c blockstore/logread.c blockstore/map.c blockstore/map_diff.c \
	blockstore/marks.c blockstore/mem.c blockstore/mend.c blockstore/merge.c blockstore/store_merge.c \
	blockstore/near.c blockstore/nfs_discover.c blockstore/nfs_doubt.c blockstore/nfs_file.c blockstore/nfs_file_answer.c blockstore/nfs_file_call.c \
	blockstore/nfs_file_find.c blockstore/nfs_file_io.c blockstore/nfs_file_lookup.c blockstore/nfs_file_name.c blockstore/nfs_file_path.c blockstore/nfs_file_probe.c blockstore/nfs_file_replay.c \
	blockstore/nfs_url.c blockstore/object.c blockstore/op.c blockstore/op_copy.c blockstore/op_fill.c blockstore/op_read.c blockstore/op_words.c blockstore/op_write.c \
	blockstore/open.c blockstore/origin.c blockstore/own.c blockstore/origin_page.c blockstore/origin_wait.c blockstore/page.c blockstore/pool.c blockstore/pool_change.c blockstore/pool_format.c \
	blockstore/pool_open.c blockstore/pool_super.c blockstore/port.c blockstore/port_copy.c blockstore/port_cut.c \
	blockstore/port_data.c blockstore/port_helper.c blockstore/recount.c blockstore/recount_fix.c blockstore/recount_leaf.c blockstore/recount_origin.c blockstore/recover.c blockstore/replay.c blockstore/resilver.c blockstore/segment_grow.c blockstore/segment.c \
	blockstore/scrub.c blockstore/scrub_count.c blockstore/scrub_view.c blockstore/scrub_name.c blockstore/scrub_page.c \
	blockstore/snapshot.c blockstore/store.c blockstore/stock.c blockstore/stored.c blockstore/super_format.c \
	blockstore/table_format.c blockstore/temporary.c blockstore/tree.c blockstore/volop.c blockstore/vols.c \
	blockstore/volume.c blockstore/volume_change.c blockstore/warm.c blockstore/work.c
blockstore_TESTS := tests/unit/test_device.c tests/unit/test_device_pace.c tests/unit/test_store.c tests/unit/test_store_copy.c tests/unit/test_store_dedup.c tests/unit/test_store_index.c tests/unit/test_store_objects.c tests/unit/test_store_merge.c tests/unit/test_store_format.c \
	tests/unit/test_store_open.c tests/unit/test_store_own.c tests/unit/test_store_origin.c tests/unit/test_store_pool.c tests/unit/test_store_port.c tests/unit/test_store_repair.c tests/unit/test_scrub_count.c tests/unit/test_store_scrub.c tests/unit/test_store_space.c tests/unit/test_store_upgrade.c \
	tests/unit/test_checkpoint.c tests/unit/test_checkpoint_due.c tests/unit/test_clean_share.c tests/unit/test_drop_run.c tests/unit/test_fiber.c tests/unit/test_frame.c \
	tests/unit/test_lun.c tests/unit/test_lun_format.c tests/unit/test_lun_hostile.c tests/unit/test_lun_path.c tests/unit/test_nfs_file.c tests/unit/test_nfs_restart.c tests/unit/test_store_clean.c tests/unit/test_store_flush.c tests/unit/test_stock.c
