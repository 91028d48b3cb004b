/*
 * A store in a file with the datastores "one" and "two", an NFS server over them on loopback, and
 * clients that speak to it over TCP: their calls are encoded and the replies decoded by libnfs.
 *
 * 127.0.0.1 and ::1 may all, 127.0.0.3 may read, of 127.0.0.4 root is squashed, nobody else may
 * anything.
 */
#ifndef TESTS_UNIT_NFS_SERVER_SCENE_H
#define TESTS_UNIT_NFS_SERVER_SCENE_H

#include "tests/unit/store_scene.h"

#include "common/bytes.h"
#include "targets/nfs/nfs3_format.h"
#include "targets/nfs/rpc_format.h"
#include "targets/nfs/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <nfsc/libnfs-zdr.h>
#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

#define MOUNT_PROG 100005u

struct scene {
	char path[64];
	struct bs_store *store;
	struct ds_store *one, *two;
	struct nfs_server *server;
	uint16_t port;
	unsigned threads; /* of the server; 0: as many as usual */
	struct nfs_keeper keeper;
	uint16_t peer_portmap;
};

struct client {
	int fd;
	uint32_t xid; /* of the last call */
	uint32_t uid, gid;
	ZDR enc, dec;
	bool decoding;
	size_t head; /* bytes of the call before its arguments */
	char call[(1 << 20) + 8192];
	char reply[(1 << 20) + 8192];
	size_t reply_len;
};

/* A handle that outlives the reply that it came in. */
struct handle {
	u_int len;
	char b[NFS3_FHSIZE];
};

static const uint8_t scene_key[32] = "the key of the test's handles...";

static inline void start_server(struct scene *s, const uint8_t *key)
{
	static const char *const listen[] = {"127.0.0.1:0"};
	static const struct nfs_rule rules[] = {
	    {"127.0.0.1", false, NFS_SQUASH_NONE, NFS_ANONYMOUS, NFS_ANONYMOUS},
	    {"127.0.0.3", true, NFS_SQUASH_NONE, NFS_ANONYMOUS, NFS_ANONYMOUS},
	    {"127.0.0.4", false, NFS_SQUASH_ROOT, NFS_ANONYMOUS, NFS_ANONYMOUS},
	};
	const struct nfs_server_options opts = {.listen = listen,
						.nlisten = 1,
						.key = key,
						.key_len = 32,
						.max_connections = 8,
						.threads = s->threads,
						.keeper = s->keeper,
						.peer_portmap = s->peer_portmap};
	char text[NFS_ADDRESS_MAX];
	struct vs_error err = {0};

	if (nfs_server_start(&opts, &s->server, &err) ||
	    nfs_server_share(s->server, "one", s->one, rules, VS_ARRAY_LEN(rules), &err) ||
	    nfs_server_share(s->server, "two", s->two, rules, 1, &err))
		fail_msg("%s", err.text);
	nfs_server_serve(s->server);
	assert_int_equal(nfs_server_address(s->server, 0, text), 0);
	s->port = (uint16_t)strtoul(strchr(text, ':') + 1, NULL, 10);
}

static inline int scene_setup(void **state)
{
	const struct bs_init_options init = {.compression = BS_CODING_LZ4};
	const struct bs_open_options opts = {.memory = UINT64_C(256) << 20};
	struct scene *s = calloc(1, sizeof(*s));
	struct bs_device *dev;
	struct vs_error err = {0};

	store_make(s->path, "nfs", UINT64_C(1) << 30, &init);
	if (bs_device_open(s->path, 0, 0, &dev, &err) ||
	    bs_store_open(dev, &opts, &s->store, &err) || ds_create(s->store, "one", &err) ||
	    ds_create(s->store, "two", &err) || ds_open(s->store, "one", &s->one, &err) ||
	    ds_open(s->store, "two", &s->two, &err))
		fail_msg("%s", err.text);
	start_server(s, scene_key);
	*state = s;
	return 0;
}

static inline int scene_teardown(void **state)
{
	struct scene *s = *state;
	struct vs_error err = {0};

	nfs_server_stop(s->server);
	ds_close(s->one);
	ds_close(s->two);
	if (bs_store_close(s->store, &err))
		fail_msg("%s", err.text);
	unlink(s->path);
	free(s);
	return 0;
}

/* ---- clients ---- */

static inline void client_connect(struct scene *s, struct client *c, const char *from)
{
	struct sockaddr_in local = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};

	assert_int_equal(inet_pton(AF_INET, from, &local.sin_addr), 1);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons(s->port);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(c->fd >= 0);
	assert_int_equal(bind(c->fd, (struct sockaddr *)&local, sizeof(local)), 0);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof(to)), 0);
}

static inline struct client *client_open(struct scene *s, const char *from)
{
	struct client *c = calloc(1, sizeof(*c));

	client_connect(s, c, from);
	c->xid = 0x1000;
	return c;
}

static inline void client_close(struct client *c)
{
	if (c->decoding)
		zdr_destroy(&c->dec);
	(void)close(c->fd);
	free(c);
}

static inline void send_all(struct client *c, const void *from, size_t n)
{
	const char *p = from;

	while (n) {
		ssize_t got = send(c->fd, p, n, MSG_NOSIGNAL);

		assert_true(got > 0);
		p += got;
		n -= (size_t)got;
	}
}

/* False: the server has closed. */
static inline bool receive_all(struct client *c, void *to, size_t n)
{
	char *p = to;

	while (n) {
		ssize_t got = recv(c->fd, p, n, 0);

		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

/* The record that comes next, which is of one fragment; false: the server has closed. */
static inline bool receive_reply(struct client *c)
{
	uint8_t mark[4];

	if (!receive_all(c, mark, sizeof(mark)))
		return false;
	assert_true(mark[0] & 0x80);
	c->reply_len = vs_get_be32(mark) & 0x7fffffff;
	assert_true(c->reply_len <= sizeof(c->reply));
	return receive_all(c, c->reply, c->reply_len);
}

static inline uint32_t reply_word(const struct client *c, unsigned i)
{
	assert_true(4 * (i + 1) <= c->reply_len);
	return vs_get_be32(c->reply + 4 * i);
}

/* The head of a call, by AUTH_SYS; its arguments are to be encoded to c->enc. */
static inline void begin_call(struct client *c, uint32_t prog, uint32_t vers, uint32_t proc)
{
	struct nfs_enc e = {(uint8_t *)c->call + 4, (uint8_t *)c->call + sizeof(c->call), false};
	const uint32_t head[] = {++c->xid, 0, 2, prog, vers, proc, 1, 28, 0, 4};
	const uint32_t tail[] = {c->uid, c->gid, 0, 0, 0};

	for (size_t i = 0; i < VS_ARRAY_LEN(head); i++)
		nfs_enc_u32(&e, head[i]);
	nfs_enc_fixed(&e, "test", 4);
	for (size_t i = 0; i < VS_ARRAY_LEN(tail); i++)
		nfs_enc_u32(&e, tail[i]);
	vs_put_be32(c->call + 4 + 28, 24); /* the body: stamp to groups */
	c->head = (size_t)(e.p - (uint8_t *)c->call);
	libnfs_zdrmem_create(&c->enc, c->call + c->head, (u_int)(sizeof(c->call) - c->head),
			     ZDR_ENCODE);
}

static inline size_t finish_call(struct client *c)
{
	size_t n = c->head + (size_t)zdr_getpos(&c->enc);

	zdr_destroy(&c->enc);
	nfs_rpc_mark((uint8_t *)c->call, (uint32_t)n - 4);
	return n;
}

static inline void send_call(struct client *c)
{
	send_all(c, c->call, finish_call(c));
}

/* Puts c->dec at the results of an accepted reply to the call sent last. */
static inline void open_reply(struct client *c)
{
	assert_int_equal(reply_word(c, 0), c->xid);
	assert_int_equal(reply_word(c, 1), 1); /* REPLY */
	assert_int_equal(reply_word(c, 2), 0); /* MSG_ACCEPTED */
	assert_int_equal(reply_word(c, 5), NFS_RPC_SUCCESS);
	if (c->decoding)
		zdr_destroy(&c->dec);
	libnfs_zdrmem_create(&c->dec, c->reply + 24, (u_int)(c->reply_len - 24), ZDR_DECODE);
	c->decoding = true;
}

static inline void exchange(struct client *c)
{
	send_call(c);
	assert_true(receive_reply(c));
	open_reply(c);
}

/* Makes a call of NFSv3 and decodes all of the reply into res. The value is its status. */
#define CALL(c, NAME, args, res)                                                      \
	({                                                                            \
		begin_call(c, NFS3_PROG, 3, NFS3_PROC_##NAME);                        \
		assert_true(zdr_##NAME##3args(&(c)->enc, args));                      \
		exchange(c);                                                          \
		memset(res, 0, sizeof(*(res)));                                       \
		assert_true(zdr_##NAME##3res(&(c)->dec, res));                        \
		assert_int_equal((size_t)zdr_getpos(&(c)->dec) + 24, (c)->reply_len); \
		(res)->status;                                                        \
	})

/* Nodes of lists lie in libnfs's memory without the alignment that they need. */
#define GET(to, from) memcpy(&(to), (const void *)(from), sizeof(to))

static inline nfs_fh3 fh(const struct handle *h)
{
	nfs_fh3 f;

	f.data.data_len = h->len;
	f.data.data_val = (char *)(uintptr_t)h->b;
	return f;
}

static inline struct handle keep(const nfs_fh3 *f)
{
	struct handle h = {f->data.data_len, ""};

	assert_true(h.len <= sizeof(h.b));
	memcpy(h.b, f->data.data_val, h.len);
	return h;
}

static inline diropargs3 at(const struct handle *dir, const char *name)
{
	return (diropargs3){fh(dir), (char *)(uintptr_t)name};
}

/* MNT: 0 and the root's handle, or mountstat3. */
static inline int mount_share(struct client *c, const char *path, struct handle *root)
{
	char *p = (char *)(uintptr_t)path;
	mountres3 res = {0};

	memset(root, 0, sizeof(*root));
	begin_call(c, MOUNT_PROG, 3, MOUNT3_MNT);
	assert_true(zdr_dirpath(&c->enc, &p));
	exchange(c);
	assert_true(zdr_mountres3(&c->dec, &res));
	if (res.fhs_status == MNT3_OK) {
		root->len = res.mountres3_u.mountinfo.fhandle.fhandle3_len;
		assert_true(root->len <= sizeof(root->b));
		memcpy(root->b, res.mountres3_u.mountinfo.fhandle.fhandle3_val, root->len);
	}
	return res.fhs_status;
}

static inline struct handle mounted(struct client *c, const char *path)
{
	struct handle root;

	assert_int_equal(mount_share(c, path, &root), MNT3_OK);
	return root;
}

/* Makes a file; its handle. */
static inline struct handle make_file(struct client *c, const struct handle *dir, const char *name)
{
	CREATE3args args = {.where = at(dir, name), .how.mode = GUARDED};
	CREATE3res res;

	args.how.createhow3_u.g_obj_attributes.mode.set_it = 1;
	args.how.createhow3_u.g_obj_attributes.mode.set_mode3_u.mode = 0644;
	assert_int_equal(CALL(c, CREATE, &args, &res), NFS3_OK);
	assert_true(res.CREATE3res_u.resok.obj.handle_follows);
	return keep(&res.CREATE3res_u.resok.obj.post_op_fh3_u.handle);
}

static inline struct handle make_dir(struct client *c, const struct handle *dir, const char *name)
{
	MKDIR3args args = {.where = at(dir, name)};
	MKDIR3res res;

	args.attributes.mode.set_it = 1;
	args.attributes.mode.set_mode3_u.mode = 0755;
	assert_int_equal(CALL(c, MKDIR, &args, &res), NFS3_OK);
	return keep(&res.MKDIR3res_u.resok.obj.post_op_fh3_u.handle);
}

static inline int write_bytes(struct client *c, const struct handle *file, uint64_t offset,
			      const void *data, u_int n, stable_how stable, WRITE3res *res)
{
	WRITE3args args = {fh(file), offset, n, stable, {n, (char *)(uintptr_t)data}};

	return CALL(c, WRITE, &args, res);
}

/* READ; its data is in the reply until the next call. */
static inline int read_bytes(struct client *c, const struct handle *file, uint64_t offset, u_int n,
			     READ3res *res)
{
	READ3args args = {fh(file), offset, n};

	return CALL(c, READ, &args, res);
}

static inline int lookup(struct client *c, const struct handle *dir, const char *name,
			 struct handle *out)
{
	LOOKUP3args args = {at(dir, name)};
	LOOKUP3res res;
	int status = CALL(c, LOOKUP, &args, &res);

	if (out)
		memset(out, 0, sizeof(*out));
	if (status == NFS3_OK && out)
		*out = keep(&res.LOOKUP3res_u.resok.object);
	return status;
}

static inline int getattr(struct client *c, const struct handle *file, fattr3 *out)
{
	GETATTR3args args = {fh(file)};
	GETATTR3res res;
	int status = CALL(c, GETATTR, &args, &res);

	*out = (fattr3){0};
	if (status == NFS3_OK)
		*out = res.GETATTR3res_u.resok.obj_attributes;
	return status;
}

static inline int remove_name(struct client *c, const struct handle *dir, const char *name)
{
	REMOVE3args args = {at(dir, name)};
	REMOVE3res res;

	return CALL(c, REMOVE, &args, &res);
}

#endif
