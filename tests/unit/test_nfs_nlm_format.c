/*
 * NLM version 4 and NSM against libnfs's codecs: what these encode is decoded to the same, and what
 * we encode they decode. What libnfs does not know (SHARE as a whole, FREE_ALL) is put together
 * from parts that it does. Truncated and hostile input is refused.
 */
#include "targets/nfs/nlm_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <nfsc/libnfs-zdr.h>
#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-nlm.h>
#include <nfsc/libnfs-raw-nsm.h>

static uint8_t wire[8192];
static ZDR zdr;

static char cookie[5] = "\0\1\2\3\4";
static char handle[40] = "handle of a file ......................";
static char caller[] = "client.example", owner[] = "17@client";

static struct nfs_bytes bytes(const void *p, size_t n)
{
	return (struct nfs_bytes){p, (uint32_t)n};
}

static void assert_bytes(struct nfs_bytes b, const void *want, size_t n)
{
	assert_int_equal(b.len, n);
	assert_memory_equal(b.p, want, n);
}

#define LIBNFS(type, args) assert_true(zdr_##type(&zdr, args))

static void begin(void)
{
	libnfs_zdrmem_create(&zdr, (char *)wire, sizeof(wire), ZDR_ENCODE);
}

static bool decode(bool nsm, unsigned proc, const uint8_t *from, size_t n, struct nfs_nlm_args *a)
{
	struct nfs_dec d = {from, from + n, false};

	return nsm ? nfs_nsm_args_decode((enum nfs_nsm_proc)proc, &d, a)
		   : nfs_nlm_args_decode((enum nfs_nlm_proc)proc, &d, a);
}

/* No shorter input is taken for the same, nor a longer one; copies have no spare byte. */
static struct nfs_nlm_args decode_all(bool nsm, unsigned proc)
{
	size_t n = zdr_getpos(&zdr);
	struct nfs_nlm_args a = {0}, again;

	zdr_destroy(&zdr);
	for (size_t cut = 0; cut <= n + 4; cut++) {
		uint8_t *copy = test_malloc(cut + 1);

		memset(copy, 0, cut + 1);
		memcpy(copy, wire, VS_MIN(cut, n));
		assert_int_equal(decode(nsm, proc, copy, cut, &again), cut == n);
		test_free(copy);
	}
	assert_true(decode(nsm, proc, wire, n, &a));
	return a;
}

static nlm_cookie the_cookie(void)
{
	nlm_cookie c;

	c.data.data_len = sizeof(cookie);
	c.data.data_val = cookie;
	return c;
}

static nlm4_lock the_lock(void)
{
	nlm4_lock l = {0};

	l.caller_name = caller;
	l.fh.data.data_len = sizeof(handle);
	l.fh.data.data_val = handle;
	l.oh = owner;
	l.svid = 0xfffffff1;
	l.l_offset = UINT64_C(0x8000000000000001);
	l.l_len = UINT64_C(0x7000000000000002);
	return l;
}

static void assert_who(const struct nfs_nlm_lock *l)
{
	assert_bytes(l->caller, caller, strlen(caller));
	assert_bytes(l->file, handle, sizeof(handle));
	assert_bytes(l->owner, owner, strlen(owner));
}

static void assert_lock(const struct nfs_nlm_args *a)
{
	assert_bytes(a->cookie, cookie, sizeof(cookie));
	assert_who(&a->lock);
	assert_int_equal(a->lock.svid, 0xfffffff1);
	assert_true(a->lock.offset == UINT64_C(0x8000000000000001));
	assert_true(a->lock.length == UINT64_C(0x7000000000000002));
}

static void arguments(void **state)
{
	NLM4_LOCKargs lock = {the_cookie(), 1, 0, the_lock(), 1, 77};
	NLM4_CANCargs cancel = {the_cookie(), 0, 1, the_lock()};
	NLM4_TESTargs test = {the_cookie(), 1, the_lock()};
	NLM4_UNLOCKargs unlock = {the_cookie(), the_lock()};
	static const enum nfs_nlm_proc locks[] = {NFS_NLM_LOCK, NFS_NLM_NM_LOCK};
	struct nfs_nlm_args a;

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(locks); i++) {
		begin();
		LIBNFS(NLM4_LOCKargs, &lock);
		a = decode_all(false, locks[i]);
		assert_lock(&a);
		assert_true(a.block && !a.exclusive && a.reclaim);
		assert_int_equal(a.state, 77);
	}
	begin();
	LIBNFS(NLM4_CANCargs, &cancel);
	a = decode_all(false, NFS_NLM_CANCEL);
	assert_lock(&a);
	assert_true(!a.block && a.exclusive);
	begin();
	LIBNFS(NLM4_TESTargs, &test);
	a = decode_all(false, NFS_NLM_TEST);
	assert_lock(&a);
	assert_true(a.exclusive);
	begin();
	LIBNFS(NLM4_UNLOCKargs, &unlock);
	a = decode_all(false, NFS_NLM_UNLOCK);
	assert_lock(&a);
	begin();
	decode_all(false, NFS_NLM_NULL);
}

static void arguments_of_shares(void **state)
{
	static const enum nfs_nlm_proc procs[] = {NFS_NLM_SHARE, NFS_NLM_UNSHARE};
	nlm_cookie c = the_cookie();
	nlm4_share share = {0};
	uint32_t reclaim = 1;
	struct nfs_nlm_args a;

	(void)state;
	share.caller_name = caller;
	share.fh = the_lock().fh;
	share.oh = owner;
	share.mode = 2;
	share.access = 3;
	for (size_t i = 0; i < VS_ARRAY_LEN(procs); i++) {
		begin();
		LIBNFS(nlm_cookie, &c);
		LIBNFS(nlm4_share, &share);
		assert_true(libnfs_zdr_bool(&zdr, &reclaim));
		a = decode_all(false, procs[i]);
		assert_bytes(a.cookie, cookie, sizeof(cookie));
		assert_who(&a.lock);
		assert_int_equal(a.mode, 2);
		assert_int_equal(a.access, 3);
		assert_true(a.reclaim);
	}
}

static void arguments_of_restarts(void **state)
{
	NSM1_NOTIFYargs notify = {caller, 41};
	NSM1_STATargs stat = {caller};
	struct nfs_nlm_args a;

	(void)state;
	begin();
	LIBNFS(NSM1_NOTIFYargs, &notify);
	a = decode_all(true, NFS_NSM_NOTIFY);
	assert_bytes(a.name, caller, strlen(caller));
	assert_int_equal(a.state, 41);
	begin();
	LIBNFS(NSM1_NOTIFYargs, &notify); /* nlm4_notify is the same */
	a = decode_all(false, NFS_NLM_FREE_ALL);
	assert_bytes(a.name, caller, strlen(caller));
	assert_int_equal(a.state, 41);
	begin();
	LIBNFS(NSM1_STATargs, &stat);
	a = decode_all(true, NFS_NSM_STAT);
	assert_bytes(a.name, caller, strlen(caller));
}

/* Messages, numbers without a procedure, and what is not answered have no decoder. */
static void procedures_that_are_not(void **state)
{
	struct nfs_nlm_args a;

	(void)state;
	for (unsigned proc = 6; proc < NFS_NLM_SHARE; proc++)
		assert_false(decode(false, proc, wire, 0, &a));
	assert_false(decode(false, NFS_NLM_PROCS, wire, 0, &a));
	assert_false(decode(false, UINT32_MAX, wire, 0, &a));
	for (unsigned proc = NFS_NSM_MON; proc < NFS_NSM_NOTIFY; proc++)
		assert_false(decode(true, proc, wire, 0, &a));
	assert_false(decode(true, NFS_NSM_PROCS, wire, 0, &a));
}

static void hostile_lengths(void **state)
{
	static const uint32_t lengths[] = {1025, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
	/* Where lengths lie in TEST's arguments, and what is the most there. */
	static const struct {
		size_t at;
		uint32_t most;
	} fields[] = {{0, 1024}, {16, 1024}, {36, 64}, {80, 1024}};
	NLM4_TESTargs test = {the_cookie(), 1, the_lock()};
	uint8_t good[256];
	struct nfs_nlm_args a;
	size_t n;

	(void)state;
	begin();
	LIBNFS(NLM4_TESTargs, &test);
	n = zdr_getpos(&zdr);
	zdr_destroy(&zdr);
	assert_true(n <= sizeof(good));
	memcpy(good, wire, n);
	for (size_t i = 0; i < VS_ARRAY_LEN(fields); i++) {
		assert_true(vs_get_be32(good + fields[i].at) <= fields[i].most);
		for (size_t j = 0; j < VS_ARRAY_LEN(lengths); j++) {
			memset(wire, 0, sizeof(wire));
			memcpy(wire, good, n);
			vs_put_be32(wire + fields[i].at, lengths[j]);
			assert_false(decode(false, NFS_NLM_TEST, wire, sizeof(wire), &a));
		}
	}
	memcpy(wire, good, n);
	vs_put_be32(wire + 12, 2); /* exclusive: neither true nor false */
	assert_false(decode(false, NFS_NLM_TEST, wire, n, &a));
}

/* What is as long as it may be is taken, with one byte more it is not. */
static void limits(void **state)
{
	static uint8_t big[NFS_NLM_NETOBJ_MAX + 1]; /* NULs are bytes like others */
	struct nfs_nlm_args a = {0}, out;
	const struct {
		struct nfs_bytes *sent, *got;
		uint32_t most;
	} fields[] = {
	    {&a.cookie, &out.cookie, NFS_NLM_NETOBJ_MAX},
	    {&a.lock.caller, &out.lock.caller, NFS_NLM_NAME_MAX},
	    {&a.lock.file, &out.lock.file, NFS_HANDLE_MAX},
	    {&a.lock.owner, &out.lock.owner, NFS_NLM_NETOBJ_MAX},
	};

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(fields); i++)
		*fields[i].sent = bytes(big, 0);
	for (size_t i = 0; i < VS_ARRAY_LEN(fields); i++) {
		for (uint32_t n = fields[i].most; n <= fields[i].most + 1; n++) {
			struct nfs_enc e = {wire, wire + sizeof(wire), false};
			bool fits = n <= fields[i].most;

			*fields[i].sent = bytes(big, n);
			nfs_nlm_granted_encode(&e, &a);
			assert_false(e.bad);
			assert_int_equal(
			    decode(false, NFS_NLM_GRANTED, wire, (size_t)(e.p - wire), &out), fits);
			if (fits)
				assert_bytes(*fields[i].got, big, n);
		}
		*fields[i].sent = bytes(big, 0);
	}
}

static void ranges(void **state)
{
	static const struct {
		uint64_t offset, length, first, last;
		enum nfs_nlm_status status;
	} cases[] = {
	    {0, 0, 0, UINT64_MAX, NFS_NLM_OK},
	    {5, 0, 5, UINT64_MAX, NFS_NLM_OK},
	    {UINT64_MAX, 0, UINT64_MAX, UINT64_MAX, NFS_NLM_OK},
	    {UINT64_MAX, 1, UINT64_MAX, UINT64_MAX, NFS_NLM_OK},
	    {UINT64_MAX, 2, 0, 0, NFS_NLM_FBIG},
	    {0, 1, 0, 0, NFS_NLM_OK},
	    {0, UINT64_MAX, 0, UINT64_MAX - 1, NFS_NLM_OK},
	    {1, UINT64_MAX, 1, UINT64_MAX, NFS_NLM_OK},
	    {2, UINT64_MAX, 0, 0, NFS_NLM_FBIG},
	    {UINT64_C(1) << 63, UINT64_C(1) << 63, UINT64_C(1) << 63, UINT64_MAX, NFS_NLM_OK},
	    {(UINT64_C(1) << 63) + 1, UINT64_C(1) << 63, 0, 0, NFS_NLM_FBIG},
	};

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(cases); i++) {
		struct nfs_nlm_lock l = {.offset = cases[i].offset, .length = cases[i].length};
		uint64_t first, last;

		assert_int_equal(nfs_nlm_range(&l, &first, &last), cases[i].status);
		if (cases[i].status)
			continue;
		assert_true(first == cases[i].first);
		assert_true(last == cases[i].last);
	}
}

/* ---- what we encode ---- */

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

static void results(void **state)
{
	static const enum nlmstat4 theirs[] = {
	    NLM4_GRANTED, NLM4_DENIED, NLM4_DENIED_NOLOCKS, NLM4_BLOCKED, NLM4_DENIED_GRACE_PERIOD,
	    NLM4_DEADLCK, NLM4_ROFS,   NLM4_STALE_FH,	    NLM4_FBIG,	  NLM4_FAILED};
	struct nfs_bytes got;
	enum nfs_nlm_status status;

	(void)state;
	for (unsigned i = 0; i < VS_ARRAY_LEN(theirs); i++) {
		struct nfs_enc e = {wire, wire + sizeof(wire), false};
		NLM4_LOCKres r = {0};
		struct nfs_dec d;

		nfs_nlm_res_encode(&e, bytes(cookie, sizeof(cookie)), (enum nfs_nlm_status)i);
		begin_decode(&e);
		LIBNFS(NLM4_LOCKres, &r);
		assert_bytes(bytes(r.cookie.data.data_val, r.cookie.data.data_len), cookie,
			     sizeof(cookie));
		assert_int_equal(r.status, theirs[i]);
		end_decode(&e);
		d = (struct nfs_dec){wire, e.p, false};
		assert_true(nfs_nlm_granted_decode(&d, &got, &status));
		assert_bytes(got, cookie, sizeof(cookie));
		assert_int_equal(status, i);
		e.p[-1] = NFS_NLM_FAILED + 1;
		d = (struct nfs_dec){wire, e.p, false};
		assert_false(nfs_nlm_granted_decode(&d, &got, &status));
	}
}

static void result_of_test(void **state)
{
	struct nfs_nlm_holder h = {
	    .exclusive = true,
	    .svid = 12,
	    .owner = bytes(owner, strlen(owner)),
	    .first = 1000,
	    .last = 1999,
	};
	struct nfs_enc e = {wire, wire + sizeof(wire), false};
	NLM4_TESTres r = {0};
	nlm4_holder *got = &r.reply.nlm4_testreply_u.lock.holder;

	(void)state;
	nfs_nlm_test_encode(&e, bytes(cookie, sizeof(cookie)), NFS_NLM_DENIED, &h);
	begin_decode(&e);
	LIBNFS(NLM4_TESTres, &r);
	assert_int_equal(r.reply.status, NLM4_DENIED);
	assert_int_equal(got->exclusive, 1);
	assert_int_equal(got->svid, 12);
	assert_string_equal(got->oh, owner);
	assert_int_equal(got->l_offset, 1000);
	assert_int_equal(got->l_len, 1000);
	end_decode(&e);
	h.last = UINT64_MAX; /* to the end is length 0 */
	e.p = wire;
	nfs_nlm_test_encode(&e, bytes(cookie, sizeof(cookie)), NFS_NLM_DENIED, &h);
	assert_int_equal(vs_get_be64(e.p - 8), 0);
	e.p = wire;
	nfs_nlm_test_encode(&e, bytes(cookie, sizeof(cookie)), NFS_NLM_OK, NULL);
	begin_decode(&e);
	LIBNFS(NLM4_TESTres, &r);
	assert_int_equal(r.reply.status, NLM4_GRANTED);
	end_decode(&e);
}

static void result_of_share(void **state)
{
	static const uint8_t want[] = {0, 0, 0, 5, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0};
	struct nfs_enc e = {wire, wire + sizeof(wire), false};

	(void)state;
	nfs_nlm_share_encode(&e, bytes(cookie, sizeof(cookie)), NFS_NLM_STALE_FH);
	assert_int_equal(e.p - wire, sizeof(want));
	assert_memory_equal(wire, want, sizeof(want));
}

static void callbacks(void **state)
{
	struct nfs_nlm_args a = {
	    .cookie = bytes(cookie, sizeof(cookie)),
	    .exclusive = true,
	    .lock = {bytes(caller, strlen(caller)), bytes(handle, sizeof(handle)),
		     bytes(owner, strlen(owner)), 33, 1 << 20, 0},
	};
	struct nfs_enc e = {wire, wire + sizeof(wire), false};
	NLM4_GRANTEDargs g = {0};
	NSM1_NOTIFYargs n = {0};
	NSM1_STATres s = {0};

	(void)state;
	nfs_nlm_granted_encode(&e, &a);
	begin_decode(&e);
	LIBNFS(NLM4_GRANTEDargs, &g);
	assert_int_equal(g.exclusive, 1);
	assert_string_equal(g.lock.caller_name, caller);
	assert_int_equal(g.lock.fh.data.data_len, sizeof(handle));
	assert_string_equal(g.lock.oh, owner);
	assert_int_equal(g.lock.svid, 33);
	assert_int_equal(g.lock.l_offset, 1 << 20);
	assert_int_equal(g.lock.l_len, 0);
	end_decode(&e);
	e.p = wire;
	nfs_nsm_notify_encode(&e, a.lock.caller, 9);
	begin_decode(&e);
	LIBNFS(NSM1_NOTIFYargs, &n);
	assert_string_equal(n.mon_name, caller);
	assert_int_equal(n.state, 9);
	end_decode(&e);
	e.p = wire;
	nfs_nsm_refused_encode(&e, 9);
	begin_decode(&e);
	LIBNFS(NSM1_STATres, &s);
	assert_int_equal(s.res, NSM_STAT_FAIL);
	assert_int_equal(s.state, 9);
	end_decode(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(arguments),
	    cmocka_unit_test(arguments_of_shares),
	    cmocka_unit_test(arguments_of_restarts),
	    cmocka_unit_test(procedures_that_are_not),
	    cmocka_unit_test(hostile_lengths),
	    cmocka_unit_test(limits),
	    cmocka_unit_test(ranges),
	    cmocka_unit_test(results),
	    cmocka_unit_test(result_of_test),
	    cmocka_unit_test(result_of_share),
	    cmocka_unit_test(callbacks),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
