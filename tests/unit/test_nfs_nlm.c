/* Locks of NFSv3 over a real store: what NLM and NSM do and what they refuse. */
#include "tests/unit/nfs_server_scene.h"

#include "targets/nfs/nlm_format.h"

static void put(struct client *c, const void *p, u_int n)
{
	char *at = c->call + c->head + zdr_getpos(&c->enc);

	memcpy(at, p, n);
	assert_true(zdr_setpos(&c->enc, zdr_getpos(&c->enc) + n));
}

struct ask {
	const struct handle *file;
	const char *caller;
	uint32_t svid;
	bool exclusive;
	uint64_t offset, length;
};

/* TEST, LOCK, NM_LOCK, CANCEL or UNLOCK: its status. The cookie comes back. */
static uint32_t ask(struct client *c, uint32_t proc, const struct ask *a)
{
	bool lock = proc == NFS_NLM_LOCK || proc == NFS_NLM_NM_LOCK;
	uint8_t buf[512];
	struct nfs_enc e = {buf, buf + sizeof(buf), false};

	begin_call(c, NFS_NLM_PROG, 4, proc);
	nfs_enc_bytes(&e, "abcd", 4);
	if (lock || proc == NFS_NLM_CANCEL)
		nfs_enc_u32(&e, false);
	if (proc != NFS_NLM_UNLOCK)
		nfs_enc_u32(&e, a->exclusive);
	nfs_enc_bytes(&e, a->caller, (uint32_t)strlen(a->caller));
	nfs_enc_bytes(&e, a->file->b, a->file->len);
	nfs_enc_bytes(&e, "oh", 2);
	nfs_enc_u32(&e, a->svid);
	nfs_enc_u64(&e, a->offset);
	nfs_enc_u64(&e, a->length);
	if (lock) {
		nfs_enc_u32(&e, false);
		nfs_enc_u32(&e, 1);
	}
	assert_false(e.bad);
	put(c, buf, (u_int)(e.p - buf));
	exchange(c);
	assert_int_equal(reply_word(c, 6), 4);
	assert_memory_equal(c->reply + 28, "abcd", 4);
	return reply_word(c, 8);
}

static void restarted(struct client *c, uint32_t prog, uint32_t proc, const char *name)
{
	uint8_t buf[128];
	struct nfs_enc e = {buf, buf + sizeof(buf), false};

	begin_call(c, prog, prog == NFS_NLM_PROG ? 4 : 1, proc);
	nfs_enc_bytes(&e, name, (uint32_t)strlen(name));
	nfs_enc_u32(&e, 3);
	put(c, buf, (u_int)(e.p - buf));
	exchange(c);
	assert_int_equal(c->reply_len, 24);
}

static void locks(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *other = client_open(*state, "127.0.0.4");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "locked");
	struct ask mine = {&file, "a", 1, true, 10, 10}, theirs = {&file, "b", 2, false, 15, 0};

	assert_int_equal(ask(c, NFS_NLM_LOCK, &mine), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_LOCK, &theirs), NFS_NLM_DENIED);
	assert_int_equal(ask(other, NFS_NLM_NM_LOCK, &theirs), NFS_NLM_DENIED);
	assert_int_equal(ask(other, NFS_NLM_CANCEL, &theirs), NFS_NLM_DENIED);
	assert_int_equal(ask(other, NFS_NLM_TEST, &theirs), NFS_NLM_DENIED);
	assert_int_equal(reply_word(other, 9), true); /* exclusive */
	assert_int_equal(reply_word(other, 10), 1);   /* svid */
	assert_int_equal(reply_word(other, 14), 10);  /* offset */
	assert_int_equal(reply_word(other, 16), 10);  /* length */
	/* Nobody can unlock for others, whatever it calls itself. */
	assert_int_equal(ask(other, NFS_NLM_UNLOCK, &mine), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_TEST, &theirs), NFS_NLM_DENIED);
	assert_int_equal(ask(c, NFS_NLM_UNLOCK, &mine), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_TEST, &theirs), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_LOCK, &theirs), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_UNLOCK, &theirs), NFS_NLM_OK);
	client_close(other);
	client_close(c);
}

static void refused(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *reader = client_open(*state, "127.0.0.3"),
		      *stranger = client_open(*state, "127.0.0.9");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "refused"),
		      forged = file;
	struct ask a = {&file, "a", 1, true, 0, 0}, shared = {&file, "a", 1, false, 0, 0};

	assert_int_equal(ask(stranger, NFS_NLM_LOCK, &a), NFS_NLM_FAILED);
	assert_int_equal(ask(reader, NFS_NLM_LOCK, &a), NFS_NLM_ROFS);
	assert_int_equal(ask(reader, NFS_NLM_LOCK, &shared), NFS_NLM_OK);
	assert_int_equal(ask(reader, NFS_NLM_UNLOCK, &shared), NFS_NLM_OK);
	a.file = &root;
	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_FAILED); /* a directory */
	forged.b[forged.len - 1] ^= 1;
	a.file = &forged;
	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_STALE_FH);
	a = (struct ask){&file, "a", 1, true, UINT64_MAX, 2};
	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_FBIG);
	assert_int_equal(remove_name(c, &root, "refused"), NFS3_OK);
	a = (struct ask){&file, "a", 1, true, 0, 0};
	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_STALE_FH);
	begin_call(c, NFS_NLM_PROG, 4, 7); /* LOCK_MSG */
	send_call(c);
	assert_true(receive_reply(c));
	assert_int_equal(reply_word(c, 5), NFS_RPC_PROC_UNAVAIL);
	client_close(stranger);
	client_close(reader);
	client_close(c);
}

/* Who may neither read nor write it. */
static void no_right(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "private");
	struct ask a = {&file, "a", 1, true, 0, 0};
	SETATTR3args set = {.object = fh(&file)};
	SETATTR3res res;

	set.new_attributes.mode.set_it = 1;
	set.new_attributes.mode.set_mode3_u.mode = 0600;
	assert_int_equal(CALL(c, SETATTR, &set, &res), NFS3_OK);
	c->uid = c->gid = 1000;
	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_FAILED);
	assert_int_equal(ask(c, NFS_NLM_TEST, &a), NFS_NLM_FAILED);
	client_close(c);
}

static void restarts(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *other = client_open(*state, "127.0.0.4");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "restarts");
	struct ask a = {&file, "a", 1, true, 0, 1}, b = {&file, "b", 1, true, 1, 1};
	struct ask look_a = {&file, "c", 9, false, 0, 1}, look_b = {&file, "c", 9, false, 1, 1};

	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_OK);
	assert_int_equal(ask(c, NFS_NLM_LOCK, &b), NFS_NLM_OK);
	restarted(other, NFS_NLM_PROG, NFS_NLM_FREE_ALL, "a"); /* not of that address */
	assert_int_equal(ask(other, NFS_NLM_TEST, &look_a), NFS_NLM_DENIED);
	restarted(c, NFS_NLM_PROG, NFS_NLM_FREE_ALL, "a");
	assert_int_equal(ask(other, NFS_NLM_TEST, &look_a), NFS_NLM_OK);
	assert_int_equal(ask(other, NFS_NLM_TEST, &look_b), NFS_NLM_DENIED);
	restarted(c, NFS_NSM_PROG, NFS_NSM_NOTIFY, "unknown");
	assert_int_equal(ask(other, NFS_NLM_TEST, &look_b), NFS_NLM_OK);
	client_close(other);
	client_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(locks),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(no_right),
	    cmocka_unit_test(restarts),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
