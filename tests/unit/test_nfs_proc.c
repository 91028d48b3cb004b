/* The procedures of NFSv3 and MOUNT over a real store: what they do and what they refuse. */
#include "tests/unit/nfs_server_scene.h"

static void mounts(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root, again;
	exports list = NULL;
	exportnode first, second;
	groupnode group;
	mountlist mounted_list = NULL;
	mountbody body;
	char *path = (char *)(uintptr_t) "/one";
	fattr3 a;

	assert_int_equal(mount_share(c, "/one", &root), MNT3_OK);
	assert_int_equal(mount_share(c, "/one/", &again), MNT3_OK);
	assert_memory_equal(root.b, again.b, root.len);
	assert_int_equal(getattr(c, &root, &a), NFS3_OK);
	assert_int_equal(a.type, NF3DIR);
	assert_int_equal(a.mode, 0755);
	assert_int_equal(mount_share(c, "/", &root), MNT3ERR_NOENT);
	assert_int_equal(mount_share(c, "one", &root), MNT3ERR_NOENT);
	assert_int_equal(mount_share(c, "/on", &root), MNT3ERR_NOENT);
	assert_int_equal(mount_share(c, "/one/..", &root), MNT3ERR_INVAL);
	begin_call(c, MOUNT_PROG, 3, MOUNT3_EXPORT);
	exchange(c);
	assert_true(zdr_exports(&c->dec, &list));
	GET(first, list);
	GET(second, first.ex_next);
	GET(group, first.ex_groups);
	assert_string_equal(first.ex_dir, "/one");
	assert_string_equal(group.gr_name, "127.0.0.1/32");
	assert_string_equal(second.ex_dir, "/two");
	assert_null(second.ex_next);
	begin_call(c, MOUNT_PROG, 3, MOUNT3_DUMP);
	exchange(c);
	assert_true(zdr_mountlist(&c->dec, &mounted_list));
	GET(body, mounted_list);
	assert_string_equal(body.ml_hostname, "127.0.0.1");
	assert_string_equal(body.ml_directory, "/one");
	assert_null(body.ml_next);
	begin_call(c, MOUNT_PROG, 3, MOUNT3_UMNT);
	assert_true(zdr_dirpath(&c->enc, &path));
	exchange(c);
	begin_call(c, MOUNT_PROG, 3, MOUNT3_DUMP);
	exchange(c);
	assert_int_equal(c->reply_len, 28); /* none is left */
	client_close(c);
}

/* A directory of a datastore may be mounted as well, by who can get there. */
static void mounts_below(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), dir = make_dir(c, &root, "vm"), deep, got;
	SETATTR3args set = {.object = fh(&dir)};
	SETATTR3res res;

	deep = make_dir(c, &dir, "disks");
	(void)make_file(c, &dir, "plain");
	assert_int_equal(mount_share(c, "/one/vm", &got), MNT3_OK);
	assert_memory_equal(got.b, dir.b, dir.len);
	assert_int_equal(mount_share(c, "/one//vm/disks/", &got), MNT3_OK);
	assert_memory_equal(got.b, deep.b, deep.len);
	assert_int_equal(mount_share(c, "/one/vm/other", &got), MNT3ERR_NOENT);
	assert_int_equal(mount_share(c, "/one/vm/plain", &got), MNT3ERR_NOTDIR);
	assert_int_equal(mount_share(c, "/one/vm/plain/x", &got), MNT3ERR_NOTDIR);
	assert_int_equal(mount_share(c, "/one/vm/../vm", &got), MNT3ERR_INVAL);
	set.new_attributes.mode.set_it = 1;
	set.new_attributes.mode.set_mode3_u.mode = 0700;
	assert_int_equal(CALL(c, SETATTR, &set, &res), NFS3_OK);
	c->uid = c->gid = 1000;
	assert_int_equal(mount_share(c, "/one/vm/disks", &got), MNT3ERR_ACCES);
	client_close(c);
}

static void files(void **state)
{
	static const char text[] = "some bytes of a file";
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "file"), found;
	COMMIT3args commit = {fh(&file), 0, 0};
	COMMIT3res committed;
	WRITE3res w;
	READ3res r;
	fattr3 a;

	assert_int_equal(lookup(c, &root, "file", &found), NFS3_OK);
	assert_memory_equal(found.b, file.b, file.len);
	assert_int_equal(write_bytes(c, &file, 0, text, sizeof(text), UNSTABLE, &w), NFS3_OK);
	assert_int_equal(w.WRITE3res_u.resok.count, sizeof(text));
	assert_int_equal(w.WRITE3res_u.resok.committed, UNSTABLE);
	assert_true(w.WRITE3res_u.resok.file_wcc.before.attributes_follow);
	assert_int_equal(w.WRITE3res_u.resok.file_wcc.after.post_op_attr_u.attributes.size,
			 sizeof(text));
	assert_int_equal(CALL(c, COMMIT, &commit, &committed), NFS3_OK);
	assert_memory_equal(committed.COMMIT3res_u.resok.verf, w.WRITE3res_u.resok.verf, 8);
	assert_int_equal(write_bytes(c, &file, 5, "BYTES", 5, FILE_SYNC, &w), NFS3_OK);
	assert_int_equal(w.WRITE3res_u.resok.committed, FILE_SYNC);
	assert_int_equal(read_bytes(c, &file, 0, 4096, &r), NFS3_OK);
	assert_int_equal(r.READ3res_u.resok.count, sizeof(text));
	assert_true(r.READ3res_u.resok.eof);
	assert_memory_equal(r.READ3res_u.resok.data.data_val, "some BYTES of a file", 20);
	assert_int_equal(read_bytes(c, &file, 3, 7, &r), NFS3_OK);
	assert_int_equal(r.READ3res_u.resok.data.data_len, 7);
	assert_false(r.READ3res_u.resok.eof);
	assert_memory_equal(r.READ3res_u.resok.data.data_val, "e BYTES", 7);
	assert_int_equal(read_bytes(c, &file, 1000, 7, &r), NFS3_OK);
	assert_int_equal(r.READ3res_u.resok.count, 0);
	assert_true(r.READ3res_u.resok.eof);
	assert_int_equal(read_bytes(c, &file, UINT64_MAX, UINT32_MAX, &r), NFS3_OK);
	assert_int_equal(r.READ3res_u.resok.count, 0);
	assert_int_equal(write_bytes(c, &file, UINT64_MAX - 2, text, 3, UNSTABLE, &w),
			 NFS3ERR_FBIG);
	assert_int_equal(write_bytes(c, &root, 0, text, 3, UNSTABLE, &w), NFS3ERR_ISDIR);
	assert_int_equal(getattr(c, &file, &a), NFS3_OK);
	assert_int_equal(a.size, sizeof(text));
	assert_int_equal(a.type, NF3REG);
	assert_int_equal(a.nlink, 1);
	client_close(c);
}

/* The largest that is allowed, at an offset that is no block's. */
static void large(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "large");
	uint8_t *data = malloc(1 << 20);
	WRITE3res w;
	READ3res r;

	for (uint32_t i = 0; i < 1 << 20; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	assert_int_equal(write_bytes(c, &file, 12345, data, 1 << 20, UNSTABLE, &w), NFS3_OK);
	assert_int_equal(w.WRITE3res_u.resok.count, 1 << 20);
	assert_int_equal(read_bytes(c, &file, 12345, 1 << 20, &r), NFS3_OK);
	assert_int_equal(r.READ3res_u.resok.count, 1 << 20);
	assert_memory_equal(r.READ3res_u.resok.data.data_val, data, 1 << 20);
	/* More than rtmax is read up to it. */
	assert_int_equal(read_bytes(c, &file, 0, 3 << 20, &r), NFS3_OK);
	assert_int_equal(r.READ3res_u.resok.count, 1 << 20);
	for (uint32_t i = 0; i < 12345; i++)
		assert_int_equal(r.READ3res_u.resok.data.data_val[i], 0);
	free(data);
	client_close(c);
}

static void attributes(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "attributes");
	SETATTR3args set = {.object = fh(&file)};
	SETATTR3res res;
	fattr3 a;

	set.new_attributes.mode.set_it = 1;
	set.new_attributes.mode.set_mode3_u.mode = 04751;
	set.new_attributes.uid.set_it = 1;
	set.new_attributes.uid.set_uid3_u.uid = 1000;
	set.new_attributes.gid.set_it = 1;
	set.new_attributes.gid.set_gid3_u.gid = 100;
	set.new_attributes.size.set_it = 1;
	set.new_attributes.size.set_size3_u.size = UINT64_C(1) << 40;
	set.new_attributes.mtime.set_it = SET_TO_CLIENT_TIME;
	set.new_attributes.mtime.set_mtime_u.mtime = (nfstime3){1000000000, 999999999};
	assert_int_equal(CALL(c, SETATTR, &set, &res), NFS3_OK);
	assert_true(res.SETATTR3res_u.resok.obj_wcc.before.attributes_follow);
	assert_int_equal(getattr(c, &file, &a), NFS3_OK);
	assert_int_equal(a.uid, 1000);
	assert_int_equal(a.gid, 100);
	assert_int_equal(a.size, UINT64_C(1) << 40);
	assert_int_equal(a.mtime.seconds, 1000000000);
	assert_int_equal(a.mtime.nseconds, 999999999);
	set.new_attributes = (sattr3){0};
	set.new_attributes.mode.set_it = 1;
	set.new_attributes.mode.set_mode3_u.mode = 0600;
	set.guard.check = 1;
	set.guard.sattrguard3_u.obj_ctime = (nfstime3){a.ctime.seconds, a.ctime.nseconds ^ 1};
	assert_int_equal(CALL(c, SETATTR, &set, &res), NFS3ERR_NOT_SYNC);
	set.guard.sattrguard3_u.obj_ctime = a.ctime;
	assert_int_equal(CALL(c, SETATTR, &set, &res), NFS3_OK);
	assert_int_equal(getattr(c, &file, &a), NFS3_OK);
	assert_int_equal(a.mode, 0600);
	client_close(c);
}

static void creates(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one");
	CREATE3args args = {.where = at(&root, "exclusive"), .how.mode = EXCLUSIVE};
	CREATE3res res;
	struct handle made;

	memcpy(args.how.createhow3_u.verf, "verifier", 8);
	assert_int_equal(CALL(c, CREATE, &args, &res), NFS3_OK);
	made = keep(&res.CREATE3res_u.resok.obj.post_op_fh3_u.handle);
	assert_true(res.CREATE3res_u.resok.dir_wcc.before.attributes_follow);
	assert_true(res.CREATE3res_u.resok.dir_wcc.after.attributes_follow);
	assert_int_equal(CALL(c, CREATE, &args, &res), NFS3_OK); /* the same once more */
	assert_memory_equal(res.CREATE3res_u.resok.obj.post_op_fh3_u.handle.data.data_val, made.b,
			    made.len);
	memcpy(args.how.createhow3_u.verf, "another.", 8);
	assert_int_equal(CALL(c, CREATE, &args, &res), NFS3ERR_EXIST);
	args.how = (createhow3){.mode = GUARDED};
	assert_int_equal(CALL(c, CREATE, &args, &res), NFS3ERR_EXIST);
	args.how = (createhow3){.mode = UNCHECKED};
	assert_int_equal(CALL(c, CREATE, &args, &res), NFS3_OK);
	assert_memory_equal(res.CREATE3res_u.resok.obj.post_op_fh3_u.handle.data.data_val, made.b,
			    made.len);
	client_close(c);
}

static void special_files(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), link;
	MKNOD3args node = {.where = at(&root, "null"), .what.type = NF3CHR};
	SYMLINK3args sym = {.where = at(&root, "link")};
	READLINK3args readlink3;
	READLINK3res target;
	SYMLINK3res made;
	MKNOD3res res;
	fattr3 a;

	node.what.mknoddata3_u.chr_device.spec = (specdata3){1, 3};
	assert_int_equal(CALL(c, MKNOD, &node, &res), NFS3_OK);
	link = keep(&res.MKNOD3res_u.resok.obj.post_op_fh3_u.handle);
	assert_int_equal(getattr(c, &link, &a), NFS3_OK);
	assert_int_equal(a.type, NF3CHR);
	assert_int_equal(a.rdev.specdata1, 1);
	assert_int_equal(a.rdev.specdata2, 3);
	node = (MKNOD3args){.where = at(&root, "pipe"), .what.type = NF3FIFO};
	assert_int_equal(CALL(c, MKNOD, &node, &res), NFS3_OK);
	node = (MKNOD3args){.where = at(&root, "file"), .what.type = NF3REG};
	assert_int_equal(CALL(c, MKNOD, &node, &res), NFS3ERR_BADTYPE);
	sym.symlink.symlink_data = (char *)(uintptr_t) "../some/../target";
	assert_int_equal(CALL(c, SYMLINK, &sym, &made), NFS3_OK);
	link = keep(&made.SYMLINK3res_u.resok.obj.post_op_fh3_u.handle);
	readlink3 = (READLINK3args){fh(&link)};
	assert_int_equal(CALL(c, READLINK, &readlink3, &target), NFS3_OK);
	assert_string_equal(target.READLINK3res_u.resok.data, "../some/../target");
	readlink3 = (READLINK3args){fh(&root)};
	assert_int_equal(CALL(c, READLINK, &readlink3, &target), NFS3ERR_INVAL);
	client_close(c);
}

static void long_symlink(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), link;
	char text[4098];
	SYMLINK3args sym = {.where = at(&root, "long link"), .symlink.symlink_data = text};
	READLINK3args readlink3;
	READLINK3res target;
	SYMLINK3res made;

	memset(text, 'x', sizeof(text));
	text[4097] = '\0';
	assert_int_equal(CALL(c, SYMLINK, &sym, &made), NFS3ERR_NAMETOOLONG);
	text[4096] = '\0';
	assert_int_equal(CALL(c, SYMLINK, &sym, &made), NFS3_OK);
	link = keep(&made.SYMLINK3res_u.resok.obj.post_op_fh3_u.handle);
	readlink3 = (READLINK3args){fh(&link)};
	assert_int_equal(CALL(c, READLINK, &readlink3, &target), NFS3_OK);
	assert_string_equal(target.READLINK3res_u.resok.data, text);
	client_close(c);
}

static void names(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), dir = make_dir(c, &root, "dir"),
		      file = make_file(c, &root, "a"), other = make_dir(c, &root, "other"), found;
	RENAME3args rename3 = {at(&root, "a"), at(&dir, "b")};
	LINK3args link3 = {fh(&file), at(&root, "hard")};
	RMDIR3args rmdir3 = {at(&root, "dir")};
	RENAME3res renamed;
	LINK3res linked;
	RMDIR3res removed;
	fattr3 a;

	assert_int_equal(CALL(c, RENAME, &rename3, &renamed), NFS3_OK);
	assert_true(renamed.RENAME3res_u.resok.fromdir_wcc.after.attributes_follow);
	assert_true(renamed.RENAME3res_u.resok.todir_wcc.after.attributes_follow);
	assert_int_equal(lookup(c, &root, "a", NULL), NFS3ERR_NOENT);
	assert_int_equal(lookup(c, &dir, "b", &found), NFS3_OK);
	assert_memory_equal(found.b, file.b, file.len);
	assert_int_equal(CALL(c, LINK, &link3, &linked), NFS3_OK);
	assert_int_equal(linked.LINK3res_u.resok.file_attributes.post_op_attr_u.attributes.nlink,
			 2);
	assert_true(linked.LINK3res_u.resok.linkdir_wcc.after.attributes_follow);
	assert_int_equal(CALL(c, LINK, &link3, &linked), NFS3ERR_EXIST);
	assert_int_equal(CALL(c, RMDIR, &rmdir3, &removed), NFS3ERR_NOTEMPTY);
	assert_int_equal(remove_name(c, &root, "dir"), NFS3ERR_ISDIR);
	rmdir3.object = at(&root, "hard");
	assert_int_equal(CALL(c, RMDIR, &rmdir3, &removed), NFS3ERR_NOTDIR);
	assert_int_equal(lookup(c, &file, "x", NULL), NFS3ERR_NOTDIR);
	assert_int_equal(remove_name(c, &dir, "b"), NFS3_OK);
	assert_int_equal(getattr(c, &file, &a), NFS3_OK);
	assert_int_equal(a.nlink, 1);
	assert_int_equal(remove_name(c, &root, "hard"), NFS3_OK);
	assert_int_equal(getattr(c, &file, &a), NFS3ERR_STALE);
	rmdir3.object = at(&root, "dir");
	assert_int_equal(CALL(c, RMDIR, &rmdir3, &removed), NFS3_OK);
	assert_int_equal(lookup(c, &other, "..", &found), NFS3_OK);
	assert_memory_equal(found.b, root.b, root.len);
	/* The root has nothing above it. */
	assert_int_equal(lookup(c, &root, "..", &found), NFS3_OK);
	assert_memory_equal(found.b, root.b, root.len);
	client_close(c);
}

/* A name as bytes, which may hold NUL: libnfs has strings only. */
static int create_named(struct client *c, const struct handle *dir, const char *name, uint32_t len)
{
	struct nfs_enc e;
	CREATE3res res = {0};

	begin_call(c, NFS3_PROG, 3, NFS3_PROC_CREATE);
	e = (struct nfs_enc){(uint8_t *)c->call + c->head, (uint8_t *)c->call + sizeof(c->call),
			     false};
	nfs_enc_bytes(&e, dir->b, dir->len);
	nfs_enc_bytes(&e, name, len);
	for (int i = 0; i < 7; i++)
		nfs_enc_u32(&e, i == 0); /* GUARDED, nothing set */
	libnfs_zdr_setpos(&c->enc, (u_int)(e.p - (uint8_t *)c->call - c->head));
	exchange(c);
	assert_true(zdr_CREATE3res(&c->dec, &res));
	return res.status;
}

static void hostile_names(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), dir = make_dir(c, &root, "hostile");
	char name[1024];

	memset(name, 'n', sizeof(name));
	assert_int_equal(create_named(c, &dir, name, 255), NFS3_OK);
	assert_int_equal(create_named(c, &dir, name, 256), NFS3ERR_NAMETOOLONG);
	assert_int_equal(create_named(c, &dir, name, 1024), NFS3ERR_NAMETOOLONG);
	assert_int_not_equal(create_named(c, &dir, "a/b", 3), NFS3_OK);
	assert_int_not_equal(create_named(c, &dir, "../up", 5), NFS3_OK);
	assert_int_not_equal(create_named(c, &dir, "a\0b", 3), NFS3_OK);
	assert_int_not_equal(create_named(c, &dir, ".", 1), NFS3_OK);
	assert_int_not_equal(create_named(c, &dir, "..", 2), NFS3_OK);
	assert_int_not_equal(create_named(c, &dir, "", 0), NFS3_OK);
	assert_int_equal(create_named(c, &dir, "\xff\xfe \n", 4), NFS3_OK);
	assert_int_equal(lookup(c, &dir, "a/b", NULL), NFS3ERR_INVAL);
	assert_int_equal(lookup(c, &root, "hostile/../hostile", NULL), NFS3ERR_INVAL);
	assert_int_not_equal(remove_name(c, &dir, ".."), NFS3_OK);
	client_close(c);
}

#define ENTRIES 300

/* Reads a directory in pieces; each name comes once. Returns how many replies it took. */
static unsigned read_directory(struct client *c, const struct handle *dir, u_int count,
			       bool seen[ENTRIES])
{
	READDIR3args args = {fh(dir), 0, "", count};
	unsigned replies = 0;
	READDIR3res res;
	entry3 e;

	memset(seen, 0, ENTRIES);
	do {
		assert_int_equal(CALL(c, READDIR, &args, &res), NFS3_OK);
		assert_true(c->reply_len - 28 <= count);
		memcpy(args.cookieverf, res.READDIR3res_u.resok.cookieverf, 8);
		for (entry3 *p = res.READDIR3res_u.resok.reply.entries; p; p = e.nextentry) {
			unsigned n;

			GET(e, p);
			args.cookie = e.cookie;
			if (e.name[0] == '.')
				continue;
			n = (unsigned)strtoul(e.name + 5, NULL, 10);
			assert_true(n < ENTRIES && !seen[n]);
			seen[n] = true;
		}
		assert_true(++replies < 100);
	} while (!res.READDIR3res_u.resok.reply.eof);
	return replies;
}

static void read_directory_plus(struct client *c, const struct handle *dir, u_int dircount)
{
	READDIRPLUS3args args = {fh(dir), 0, "", dircount, 8192};
	READDIRPLUS3res res;
	unsigned n = 0;
	entryplus3 e;

	do {
		unsigned bytes = 0;

		assert_int_equal(CALL(c, READDIRPLUS, &args, &res), NFS3_OK);
		assert_true(c->reply_len - 28 <= 8192);
		memcpy(args.cookieverf, res.READDIRPLUS3res_u.resok.cookieverf, 8);
		for (entryplus3 *p = res.READDIRPLUS3res_u.resok.reply.entries; p;
		     p = e.nextentry) {
			GET(e, p);
			args.cookie = e.cookie;
			bytes += 20 + (unsigned)VS_ALIGN_UP(strlen(e.name), 4);
			assert_true(e.name_handle.handle_follows);
			if (e.name_attributes.attributes_follow)
				assert_int_equal(e.name_attributes.post_op_attr_u.attributes.fileid,
						 e.fileid);
			n += e.name[0] != '.';
		}
		assert_true(bytes > 0 && bytes <= dircount);
	} while (!res.READDIRPLUS3res_u.resok.reply.eof);
	assert_int_equal(n, ENTRIES);
}

static void directories(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), dir = make_dir(c, &root, "many"), file;
	READDIR3args args = {fh(&dir), 0, "", 64};
	READDIR3res res;
	bool seen[ENTRIES];
	char name[16];

	for (unsigned i = 0; i < ENTRIES; i++) {
		(void)snprintf(name, sizeof(name), "name-%u", i);
		file = make_file(c, &dir, name);
	}
	assert_int_equal(read_directory(c, &dir, 65536, seen), 1);
	assert_true(read_directory(c, &dir, 1024, seen) > 8);
	for (unsigned i = 0; i < ENTRIES; i++)
		assert_true(seen[i]);
	read_directory_plus(c, &dir, 65536);
	read_directory_plus(c, &dir, 300);
	assert_int_equal(CALL(c, READDIR, &args, &res), NFS3ERR_TOOSMALL);
	args.count = 110; /* no entry fits */
	assert_int_equal(CALL(c, READDIR, &args, &res), NFS3ERR_TOOSMALL);
	args.count = 4096;
	args.cookie = 5;
	memset(args.cookieverf, 0xee, 8);
	assert_int_equal(CALL(c, READDIR, &args, &res), NFS3ERR_BAD_COOKIE);
	args = (READDIR3args){fh(&file), 0, "", 4096};
	assert_int_equal(CALL(c, READDIR, &args, &res), NFS3ERR_NOTDIR);
	client_close(c);
}

static void file_system(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one");
	FSSTAT3args stat_args = {fh(&root)};
	FSINFO3args info_args = {fh(&root)};
	PATHCONF3args conf_args = {fh(&root)};
	FSSTAT3res stat;
	FSINFO3res info;
	PATHCONF3res conf;

	assert_int_equal(CALL(c, FSSTAT, &stat_args, &stat), NFS3_OK);
	assert_true(stat.FSSTAT3res_u.resok.tbytes > 0);
	assert_true(stat.FSSTAT3res_u.resok.abytes <= stat.FSSTAT3res_u.resok.tbytes);
	assert_int_equal(CALL(c, FSINFO, &info_args, &info), NFS3_OK);
	assert_int_equal(info.FSINFO3res_u.resok.wtmax, 1 << 20);
	assert_true(info.FSINFO3res_u.resok.obj_attributes.attributes_follow);
	assert_int_equal(CALL(c, PATHCONF, &conf_args, &conf), NFS3_OK);
	assert_int_equal(conf.PATHCONF3res_u.resok.name_max, 255);
	client_close(c);
}

static void permissions(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "of root");
	ACCESS3args access3 = {fh(&file), 0x3f};
	ACCESS3res res;
	READ3res r;
	WRITE3res w;

	assert_int_equal(CALL(c, ACCESS, &access3, &res), NFS3_OK);
	assert_true(res.ACCESS3res_u.resok.access & ACCESS3_MODIFY);
	c->uid = c->gid = 1000;
	assert_int_equal(CALL(c, ACCESS, &access3, &res), NFS3_OK);
	assert_int_equal(res.ACCESS3res_u.resok.access, ACCESS3_READ);
	assert_int_equal(read_bytes(c, &file, 0, 10, &r), NFS3_OK);
	assert_int_equal(write_bytes(c, &file, 0, "x", 1, UNSTABLE, &w), NFS3ERR_ACCES);
	assert_int_equal(remove_name(c, &root, "of root"), NFS3ERR_ACCES);
	client_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(mounts),	     cmocka_unit_test(mounts_below),
	    cmocka_unit_test(files),	     cmocka_unit_test(large),
	    cmocka_unit_test(attributes),    cmocka_unit_test(creates),
	    cmocka_unit_test(special_files), cmocka_unit_test(long_symlink),
	    cmocka_unit_test(names),	     cmocka_unit_test(hostile_names),
	    cmocka_unit_test(directories),   cmocka_unit_test(file_system),
	    cmocka_unit_test(permissions),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
