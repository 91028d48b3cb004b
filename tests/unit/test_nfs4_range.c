/* What NFSv4.2 does with ranges of files, and what becomes of opens and locks when the server
 * restarts or a datastore is shared no more. */
#include "tests/unit/nfs4_scene.h"

#include <pthread.h>

static void put_range(struct v4 *v, const struct fh *h, uint32_t op, const struct nfs4_stateid *id,
		      uint64_t offset, uint64_t length)
{
	v4_start(v);
	put_fh(v, h);
	v4_op(v, op);
	put_stateid(v, id);
	nfs_enc_u64(&v->e, offset);
	nfs_enc_u64(&v->e, length);
}

/* SEEK: 0 for data, 1 for a hole; UINT64_MAX: there is none. */
static uint64_t seek(struct v4 *v, const struct fh *h, const struct nfs4_stateid *id,
		     uint64_t offset, uint32_t what)
{
	uint32_t status;

	v4_start(v);
	put_fh(v, h);
	v4_op(v, NFS4_OP_SEEK);
	put_stateid(v, id);
	nfs_enc_u64(&v->e, offset);
	nfs_enc_u32(&v->e, what);
	status = v4_run(v);
	if (status == NFS4_ERR_NXIO)
		return UINT64_MAX;
	assert_int_equal(status, NFS4_ERR_NONE);
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_SEEK);
	(void)nfs_dec_bool(&v->d);
	return nfs_dec_u64(&v->d);
}

static void read_plus(struct v4 *v, const struct fh *h, const struct nfs4_stateid *id,
		      uint64_t offset, uint32_t count)
{
	v4_start(v);
	put_fh(v, h);
	v4_op(v, NFS4_OP_READ_PLUS);
	put_stateid(v, id);
	nfs_enc_u64(&v->e, offset);
	nfs_enc_u32(&v->e, count);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_READ_PLUS);
}

static void holes(void **state)
{
	static char data[65536];
	struct v4 *v = v4_open(*state, "127.0.0.1", "holes");
	struct fh root = root_of(v, "one"), h;
	struct nfs4_stateid id;
	struct nfs_bytes b;

	memset(data, 'd', sizeof(data));
	assert_int_equal(open_file(v, &root, "holes", "o", 3, 0, GUARDED, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(write_file(v, &h, &id, 1 << 20, data, sizeof(data)), NFS4_ERR_NONE);
	put_range(v, &h, NFS4_OP_ALLOCATE, &id, 0, 3 << 20);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	assert_int_equal(seek(v, &h, &id, 0, 0), 1 << 20);
	assert_int_equal(seek(v, &h, &id, 1 << 20, 1), (1 << 20) + 65536);
	assert_int_equal(seek(v, &h, &id, 3 << 20, 0), UINT64_MAX);
	put_range(v, &h, NFS4_OP_DEALLOCATE, &id, 1 << 20, 4096);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	assert_int_equal(seek(v, &h, &id, 0, 0), (1 << 20) + 4096);
	put_range(v, &h, NFS4_OP_DEALLOCATE, &id, 2, UINT64_MAX);
	assert_int_equal(v4_run(v), NFS4_ERR_INVAL);
	/* A hole, and then what lies behind it */
	read_plus(v, &h, &id, (1 << 20), 8192);
	assert_false(nfs_dec_bool(&v->d));
	assert_int_equal(nfs_dec_u32(&v->d), 2);
	assert_int_equal(nfs_dec_u32(&v->d), 1); /* NFS4_CONTENT_HOLE */
	assert_int_equal(nfs_dec_u64(&v->d), 1 << 20);
	assert_int_equal(nfs_dec_u64(&v->d), 4096);
	assert_int_equal(nfs_dec_u32(&v->d), 0);
	assert_int_equal(nfs_dec_u64(&v->d), (1 << 20) + 4096);
	b = nfs_dec_bytes(&v->d, 4096);
	v4_end(v);
	assert_int_equal(b.len, 4096);
	assert_memory_equal(b.p, data, 4096);
	/* Behind the end */
	read_plus(v, &h, &id, 4 << 20, 8192);
	assert_true(nfs_dec_bool(&v->d));
	assert_int_equal(nfs_dec_u32(&v->d), 0);
	v4_end(v);
	v4_close(v);
}

static void put_two(struct v4 *v, uint32_t op, const struct fh *from,
		    const struct nfs4_stateid *from_id, uint64_t from_offset, const struct fh *to,
		    const struct nfs4_stateid *to_id, uint64_t to_offset, uint64_t length)
{
	v4_start(v);
	put_fh(v, from);
	v4_op(v, NFS4_OP_SAVEFH);
	put_fh(v, to);
	v4_op(v, op);
	put_stateid(v, from_id);
	put_stateid(v, to_id);
	nfs_enc_u64(&v->e, from_offset);
	nfs_enc_u64(&v->e, to_offset);
	nfs_enc_u64(&v->e, length);
	if (op != NFS4_OP_COPY)
		return;
	nfs_enc_u32(&v->e, 1);
	nfs_enc_u32(&v->e, 0); /* it may be asynchronous */
	nfs_enc_u32(&v->e, 0);
}

static void copies(void **state)
{
	static char data[40000], got[40000];
	struct v4 *v = v4_open(*state, "127.0.0.1", "copies");
	struct fh root = root_of(v, "one"), two = root_of(v, "two"), from, to, far;
	struct nfs4_stateid from_id, to_id, far_id;
	uint32_t n;
	bool eof;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 17 + i / 512);
	assert_int_equal(open_file(v, &root, "from", "o", 3, 0, GUARDED, &from, &from_id),
			 NFS4_ERR_NONE);
	assert_int_equal(open_file(v, &root, "to", "o", 3, 0, GUARDED, &to, &to_id), NFS4_ERR_NONE);
	assert_int_equal(open_file(v, &two, "far", "o", 3, 0, GUARDED, &far, &far_id),
			 NFS4_ERR_NONE);
	assert_int_equal(write_file(v, &from, &from_id, 0, data, sizeof(data)), NFS4_ERR_NONE);
	put_two(v, NFS4_OP_CLONE, &from, &from_id, 0, &to, &to_id, 0, 0);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	assert_int_equal(read_file(v, &to, &to_id, 0, got, sizeof(got), &n, &eof), NFS4_ERR_NONE);
	assert_int_equal(n, sizeof(got));
	assert_memory_equal(got, data, sizeof(got));
	put_two(v, NFS4_OP_CLONE, &from, &from_id, 1, &to, &to_id, 0, 4096);
	assert_int_equal(v4_run(v), NFS4_ERR_INVAL);
	put_two(v, NFS4_OP_CLONE, &from, &from_id, 0, &far, &far_id, 0, 0);
	assert_int_equal(v4_run(v), NFS4_ERR_XDEV);
	/* Bytes that begin anywhere */
	put_two(v, NFS4_OP_COPY, &from, &from_id, 7, &to, &to_id, 100, 30000);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_SAVEFH);
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_COPY);
	assert_int_equal(nfs_dec_u32(&v->d), 0);
	assert_int_equal(nfs_dec_u64(&v->d), 30000);
	assert_int_equal(nfs_dec_u32(&v->d), 2);
	v4_skip(v, 8);
	assert_int_equal(nfs_dec_u32(&v->d), 1);
	assert_int_equal(nfs_dec_u32(&v->d), 1);
	v4_end(v);
	assert_int_equal(read_file(v, &to, &to_id, 100, got, 30000, &n, &eof), NFS4_ERR_NONE);
	assert_int_equal(n, 30000);
	assert_memory_equal(got, data + 7, 30000);
	put_two(v, NFS4_OP_COPY, &from, &from_id, 39000, &to, &to_id, 0, 2000);
	assert_int_equal(v4_run(v), NFS4_ERR_INVAL);
	put_two(v, NFS4_OP_COPY, &from, &from_id, 0, &root, &to_id, 0, 2000);
	assert_int_equal(v4_run(v), NFS4_ERR_BAD_STATEID);
	v4_close(v);
}

/* ---- restarts ---- */

struct kept {
	pthread_mutex_t lock;
	uint8_t bytes[4096];
	size_t len;
};

static struct kept kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int save(void *arg, const uint8_t *bytes, size_t len, struct vs_error *err)
{
	(void)arg;
	if (len > sizeof(kept.bytes))
		return vs_fail(err, VS_E_NOSPC, "the test keeps less");
	(void)pthread_mutex_lock(&kept.lock);
	memcpy(kept.bytes, bytes, len);
	kept.len = len;
	(void)pthread_mutex_unlock(&kept.lock);
	return 0;
}

static int load(void *arg, uint8_t *bytes, size_t max, size_t *len, struct vs_error *err)
{
	(void)arg;
	(void)err;
	assert_true(max >= kept.len);
	memcpy(bytes, kept.bytes, kept.len);
	*len = kept.len;
	return 0;
}

static void restart(struct scene *s)
{
	static const char *const listen[] = {"127.0.0.1:0"};
	static const struct nfs_rule rule = {"127.0.0.1", false, NFS_SQUASH_NONE, NFS_ANONYMOUS,
					     NFS_ANONYMOUS};
	const struct nfs_server_options opts = {.listen = listen,
						.nlisten = 1,
						.key = scene_key,
						.key_len = 32,
						.keeper = {save, load, NULL}};
	char text[NFS_ADDRESS_MAX];
	struct vs_error err = {0};

	nfs_server_stop(s->server);
	if (nfs_server_start(&opts, &s->server, &err) ||
	    nfs_server_share(s->server, "one", s->one, &rule, 1, &err) ||
	    nfs_server_share(s->server, "two", s->two, &rule, 1, &err))
		fail_msg("%s", err.text);
	nfs_server_serve(s->server);
	assert_int_equal(nfs_server_address(s->server, 0, text), 0);
	s->port = (uint16_t)strtoul(strchr(text, ':') + 1, NULL, 10);
}

static struct v4 *come_back(struct scene *s, struct v4 *v, const char *owner)
{
	client_close(v->c);
	v->c = client_open(s, "127.0.0.1");
	create_session(v, exchange_id(v, owner, 1));
	return v;
}

static uint32_t reclaim_open(struct v4 *v, const struct fh *h, struct nfs4_stateid *id)
{
	uint32_t status;

	v4_start(v);
	put_fh(v, h);
	put_open(v, "o", 3, 0, NO_CREATE, 0);
	nfs_enc_u32(&v->e, NFS4_CLAIM_PREVIOUS);
	nfs_enc_u32(&v->e, 0);
	status = v4_run(v);
	if (status)
		return status;
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_OPEN);
	take_open(v, id);
	return NFS4_ERR_NONE;
}

/* LOCK with a->reclaim */
static uint32_t reclaim_lock(struct v4 *v, const struct fh *h, struct nfs4_stateid *id)
{
	v4_start(v);
	put_fh(v, h);
	v4_op(v, NFS4_OP_LOCK);
	nfs_enc_u32(&v->e, NFS4_WRITE_LT);
	nfs_enc_u32(&v->e, 1);
	nfs_enc_u64(&v->e, 0);
	nfs_enc_u64(&v->e, 10);
	nfs_enc_u32(&v->e, 1);
	nfs_enc_u32(&v->e, 0);
	put_stateid(v, id);
	nfs_enc_u32(&v->e, 0);
	nfs_enc_u64(&v->e, v->clientid);
	nfs_enc_bytes(&v->e, "l", 1);
	return v4_run(v);
}

static void restarts(void **state)
{
	struct scene *s = *state;
	struct v4 *a, *b;
	struct nfs4_stateid id, lock;
	struct fh root, h, other;

	restart(s);
	a = v4_open(s, "127.0.0.1", "restart a");
	b = v4_open(s, "127.0.0.1", "restart b");
	root = root_of(a, "one");
	assert_int_equal(open_file(a, &root, "restart", "o", 3, 0, GUARDED, &h, &id),
			 NFS4_ERR_NONE);
	lock = id;
	assert_int_equal(lock_file(a, &h, &lock, "l", NFS4_WRITE_LT, 0, 10), NFS4_ERR_NONE);
	restart(s);
	/* The old session is not known; nobody may have what a had while a may come back. */
	(void)come_back(s, b, "restart b");
	client_close(a->c);
	a->c = client_open(s, "127.0.0.1");
	v4_start(a);
	assert_int_equal(v4_go(a), NFS4_ERR_BADSESSION);
	(void)come_back(s, a, "restart a");
	assert_int_equal(reclaim_complete(b), NFS4_ERR_NONE);
	assert_int_equal(open_file(b, &root, "restart", "o", 3, 0, NO_CREATE, &other, &lock),
			 NFS4_ERR_GRACE);
	assert_int_equal(reclaim_open(b, &h, &lock), NFS4_ERR_NO_GRACE); /* he is through */
	assert_int_equal(close_file(a, &h, &id), NFS4_ERR_BAD_STATEID);
	assert_int_equal(reclaim_open(a, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(reclaim_lock(a, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(reclaim_complete(a), NFS4_ERR_NONE);
	/* All are back: it is over. */
	while (open_file(b, &root, "restart", "o", 3, 0, NO_CREATE, &other, &lock) ==
	       NFS4_ERR_GRACE)
		usleep(1000);
	assert_int_equal(lock_file(b, &h, &lock, "l", NFS4_WRITE_LT, 5, 1), NFS4_ERR_DENIED);
	assert_int_equal(close_file(a, &h, &id), NFS4_ERR_NONE);
	assert_int_equal(lock_file(b, &h, &lock, "l", NFS4_WRITE_LT, 5, 1), NFS4_ERR_NONE);
	v4_close(a);
	v4_close(b);
}

static void unshared(void **state)
{
	struct scene *s = *state;
	struct v4 *v = v4_open(s, "127.0.0.1", "unshared");
	struct fh root = root_of(v, "two"), h;
	static const struct nfs_rule rule = {"127.0.0.1", false, NFS_SQUASH_NONE, NFS_ANONYMOUS,
					     NFS_ANONYMOUS};
	struct nfs4_stateid id;
	struct vs_error err;
	char got[8];
	uint32_t n;
	bool eof;

	assert_int_equal(open_file(v, &root, "unshared", "o", 3, 3, GUARDED, &h, &id),
			 NFS4_ERR_NONE);
	assert_int_equal(nfs_server_unshare(s->server, "two", &err), 0);
	assert_int_equal(read_file(v, &h, &id, 0, got, 4, &n, &eof), NFS4_ERR_STALE);
	/* Nothing of the server uses the datastore now. */
	ds_close(s->two);
	assert_int_equal(ds_open(s->store, "two", &s->two, &err), 0);
	assert_int_equal(nfs_server_share(s->server, "two", s->two, &rule, 1, &err), 0);
	assert_int_equal(read_file(v, &h, &id, 0, got, 4, &n, &eof), NFS4_ERR_BAD_STATEID);
	assert_int_equal(open_file(v, &root, "unshared", "o", 3, 0, NO_CREATE, &h, &id),
			 NFS4_ERR_NONE);
	v4_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(holes),
	    cmocka_unit_test(copies),
	    cmocka_unit_test(restarts),
	    cmocka_unit_test(unshared),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
