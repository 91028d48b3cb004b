/* Files by NFSv4: opens, bytes, locks, who may. */
#include "tests/unit/nfs4_attr_scene.h"

static const struct nfs4_stateid anonymous;

static void bytes(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "bytes");
	struct fh root = root_of(v, "one"), h;
	static char data[1 << 20], got[1 << 20];
	const struct nfs4_stateid current = {.seqid = 1};
	struct nfs4_stateid id;
	uint32_t n;
	bool eof;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 31 + i / 4096);
	assert_int_equal(open_file(v, &root, "bytes", "o", 3, 0, GUARDED, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(write_file(v, &h, &id, 3, data, sizeof(data)), NFS4_ERR_NONE);
	assert_int_equal(read_file(v, &h, &id, 3, got, sizeof(got), &n, &eof), NFS4_ERR_NONE);
	assert_int_equal(n, sizeof(got));
	assert_true(eof);
	assert_memory_equal(got, data, sizeof(got));
	assert_int_equal(read_file(v, &h, &id, 3, got, 5, &n, &eof), NFS4_ERR_NONE);
	assert_int_equal(n, 5);
	assert_false(eof);
	assert_int_equal(read_file(v, &h, &id, UINT64_MAX, got, 5, &n, &eof), NFS4_ERR_NONE);
	assert_int_equal(n, 0);
	assert_int_equal(write_file(v, &h, &id, UINT64_MAX - 2, data, 2), NFS4_ERR_FBIG);
	/* OPEN and what follows, with its stateid, in one */
	v4_start(v);
	put_fh(v, &root);
	put_open(v, "again", 1, 0, NO_CREATE, 0);
	nfs_enc_u32(&v->e, NFS4_CLAIM_NULL);
	nfs_enc_bytes(&v->e, "bytes", 5);
	v4_op(v, NFS4_OP_READ);
	put_stateid(v, &current);
	nfs_enc_u64(&v->e, 3);
	nfs_enc_u32(&v->e, 7);
	v4_op(v, NFS4_OP_CLOSE);
	nfs_enc_u32(&v->e, 0);
	put_stateid(v, &current);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	/* Without one there is no current stateid. */
	v4_start(v);
	put_fh(v, &h);
	v4_op(v, NFS4_OP_READ);
	put_stateid(v, &current);
	nfs_enc_u64(&v->e, 3);
	nfs_enc_u32(&v->e, 7);
	assert_int_equal(v4_run(v), NFS4_ERR_BAD_STATEID);
	v4_start(v);
	put_fh(v, &h);
	v4_op(v, NFS4_OP_COMMIT);
	nfs_enc_u64(&v->e, 0);
	nfs_enc_u32(&v->e, 0);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	assert_int_equal(read_file(v, &root, &anonymous, 0, got, 5, &n, &eof), NFS4_ERR_ISDIR);
	v4_close(v);
}

static void creates(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "creates");
	struct fh root = root_of(v, "one"), h, again;
	struct nfs4_stateid id;

	assert_int_equal(open_file(v, &root, "c", "o", 3, 0, NO_CREATE, &h, &id), NFS4_ERR_NOENT);
	assert_int_equal(open_file(v, &root, "c", "o", 3, 0, GUARDED, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(open_file(v, &root, "c", "o", 3, 0, GUARDED, &h, &id), NFS4_ERR_EXIST);
	assert_int_equal(open_file(v, &root, "c", "o", 3, 0, UNCHECKED, &again, &id),
			 NFS4_ERR_NONE);
	assert_memory_equal(h.b, again.b, h.len);
	assert_int_equal(id.seqid, 2);
	assert_int_equal(open_file(v, &root, "c", "o", 3, 0, EXCLUSIVE, &h, &id), NFS4_ERR_EXIST);
	assert_int_equal(open_file(v, &root, "e", "o", 3, 0, EXCLUSIVE_1, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(open_file(v, &root, "e", "o", 3, 0, EXCLUSIVE_1, &again, &id),
			 NFS4_ERR_NONE);
	assert_memory_equal(h.b, again.b, h.len);
	assert_int_equal(open_file(v, &root, "c", "o", 0, 0, NO_CREATE, &h, &id), NFS4_ERR_INVAL);
	assert_int_equal(open_file(v, &root, "c", "o", 1, 4, NO_CREATE, &h, &id), NFS4_ERR_INVAL);
	v4_close(v);
}

/* A file that is denied to others is not cut by them either; one that is gone by name is there
 * until it is closed. */
static void shared(void **state)
{
	static const uint8_t none[8];
	struct v4 *a = v4_open(*state, "127.0.0.1", "shared a");
	struct v4 *b = v4_open(*state, "127.0.0.1", "shared b");
	struct fh root = root_of(a, "one"), h, again;
	struct nfs4_stateid id, other;
	char got[8];
	uint32_t n;
	bool eof;

	assert_int_equal(open_file(a, &root, "shared", "o", 3, 3, GUARDED, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(write_file(a, &h, &id, 0, "kept", 4), NFS4_ERR_NONE);
	assert_int_equal(open_file(b, &root, "shared", "o", 1, 0, NO_CREATE, &again, &other),
			 NFS4_ERR_SHARE_DENIED);
	v4_start(b);
	put_fh(b, &root);
	put_open(b, "o", 2, 0, NO_CREATE, 0);
	b->e.p -= 4;
	nfs_enc_u32(&b->e, 1); /* OPEN4_CREATE, UNCHECKED4, size 0 */
	nfs_enc_u32(&b->e, 0);
	put_mask(b, 1 << 4, 0, 0);
	nfs_enc_bytes(&b->e, none, 8);
	nfs_enc_u32(&b->e, NFS4_CLAIM_NULL);
	nfs_enc_bytes(&b->e, "shared", 6);
	assert_int_equal(v4_run(b), NFS4_ERR_SHARE_DENIED);
	assert_int_equal(size_of(a, &h), 4);
	assert_int_equal(read_file(b, &h, &anonymous, 0, got, 4, &n, &eof), NFS4_ERR_LOCKED);
	assert_int_equal(write_file(b, &h, &id, 0, "x", 1), NFS4_ERR_BAD_STATEID); /* not his */
	assert_int_equal(remove_file(b, &root, "shared"), NFS4_ERR_NONE);
	assert_int_equal(walk(a, "one", "shared", &again), NFS4_ERR_NOENT);
	assert_int_equal(read_file(a, &h, &id, 0, got, 4, &n, &eof), NFS4_ERR_NONE);
	assert_memory_equal(got, "kept", 4);
	assert_int_equal(close_file(a, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(close_file(a, &h, &id), NFS4_ERR_BAD_STATEID);
	while (read_file(a, &h, &anonymous, 0, got, 4, &n, &eof) != NFS4_ERR_STALE)
		usleep(1000); /* it is taken away behind the reply */
	v4_close(a);
	v4_close(b);
}

static void locked(void **state)
{
	struct v4 *a = v4_open(*state, "127.0.0.1", "lock a");
	struct v4 *b = v4_open(*state, "127.0.0.1", "lock b");
	struct fh root = root_of(a, "one"), h;
	struct nfs4_stateid open_a, open_b, lock_a, lock_b;

	assert_int_equal(open_file(a, &root, "locked", "o", 3, 0, GUARDED, &h, &open_a),
			 NFS4_ERR_NONE);
	assert_int_equal(open_file(b, &root, "locked", "o", 3, 0, NO_CREATE, &h, &open_b),
			 NFS4_ERR_NONE);
	lock_a = open_a;
	assert_int_equal(lock_file(a, &h, &lock_a, "l", NFS4_WRITE_LT, 0, 100), NFS4_ERR_NONE);
	assert_int_equal(write_file(a, &h, &lock_a, 0, "by its lock", 11), NFS4_ERR_NONE);
	lock_b = open_b;
	assert_int_equal(lock_file(b, &h, &lock_b, "l", NFS4_READ_LT, 99, UINT64_MAX),
			 NFS4_ERR_DENIED);
	v4_ok(b, NFS4_OP_PUTFH);
	assert_int_equal(v4_result(b, NFS4_OP_LOCK), NFS4_ERR_DENIED);
	assert_int_equal(nfs_dec_u64(&b->d), 0);
	assert_int_equal(nfs_dec_u64(&b->d), 100);
	assert_int_equal(nfs_dec_u32(&b->d), NFS4_WRITE_LT);
	assert_int_equal(nfs_dec_u64(&b->d), a->clientid);
	assert_int_equal(nfs_dec_bytes(&b->d, 1).len, 1);
	v4_end(b);
	assert_int_equal(unlock_file(a, &h, &lock_a, 99, 1), NFS4_ERR_NONE);
	assert_int_equal(lock_file(b, &h, &lock_b, "l", NFS4_READ_LT, 99, UINT64_MAX),
			 NFS4_ERR_NONE);
	assert_int_equal(lock_file(a, &h, &lock_a, NULL, NFS4_WRITE_LT, 99, 1), NFS4_ERR_DENIED);
	assert_int_equal(close_file(b, &h, &open_b), NFS4_ERR_NONE); /* and its locks go */
	assert_int_equal(lock_file(a, &h, &lock_a, NULL, NFS4_WRITE_LT, 99, 1), NFS4_ERR_NONE);
	v4_close(a);
	v4_close(b);
}

/* ---- who may ---- */

static void permissions(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "all");
	struct v4 *reader = v4_open(*state, "127.0.0.3", "reader");
	struct v4 *squashed = v4_open(*state, "127.0.0.4", "squashed");
	struct fh root = root_of(v, "one"), h;
	struct nfs4_stateid id;
	char got[8];
	uint32_t n;
	bool eof;

	assert_int_equal(open_file(v, &root, "perm", "o", 3, 0, GUARDED, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(write_file(v, &h, &id, 0, "text", 4), NFS4_ERR_NONE);
	assert_int_equal(open_file(reader, &root, "perm", "o", 2, 0, NO_CREATE, &h, &id),
			 NFS4_ERR_ROFS);
	assert_int_equal(open_file(reader, &root, "new", "o", 1, 0, GUARDED, &h, &id),
			 NFS4_ERR_ROFS);
	assert_int_equal(remove_file(reader, &root, "perm"), NFS4_ERR_ROFS);
	assert_int_equal(open_file(reader, &root, "perm", "o", 1, 0, NO_CREATE, &h, &id),
			 NFS4_ERR_NONE);
	assert_int_equal(read_file(reader, &h, &id, 0, got, 4, &n, &eof), NFS4_ERR_NONE);
	assert_int_equal(open_file(squashed, &root, "perm", "o", 2, 0, NO_CREATE, &h, &id),
			 NFS4_ERR_ACCESS);
	assert_int_equal(open_file(squashed, &root, "perm", "o", 1, 0, NO_CREATE, &h, &id),
			 NFS4_ERR_NONE);
	assert_int_equal(write_file(squashed, &h, &anonymous, 0, "x", 1), NFS4_ERR_ACCESS);
	h.b[20] ^= 1; /* a handle that nobody was shown */
	v4_start(v);
	put_fh(v, &h);
	assert_int_equal(v4_run(v), NFS4_ERR_BADHANDLE);
	v4_close(v);
	v4_close(reader);
	v4_close(squashed);
}

static void security(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "security");
	struct fh root = root_of(v, "one");

	v4_start(v);
	put_fh(v, &root);
	v4_op(v, NFS4_OP_SECINFO_NO_NAME);
	nfs_enc_u32(&v->e, 0);
	v4_op(v, NFS4_OP_GETFH); /* it is used up */
	assert_int_equal(v4_run(v), NFS4_ERR_NOFILEHANDLE);
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_SECINFO_NO_NAME);
	assert_int_equal(nfs_dec_u32(&v->d), 1);
	assert_int_equal(nfs_dec_u32(&v->d), 1); /* AUTH_SYS */
	v4_start(v);
	put_fh(v, &root);
	put_name(v, NFS4_OP_SECINFO, "not there");
	assert_int_equal(v4_run(v), NFS4_ERR_NOENT);
	v4_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes),  cmocka_unit_test(creates),     cmocka_unit_test(shared),
	    cmocka_unit_test(locked), cmocka_unit_test(permissions), cmocka_unit_test(security),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
