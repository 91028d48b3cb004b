/* Locks of NFSv3 over a real store: what NLM and NSM do and what they refuse. */
#include "tests/unit/nlm_wire.h"

static void locks(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *other = client_open(*state, "127.0.0.4");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "locked");
	struct ask mine = bytes(&file, "a", 1, true, 10, 10),
		   theirs = bytes(&file, "b", 2, false, 15, 0);

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
	struct ask a = bytes(&file, "a", 1, true, 0, 0), shared = bytes(&file, "a", 1, false, 0, 0);

	assert_int_equal(ask(stranger, NFS_NLM_LOCK, &a), NFS_NLM_FAILED);
	assert_int_equal(ask(reader, NFS_NLM_LOCK, &a), NFS_NLM_ROFS);
	assert_int_equal(ask(reader, NFS_NLM_LOCK, &shared), NFS_NLM_OK);
	assert_int_equal(ask(reader, NFS_NLM_UNLOCK, &shared), NFS_NLM_OK);
	a.file = &root;
	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_FAILED); /* a directory */
	forged.b[forged.len - 1] ^= 1;
	a.file = &forged;
	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_STALE_FH);
	a = bytes(&file, "a", 1, true, UINT64_MAX, 2);
	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_FBIG);
	assert_int_equal(remove_name(c, &root, "refused"), NFS3_OK);
	a = bytes(&file, "a", 1, true, 0, 0);
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
	struct ask a = bytes(&file, "a", 1, true, 0, 0);
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

/* A file that is reserved by one, whoever asks with whichever version. */
static void shares(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *other = client_open(*state, "127.0.0.4"),
		      *reader = client_open(*state, "127.0.0.3");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "shared");
	struct ask a = {.file = &file, .caller = "a", .exclusive = true};

	enum { NONE, READ, WRITE };

	assert_int_equal(share(c, NFS_NLM_SHARE, &file, "1", WRITE, READ), NFS_NLM_OK);
	assert_int_equal(share(other, NFS_NLM_SHARE, &file, "1", NONE, WRITE), NFS_NLM_DENIED);
	assert_int_equal(share(other, NFS_NLM_SHARE, &file, "1", READ, NONE), NFS_NLM_DENIED);
	assert_int_equal(share(other, NFS_NLM_SHARE, &file, "1", NONE, READ), NFS_NLM_OK);
	/* Locks are something else, of the same owner too. */
	assert_int_equal(ask(c, NFS_NLM_LOCK, &a), NFS_NLM_OK);
	assert_int_equal(ask(c, NFS_NLM_UNLOCK, &a), NFS_NLM_OK);
	assert_int_equal(share(other, NFS_NLM_SHARE, &file, "2", NONE, WRITE), NFS_NLM_DENIED);
	/* The same owner says it anew; nobody ends it for others. */
	assert_int_equal(share(other, NFS_NLM_UNSHARE, &file, "2", NONE, NONE), NFS_NLM_OK);
	assert_int_equal(share(c, NFS_NLM_SHARE, &file, "1", READ, READ), NFS_NLM_DENIED);
	assert_int_equal(share(c, NFS_NLM_SHARE, &file, "1", NONE, READ), NFS_NLM_OK);
	assert_int_equal(share(other, NFS_NLM_SHARE, &file, "2", NONE, WRITE), NFS_NLM_OK);
	assert_int_equal(share(other, NFS_NLM_UNSHARE, &file, "2", NONE, WRITE), NFS_NLM_OK);
	assert_int_equal(share(other, NFS_NLM_UNSHARE, &file, "1", NONE, READ), NFS_NLM_OK);
	assert_int_equal(share(c, NFS_NLM_UNSHARE, &file, "1", NONE, READ), NFS_NLM_OK);
	assert_int_equal(share(c, NFS_NLM_SHARE, &file, "1", READ | WRITE, WRITE), NFS_NLM_OK);
	restarted(c, NFS_NLM_PROG, NFS_NLM_FREE_ALL, "a");
	assert_int_equal(share(other, NFS_NLM_SHARE, &file, "1", NONE, READ), NFS_NLM_OK);
	assert_int_equal(share(other, NFS_NLM_UNSHARE, &file, "1", NONE, READ), NFS_NLM_OK);
	/* Who may only read keeps nobody from writing. */
	assert_int_equal(share(reader, NFS_NLM_SHARE, &file, "1", WRITE, READ), NFS_NLM_ROFS);
	assert_int_equal(share(reader, NFS_NLM_SHARE, &file, "1", NONE, WRITE), NFS_NLM_ROFS);
	assert_int_equal(share(reader, NFS_NLM_SHARE, &file, "1", NONE, READ), NFS_NLM_OK);
	assert_int_equal(share(reader, NFS_NLM_UNSHARE, &file, "1", NONE, READ), NFS_NLM_OK);
	client_close(reader);
	client_close(other);
	client_close(c);
}

/* What a client's own status monitor is asked, and not a server's. */
static void monitor(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	uint8_t buf[16];
	struct nfs_enc e = {buf, buf + sizeof(buf), false};

	begin_call(c, NFS_NSM_PROG, 1, NFS_NSM_STAT);
	nfs_enc_bytes(&e, "host", 4);
	put(c, buf, (u_int)(e.p - buf));
	exchange(c);
	assert_int_equal(reply_word(c, 6), 1);	   /* STAT_FAIL */
	assert_int_equal(reply_word(c, 7) & 1, 1); /* up */
	for (uint32_t proc = NFS_NSM_MON; proc <= NFS_NSM_SIMU_CRASH; proc++) {
		begin_call(c, NFS_NSM_PROG, 1, proc);
		send_call(c);
		assert_true(receive_reply(c));
		assert_int_equal(reply_word(c, 5), NFS_RPC_PROC_UNAVAIL);
	}
	client_close(c);
}

static void restarts(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *other = client_open(*state, "127.0.0.4");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "restarts");
	struct ask a = bytes(&file, "a", 1, true, 0, 1), b = bytes(&file, "b", 1, true, 1, 1);
	struct ask look_a = bytes(&file, "c", 9, false, 0, 1),
		   look_b = bytes(&file, "c", 9, false, 1, 1);

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
	    cmocka_unit_test(locks),  cmocka_unit_test(refused), cmocka_unit_test(no_right),
	    cmocka_unit_test(shares), cmocka_unit_test(monitor), cmocka_unit_test(restarts),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
