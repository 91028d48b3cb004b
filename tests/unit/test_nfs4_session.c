/* Compounds, clients and sessions of NFSv4 over the wire: what may be said when, and only once. */
#include "tests/unit/nfs4_scene.h"

/* ---- compounds ---- */

static void minor_versions(void **state)
{
	struct v4 v = {.c = client_open(*state, "127.0.0.1")};

	for (uint32_t minor = 0; minor < 4; minor++) {
		v.minor = minor;
		v4_begin(&v);
		put_exchange_id(&v, "minor", 1, 0);
		assert_int_equal(v4_go(&v), minor == 1 || minor == 2
						? NFS4_ERR_NONE
						: NFS4_ERR_MINOR_VERS_MISMATCH);
		assert_int_equal(v.nresults, v.status ? 0 : 1);
	}
	v.minor = 1;
	v4_begin(&v); /* nothing to do */
	assert_int_equal(v4_go(&v), NFS4_ERR_NONE);
	assert_int_equal(v.nresults, 0);
	begin_call(v.c, NFS3_PROG, 4, 0);
	exchange(v.c);
	assert_int_equal(v.c->reply_len, 24);
	begin_call(v.c, NFS3_PROG, 5, 0);
	send_call(v.c);
	assert_true(receive_reply(v.c));
	assert_int_equal(reply_word(v.c, 5), NFS_RPC_PROG_MISMATCH);
	assert_int_equal(reply_word(v.c, 6), 3);
	assert_int_equal(reply_word(v.c, 7), 4);
	client_close(v.c);
}

static void order(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "order");

	v4_begin(v);
	v4_op(v, NFS4_OP_PUTROOTFH);
	assert_int_equal(v4_go(v), NFS4_ERR_OP_NOT_IN_SESSION);
	v4_begin(v);
	put_exchange_id(v, "order", 1, 0);
	v4_op(v, NFS4_OP_PUTROOTFH);
	assert_int_equal(v4_go(v), NFS4_ERR_NOT_ONLY_OP);
	v4_start(v);
	v4_sequence(v);
	assert_int_equal(v4_run(v), NFS4_ERR_SEQUENCE_POS);
	v4_start(v);
	v4_op(v, NFS4_OP_GETFH);
	assert_int_equal(v4_run(v), NFS4_ERR_NOFILEHANDLE);
	v4_start(v);
	v4_op(v, NFS4_OP_RESTOREFH);
	assert_int_equal(v4_run(v), NFS4_ERR_NOFILEHANDLE);
	v4_start(v);
	v4_op(v, 2);
	assert_int_equal(v4_run(v), NFS4_ERR_OP_ILLEGAL);
	assert_int_equal(v4_result(v, NFS4_OP_ILLEGAL), NFS4_ERR_OP_ILLEGAL);
	v4_start(v);
	v4_op(v, NFS4_OPS);
	assert_int_equal(v4_run(v), NFS4_ERR_OP_ILLEGAL);
	v4_start(v);
	v4_op(v, NFS4_OP_LAYOUTGET);
	assert_int_equal(v4_run(v), NFS4_ERR_NOTSUPP);
	assert_int_equal(v4_result(v, NFS4_OP_LAYOUTGET), NFS4_ERR_NOTSUPP);
	v4_start(v);
	v4_op(v, NFS4_OP_LOOKUP); /* without its name */
	assert_int_equal(v4_run(v), NFS4_ERR_BADXDR);
	v->minor = 1;
	v4_start(v);
	v4_op(v, NFS4_OP_SEEK);
	assert_int_equal(v4_run(v), NFS4_ERR_OP_ILLEGAL);
	/* What comes behind a failure is not carried out. */
	v4_start(v);
	v4_op(v, NFS4_OP_PUTROOTFH);
	put_name(v, NFS4_OP_LOOKUP, "none");
	v4_op(v, NFS4_OP_GETFH);
	assert_int_equal(v4_run(v), NFS4_ERR_NOENT);
	assert_int_equal(v->nresults, 3);
	v4_close(v);
}

static void limits(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "limits");

	v4_start(v);
	for (unsigned i = 0; i < 31; i++)
		v4_op(v, NFS4_OP_PUTROOTFH);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	assert_int_equal(v->nresults, 32);
	v4_start(v);
	for (unsigned i = 0; i < 32; i++)
		v4_op(v, NFS4_OP_PUTROOTFH);
	assert_int_equal(v4_go(v), NFS4_ERR_TOO_MANY_OPS);
	v->seqid[0]--; /* it was not let through */
	/* More than fits a kept reply, and then more than fits any. */
	v->cache = true;
	v4_start(v);
	v4_op(v, NFS4_OP_PUTROOTFH);
	v4_op(v, NFS4_OP_READDIR);
	nfs_enc_u64(&v->e, 0);
	nfs_enc_u64(&v->e, 0);
	nfs_enc_u32(&v->e, 0);
	nfs_enc_u32(&v->e, 8192);
	nfs_enc_u32(&v->e, 0);
	assert_int_equal(v4_run(v), NFS4_ERR_REP_TOO_BIG_TO_CACHE);
	v->cache = false;
	v->channel = 2048;
	create_session(v, 2);
	v4_start(v);
	v4_op(v, NFS4_OP_PUTROOTFH);
	v4_op(v, NFS4_OP_READDIR);
	nfs_enc_u64(&v->e, 0);
	nfs_enc_u64(&v->e, 0);
	nfs_enc_u32(&v->e, 0);
	nfs_enc_u32(&v->e, 2048);
	nfs_enc_u32(&v->e, 0);
	assert_int_equal(v4_run(v), NFS4_ERR_REP_TOO_BIG);
	v4_begin(v);
	v->seqid[0]++;
	v4_sequence(v);
	for (unsigned i = 0; i < 500; i++)
		nfs_enc_u32(&v->e, 0); /* behind the operations; still of the request */
	assert_int_equal(v4_go(v), NFS4_ERR_REQ_TOO_BIG);
	v4_close(v);
}

/* ---- slots ---- */

/* A request that is repeated has the same answer, byte for byte, and is not carried out again. */
static void repeated(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "repeated"), *other;
	struct fh root = root_of(v, "one");
	static char first[1 << 16];
	size_t len;

	v->cache = true;
	v4_start(v);
	put_fh(v, &root);
	v4_op(v, NFS4_OP_CREATE);
	nfs_enc_u32(&v->e, 2); /* NF4DIR */
	nfs_enc_bytes(&v->e, "once", 4);
	put_mode(v, 0755);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	len = v->c->reply_len;
	memcpy(first, v->c->reply, len);
	/* On another connection, as after the first was lost. */
	other = calloc(1, sizeof(*other));
	other->c = client_open(*state, "127.0.0.1");
	send_all(other->c, v->sent, v->sent_len);
	assert_true(receive_reply(other->c));
	assert_int_equal(other->c->reply_len, len);
	assert_memory_equal(other->c->reply, first, len);
	/* The same number with something else */
	v4_begin(v);
	v4_sequence(v);
	put_fh(v, &root);
	put_name(v, NFS4_OP_REMOVE, "once");
	assert_int_equal(v4_go(v), NFS4_ERR_SEQ_FALSE_RETRY);
	/* Numbers out of order */
	v->seqid[0] += 2;
	v4_begin(v);
	v4_sequence(v);
	assert_int_equal(v4_go(v), NFS4_ERR_SEQ_MISORDERED);
	v->seqid[0] -= 3;
	v4_begin(v);
	v4_sequence(v);
	assert_int_equal(v4_go(v), NFS4_ERR_SEQ_MISORDERED);
	v->seqid[0]++;
	assert_int_equal(remove_file(v, &root, "once"), NFS4_ERR_NONE);
	v4_close(other);
	v4_close(v);
}

/* One whose answer was not kept is not carried out again either. */
static void uncached(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "uncached");
	struct fh h;

	assert_int_equal(walk(v, "one", NULL, &h), NFS4_ERR_NONE);
	send_all(v->c, v->sent, v->sent_len);
	v4_receive(v);
	assert_int_equal(v->status, NFS4_ERR_RETRY_UNCACHED_REP);
	v4_sequenced(v);
	assert_int_equal(v4_result(v, NFS4_OP_PUTROOTFH), NFS4_ERR_RETRY_UNCACHED_REP);
	v4_end(v);
	/* SEQUENCE alone is always kept. */
	v4_start(v);
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	send_all(v->c, v->sent, v->sent_len);
	v4_receive(v);
	assert_int_equal(v->status, NFS4_ERR_NONE);
	v->slot = 4;
	v4_begin(v);
	v4_op(v, NFS4_OP_SEQUENCE);
	nfs_enc_fixed(&v->e, v->session, NFS4_SESSION_BYTES);
	for (unsigned i = 0; i < 4; i++)
		nfs_enc_u32(&v->e, i < 3 ? 4 : 0);
	assert_int_equal(v4_go(v), NFS4_ERR_BADSLOT);
	v->slot = 0;
	v->session[15] ^= 1;
	v4_start(v);
	assert_int_equal(v4_go(v), NFS4_ERR_BADSESSION);
	v4_close(v);
}

/* ---- sessions ---- */

static void sessions(void **state)
{
	struct v4 *v = v4_open(*state, "127.0.0.1", "sessions"), *w;
	uint8_t own[NFS4_SESSION_BYTES];

	/* A second connection uses the session as well. */
	w = calloc(1, sizeof(*w));
	*w = *v;
	w->c = client_open(*state, "127.0.0.1");
	v4_begin(w);
	v4_op(w, NFS4_OP_BIND_CONN_TO_SESSION);
	nfs_enc_fixed(&w->e, w->session, NFS4_SESSION_BYTES);
	nfs_enc_u32(&w->e, 3); /* CDFC4_FORE_OR_BOTH */
	nfs_enc_u32(&w->e, 0);
	assert_int_equal(v4_go(w), NFS4_ERR_NONE);
	v4_ok(w, NFS4_OP_BIND_CONN_TO_SESSION);
	v4_skip(w, NFS4_SESSION_BYTES);
	assert_int_equal(nfs_dec_u32(&w->d), 1); /* CDFS4_FORE */
	w->slot = 1;
	v4_start(w);
	assert_int_equal(v4_run(w), NFS4_ERR_NONE);
	/* Only once */
	assert_int_equal(reclaim_complete(v), NFS4_ERR_COMPLETE_ALREADY);
	/* With a session a client stays */
	v4_begin(w);
	v4_op(w, NFS4_OP_DESTROY_CLIENTID);
	nfs_enc_u64(&w->e, v->clientid);
	assert_int_equal(v4_go(w), NFS4_ERR_CLIENTID_BUSY);
	/* A compound that ends its own session at its end */
	memcpy(own, v->session, sizeof(own));
	v4_start(v);
	v4_op(v, NFS4_OP_DESTROY_SESSION);
	nfs_enc_fixed(&v->e, own, sizeof(own));
	v4_op(v, NFS4_OP_PUTROOTFH);
	assert_int_equal(v4_run(v), NFS4_ERR_NOT_ONLY_OP);
	v4_start(v);
	v4_op(v, NFS4_OP_DESTROY_SESSION);
	nfs_enc_fixed(&v->e, own, sizeof(own));
	assert_int_equal(v4_run(v), NFS4_ERR_NONE);
	v4_start(v);
	assert_int_equal(v4_go(v), NFS4_ERR_BADSESSION);
	v4_begin(w);
	v4_op(w, NFS4_OP_DESTROY_CLIENTID);
	nfs_enc_u64(&w->e, v->clientid);
	assert_int_equal(v4_go(w), NFS4_ERR_NONE);
	v4_begin(w);
	put_create_session(w, 2);
	assert_int_equal(v4_go(w), NFS4_ERR_STALE_CLIENTID);
	v4_close(w);
	v4_close(v);
}

/* CREATE_SESSION is carried out once, too. */
static void session_repeated(void **state)
{
	struct v4 v = {.c = client_open(*state, "127.0.0.1"), .minor = 1};
	uint32_t seqid = exchange_id(&v, "again", 5);
	uint8_t id[NFS4_SESSION_BYTES];

	assert_int_equal(seqid, 1);
	v4_begin(&v);
	put_create_session(&v, 3);
	assert_int_equal(v4_go(&v), NFS4_ERR_SEQ_MISORDERED);
	create_session(&v, seqid);
	memcpy(id, v.session, sizeof(id));
	create_session(&v, seqid);
	assert_memory_equal(id, v.session, sizeof(id));
	create_session(&v, seqid + 1);
	assert_memory_not_equal(id, v.session, sizeof(id));
	client_close(v.c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(minor_versions),	cmocka_unit_test(order),
	    cmocka_unit_test(limits),		cmocka_unit_test(repeated),
	    cmocka_unit_test(uncached),		cmocka_unit_test(sessions),
	    cmocka_unit_test(session_repeated),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
