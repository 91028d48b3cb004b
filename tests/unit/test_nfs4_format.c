/*
 * Arguments of NFSv4: what libnfs encodes of minor version 0 is decoded to the same; of what came
 * later the bytes are here. All of it is refused when it ends too early, at every byte.
 */
#include "targets/nfs/nfs4_attr_format.h"
#include "targets/nfs/nfs4_keep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <nfsc/libnfs-zdr.h>
#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-nfs4.h>

static uint8_t wire[8192];

/* Decodes n bytes; and fewer, of which it must say that they are not all. The input lies at the end
 * of memory of its own, so that ASan sees who reads behind it. */
static struct nfs4_args decode(enum nfs4_op op, const uint8_t *from, size_t n)
{
	struct nfs4_args a = {0};
	struct nfs_dec d = {from, from + n, false};

	for (size_t less = 0; less < n; less++) {
		uint8_t *copy = malloc(less + !less);
		struct nfs_dec short_d = {copy, copy + less, false};

		memcpy(copy, from, less);
		assert_false(nfs4_args_decode(op, &short_d, &a));
		free(copy);
	}
	memset(&a, 0, sizeof(a));
	assert_true(nfs4_args_decode(op, &d, &a));
	assert_ptr_equal(d.p, from + n);
	return a;
}

/* What libnfs makes of the arguments, without the operation's number. */
static struct nfs4_args witness(nfs_argop4 *op)
{
	ZDR zdr;
	size_t n;

	libnfs_zdrmem_create(&zdr, (char *)wire, sizeof(wire), ZDR_ENCODE);
	assert_true(zdr_nfs_argop4(&zdr, op));
	n = (size_t)zdr_getpos(&zdr);
	zdr_destroy(&zdr);
	return decode((enum nfs4_op)op->argop, wire + 4, n - 4);
}

static bool is(struct nfs_bytes b, const char *text)
{
	return b.len == strlen(text) && memcmp(b.p, text, b.len) == 0;
}

static uint32_t bits[3] = {0x12, 0x34, 0x56};
static char values[] = "valu";

static fattr4 attributes(void)
{
	fattr4 f;

	f.attrmask.bitmap4_len = 3;
	f.attrmask.bitmap4_val = bits;
	f.attr_vals.attrlist4_len = 4;
	f.attr_vals.attrlist4_val = values;
	return f;
}

static void check_attributes(const struct nfs4_fattr *f)
{
	assert_memory_equal(f->mask.w, bits, sizeof(bits));
	assert_true(is(f->values, "valu"));
}

#define TEXT(field, text)                                  \
	do {                                               \
		(field##_len) = (u_int)strlen(text);       \
		(field##_val) = (char *)(uintptr_t)(text); \
	} while (0)

static void opens(void **state)
{
	nfs_argop4 op = {.argop = OP_OPEN};
	OPEN4args *o = &op.nfs_argop4_u.opopen;
	struct nfs4_args a;

	(void)state;
	o->share_access = 3;
	o->share_deny = 2;
	o->owner.clientid = 0x1122334455667788;
	TEXT(o->owner.owner.owner, "an owner");
	o->openhow.opentype = OPEN4_CREATE;
	o->openhow.openflag4_u.how.mode = GUARDED4;
	o->openhow.openflag4_u.how.createhow4_u.createattrs = attributes();
	o->claim.claim = CLAIM_NULL;
	TEXT(o->claim.open_claim4_u.file.utf8string, "name");
	a = witness(&op);
	assert_int_equal(a.access, 3);
	assert_int_equal(a.deny, 2);
	assert_int_equal(a.clientid, 0x1122334455667788);
	assert_true(is(a.owner, "an owner"));
	assert_true(a.create);
	assert_int_equal(a.how, DS_GUARDED);
	check_attributes(&a.attrs);
	assert_true(is(a.name, "name"));
	o->openhow.openflag4_u.how.mode = EXCLUSIVE4;
	memcpy(o->openhow.openflag4_u.how.createhow4_u.createverf, "verifier", 8);
	a = witness(&op);
	assert_int_equal(a.how, DS_EXCLUSIVE);
	assert_int_equal(a.verifier, 0x7665726966696572);
	assert_int_equal(a.attrs.values.len, 0);
	o->openhow.opentype = OPEN4_NOCREATE;
	o->claim.claim = CLAIM_PREVIOUS;
	o->claim.open_claim4_u.delegate_type = OPEN_DELEGATE_NONE;
	a = witness(&op);
	assert_false(a.create);
	assert_int_equal(a.claim, NFS4_CLAIM_PREVIOUS);
}

static void locks(void **state)
{
	nfs_argop4 op = {.argop = OP_LOCK};
	LOCK4args *l = &op.nfs_argop4_u.oplock;
	open_to_lock_owner4 *to = &l->locker.locker4_u.open_owner;
	struct nfs4_args a;

	(void)state;
	l->locktype = READW_LT;
	l->reclaim = 1;
	l->offset = 5;
	l->length = UINT64_MAX;
	l->locker.new_lock_owner = 1;
	to->open_stateid.seqid = 9;
	memcpy(to->open_stateid.other, "other bytes!", 12);
	to->lock_owner.clientid = 77;
	TEXT(to->lock_owner.owner.owner, "locker");
	a = witness(&op);
	assert_int_equal(a.type, NFS4_READW_LT);
	assert_true(a.reclaim);
	assert_int_equal(a.offset, 5);
	assert_int_equal(a.length, UINT64_MAX);
	assert_true(a.fresh_owner);
	assert_int_equal(a.stateid.seqid, 9);
	assert_memory_equal(a.stateid.other, "other bytes!", 12);
	assert_true(is(a.owner, "locker"));
	l->locker.new_lock_owner = 0;
	l->locker.locker4_u.lock_owner.lock_stateid = (stateid4){3, "twelve bytes"};
	a = witness(&op);
	assert_false(a.fresh_owner);
	assert_memory_equal(a.stateid.other, "twelve bytes", 12);
	op.argop = OP_LOCKU;
	op.nfs_argop4_u.oplocku =
	    (LOCKU4args){.locktype = WRITE_LT, .lock_stateid.seqid = 4, .offset = 6, .length = 7};
	a = witness(&op);
	assert_int_equal(a.stateid.seqid, 4);
	assert_int_equal(a.offset, 6);
	assert_int_equal(a.length, 7);
	op.argop = OP_LOCKT;
	op.nfs_argop4_u.oplockt = (LOCKT4args){.locktype = WRITE_LT, .offset = 6, .length = 7};
	TEXT(op.nfs_argop4_u.oplockt.owner.owner.owner, "tester");
	a = witness(&op);
	assert_true(is(a.owner, "tester"));
}

static void files(void **state)
{
	nfs_argop4 op = {.argop = OP_CREATE};
	CREATE4args *c = &op.nfs_argop4_u.opcreate;
	struct nfs4_args a;

	(void)state;
	c->objtype.type = NF4LNK;
	TEXT(c->objtype.createtype4_u.linkdata.utf8string, "to/there");
	TEXT(c->objname.utf8string, "link");
	c->createattrs = attributes();
	a = witness(&op);
	assert_int_equal(a.type, DS_LNK);
	assert_true(is(a.data, "to/there"));
	assert_true(is(a.name, "link"));
	check_attributes(&a.attrs);
	c->objtype.type = NF4CHR;
	c->objtype.createtype4_u.devdata = (specdata4){4, 64};
	a = witness(&op);
	assert_int_equal(a.type, DS_CHR);
	assert_int_equal(a.major, 4);
	assert_int_equal(a.minor, 64);
	op.argop = OP_READDIR;
	op.nfs_argop4_u.opreaddir = (READDIR4args){.cookie = 99, .dircount = 11, .maxcount = 22};
	op.nfs_argop4_u.opreaddir.attr_request.bitmap4_len = 3;
	op.nfs_argop4_u.opreaddir.attr_request.bitmap4_val = bits;
	a = witness(&op);
	assert_int_equal(a.cookie, 99);
	assert_int_equal(a.dircount, 11);
	assert_int_equal(a.count, 22);
	assert_memory_equal(a.mask.w, bits, sizeof(bits));
	op.argop = OP_RENAME;
	TEXT(op.nfs_argop4_u.oprename.oldname.utf8string, "old");
	TEXT(op.nfs_argop4_u.oprename.newname.utf8string, "newer");
	a = witness(&op);
	assert_true(is(a.name, "old"));
	assert_true(is(a.other_name, "newer"));
	op.argop = OP_WRITE;
	op.nfs_argop4_u.opwrite = (WRITE4args){.offset = 3, .stable = DATA_SYNC4};
	TEXT(op.nfs_argop4_u.opwrite.data.data, "some data");
	a = witness(&op);
	assert_int_equal(a.offset, 3);
	assert_int_equal(a.stable, 1);
	assert_true(is(a.data, "some data"));
	op.argop = OP_SETATTR;
	op.nfs_argop4_u.opsetattr = (SETATTR4args){.stateid.seqid = 8};
	op.nfs_argop4_u.opsetattr.obj_attributes = attributes();
	a = witness(&op);
	assert_int_equal(a.stateid.seqid, 8);
	check_attributes(&a.attrs);
	op.argop = OP_CLOSE;
	op.nfs_argop4_u.opclose = (CLOSE4args){.seqid = 5, .open_stateid.seqid = 6};
	assert_int_equal(witness(&op).stateid.seqid, 6);
	op.argop = OP_OPEN_DOWNGRADE;
	op.nfs_argop4_u.opopen_downgrade =
	    (OPEN_DOWNGRADE4args){.open_stateid.seqid = 6, .share_access = 1, .share_deny = 2};
	a = witness(&op);
	assert_int_equal(a.stateid.seqid, 6);
	assert_int_equal(a.access, 1);
	assert_int_equal(a.deny, 2);
	op.argop = OP_PUTFH;
	TEXT(op.nfs_argop4_u.opputfh.object.nfs_fh4, "a handle");
	assert_true(is(witness(&op).handle, "a handle"));
	op.argop = OP_COMMIT;
	op.nfs_argop4_u.opcommit = (COMMIT4args){8, 9};
	a = witness(&op);
	assert_int_equal(a.offset, 8);
	assert_int_equal(a.count, 9);
}

/* ---- operations of minor versions 1 and 2 ---- */

/* Words that are the arguments of an operation, and what is counted up in them. */
static struct nfs4_args words(enum nfs4_op op, const uint32_t *w, size_t n)
{
	struct nfs_enc e = {wire, wire + sizeof(wire), false};

	for (size_t i = 0; i < n; i++)
		nfs_enc_u32(&e, w[i]);
	return decode(op, wire, 4 * n);
}

#define WORDS(op, ...) \
	words(op, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

static void sessions(void **state)
{
	struct nfs4_args a;

	(void)state;
	/* verifier, owner, flags, SP4_NONE, client_impl_id of "ab", "cd" */
	a = WORDS(NFS4_OP_EXCHANGE_ID, 1, 2, 5, 0x61626364, 0x65000000, 0x103, 0, 1, 2, 0x61620000,
		  2, 0x63640000, 0, 7, 8);
	assert_int_equal(a.verifier, UINT64_C(0x100000002));
	assert_true(is(a.owner, "abcde"));
	assert_int_equal(a.flags, 0x103);
	a = WORDS(NFS4_OP_EXCHANGE_ID, 1, 2, 1, 0x61000000, 0, 2);
	assert_int_equal(a.protect, 2);
	/* AUTH_NONE, AUTH_SYS with two groups, RPCSEC_GSS */
	a = WORDS(NFS4_OP_CREATE_SESSION, 1, 2, 3, 4, 0, 10, 11, 12, 13, 14, 0, 0, 20, 21, 22, 23,
		  24, 1, 99, 1234, 3, 0, 1, 5, 1, 0x61000000, 6, 7, 2, 8, 9, 6, 1, 0, 1,
		  0x62000000);
	assert_int_equal(a.clientid, UINT64_C(0x100000002));
	assert_int_equal(a.seqid, 3);
	assert_int_equal(a.flags, 4);
	assert_int_equal(a.fore.max_request, 10);
	assert_int_equal(a.fore.max_reply, 11);
	assert_int_equal(a.fore.max_cached, 12);
	assert_int_equal(a.fore.max_ops, 13);
	assert_int_equal(a.fore.slots, 14);
	assert_int_equal(a.back.slots, 24);
	a = WORDS(NFS4_OP_SEQUENCE, 1, 2, 3, 4, 5, 6, 7, 1);
	assert_int_equal(a.session[15], 4);
	assert_int_equal(a.seqid, 5);
	assert_int_equal(a.slot, 6);
	assert_int_equal(a.highest_slot, 7);
	assert_true(a.cache);
	a = WORDS(NFS4_OP_BIND_CONN_TO_SESSION, 1, 2, 3, 4, 7, 0);
	assert_int_equal(a.what, 7);
	a = WORDS(NFS4_OP_TEST_STATEID, 2, 1, 2, 3, 4, 5, 6, 7, 8);
	assert_int_equal(a.ntested, 2);
	assert_int_equal(a.tested[31], 8);
	assert_int_equal(WORDS(NFS4_OP_FREE_STATEID, 5, 1, 2, 3).stateid.seqid, 5);
	assert_int_equal(WORDS(NFS4_OP_DESTROY_CLIENTID, 0, 9).clientid, 9);
	assert_int_equal(WORDS(NFS4_OP_DESTROY_SESSION, 1, 2, 3, 4).session[3], 1);
	assert_true(WORDS(NFS4_OP_RECLAIM_COMPLETE, 1).one_fs);
	assert_int_equal(WORDS(NFS4_OP_SECINFO_NO_NAME, 1).what, 1);
	(void)WORDS(NFS4_OP_BACKCHANNEL_CTL, 5, 1, 0);
	/* OPEN with EXCLUSIVE4_1, by the current filehandle */
	a = WORDS(NFS4_OP_OPEN, 0, 1, 0, 0, 7, 1, 0x61000000, 1, 3, 8, 9, 1, 16, 0, 4);
	assert_int_equal(a.claim, NFS4_CLAIM_FH);
	assert_true(a.exclusive4_1);
	assert_int_equal(a.verifier, UINT64_C(0x800000009));
	assert_int_equal(a.attrs.mask.w[0], 16);
}

static void ranges(void **state)
{
	struct nfs4_args a;

	(void)state;
	a = WORDS(NFS4_OP_ALLOCATE, 1, 2, 3, 4, 0, 5, 0, 6);
	assert_int_equal(a.offset, 5);
	assert_int_equal(a.length, 6);
	(void)WORDS(NFS4_OP_DEALLOCATE, 1, 2, 3, 4, 0, 5, 0, 6);
	a = WORDS(NFS4_OP_SEEK, 1, 2, 3, 4, 0, 5, 1);
	assert_int_equal(a.what, 1);
	a = WORDS(NFS4_OP_READ_PLUS, 1, 2, 3, 4, 0, 5, 6);
	assert_int_equal(a.count, 6);
	a = WORDS(NFS4_OP_CLONE, 1, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 4, 0, 5);
	assert_int_equal(a.other_stateid.seqid, 1);
	assert_int_equal(a.stateid.seqid, 2);
	assert_int_equal(a.other_offset, 3);
	assert_int_equal(a.offset, 4);
	assert_int_equal(a.length, 5);
	/* With a server by its name and one by its address */
	a = WORDS(NFS4_OP_COPY, 1, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 4, 0, 5, 1, 0, 2, 1, 1, 0x61000000,
		  3, 3, 0x74637000, 1, 0x62000000);
	assert_int_equal(a.nservers, 2);
	a = WORDS(NFS4_OP_IO_ADVISE, 1, 2, 3, 4, 0, 5, 0, 6, 1, 2);
	assert_int_equal(a.mask.w[0], 2);
}

/* Lengths that cannot be, and values that there are not. */
static void hostile(void **state)
{
	static const struct {
		enum nfs4_op op;
		uint32_t w[16];
		unsigned n;
	} cases[] = {
	    {NFS4_OP_LOOKUP, {0xffffffff, 0, 0}, 3},
	    {NFS4_OP_LOOKUP, {NFS4_NAME_BYTES + 1}, 16},
	    {NFS4_OP_PUTFH, {NFS4_FH_MAX + 1}, 16},
	    {NFS4_OP_GETATTR, {17}, 16},
	    {NFS4_OP_GETATTR, {0xffffffff}, 16},
	    {NFS4_OP_VERIFY, {1, 1, 0xfffffffc}, 16},
	    {NFS4_OP_TEST_STATEID, {NFS4_TESTED_MAX + 1}, 16},
	    {NFS4_OP_TEST_STATEID, {0x10000001, 0, 0, 0, 0}, 5},
	    {NFS4_OP_RECLAIM_COMPLETE, {2}, 1},
	    {NFS4_OP_LOCKT, {0}, 16},
	    {NFS4_OP_LOCKT, {5}, 16},
	    {NFS4_OP_OPEN, {0, 1, 0, 0, 7, 0, 2}, 16},
	    {NFS4_OP_OPEN, {0, 1, 0, 0, 7, 0, 1, 4}, 16},
	    {NFS4_OP_OPEN, {0, 1, 0, 0, 7, 0, 0, 7}, 16},
	    {NFS4_OP_EXCHANGE_ID, {1, 2, NFS4_OPAQUE_MAX + 1}, 16},
	    {NFS4_OP_EXCHANGE_ID, {1, 2, 1, 0, 0, 3}, 16},
	    {NFS4_OP_BACKCHANNEL_CTL, {5, 17}, 16},
	    {NFS4_OP_BACKCHANNEL_CTL, {5, 1, 2}, 16}, /* a flavor that is not known */
	    {NFS4_OP_WRITE, {1, 0, 0, 0, 0, 0, 3}, 16},
	};

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(cases); i++) {
		struct nfs_enc e = {wire, wire + sizeof(wire), false};
		struct nfs_dec d = {wire, wire + (size_t)cases[i].n * 4, false};
		struct nfs4_args a;

		for (unsigned k = 0; k < cases[i].n; k++)
			nfs_enc_u32(&e, cases[i].w[k]);
		assert_false(nfs4_args_decode(cases[i].op, &d, &a));
	}
	/* Bits beyond what is kept are noticed. */
	assert_true(WORDS(NFS4_OP_GETATTR, 4, 0, 0, 0, 1).mask.beyond);
	assert_false(WORDS(NFS4_OP_GETATTR, 4, 0, 0, 0, 0).mask.beyond);
}

/* ---- attributes ---- */

static enum nfs4_status set_of(struct nfs4_bitmap mask, const void *list, uint32_t n,
			       struct ds_set *set)
{
	const struct nfs4_fattr f = {mask, {list, n}};

	return nfs4_attrs_set_decode(&f, true, set);
}

/* What is encoded of a file, set to another, makes the same of that. */
static void attributes_round(void **state)
{
	static const struct ds_attr a = {.handle = {77, 5, 0},
					 .type = DS_REG,
					 .mode = 04755,
					 .uid = 4294967295,
					 .gid = 10,
					 .size = UINT64_C(1) << 40,
					 .mtime = -1,
					 .atime = 1700000000123456789};
	const struct nfs4_attr_source from = {.attr = &a, .minor2 = true};
	const struct nfs4_bitmap mask = {{1 << 4, 1 << 1 | 1 << 4 | 1 << 5, 0}, false};
	struct nfs_enc e = {wire, wire + sizeof(wire), false};
	struct nfs_dec d;
	struct nfs_bytes list;
	struct ds_set set;

	(void)state;
	nfs4_attrs_encode(&e, &mask, &from);
	d = (struct nfs_dec){wire, e.p, false};
	assert_int_equal(nfs_dec_u32(&d), 2);
	assert_int_equal(nfs_dec_u64(&d), (uint64_t)mask.w[0] << 32 | mask.w[1]);
	list = nfs_dec_bytes(&d, 1000);
	assert_true(nfs_dec_ok(&d));
	assert_int_equal(set_of(mask, list.p, list.len, &set), NFS4_ERR_NONE);
	assert_int_equal(set.what, DS_SET_SIZE | DS_SET_MODE | DS_SET_UID | DS_SET_GID);
	assert_int_equal(set.size, a.size);
	assert_int_equal(set.mode, a.mode);
	assert_int_equal(set.uid, a.uid);
	assert_int_equal(set.gid, a.gid);
	for (uint32_t n = 0; n < list.len; n++)
		assert_int_not_equal(set_of(mask, list.p, n, &set), NFS4_ERR_NONE);
}

static void attributes_set(void **state)
{
	static const struct nfs4_bitmap mtime = {{0, 1 << 22, 0}, false};
	static const struct nfs4_bitmap owner = {{0, 1 << 4, 0}, false};
	static const struct nfs4_bitmap clone = {{0, 0, 1 << 13}, false};
	static const uint8_t before[] = {0,   0,   0,	1,   255, 255, 255, 255,
					 255, 255, 255, 254, 0,	  0,   0,   5};
	static const uint8_t late[] = {0,   0,	 0,   1,   127, 255, 255, 255,
				       255, 255, 255, 254, 0,	0,   0,	  5};
	static const uint8_t many[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255};
	static const uint8_t big[] = {0,   0,	0,   10,  '4', '2', '9', '4',
				      '9', '6', '7', '2', '9', '6', 0,	 0};
	struct nfs4_fattr f = {clone, {big, 4}};
	struct ds_set set;

	(void)state;
	assert_int_equal(set_of(mtime, before, 16, &set), NFS4_ERR_NONE);
	assert_int_equal(set.what, DS_SET_MTIME);
	assert_int_equal(set.mtime, -1999999995);
	assert_int_equal(set_of(mtime, late, 16, &set), NFS4_ERR_INVAL);
	assert_int_equal(set_of(mtime, many, 16, &set), NFS4_ERR_INVAL);
	assert_int_equal(set_of(mtime, big + 14, 0, &set), NFS4_ERR_BADXDR);
	assert_int_equal(set_of(mtime, (uint8_t[4]){0}, 4, &set), NFS4_ERR_NONE);
	assert_int_equal(set.what, DS_SET_MTIME_NOW);
	assert_int_equal(set_of(owner, big, 16, &set), NFS4_ERR_BADOWNER); /* 2^32 */
	assert_int_equal(set_of(clone, big, 4, &set), NFS4_ERR_INVAL);
	assert_int_equal(nfs4_attrs_set_decode(&f, false, &set), NFS4_ERR_ATTRNOTSUPP);
	assert_int_equal(nfs4_attrs_verifiable(&f, true), NFS4_ERR_NONE);
	assert_int_equal(nfs4_attrs_verifiable(&f, false), NFS4_ERR_ATTRNOTSUPP);
	f.mask = mtime;
	assert_int_equal(nfs4_attrs_verifiable(&f, true), NFS4_ERR_INVAL);
}

/* ---- the list of clients ---- */

static void kept(void **state)
{
	static uint8_t bytes[NFS4_KEPT_MAX];
	static struct nfs4_kept in, out;
	static const uint8_t name[NFS4_OPAQUE_MAX] = "a name";
	static const uint8_t first[] = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 'o', 'n', 'c', 'e'};
	size_t len;

	(void)state;
	for (unsigned i = 0; i < NFS4_CLIENTS_MAX; i++)
		in.owners[i] = (struct nfs_bytes){name, i % NFS4_OPAQUE_MAX + 1};
	for (unsigned i = 0; i < NFS_NLM_HOSTS_MAX; i++)
		in.hosts[i] = (struct nfs4_kept_host){{{(uint8_t)i, 1}}, {{(uint8_t)i, 2}}};
	in.n = 5;
	in.nsm_state = 7;
	in.nhosts = 3;
	len = nfs4_kept_encode(&in, bytes);
	assert_int_equal(nfs4_kept_decode(bytes, len, &out), 0);
	assert_int_equal(out.n, 5);
	for (unsigned i = 0; i < out.n; i++) {
		assert_int_equal(out.owners[i].len, in.owners[i].len);
		assert_memory_equal(out.owners[i].p, name, out.owners[i].len);
	}
	assert_int_equal(out.nsm_state, 7);
	assert_int_equal(out.nhosts, 3);
	assert_memory_equal(out.hosts, in.hosts, 3 * sizeof(*in.hosts));
	for (size_t less = 0; less < len; less++)
		assert_int_equal(nfs4_kept_decode(bytes, less, &out), VS_E_CORRUPT);
	for (unsigned i = 0; i < NFS4_CLIENTS_MAX; i++)
		in.owners[i].len = NFS4_OPAQUE_MAX;
	in.n = NFS4_CLIENTS_MAX;
	in.nhosts = NFS_NLM_HOSTS_MAX;
	assert_int_equal(nfs4_kept_encode(&in, bytes), NFS4_KEPT_MAX);
	assert_int_equal(nfs4_kept_decode(bytes, NFS4_KEPT_MAX, &out), 0);
	assert_int_equal(out.n, NFS4_CLIENTS_MAX);
	assert_int_equal(out.nhosts, NFS_NLM_HOSTS_MAX);
	/* The format that had owners only */
	assert_int_equal(nfs4_kept_decode(first, sizeof(first), &out), 0);
	assert_int_equal(out.n, 1);
	assert_memory_equal(out.owners[0].p, "once", 4);
	assert_int_equal(out.nsm_state, 0);
	assert_int_equal(out.nhosts, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(opens),
	    cmocka_unit_test(locks),
	    cmocka_unit_test(files),
	    cmocka_unit_test(sessions),
	    cmocka_unit_test(ranges),
	    cmocka_unit_test(hostile),
	    cmocka_unit_test(attributes_round),
	    cmocka_unit_test(attributes_set),
	    cmocka_unit_test(kept),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
