datastore_SRCS := \
	datastore/attr.c datastore/client.c datastore/connect.c datastore/data.c datastore/database.c datastore/db.c datastore/look.c datastore/make.c datastore/name.c \
	datastore/names.c datastore/names_apart.c datastore/names_change.c datastore/names_id.c datastore/names_look.c \
	datastore/node.c datastore/open.c datastore/permit.c datastore/place.c datastore/range.c datastore/record_format.c \
	datastore/rename.c datastore/snap.c datastore/snaps_dir.c datastore/snapshot.c datastore/task.c datastore/txn.c datastore/unname.c datastore/vfs.c datastore/vfs_file.c datastore/vfs_stage.c
datastore_TESTS := tests/unit/test_ds.c tests/unit/test_ds_commit.c tests/unit/test_ds_gone.c tests/unit/test_ds_model.c tests/unit/test_ds_node.c tests/unit/test_ds_permit.c tests/unit/test_ds_snapshot.c tests/unit/test_ds_threads.c
