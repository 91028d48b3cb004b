/*
 * A client of NFSv4 over nfs_server_scene.h: compounds are built and their results taken apart by
 * hand, with sessions, so that a test says what stands in each request.
 */
#ifndef TESTS_UNIT_NFS4_SCENE_H
#define TESTS_UNIT_NFS4_SCENE_H

#include "tests/unit/nfs_server_scene.h"

#include "targets/nfs/nfs4_format.h"

struct v4 {
	struct client *c;
	uint32_t minor;
	uint64_t clientid;
	uint8_t session[NFS4_SESSION_BYTES];
	uint32_t seqid[4]; /* of slots */
	uint32_t slot;
	bool cache;
	uint32_t channel; /* bytes of requests and replies; 0: 1 MiB and some */
	struct nfs_enc e; /* the call */
	uint8_t *count;
	uint32_t nops;
	struct nfs_dec d; /* the reply */
	uint32_t status, nresults;
	/* the last call, to be sent again */
	uint8_t sent[1 << 16];
	size_t sent_len;
};

struct fh {
	uint32_t len;
	uint8_t b[NFS4_FH_MAX];
};

/* ---- calls ---- */

static inline void v4_begin(struct v4 *v)
{
	begin_call(v->c, NFS3_PROG, NFS4_VERSION, 1);
	zdr_destroy(&v->c->enc);
	v->e = (struct nfs_enc){(uint8_t *)v->c->call + v->c->head,
				(uint8_t *)v->c->call + sizeof(v->c->call), false};
	nfs_enc_bytes(&v->e, "tag", 3);
	nfs_enc_u32(&v->e, v->minor);
	v->count = v->e.p;
	nfs_enc_u32(&v->e, 0);
	v->nops = 0;
}

static inline void v4_op(struct v4 *v, uint32_t op)
{
	nfs_enc_u32(&v->e, op);
	v->nops++;
}

static inline void v4_send(struct v4 *v)
{
	size_t n;

	assert_false(v->e.bad);
	vs_put_be32(v->count, v->nops);
	n = (size_t)(v->e.p - (uint8_t *)v->c->call);
	nfs_rpc_mark((uint8_t *)v->c->call, (uint32_t)n - 4);
	v->sent_len = n;
	if (n <= sizeof(v->sent))
		memcpy(v->sent, v->c->call, n);
	send_all(v->c, v->c->call, n);
}

static inline void v4_receive(struct v4 *v)
{
	struct client *c = v->c;

	assert_true(receive_reply(c));
	assert_int_equal(reply_word(c, 1), 1);
	assert_int_equal(reply_word(c, 2), 0);
	assert_int_equal(reply_word(c, 5), NFS_RPC_SUCCESS);
	v->d =
	    (struct nfs_dec){(uint8_t *)c->reply + 24, (uint8_t *)c->reply + c->reply_len, false};
	v->status = nfs_dec_u32(&v->d);
	assert_int_equal(nfs_dec_bytes(&v->d, 16).len, 3);
	v->nresults = nfs_dec_u32(&v->d);
	assert_false(v->d.bad);
}

/* Sends; the value is the compound's status. */
static inline uint32_t v4_go(struct v4 *v)
{
	v4_send(v);
	v4_receive(v);
	return v->status;
}

/* The next result: its status. */
static inline uint32_t v4_result(struct v4 *v, uint32_t op)
{
	uint32_t status;

	assert_int_equal(nfs_dec_u32(&v->d), op);
	status = nfs_dec_u32(&v->d);
	assert_false(v->d.bad);
	return status;
}

static inline void v4_ok(struct v4 *v, uint32_t op)
{
	assert_int_equal(v4_result(v, op), NFS4_ERR_NONE);
}

static inline void v4_end(struct v4 *v)
{
	assert_true(nfs_dec_ok(&v->d));
}

static inline void v4_skip(struct v4 *v, size_t n)
{
	assert_non_null(nfs_dec_take(&v->d, n));
}

static inline void v4_sequence(struct v4 *v)
{
	v4_op(v, NFS4_OP_SEQUENCE);
	nfs_enc_fixed(&v->e, v->session, NFS4_SESSION_BYTES);
	nfs_enc_u32(&v->e, v->seqid[v->slot]);
	nfs_enc_u32(&v->e, v->slot);
	nfs_enc_u32(&v->e, v->slot);
	nfs_enc_u32(&v->e, v->cache);
}

/* A compound of the session. */
static inline void v4_start(struct v4 *v)
{
	v4_begin(v);
	v->seqid[v->slot]++;
	v4_sequence(v);
}

/* After v4_go: SEQUENCE's result is past. */
static inline void v4_sequenced(struct v4 *v)
{
	v4_ok(v, NFS4_OP_SEQUENCE);
	v4_skip(v, NFS4_SESSION_BYTES + 20);
}

static inline uint32_t v4_run(struct v4 *v)
{
	uint32_t status = v4_go(v);

	v4_sequenced(v);
	return status;
}

/* ---- clients and sessions ---- */

static inline void put_exchange_id(struct v4 *v, const char *owner, uint64_t verifier,
				   uint32_t flags)
{
	v4_op(v, NFS4_OP_EXCHANGE_ID);
	nfs_enc_u64(&v->e, verifier);
	nfs_enc_bytes(&v->e, owner, (uint32_t)strlen(owner));
	nfs_enc_u32(&v->e, flags);
	nfs_enc_u32(&v->e, 0);
	nfs_enc_u32(&v->e, 0);
}

static inline void put_channel(struct v4 *v)
{
	uint32_t bytes = v->channel ? v->channel : (1 << 20) + 4096;
	const uint32_t words[] = {0, bytes, bytes, 4096, 32, 4, 0};

	for (size_t i = 0; i < VS_ARRAY_LEN(words); i++)
		nfs_enc_u32(&v->e, words[i]);
}

static inline void put_create_session(struct v4 *v, uint32_t seqid)
{
	v4_op(v, NFS4_OP_CREATE_SESSION);
	nfs_enc_u64(&v->e, v->clientid);
	nfs_enc_u32(&v->e, seqid);
	nfs_enc_u32(&v->e, 0);
	put_channel(v);
	put_channel(v);
	nfs_enc_u32(&v->e, 0x40000000);
	nfs_enc_u32(&v->e, 1);
	nfs_enc_u32(&v->e, 0); /* AUTH_NONE */
}

/* The value is CREATE_SESSION's seqid. */
static inline uint32_t exchange_id(struct v4 *v, const char *owner, uint64_t verifier)
{
	v4_begin(v);
	put_exchange_id(v, owner, verifier, 0);
	assert_int_equal(v4_go(v), NFS4_ERR_NONE);
	v4_ok(v, NFS4_OP_EXCHANGE_ID);
	v->clientid = nfs_dec_u64(&v->d);
	return nfs_dec_u32(&v->d);
}

static inline void create_session(struct v4 *v, uint32_t seqid)
{
	v4_begin(v);
	put_create_session(v, seqid);
	assert_int_equal(v4_go(v), NFS4_ERR_NONE);
	v4_ok(v, NFS4_OP_CREATE_SESSION);
	memcpy(v->session, nfs_dec_take(&v->d, NFS4_SESSION_BYTES), NFS4_SESSION_BYTES);
	memset(v->seqid, 0, sizeof(v->seqid));
}

static inline uint32_t reclaim_complete(struct v4 *v)
{
	v4_start(v);
	v4_op(v, NFS4_OP_RECLAIM_COMPLETE);
	nfs_enc_u32(&v->e, 0);
	return v4_run(v);
}

/* A client with a session. */
static inline struct v4 *v4_open(struct scene *s, const char *from, const char *owner)
{
	struct v4 *v = calloc(1, sizeof(*v));

	v->c = client_open(s, from);
	v->minor = 2;
	create_session(v, exchange_id(v, owner, 1));
	assert_int_equal(reclaim_complete(v), NFS4_ERR_NONE);
	return v;
}

static inline void v4_close(struct v4 *v)
{
	client_close(v->c);
	free(v);
}

/* ---- operations ---- */

static inline void put_stateid(struct v4 *v, const struct nfs4_stateid *id)
{
	nfs4_stateid_encode(&v->e, id);
}

static inline void put_fh(struct v4 *v, const struct fh *h)
{
	v4_op(v, NFS4_OP_PUTFH);
	nfs_enc_bytes(&v->e, h->b, h->len);
}

static inline void put_name(struct v4 *v, uint32_t op, const char *name)
{
	v4_op(v, op);
	nfs_enc_bytes(&v->e, name, (uint32_t)strlen(name));
}

static inline struct fh take_fh(struct v4 *v)
{
	struct fh h = {0};
	struct nfs_bytes b;

	v4_ok(v, NFS4_OP_GETFH);
	b = nfs_dec_bytes(&v->d, NFS4_FH_MAX);
	assert_non_null(b.p);
	h.len = b.len;
	if (b.p)
		memcpy(h.b, b.p, b.len);
	return h;
}

/* From the pseudo root, by up to two names. */
static inline uint32_t walk(struct v4 *v, const char *first, const char *second, struct fh *out)
{
	uint32_t status;

	*out = (struct fh){0};
	v4_start(v);
	v4_op(v, NFS4_OP_PUTROOTFH);
	if (first)
		put_name(v, NFS4_OP_LOOKUP, first);
	if (second)
		put_name(v, NFS4_OP_LOOKUP, second);
	v4_op(v, NFS4_OP_GETFH);
	status = v4_run(v);
	if (status)
		return status;
	v4_ok(v, NFS4_OP_PUTROOTFH);
	if (first)
		v4_ok(v, NFS4_OP_LOOKUP);
	if (second)
		v4_ok(v, NFS4_OP_LOOKUP);
	*out = take_fh(v);
	v4_end(v);
	return NFS4_ERR_NONE;
}

static inline struct fh root_of(struct v4 *v, const char *share)
{
	struct fh h;

	assert_int_equal(walk(v, share, NULL, &h), NFS4_ERR_NONE);
	return h;
}

enum { NO_CREATE = -1, EXCLUSIVE_1 = 3 }; /* besides createmode3 of libnfs */

static inline void put_mode(struct v4 *v, uint32_t mode)
{
	nfs_enc_u32(&v->e, 2); /* words of the bitmap */
	nfs_enc_u32(&v->e, 0);
	nfs_enc_u32(&v->e, 1 << 1);
	nfs_enc_u32(&v->e, 4);
	nfs_enc_u32(&v->e, mode);
}

static inline void put_open(struct v4 *v, const char *owner, uint32_t access, uint32_t deny,
			    int how, uint64_t verifier)
{
	v4_op(v, NFS4_OP_OPEN);
	nfs_enc_u32(&v->e, 0);
	nfs_enc_u32(&v->e, access);
	nfs_enc_u32(&v->e, deny);
	nfs_enc_u64(&v->e, v->clientid);
	nfs_enc_bytes(&v->e, owner, (uint32_t)strlen(owner));
	nfs_enc_u32(&v->e, how != NO_CREATE);
	if (how == NO_CREATE)
		return;
	nfs_enc_u32(&v->e, (uint32_t)how);
	if (how >= (int)EXCLUSIVE)
		nfs_enc_u64(&v->e, verifier);
	if (how != (int)EXCLUSIVE)
		put_mode(v, 0644);
}

static inline void take_stateid(struct v4 *v, struct nfs4_stateid *id)
{
	*id = nfs4_stateid_decode(&v->d);
	assert_false(v->d.bad);
}

/* Behind an OPEN's status. */
static inline void take_open(struct v4 *v, struct nfs4_stateid *id)
{
	take_stateid(v, id);
	v4_skip(v, 20 + 4); /* change_info, rflags */
	v4_skip(v, (size_t)nfs_dec_u32(&v->d) * 4);
	assert_int_equal(nfs_dec_u32(&v->d), 0); /* no delegation */
}

/* OPEN by name; out and id of what was opened. */
static inline uint32_t open_file(struct v4 *v, const struct fh *dir, const char *name,
				 const char *owner, uint32_t access, uint32_t deny, int how,
				 struct fh *out, struct nfs4_stateid *id)
{
	uint32_t status;

	v4_start(v);
	put_fh(v, dir);
	*out = (struct fh){0};
	*id = (struct nfs4_stateid){0};
	put_open(v, owner, access, deny, how, 77);
	nfs_enc_u32(&v->e, NFS4_CLAIM_NULL);
	nfs_enc_bytes(&v->e, name, (uint32_t)strlen(name));
	v4_op(v, NFS4_OP_GETFH);
	status = v4_run(v);
	if (status)
		return status;
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_OPEN);
	take_open(v, id);
	*out = take_fh(v);
	v4_end(v);
	return NFS4_ERR_NONE;
}

static inline uint32_t close_file(struct v4 *v, const struct fh *h, const struct nfs4_stateid *id)
{
	v4_start(v);
	put_fh(v, h);
	v4_op(v, NFS4_OP_CLOSE);
	nfs_enc_u32(&v->e, 0);
	put_stateid(v, id);
	return v4_run(v);
}

static inline uint32_t write_file(struct v4 *v, const struct fh *h, const struct nfs4_stateid *id,
				  uint64_t offset, const void *data, uint32_t n)
{
	uint32_t status;

	v4_start(v);
	put_fh(v, h);
	v4_op(v, NFS4_OP_WRITE);
	put_stateid(v, id);
	nfs_enc_u64(&v->e, offset);
	nfs_enc_u32(&v->e, 2);
	nfs_enc_bytes(&v->e, data, n);
	status = v4_run(v);
	if (status)
		return status;
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_WRITE);
	assert_int_equal(nfs_dec_u32(&v->d), n);
	assert_int_equal(nfs_dec_u32(&v->d), 2); /* FILE_SYNC4 */
	v4_skip(v, NFS4_VERIFIER_BYTES);
	v4_end(v);
	return NFS4_ERR_NONE;
}

/* data: room for n bytes; *got of them were read. */
static inline uint32_t read_file(struct v4 *v, const struct fh *h, const struct nfs4_stateid *id,
				 uint64_t offset, void *data, uint32_t n, uint32_t *got, bool *eof)
{
	struct nfs_bytes b;
	uint32_t status;

	v4_start(v);
	put_fh(v, h);
	v4_op(v, NFS4_OP_READ);
	put_stateid(v, id);
	nfs_enc_u64(&v->e, offset);
	nfs_enc_u32(&v->e, n);
	status = v4_run(v);
	if (status)
		return status;
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_READ);
	*eof = nfs_dec_bool(&v->d);
	b = nfs_dec_bytes(&v->d, n);
	v4_end(v);
	if (b.len)
		memcpy(data, b.p, b.len);
	*got = b.len;
	return NFS4_ERR_NONE;
}

/* One of LOCK with a new lock owner, LOCKT, LOCKU; id: open, none, lock. The lock's stateid is in
 * *id after LOCK and LOCKU. */
static inline uint32_t lock_file(struct v4 *v, const struct fh *h, struct nfs4_stateid *id,
				 const char *owner, uint32_t type, uint64_t offset, uint64_t length)
{
	uint32_t status;

	v4_start(v);
	put_fh(v, h);
	v4_op(v, NFS4_OP_LOCK);
	nfs_enc_u32(&v->e, type);
	nfs_enc_u32(&v->e, 0);
	nfs_enc_u64(&v->e, offset);
	nfs_enc_u64(&v->e, length);
	nfs_enc_u32(&v->e, owner != NULL);
	if (owner)
		nfs_enc_u32(&v->e, 0);
	put_stateid(v, id);
	nfs_enc_u32(&v->e, 0);
	if (owner) {
		nfs_enc_u64(&v->e, v->clientid);
		nfs_enc_bytes(&v->e, owner, (uint32_t)strlen(owner));
	}
	status = v4_run(v);
	if (status)
		return status;
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_LOCK);
	take_stateid(v, id);
	v4_end(v);
	return NFS4_ERR_NONE;
}

static inline uint32_t unlock_file(struct v4 *v, const struct fh *h, struct nfs4_stateid *id,
				   uint64_t offset, uint64_t length)
{
	uint32_t status;

	v4_start(v);
	put_fh(v, h);
	v4_op(v, NFS4_OP_LOCKU);
	nfs_enc_u32(&v->e, NFS4_WRITE_LT);
	nfs_enc_u32(&v->e, 0);
	put_stateid(v, id);
	nfs_enc_u64(&v->e, offset);
	nfs_enc_u64(&v->e, length);
	status = v4_run(v);
	if (status)
		return status;
	v4_ok(v, NFS4_OP_PUTFH);
	v4_ok(v, NFS4_OP_LOCKU);
	take_stateid(v, id);
	return NFS4_ERR_NONE;
}

/* One operation on a file without arguments that tests build themselves: PUTFH, then what put
 * adds. */
static inline uint32_t remove_file(struct v4 *v, const struct fh *dir, const char *name)
{
	v4_start(v);
	put_fh(v, dir);
	put_name(v, NFS4_OP_REMOVE, name);
	return v4_run(v);
}

#endif
