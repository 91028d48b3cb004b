/*
 * What clients send: RPC headers, and NFSv3 arguments as libnfs encodes them. They must be decoded
 * to the same; truncated and hostile input is refused.
 */
#include "targets/nfs/nfs3_format.h"
#include "targets/nfs/rpc_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <nfsc/libnfs-zdr.h>
#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-nfs.h>

static uint8_t wire[8192];
static ZDR zdr;

/* ---- RPC ---- */

static const uint8_t call_head[] = {
    0x12, 0x34, 0x56, 0x78, 0,	 0,   0,   0,	0,   0, 0, 2, /* xid, CALL, version */
    0,	  1,	0x86, 0xa3, 0,	 0,   0,   3,	0,   0, 0, 6, /* program, version, proc */
    0,	  0,	0,    1,    0,	 0,   0,   36,	1,   2, 3, 4, /* AUTH_SYS, length, stamp */
    0,	  0,	0,    5,    'h', 'e', 'l', 'l', 'o', 0, 0, 0, /* machine */
    0,	  0,	3,    0xe8, 0,	 0,   0,   100, 0,   0, 0, 2,
    0,	  0,	0,    7,    0,	 0,   0,   0, /* ids, groups */
    0,	  0,	0,    0,    0,	 0,   0,   0, /* verifier */
};

static enum nfs_rpc_verdict decode_call(const uint8_t *from, size_t n, struct nfs_rpc_call *call,
					enum nfs_rpc_auth *auth)
{
	struct nfs_dec d = {from, from + n, false};
	enum nfs_rpc_verdict v = nfs_rpc_decode(&d, call, auth);

	if (v == NFS_RPC_CALL)
		assert_ptr_equal(d.p, from + n);
	return v;
}

static void rpc_call(void **state)
{
	struct nfs_rpc_call call;
	enum nfs_rpc_auth auth;

	(void)state;
	assert_int_equal(decode_call(call_head, sizeof(call_head), &call, &auth), NFS_RPC_CALL);
	assert_int_equal(call.xid, 0x12345678);
	assert_int_equal(call.prog, NFS3_PROG);
	assert_int_equal(call.vers, 3);
	assert_int_equal(call.proc, NFS3_PROC_READ);
	assert_int_equal(call.cred.uid, 1000);
	assert_int_equal(call.cred.gid, 100);
	assert_int_equal(call.cred.ngroups, 2);
	assert_int_equal(call.cred.group[0], 7);
	for (size_t n = 0; n < sizeof(call_head); n++)
		assert_int_not_equal(decode_call(call_head, n, &call, &auth), NFS_RPC_CALL);
}

static void rpc_refused(void **state)
{
	/* A byte of the head that is changed, and what comes of it. */
	static const struct {
		size_t at;
		uint8_t byte;
		enum nfs_rpc_verdict verdict;
		enum nfs_rpc_auth auth;
	} cases[] = {
	    {7, 1, NFS_RPC_BAD, 0},			    /* a reply */
	    {11, 3, NFS_RPC_MISMATCH, 0},		    /* RPC version 3 */
	    {27, 6, NFS_RPC_DENIED, NFS_RPC_AUTH_TOOWEAK},  /* RPCSEC_GSS */
	    {31, 32, NFS_RPC_DENIED, NFS_RPC_AUTH_BADCRED}, /* groups end behind it */
	    {30, 2, NFS_RPC_DENIED, NFS_RPC_AUTH_BADCRED},  /* 548 bytes of it */
	    {28, 0xff, NFS_RPC_DENIED, NFS_RPC_AUTH_BADCRED},
	    {38, 1, NFS_RPC_DENIED, NFS_RPC_AUTH_BADCRED},  /* a long machine name */
	    {59, 17, NFS_RPC_DENIED, NFS_RPC_AUTH_BADCRED}, /* groups */
	    {59, 1, NFS_RPC_DENIED, NFS_RPC_AUTH_BADCRED},  /* something is left over */
	    {74, 2, NFS_RPC_DENIED, NFS_RPC_AUTH_BADVERF},
	};
	struct nfs_rpc_call call;
	enum nfs_rpc_auth auth = NFS_RPC_AUTH_OK;
	uint8_t bad[sizeof(call_head)];

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(cases); i++) {
		memcpy(bad, call_head, sizeof(bad));
		bad[cases[i].at] = cases[i].byte;
		assert_int_equal(decode_call(bad, sizeof(bad), &call, &auth), cases[i].verdict);
		if (cases[i].verdict == NFS_RPC_DENIED)
			assert_int_equal(auth, cases[i].auth);
	}
}

static void rpc_replies(void **state)
{
	static const uint8_t want[] = {0x80, 0, 0, 32, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
				       0,    0, 0, 0,  0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3};
	static const uint8_t denied[] = {9, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1};
	uint8_t buf[NFS_RPC_HEAD_MAX];
	struct nfs_enc e = {buf, buf + sizeof(buf), false};

	(void)state;
	nfs_rpc_prog_mismatch(&e, 9, 3, 3);
	assert_false(e.bad);
	nfs_rpc_mark(buf, (uint32_t)(e.p - buf) - 4);
	assert_int_equal(e.p - buf, sizeof(want));
	assert_memory_equal(buf, want, sizeof(want));
	e.p = buf;
	nfs_rpc_denied(&e, 9, NFS_RPC_AUTH_BADCRED);
	assert_int_equal(e.p - buf, 24);
	assert_memory_equal(buf + 7, denied, sizeof(denied));
	e.p = buf;
	nfs_rpc_mismatch(&e, 9);
	assert_int_equal(e.p - buf, 28);
	assert_int_equal(vs_get_be32(buf + 12), 1);
	assert_int_equal(vs_get_be32(buf + 16), 0);
	assert_int_equal(vs_get_be32(buf + 20), 2);
	e.end = buf + 20;
	e.p = buf;
	nfs_rpc_mismatch(&e, 9);
	assert_true(e.bad);
}

/* ---- arguments, encoded by libnfs ---- */

static char handle_a[40] = "handle of a file ......................";
static char handle_b[12] = "another....";

/*
 * Decodes what libnfs has encoded. No shorter input is taken for the same, nor a longer one, and
 * nothing is read beyond the input (the copy has no spare byte: the sanitizers see it).
 */
static struct nfs3_args decode_args(enum nfs3_proc proc)
{
	static uint8_t exact[sizeof(wire)];
	size_t n = zdr_getpos(&zdr);
	struct nfs3_args a = {0}, again;

	zdr_destroy(&zdr);
	memcpy(exact, wire, n);
	for (size_t cut = 0; cut <= n + 4; cut++) {
		uint8_t *copy = test_malloc(cut + 1);
		struct nfs_dec d = {copy, copy + cut, false};

		memcpy(copy, exact, VS_MIN(cut, n));
		memset(copy + n, 0, cut > n ? cut - n : 0);
		again = a;
		assert_int_equal(nfs3_args_decode(proc, &d, &again), cut == n);
		test_free(copy);
	}
	struct nfs_dec d = {exact, exact + n, false};
	assert_true(nfs3_args_decode(proc, &d, &a));
	return a;
}

#define ENCODE(type, args)                                                          \
	do {                                                                        \
		libnfs_zdrmem_create(&zdr, (char *)wire, sizeof(wire), ZDR_ENCODE); \
		assert_true(zdr_##type(&zdr, args));                                \
	} while (0)

static void assert_bytes(struct nfs_bytes b, const void *want, size_t n)
{
	assert_int_equal(b.len, n);
	assert_memory_equal(b.p, want, n);
}

static nfs_fh3 fh(char *p, unsigned n)
{
	nfs_fh3 h;

	h.data.data_len = n;
	h.data.data_val = p;
	return h;
}

static sattr3 some_attributes(void)
{
	sattr3 s = {0};

	s.mode.set_it = 1;
	s.mode.set_mode3_u.mode = 0100644;
	s.gid.set_it = 1;
	s.gid.set_gid3_u.gid = 77;
	s.size.set_it = 1;
	s.size.set_size3_u.size = UINT64_C(1) << 40;
	s.atime.set_it = SET_TO_SERVER_TIME;
	s.mtime.set_it = SET_TO_CLIENT_TIME;
	s.mtime.set_mtime_u.mtime = (nfstime3){5, 6};
	return s;
}

static void assert_attributes(const struct ds_set *s)
{
	assert_int_equal(s->what,
			 DS_SET_MODE | DS_SET_GID | DS_SET_SIZE | DS_SET_ATIME_NOW | DS_SET_MTIME);
	assert_int_equal(s->mode, 0644);
	assert_int_equal(s->gid, 77);
	assert_int_equal(s->size, UINT64_C(1) << 40);
	assert_int_equal(s->mtime, INT64_C(5000000006));
}

static void args_of_files(void **state)
{
	SETATTR3args set = {fh(handle_a, 40), some_attributes(), {1, {{9, 8}}}};
	READ3args read = {fh(handle_a, 40), UINT64_C(1) << 45, 65536};
	WRITE3args write = {fh(handle_b, 12), 3, 5, DATA_SYNC, {5, (char *)"bytes"}};
	ACCESS3args access = {fh(handle_a, 40), 0x3f};
	GETATTR3args get = {fh(handle_b, 0)};
	COMMIT3args commit = {fh(handle_a, 40), 7, 9};
	struct nfs3_args a;

	(void)state;
	ENCODE(SETATTR3args, &set);
	a = decode_args(NFS3_PROC_SETATTR);
	assert_bytes(a.file, handle_a, 40);
	assert_attributes(&a.set);
	assert_true(a.guarded);
	assert_int_equal(a.guard_ctime, INT64_C(9000000008));
	ENCODE(READ3args, &read);
	a = decode_args(NFS3_PROC_READ);
	assert_int_equal(a.offset, UINT64_C(1) << 45);
	assert_int_equal(a.count, 65536);
	ENCODE(WRITE3args, &write);
	a = decode_args(NFS3_PROC_WRITE);
	assert_bytes(a.file, handle_b, 12);
	assert_bytes(a.data, "bytes", 5);
	assert_int_equal(a.stable, NFS3_DATA_SYNC);
	assert_int_equal(a.count, 5);
	ENCODE(ACCESS3args, &access);
	assert_int_equal(decode_args(NFS3_PROC_ACCESS).access, 0x3f);
	ENCODE(GETATTR3args, &get);
	assert_int_equal(decode_args(NFS3_PROC_GETATTR).file.len, 0);
	ENCODE(COMMIT3args, &commit);
	a = decode_args(NFS3_PROC_COMMIT);
	assert_int_equal(a.offset, 7);
	assert_int_equal(a.count, 9);
}

static void args_of_names(void **state)
{
	CREATE3args create = {.where = {fh(handle_a, 40), (char *)"name"}, .how.mode = GUARDED};
	MKNOD3args node = {.where = {fh(handle_a, 40), (char *)"dev"}, .what.type = NF3CHR};
	SYMLINK3args link = {{fh(handle_a, 40), (char *)"l"}, {some_attributes(), (char *)"a/b"}};
	RENAME3args rename = {{fh(handle_a, 40), (char *)"from"}, {fh(handle_b, 12), (char *)""}};
	LINK3args hard = {fh(handle_b, 12), {fh(handle_a, 40), (char *)"hard"}};
	struct nfs3_args a;

	(void)state;
	create.how.createhow3_u.g_obj_attributes = some_attributes();
	ENCODE(CREATE3args, &create);
	a = decode_args(NFS3_PROC_CREATE);
	assert_bytes(a.name, "name", 4);
	assert_int_equal(a.how, DS_GUARDED);
	assert_attributes(&a.set);
	create.how.mode = EXCLUSIVE;
	memcpy(create.how.createhow3_u.verf, "\1\2\3\4\5\6\7\10", 8);
	ENCODE(CREATE3args, &create);
	a = decode_args(NFS3_PROC_CREATE);
	assert_int_equal(a.how, DS_EXCLUSIVE);
	assert_int_equal(a.create_verifier, UINT64_C(0x0102030405060708));
	assert_int_equal(a.set.what, 0);
	node.what.mknoddata3_u.chr_device.dev_attributes = some_attributes();
	node.what.mknoddata3_u.chr_device.spec = (specdata3){8, 1};
	ENCODE(MKNOD3args, &node);
	a = decode_args(NFS3_PROC_MKNOD);
	assert_int_equal(a.type, DS_CHR);
	assert_int_equal(a.major, 8);
	assert_int_equal(a.minor, 1);
	node.what.type = NF3FIFO;
	node.what.mknoddata3_u.pipe_attributes = some_attributes();
	ENCODE(MKNOD3args, &node);
	assert_int_equal(decode_args(NFS3_PROC_MKNOD).type, DS_FIFO);
	ENCODE(SYMLINK3args, &link);
	a = decode_args(NFS3_PROC_SYMLINK);
	assert_int_equal(a.type, DS_LNK);
	assert_bytes(a.data, "a/b", 3);
	assert_attributes(&a.set);
	ENCODE(RENAME3args, &rename);
	a = decode_args(NFS3_PROC_RENAME);
	assert_bytes(a.other, handle_b, 12);
	assert_int_equal(a.other_name.len, 0);
	ENCODE(LINK3args, &hard);
	a = decode_args(NFS3_PROC_LINK);
	assert_bytes(a.file, handle_b, 12);
	assert_bytes(a.other, handle_a, 40);
	assert_bytes(a.name, "hard", 4);
}

static void args_of_directories(void **state)
{
	READDIRPLUS3args plus = {fh(handle_a, 40), 99, "verifie", 512, 4096};
	READDIR3args dir = {fh(handle_a, 40), 98, "verifie", 2048};
	struct nfs3_args a;

	(void)state;
	ENCODE(READDIRPLUS3args, &plus);
	a = decode_args(NFS3_PROC_READDIRPLUS);
	assert_int_equal(a.cookie, 99);
	assert_memory_equal(a.verifier, "verifie", 8);
	assert_int_equal(a.dircount, 512);
	assert_int_equal(a.count, 4096);
	ENCODE(READDIR3args, &dir);
	a = decode_args(NFS3_PROC_READDIR);
	assert_int_equal(a.cookie, 98);
	assert_int_equal(a.count, 2048);
}

/* Words in place of those of GETATTR's handle length, WRITE's stable_how and the like. */
static void args_refused(void **state)
{
	static const struct {
		enum nfs3_proc proc;
		uint8_t bytes[64];
		size_t n;
	} cases[] = {
	    {NFS3_PROC_GETATTR, {0, 0, 0, 65}, 64},	       /* longer than any handle */
	    {NFS3_PROC_GETATTR, {0xff, 0xff, 0xff, 0xf0}, 64}, /* libnfs takes these three */
	    {NFS3_PROC_GETATTR, {0x80, 0, 0, 0}, 64},
	    {NFS3_PROC_GETATTR, {0x7f, 0xff, 0xff, 0xff}, 64},
	    {NFS3_PROC_LOOKUP, {0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 64},
	    {NFS3_PROC_LOOKUP, {0, 0, 0, 0, 0, 0, 4, 1}, 64},
	    {NFS3_PROC_WRITE, {[19] = 3}, 24}, /* stable_how */
	    {NFS3_PROC_WRITE, {[20] = 0xff, 0xff, 0xff, 0xff}, 28},
	    {NFS3_PROC_CREATE, {[11] = 3}, 36},				   /* createmode3 */
	    {NFS3_PROC_MKDIR, {[11] = 2}, 32},				   /* a boolean */
	    {NFS3_PROC_MKDIR, {[27] = 3}, 32},				   /* time_how */
	    {NFS3_PROC_MKDIR, {[27] = 2, [32] = 0x3b, 0x9a, 0xca, 0}, 40}, /* 10^9 ns */
	};

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(cases); i++) {
		struct nfs_dec d = {cases[i].bytes, cases[i].bytes + cases[i].n, false};
		struct nfs3_args a;

		assert_false(nfs3_args_decode(cases[i].proc, &d, &a));
	}
}

static void node_types(void **state)
{
	static const uint8_t dir[12] = {[11] = NF3DIR}, unknown[12] = {[11] = 99};
	struct nfs_dec d = {dir, dir + 12, false};
	struct nfs3_args a;

	(void)state;
	assert_true(nfs3_args_decode(NFS3_PROC_MKNOD, &d, &a));
	assert_int_equal(a.type, DS_NONE);
	d = (struct nfs_dec){unknown, unknown + 12, false};
	assert_true(nfs3_args_decode(NFS3_PROC_MKNOD, &d, &a));
	assert_int_equal(a.type, DS_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rpc_call),	     cmocka_unit_test(rpc_refused),
	    cmocka_unit_test(rpc_replies),   cmocka_unit_test(args_of_files),
	    cmocka_unit_test(args_of_names), cmocka_unit_test(args_of_directories),
	    cmocka_unit_test(args_refused),  cmocka_unit_test(node_types),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
