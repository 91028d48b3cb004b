/*
 * Compounds of NFSv4 as a client with a session may send them: the input is cut into compounds,
 * each led by its number of operations, and SEQUENCE is put in front, so that the operations are
 * reached. There are no shares: what is there is the pseudo root. Then the decoders alone.
 */
#include "tests/fuzz/nfs_scene.h"

/* The only client of the server: a new one for each input. */
static void make_session(struct nfs4_state *s, uint8_t id[NFS4_SESSION_BYTES])
{
	static const struct nfs4_principal root = {1, 0};
	const struct nfs4_channel ch = {0, 1 << 16, 1 << 16, 4096, 32, 8};
	struct nfs4_args a = {.owner = {key, sizeof(key)}, .fore = ch, .back = ch};
	struct nfs4_exchanged x;
	struct nfs4_created c;

	while (s->clients)
		nfs4_client_drop_locked(s, s->clients);
	VS_ASSERT(nfs4_client_exchange(s, &a, root, &x) == NFS4_ERR_NONE);
	a.clientid = x.clientid;
	a.seqid = x.seqid;
	VS_ASSERT(nfs4_session_create(s, &a, root, &c) == NFS4_ERR_NONE);
	memcpy(id, c.session, NFS4_SESSION_BYTES);
}

/* A record: head, SEQUENCE, what the input has. */
static size_t build(uint8_t *to, size_t room, const uint8_t *session, uint32_t seqid,
		    const uint8_t *ops, size_t n)
{
	static const uint32_t head[] = {1, 0, 2, 100003, 4, 1, 0, 0, 0, 0, 0, 2};
	struct nfs_enc e = {to + 4, to + room, false};
	uint8_t *p;

	for (size_t i = 0; i < VS_ARRAY_LEN(head); i++)
		nfs_enc_u32(&e, head[i]);
	nfs_enc_u32(&e, 1 + (n ? ops[0] % 40u : 0));
	nfs_enc_u32(&e, NFS4_OP_SEQUENCE);
	nfs_enc_fixed(&e, session, NFS4_SESSION_BYTES);
	nfs_enc_u32(&e, seqid);
	nfs_enc_u32(&e, 0);
	nfs_enc_u32(&e, 0);
	nfs_enc_u32(&e, n && ops[0] & 0x80);
	p = n ? nfs_enc_take(&e, n - 1) : NULL;
	if (p)
		memcpy(p, ops + 1, n - 1);
	nfs_rpc_mark(to, (uint32_t)(e.p - to - 4));
	return (size_t)(e.p - to);
}

/* The reply is one whole record, which says as many results as it has room for at most. */
static void check_reply(int fd)
{
	static uint8_t buf[1 << 20];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	VS_ASSERT(n >= 28 + 12);
	VS_ASSERT((vs_get_be32(buf) & ~NFS_RPC_LAST) == (size_t)n - 4);
	VS_ASSERT(vs_get_be32(buf + 36) <= 40);
	VS_ASSERT(40 + vs_get_be32(buf + 36) * 8 <= (size_t)n);
}

static void feed(const uint8_t *data, size_t size)
{
	struct nfs_worker *w = worker();
	uint8_t session[NFS4_SESSION_BYTES], record[4096];
	uint32_t seqid = 0;
	int fd = connect_to(w, false);

	make_session(w->common->v4, session);
	while (size > 2) {
		size_t n = VS_MIN((size_t)vs_get_be16(data) % 2048, size - 2);
		size_t len = build(record, sizeof(record), session, ++seqid, data + 2, n);

		VS_ASSERT(send(fd, record, len, MSG_NOSIGNAL) == (ssize_t)len);
		for (int i = 0; i < 4; i++)
			vs_loop_turn(w->loop, 0);
		check_reply(fd);
		data += 2 + n;
		size -= 2 + n;
	}
	hang_up(w, fd);
	VS_ASSERT(w->common->v4->nheld == 0 && w->common->v4->nranges == 0);
}

static void decode(const uint8_t *data, size_t size)
{
	static struct nfs4_kept kept;
	struct ds_set set;

	for (unsigned op = 0; op < NFS4_OPS; op++) {
		struct nfs_dec d = {data, data + size, false};
		struct nfs4_args a = {0};

		if (!nfs4_args_decode(op, &d, &a))
			continue;
		inside(a.name, data, size);
		inside(a.other_name, data, size);
		inside(a.data, data, size);
		inside(a.owner, data, size);
		inside(a.handle, data, size);
		inside(a.attrs.values, data, size);
		VS_ASSERT(a.owner.len <= NFS4_OPAQUE_MAX && a.name.len <= NFS4_NAME_BYTES);
		(void)nfs4_attrs_set_decode(&a.attrs, true, &set);
		(void)nfs4_attrs_verifiable(&a.attrs, true);
	}
	if (nfs4_kept_decode(data, size, &kept) == 0)
		for (unsigned i = 0; i < kept.n; i++)
			inside(kept.owners[i], data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	feed(data, size);
	decode(data, size);
	return 0;
}
