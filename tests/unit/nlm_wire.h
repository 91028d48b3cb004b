/* Calls of NLM version 4 and NSM as clients make them, over TCP. */
#ifndef TESTS_UNIT_NLM_WIRE_H
#define TESTS_UNIT_NLM_WIRE_H

#include "tests/unit/nfs_server_scene.h"

#include "targets/nfs/nlm_format.h"

static inline void put(struct client *c, const void *p, u_int n)
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
	bool block, reclaim;
};

static inline struct ask bytes(const struct handle *file, const char *caller, uint32_t svid,
			       bool exclusive, uint64_t offset, uint64_t length)
{
	return (struct ask){.file = file,
			    .caller = caller,
			    .svid = svid,
			    .exclusive = exclusive,
			    .offset = offset,
			    .length = length};
}

/* TEST, LOCK, NM_LOCK, CANCEL or UNLOCK: its status. The cookie comes back. */
static inline uint32_t ask(struct client *c, uint32_t proc, const struct ask *a)
{
	bool lock = proc == NFS_NLM_LOCK || proc == NFS_NLM_NM_LOCK;
	uint8_t buf[512];
	struct nfs_enc e = {buf, buf + sizeof(buf), false};

	begin_call(c, NFS_NLM_PROG, 4, proc);
	nfs_enc_bytes(&e, "abcd", 4);
	if (lock || proc == NFS_NLM_CANCEL)
		nfs_enc_u32(&e, a->block);
	if (proc != NFS_NLM_UNLOCK)
		nfs_enc_u32(&e, a->exclusive);
	nfs_enc_bytes(&e, a->caller, (uint32_t)strlen(a->caller));
	nfs_enc_bytes(&e, a->file->b, a->file->len);
	nfs_enc_bytes(&e, "oh", 2);
	nfs_enc_u32(&e, a->svid);
	nfs_enc_u64(&e, a->offset);
	nfs_enc_u64(&e, a->length);
	if (lock) {
		nfs_enc_u32(&e, a->reclaim);
		nfs_enc_u32(&e, 1);
	}
	assert_false(e.bad);
	put(c, buf, (u_int)(e.p - buf));
	exchange(c);
	assert_int_equal(reply_word(c, 6), 4);
	assert_memory_equal(c->reply + 28, "abcd", 4);
	return reply_word(c, 8);
}

/* SHARE or UNSHARE */
static inline uint32_t share(struct client *c, uint32_t proc, const struct handle *file,
			     const char *oh, uint32_t deny, uint32_t access)
{
	uint8_t buf[512];
	struct nfs_enc e = {buf, buf + sizeof(buf), false};

	begin_call(c, NFS_NLM_PROG, 4, proc);
	nfs_enc_bytes(&e, "abcd", 4);
	nfs_enc_bytes(&e, "a", 1);
	nfs_enc_bytes(&e, file->b, file->len);
	nfs_enc_bytes(&e, oh, (uint32_t)strlen(oh));
	nfs_enc_u32(&e, deny);
	nfs_enc_u32(&e, access);
	nfs_enc_u32(&e, false);
	put(c, buf, (u_int)(e.p - buf));
	exchange(c);
	assert_int_equal(c->reply_len, 40);
	assert_memory_equal(c->reply + 28, "abcd", 4);
	return reply_word(c, 8);
}

/* FREE_ALL, NOTIFY */
static inline void restarted(struct client *c, uint32_t prog, uint32_t proc, const char *name)
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

#endif
