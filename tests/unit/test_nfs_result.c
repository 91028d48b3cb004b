/* What clients get: results of NFSv3 and MOUNT, decoded by libnfs to what was encoded. */
#include "targets/nfs/mount_format.h"
#include "targets/nfs/nfs3_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <nfsc/libnfs-zdr.h>
#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

#define FSID UINT64_C(0x1122334455667788)

static uint8_t wire[8192];
static ZDR zdr;

static const struct ds_attr attr = {
    .handle = {.object = 5, .generation = 6, .snapshot = 7},
    .type = DS_CHR,
    .mode = 0640,
    .links = 3,
    .uid = 10,
    .gid = 11,
    .major = 12,
    .minor = 13,
    .size = UINT64_C(1) << 41,
    .used = 4096,
    .atime = INT64_C(1000000001),
    .mtime = -5,
    .ctime = INT64_MAX,
};

/* Nodes of lists lie in libnfs's memory without the alignment that they need. */
#define GET(to, from) memcpy(&(to), (const void *)(from), sizeof(to))

static void begin_decode(const struct nfs_enc *e)
{
	assert_false(e->bad);
	libnfs_zdrmem_create(&zdr, (char *)wire, (u_int)(e->p - wire), ZDR_DECODE);
}

static void end_decode(const struct nfs_enc *e)
{
	assert_int_equal(zdr_getpos(&zdr), e->p - wire);
	zdr_destroy(&zdr);
}

static struct nfs_enc begin_encode(void)
{
	return (struct nfs_enc){wire, wire + sizeof(wire), false};
}

static void result_attributes(void **state)
{
	static const enum ds_type ours[] = {DS_REG, DS_DIR, DS_LNK, DS_FIFO, DS_SOCK, DS_BLK};
	static const ftype3 theirs[] = {NF3REG, NF3DIR, NF3LNK, NF3FIFO, NF3SOCK, NF3BLK};
	struct nfs_enc e = begin_encode();
	struct ds_attr other = attr;
	fattr3 f = {0};

	(void)state;
	nfs3_attr_encode(&e, &attr, FSID);
	begin_decode(&e);
	assert_true(zdr_fattr3(&zdr, &f));
	end_decode(&e);
	assert_int_equal(f.type, NF3CHR);
	assert_int_equal(f.mode, 0640);
	assert_int_equal(f.nlink, 3);
	assert_int_equal(f.uid, 10);
	assert_int_equal(f.gid, 11);
	assert_int_equal(f.size, attr.size);
	assert_int_equal(f.used, attr.used);
	assert_int_equal(f.rdev.specdata1, 12);
	assert_int_equal(f.rdev.specdata2, 13);
	assert_int_equal(f.fsid, FSID);
	assert_int_equal(f.fileid, UINT64_C(7) << 32 | 5);
	assert_int_equal(f.atime.seconds, 1);
	assert_int_equal(f.atime.nseconds, 1);
	assert_int_equal(f.mtime.seconds, 0);
	assert_int_equal(f.mtime.nseconds, 0);
	assert_int_equal(f.ctime.seconds, UINT32_MAX);
	for (size_t i = 0; i < VS_ARRAY_LEN(ours); i++) {
		e = begin_encode();
		other.type = ours[i];
		nfs3_attr_encode(&e, &other, FSID);
		begin_decode(&e);
		assert_true(zdr_fattr3(&zdr, &f));
		end_decode(&e);
		assert_int_equal(f.type, theirs[i]);
	}
}

/* A file, what snapshots have of it, and the directory of snapshots are told apart; none is 0. */
static void file_ids(void **state)
{
	static const struct ds_handle h[] = {{1, 1, 0}, {1, 1, 5}, {0, 1, 0}, {2, 1, 0}, {0, 1, 5}};

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(h); i++) {
		assert_int_not_equal(nfs3_fileid(h[i]), 0);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(nfs3_fileid(h[i]), nfs3_fileid(h[j]));
	}
}

static void result_wcc(void **state)
{
	static const struct ds_attr unknown;
	struct nfs_enc e = begin_encode();
	wcc_data w = {0};

	(void)state;
	nfs3_wcc_encode(&e, &attr, &attr, FSID);
	begin_decode(&e);
	assert_true(zdr_wcc_data(&zdr, &w));
	end_decode(&e);
	assert_true(w.before.attributes_follow);
	assert_int_equal(w.before.pre_op_attr_u.attributes.size, attr.size);
	assert_true(w.after.attributes_follow);
	e = begin_encode();
	nfs3_wcc_encode(&e, &unknown, &unknown, FSID);
	begin_decode(&e);
	assert_true(zdr_wcc_data(&zdr, &w));
	end_decode(&e);
	assert_false(w.before.attributes_follow);
	assert_false(w.after.attributes_follow);
}

static void result_file_system(void **state)
{
	static const struct ds_attr unknown;
	const struct ds_req req = {
	    .fs_total = 100, .fs_free = 50, .fs_files = 10, .fs_files_free = 5};
	struct nfs_enc e = begin_encode();
	FSINFO3resok info = {0};
	FSSTAT3resok stat = {0};
	PATHCONF3resok conf = {0};

	(void)state;
	nfs3_post_encode(&e, &unknown, FSID);
	nfs3_fsinfo_encode(&e);
	begin_decode(&e);
	assert_true(zdr_FSINFO3resok(&zdr, &info));
	end_decode(&e);
	assert_int_equal(info.rtmax, 1 << 20);
	assert_int_equal(info.wtpref, 1 << 20);
	assert_int_equal(info.wtmult, 4096);
	assert_int_equal(info.dtpref, 65536);
	assert_int_equal(info.maxfilesize, DS_FILE_MAX);
	assert_int_equal(info.time_delta.nseconds, 1);
	assert_int_equal(info.properties,
			 FSF3_LINK | FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME);
	e = begin_encode();
	nfs3_post_encode(&e, &unknown, FSID);
	nfs3_fsstat_encode(&e, &req);
	begin_decode(&e);
	assert_true(zdr_FSSTAT3resok(&zdr, &stat));
	end_decode(&e);
	assert_int_equal(stat.tbytes, 100);
	assert_int_equal(stat.abytes, 50);
	assert_int_equal(stat.tfiles, 10);
	assert_int_equal(stat.afiles, 5);
	e = begin_encode();
	nfs3_post_encode(&e, &unknown, FSID);
	nfs3_pathconf_encode(&e);
	begin_decode(&e);
	assert_true(zdr_PATHCONF3resok(&zdr, &conf));
	end_decode(&e);
	assert_int_equal(conf.name_max, 255);
	assert_true(conf.no_trunc && conf.case_preserving && !conf.case_insensitive);
}

static void result_entries(void **state)
{
	const struct ds_entry entry = {
	    .cookie = 33, .handle = attr.handle, .type = DS_CHR, .name = "entry", .name_len = 5};
	struct ds_entry with = entry;
	struct nfs_handle h = {"forty bytes"};
	struct nfs_enc e = begin_encode(), full;
	dirlistplus3 list = {0};
	entryplus3 first, second;

	(void)state;
	with.attr = &attr;
	assert_true(nfs3_entry_encode(&e, &with, FSID, &h));
	assert_true(nfs3_entry_encode(&e, &entry, FSID, &h));
	nfs_enc_u32(&e, 0);
	nfs_enc_u32(&e, 1);
	begin_decode(&e);
	assert_true(zdr_dirlistplus3(&zdr, &list));
	assert_int_equal(zdr_getpos(&zdr), e.p - wire);
	assert_true(list.eof);
	GET(first, list.entries);
	assert_string_equal(first.name, "entry");
	assert_int_equal(first.cookie, 33);
	assert_true(first.name_attributes.attributes_follow);
	assert_int_equal(first.name_handle.post_op_fh3_u.handle.data.data_len, 40);
	GET(second, first.nextentry);
	assert_false(second.name_attributes.attributes_follow);
	assert_null(second.nextentry);
	zdr_destroy(&zdr);
	for (size_t room = 0; room < 40; room++) {
		full = (struct nfs_enc){wire, wire + room, false};
		assert_int_equal(nfs3_entry_encode(&full, &entry, FSID, NULL), room >= 32);
		assert_int_equal(full.p - wire, room >= 32 ? 32 : 0);
		assert_false(full.bad);
	}
}

static void result_mount(void **state)
{
	struct nfs_handle h = {"forty bytes"};
	struct nfs_enc e = begin_encode();
	mountres3 res = {0};
	exports list = NULL;
	mountlist mounts = NULL;
	exportnode export;
	groupnode group;
	mountbody mounted;

	(void)state;
	nfs_mount_mnt_encode(&e, NFS_MNT_OK, &h);
	begin_decode(&e);
	assert_true(zdr_mountres3(&zdr, &res));
	assert_int_equal(zdr_getpos(&zdr), e.p - wire);
	assert_int_equal(res.mountres3_u.mountinfo.fhandle.fhandle3_len, 40);
	assert_int_equal(res.mountres3_u.mountinfo.auth_flavors.auth_flavors_len, 1);
	assert_int_equal(res.mountres3_u.mountinfo.auth_flavors.auth_flavors_val[0], AUTH_UNIX);
	zdr_destroy(&zdr);
	e = begin_encode();
	nfs_mount_export_encode(&e, "one");
	nfs_mount_group_encode(&e, "10.0.0.0/8");
	nfs_mount_list_end(&e);
	nfs_mount_list_end(&e);
	begin_decode(&e);
	assert_true(zdr_exports(&zdr, &list));
	assert_int_equal(zdr_getpos(&zdr), e.p - wire);
	GET(export, list);
	assert_string_equal(export.ex_dir, "/one");
	assert_null(export.ex_next);
	GET(group, export.ex_groups);
	assert_string_equal(group.gr_name, "10.0.0.0/8");
	assert_null(group.gr_next);
	zdr_destroy(&zdr);
	e = begin_encode();
	nfs_mount_dump_encode(&e, "192.0.2.1", "one");
	nfs_mount_list_end(&e);
	begin_decode(&e);
	assert_true(zdr_mountlist(&zdr, &mounts));
	GET(mounted, mounts);
	assert_string_equal(mounted.ml_hostname, "192.0.2.1");
	assert_string_equal(mounted.ml_directory, "/one");
	zdr_destroy(&zdr);
}

static void status_table(void **state)
{
	(void)state;
	assert_int_equal(nfs3_status_from(0, DS_OK), NFS3_OK);
	assert_int_equal(nfs3_status_from(VS_E_NOENT, DS_OK), NFS3ERR_NOENT);
	assert_int_equal(nfs3_status_from(VS_E_NOSPC, DS_OK), NFS3ERR_NOSPC);
	assert_int_equal(nfs3_status_from(VS_E_STALE, DS_OK), NFS3ERR_STALE);
	assert_int_equal(nfs3_status_from(VS_E_CHECKSUM, DS_OK), NFS3ERR_IO);
	assert_int_equal(nfs3_status_from(VS_E_INVAL, DS_NOT_EMPTY), NFS3ERR_NOTEMPTY);
	assert_int_equal(nfs3_status_from(VS_E_INVAL, DS_NOT_SYNC), NFS3ERR_NOT_SYNC);
	assert_int_equal(nfs3_status_from(VS_E_INVAL, DS_BAD_COOKIE), NFS3ERR_BAD_COOKIE);
	assert_int_equal(nfs3_status_from(VS_E_INVAL, DS_NOT_OWNER), NFS3ERR_PERM);
	assert_int_equal(nfs3_status_from(VS_E_INVAL, DS_TOO_MANY_LINKS), NFS3ERR_MLINK);
	assert_int_equal(nfs3_status_from(VS_E_INVAL, DS_CROSSES), NFS3ERR_XDEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(result_attributes), cmocka_unit_test(result_wcc),
	    cmocka_unit_test(file_ids),		 cmocka_unit_test(result_file_system),
	    cmocka_unit_test(result_entries),	 cmocka_unit_test(result_mount),
	    cmocka_unit_test(status_table),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
