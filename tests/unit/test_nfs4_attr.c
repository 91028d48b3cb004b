/* What is there, by NFSv4: attributes, the pseudo root, directories, names. */
#include "tests/unit/nfs4_attr_scene.h"

static const struct nfs4_stateid anonymous;

/* ---- attributes ---- */

static void attributes(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "attributes");
	struct fh root = root_of(v, "one"), h;
	struct nfs4_stateid id;
	struct nfs4_bitmap all;
	struct attrs a;

	assert_int_equal(open_file(v, &root, "attrs", "o", 3, 0, GUARDED, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(write_file(v, &h, &id, 0, "0123456789", 10), NFS4_ERR_NONE);
	a = getattr4(v, &h, 1, 0, 0);
	all = take_mask(&a.d);
	assert_true(nfs_dec_ok(&a.d));
	/* RFC 8881 section 5.6: all that are required */
	assert_int_equal(all.w[0] & 0x00080fff, 0x00080fff);
	a = getattr4(v, &h, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	assert_int_equal(a.mask.w[0], all.w[0]);
	assert_int_equal(a.mask.w[1], all.w[1] & ~(1u << 16 | 1u << 22)); /* those to be set */
	assert_int_equal(a.mask.w[2], all.w[2]);
	a = getattr4(v, &h, 1 << 1 | 1 << 4, 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5, 0);
	assert_int_equal(nfs_dec_u32(&a.d), 1); /* NF4REG */
	assert_int_equal(nfs_dec_u64(&a.d), 10);
	assert_int_equal(nfs_dec_u32(&a.d), 0644);
	assert_int_equal(nfs_dec_u32(&a.d), 1);
	assert_memory_equal(nfs_dec_bytes(&a.d, 10).p, "0", 1);
	assert_memory_equal(nfs_dec_bytes(&a.d, 10).p, "0", 1);
	assert_true(nfs_dec_ok(&a.d));
	/* Minor version 1 does not know what came with 2. */
	v->minor = 1;
	a = getattr4(v, &h, 0, 0, UINT32_MAX);
	assert_int_equal(a.mask.w[2], 1 << 11); /* suppattr_exclcreat */
	v4_close(v);
}

static void put_setattr(struct v4 *v, const struct fh *h, const struct nfs4_stateid *id,
			uint32_t w0, uint32_t w1, const void *values, uint32_t n)
{
	v4_start(v);
	put_fh(v, h);
	v4_op(v, NFS4_OP_SETATTR);
	put_stateid(v, id);
	put_mask(v, w0, w1, 0);
	nfs_enc_bytes(&v->e, values, n);
}

static void set_attributes(void **state)
{
	static const uint8_t size[8] = {[7] = 5}, mode[4] = {[2] = 1, [3] = 0xc0};
	static const uint8_t owner[8] = {[3] = 3, 'b', 'o', 'b'};
	static const uint8_t number[8] = {[3] = 2, '4', '2'};
	struct v4 *v = v4_open(*state, "127.0.0.1", "set");
	struct fh root = root_of(v, "one"), h;
	struct nfs4_stateid id, reading;
	struct attrs a;

	assert_int_equal(open_file(v, &root, "set", "o", 3, 0, GUARDED, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(write_file(v, &h, &id, 0, "0123456789", 10), NFS4_ERR_NONE);
	put_setattr(v, &h, &id, 1 << 4, 1 << 1, (uint8_t[12]){[7] = 5, [10] = 1, [11] = 0xc0}, 12);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_SETATTR);
	assert_int_equal(take_mask(&v->d).w[1], 1 << 1);
	a = getattr4(v, &h, 1 << 4, 1 << 1, 0);
	assert_int_equal(nfs_dec_u64(&a.d), 5);
	assert_int_equal(nfs_dec_u32(&a.d), 0700);
	put_setattr(v, &h, &anonymous, 0, 1 << 1, mode, 3);
	assert_int_equal(v4_run(v), NFS4_ERR_BADXDR);
	put_setattr(v, &h, &anonymous, 0, 1 << 4, owner, 8);
	assert_int_equal(v4_run(v), NFS4_ERR_BADOWNER);
	put_setattr(v, &h, &anonymous, 0, 1 << 4, number, 8);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	put_setattr(v, &h, &anonymous, 1 << 3, 0, size, 8); /* change cannot be set */
	assert_int_equal(v4_run(v), NFS4_ERR_INVAL);
	put_setattr(v, &h, &anonymous, 1 << 14, 0, size, 8); /* archive is not there */
	assert_int_equal(v4_run(v), NFS4_ERR_ATTRNOTSUPP);
	v4_ok(v, NFS4_OP_PUTFH);
	assert_int_equal(v4_result(v, NFS4_OP_SETATTR), NFS4_ERR_ATTRNOTSUPP);
	assert_int_equal(nfs_dec_u32(&v->d), 0); /* nothing was set, and that is said */
	v4_end(v);
	/* Cutting needs an open for writing. */
	assert_int_equal(open_file(v, &root, "set", "p", 1, 0, NO_CREATE, &h, &reading),
			 NFS4_ERR_NONE);
	put_setattr(v, &h, &reading, 1 << 4, 0, size, 8);
	assert_int_equal(v4_run(v), NFS4_ERR_OPENMODE);
	v4_close(v);
}

static uint32_t verify(struct v4 *v, const struct fh *h, uint32_t op, uint64_t size)
{
	uint8_t value[8];

	vs_put_be64(value, size);
	v4_start(v);
	put_fh(v, h);
	v4_op(v, op);
	put_mask(v, 1 << 4, 0, 0);
	nfs_enc_bytes(&v->e, value, 8);
	return v4_run(v);
}

static void verified(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "verify");
	struct fh root = root_of(v, "one"), h;
	struct nfs4_stateid id;

	assert_int_equal(open_file(v, &root, "ver", "o", 3, 0, GUARDED, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(write_file(v, &h, &id, 0, "0123456789", 10), NFS4_ERR_NONE);
	assert_int_equal(verify(v, &h, NFS4_OP_VERIFY, 10), NFS4_ERR_NONE);
	assert_int_equal(verify(v, &h, NFS4_OP_VERIFY, 11), NFS4_ERR_NOT_SAME);
	assert_int_equal(verify(v, &h, NFS4_OP_NVERIFY, 10), NFS4_ERR_SAME);
	assert_int_equal(verify(v, &h, NFS4_OP_NVERIFY, 11), NFS4_ERR_NONE);
	v4_close(v);
}

/* ---- the pseudo root ---- */

static void put_readdir(struct v4 *v, uint64_t cookie, uint32_t bytes)
{
	v4_op(v, NFS4_OP_READDIR);
	nfs_enc_u64(&v->e, cookie);
	nfs_enc_u64(&v->e, 0);
	nfs_enc_u32(&v->e, 0);
	nfs_enc_u32(&v->e, bytes);
	put_mask(v, 1 << 1 | 1 << 8 | 1 << 20, 1 << 23, 0); /* type, fsid, fileid, mounted on */
}

/* The next entry; false: there is none. */
static bool take_entry(struct v4 *v, char name[256], uint64_t *cookie, uint64_t *fsid)
{
	struct nfs_bytes b;
	struct attrs a;

	if (!nfs_dec_bool(&v->d))
		return false;
	*cookie = nfs_dec_u64(&v->d);
	b = nfs_dec_bytes(&v->d, 255);
	assert_non_null(b.p);
	(void)snprintf(name, 256, "%.*s", (int)b.len, b.p ? (const char *)b.p : "");
	a = take_attrs(&v->d);
	(void)nfs_dec_u32(&a.d);
	*fsid = nfs_dec_u64(&a.d);
	return true;
}

static void pseudo_root(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "pseudo");
	struct v4 *some = v4_open(*state, "127.0.0.3", "pseudo some");
	uint64_t cookie = 0, last = 0, fsid = 0, other_fsid = 0;
	struct fh root, one, h;
	char name[256];

	assert_int_equal(walk(v, NULL, NULL, &root), NFS4_ERR_NONE);
	v4_start(v);
	put_fh(v, &root);
	put_readdir(v, 0, 4096);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_READDIR);
	v4_skip(v, 8);
	assert_true(take_entry(v, name, &cookie, &fsid));
	assert_string_equal(name, "one");
	assert_true(take_entry(v, name, &last, &other_fsid));
	assert_string_equal(name, "two");
	assert_true(fsid != other_fsid);
	assert_false(take_entry(v, name, &last, &other_fsid));
	assert_true(nfs_dec_bool(&v->d));
	v4_end(v);
	/* From the first on, to one who may see one of them only. */
	v4_start(some);
	put_fh(some, &root);
	put_readdir(some, 0, 4096);
	assert_int_equal(v4_run(some), NFS4_ERR_NONE);
	v4_ok(some, NFS4_OP_PUTFH);
	v4_ok(some, NFS4_OP_READDIR);
	v4_skip(some, 8);
	assert_true(take_entry(some, name, &last, &fsid));
	assert_string_equal(name, "one");
	assert_int_equal(last, cookie);
	assert_false(take_entry(some, name, &last, &fsid));
	assert_int_equal(walk(some, "two", NULL, &h), NFS4_ERR_NOENT);
	assert_int_equal(walk(v, "three", NULL, &h), NFS4_ERR_NOENT);
	assert_int_equal(walk(v, "one", "..", &h), NFS4_ERR_BADNAME);
	/* And up again */
	one = root_of(v, "one");
	v4_start(v);
	put_fh(v, &one);
	v4_op(v, NFS4_OP_LOOKUPP);
	v4_op(v, NFS4_OP_GETFH);
	v4_op(v, NFS4_OP_LOOKUPP);
	assert_int_equal(v4_run(v), NFS4_ERR_NOENT);
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_LOOKUPP);
	h = take_fh(v);
	assert_memory_equal(h.b, root.b, root.len);
	assert_int_equal(remove_file(v, &root, "one"), NFS4_ERR_ROFS);
	/* Its attributes are there, too. */
	(void)getattr4(v, &root, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	assert_int_equal(size_of(v, &root), 0);
	v4_close(some);
	v4_close(v);
}

static void directories(void **state)
{
	enum { FILES = 60 };
	struct v4 *v = v4_open(*state, "127.0.0.1", "dirs");
	struct fh root = root_of(v, "two"), h;
	struct nfs4_stateid id;
	bool seen[FILES] = {false}, eof = false;
	uint64_t cookie = 0, fsid;
	char name[256];
	unsigned n, replies = 0;

	for (unsigned i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "entry %u", i);
		assert_int_equal(open_file(v, &root, name, "o", 2, 0, UNCHECKED, &h, &id),
				 NFS4_ERR_NONE);
		assert_int_equal(close_file(v, &h, &id), NFS4_ERR_NONE);
	}
	while (!eof) {
		v4_start(v);
		put_fh(v, &root);
		put_readdir(v, cookie, 1500);
		assert_int_equal(v4_run(v), NFS4_ERR_NONE);
		v4_ok(v, NFS4_OP_PUTFH);
		v4_ok(v, NFS4_OP_READDIR);
		v4_skip(v, 8);
		while (take_entry(v, name, &cookie, &fsid)) {
			n = (unsigned)strtoul(name + strlen("entry "), NULL, 10);
			assert_true(n < FILES);
			assert_false(seen[n]);
			seen[n] = true;
		}
		eof = nfs_dec_bool(&v->d);
		v4_end(v);
		assert_true(v->c->reply_len < 1500 + 150);
		replies++;
	}
	for (unsigned i = 0; i < FILES; i++)
		assert_true(seen[i]);
	assert_true(replies > 2);
	v4_start(v);
	put_fh(v, &root);
	put_readdir(v, 0, 40);
	assert_int_equal(v4_run(v), NFS4_ERR_TOOSMALL);
	v4_start(v);
	put_fh(v, &root);
	put_readdir(v, 2, 4000); /* reserved */
	assert_int_equal(v4_run(v), NFS4_ERR_BAD_COOKIE);
	v4_start(v);
	put_fh(v, &h);
	put_readdir(v, 0, 4000);
	assert_int_equal(v4_run(v), NFS4_ERR_NOTDIR);
	v4_close(v);
}

/* ---- names ---- */

static uint32_t make_object(struct v4 *v, const struct fh *dir, uint32_t type, const char *name)
{
	v4_start(v);
	put_fh(v, dir);
	v4_op(v, NFS4_OP_CREATE);
	nfs_enc_u32(&v->e, type);
	if (type == 5)
		nfs_enc_bytes(&v->e, "a/target", 8);
	if (type == 3 || type == 4) {
		nfs_enc_u32(&v->e, 8);
		nfs_enc_u32(&v->e, 1);
	}
	nfs_enc_bytes(&v->e, name, (uint32_t)strlen(name));
	put_mode(v, 0700);
	return v4_run(v);
}

static uint32_t move(struct v4 *v, uint32_t op, const struct fh *from, const char *name,
		     const struct fh *to, const char *to_name)
{
	v4_start(v);
	put_fh(v, from);
	v4_op(v, NFS4_OP_SAVEFH);
	put_fh(v, to);
	put_name(v, op, name);
	if (to_name)
		nfs_enc_bytes(&v->e, to_name, (uint32_t)strlen(to_name));
	return v4_run(v);
}

static void names(void **state)
{
	static const char *const made[] = {
	    [2] = "dir", [3] = "blk", [4] = "chr", [5] = "link", [6] = "sock", [7] = "fifo"};
	struct v4 *v = v4_open(*state, "127.0.0.1", "names");
	struct fh root = root_of(v, "one"), two = root_of(v, "two"), dir, h;
	struct nfs4_stateid id;
	struct attrs a;

	for (uint32_t type = 2; type < VS_ARRAY_LEN(made); type++) {
		assert_int_equal(make_object(v, &root, type, made[type]), NFS4_ERR_NONE);
		assert_int_equal(walk(v, "one", made[type], &h), NFS4_ERR_NONE);
		a = getattr4(v, &h, 1 << 1, 1 << 9, 0);
		assert_int_equal(nfs_dec_u32(&a.d), type);
		assert_int_equal(nfs_dec_u32(&a.d), type == 3 || type == 4 ? 8 : 0);
	}
	assert_int_equal(make_object(v, &root, 1, "reg"), NFS4_ERR_BADTYPE);
	assert_int_equal(make_object(v, &root, 2, "dir"), NFS4_ERR_EXIST);
	assert_int_equal(make_object(v, &root, 2, ""), NFS4_ERR_INVAL);
	assert_int_equal(make_object(v, &root, 2, "."), NFS4_ERR_BADNAME);
	assert_int_equal(make_object(v, &root, 2, "a/b"), NFS4_ERR_BADNAME);
	assert_int_equal(walk(v, "one", "link", &h), NFS4_ERR_NONE);
	v4_start(v);
	put_fh(v, &h);
	v4_op(v, NFS4_OP_READLINK);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_READLINK);
	assert_memory_equal(nfs_dec_bytes(&v->d, 8).p, "a/target", 8);
	v4_end(v);
	assert_int_equal(open_file(v, &root, "link", "o", 1, 0, NO_CREATE, &h, &id),
			 NFS4_ERR_SYMLINK);
	assert_int_equal(open_file(v, &root, "dir", "o", 1, 0, NO_CREATE, &h, &id), NFS4_ERR_ISDIR);
	assert_int_equal(open_file(v, &root, "fifo", "o", 1, 0, NO_CREATE, &h, &id),
			 NFS4_ERR_WRONG_TYPE);
	assert_int_equal(walk(v, "one", "dir", &dir), NFS4_ERR_NONE);
	assert_int_equal(move(v, NFS4_OP_RENAME, &root, "fifo", &dir, "moved"), NFS4_ERR_NONE);
	assert_int_equal(move(v, NFS4_OP_RENAME, &root, "sock", &two, "moved"), NFS4_ERR_XDEV);
	assert_int_equal(move(v, NFS4_OP_RENAME, &root, "sock", &root, ".."), NFS4_ERR_BADNAME);
	assert_int_equal(walk(v, "one", "sock", &h), NFS4_ERR_NONE);
	assert_int_equal(move(v, NFS4_OP_LINK, &h, "linked", &dir, NULL), NFS4_ERR_NONE);
	assert_int_equal(remove_file(v, &root, "dir"), NFS4_ERR_NOTEMPTY);
	assert_int_equal(remove_file(v, &dir, "linked"), NFS4_ERR_NONE);
	assert_int_equal(remove_file(v, &dir, "moved"), NFS4_ERR_NONE);
	assert_int_equal(remove_file(v, &root, "dir"), NFS4_ERR_NONE);
	assert_int_equal(remove_file(v, &root, "dir"), NFS4_ERR_NOENT);
	v4_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(attributes),  cmocka_unit_test(set_attributes),
	    cmocka_unit_test(verified),	   cmocka_unit_test(pseudo_root),
	    cmocka_unit_test(directories), cmocka_unit_test(names),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
