/*
 * The NFS server as clients meet it: RPC and records well formed and not, calls that come twice,
 * client lists, forged handles, clients that do not read.
 */
#include "tests/unit/nfs_server_scene.h"

#include <netinet/tcp.h>

/* ---- RPC ---- */

/* Sends a call with one word of its head changed; the reply is in c->reply. */
static void ask_with(struct client *c, unsigned word, uint32_t value)
{
	begin_call(c, NFS3_PROG, 3, NFS3_PROC_NULL);
	vs_put_be32(c->call + 4 + 4 * word, value);
	send_call(c);
	assert_true(receive_reply(c));
}

static void rpc_errors(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one");
	nfs_fh3 handle;
	uint32_t xid;

	ask_with(c, 3, 100099);
	assert_int_equal(reply_word(c, 5), NFS_RPC_PROG_UNAVAIL);
	ask_with(c, 4, 2);
	assert_int_equal(reply_word(c, 5), NFS_RPC_PROG_MISMATCH);
	assert_int_equal(reply_word(c, 6), 3); /* the lowest and the highest that are there */
	assert_int_equal(reply_word(c, 7), 4);
	ask_with(c, 5, NFS3_PROCS);
	assert_int_equal(reply_word(c, 5), NFS_RPC_PROC_UNAVAIL);
	ask_with(c, 5, NFS3_PROC_GETATTR); /* without arguments */
	assert_int_equal(reply_word(c, 5), NFS_RPC_GARBAGE_ARGS);
	ask_with(c, 2, 3);
	assert_int_equal(reply_word(c, 2), 1); /* MSG_DENIED */
	assert_int_equal(reply_word(c, 3), 0); /* RPC_MISMATCH */
	ask_with(c, 6, 6);		       /* RPCSEC_GSS */
	assert_int_equal(reply_word(c, 2), 1);
	assert_int_equal(reply_word(c, 3), 1); /* AUTH_ERROR */
	assert_int_equal(reply_word(c, 4), NFS_RPC_AUTH_TOOWEAK);
	ask_with(c, 7, 500);
	assert_int_equal(reply_word(c, 4), NFS_RPC_AUTH_BADCRED);
	/* Something behind the arguments. */
	begin_call(c, NFS3_PROG, 3, NFS3_PROC_GETATTR);
	xid = c->xid;
	handle = fh(&root);
	assert_true(zdr_nfs_fh3(&c->enc, &handle));
	assert_true(zdr_u_int(&c->enc, &xid));
	send_call(c);
	assert_true(receive_reply(c));
	assert_int_equal(reply_word(c, 5), NFS_RPC_GARBAGE_ARGS);
	/* And it is still a connection like any other. */
	begin_call(c, NFS3_PROG, 3, NFS3_PROC_NULL);
	exchange(c);
	client_close(c);
}

static void send_in_fragments(struct client *c, size_t n, size_t step, bool empty)
{
	for (size_t i = 0; i < n; i += step) {
		uint32_t part = (uint32_t)VS_MIN(step, n - i);
		uint8_t mark[4];

		if (empty)
			send_all(c, "\0\0\0", 4); /* a fragment without bytes */
		vs_put_be32(mark, part | (i + part == n ? NFS_RPC_LAST : 0));
		send_all(c, mark, sizeof(mark));
		send_all(c, c->call + 4 + i, part);
	}
}

/* RFC 5531 section 11: a record may come in any number of fragments. */
static void fragments(void **state)
{
	static const struct {
		u_int bytes;
		size_t step;
		bool empty;
	} cases[] = {{100, 1, false},	    {3000, 7, true},	    {3000, 1500, false},
		     {300000, 5000, false}, {300000, 100000, true}, {1 << 20, 1 << 20, false}};
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "fragments");
	static char data[1 << 20];
	int on = 1;

	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	for (size_t i = 0; i < VS_ARRAY_LEN(cases); i++) {
		u_int n = cases[i].bytes;
		WRITE3args args = {fh(&file), 0, n, UNSTABLE, {n, data}};
		WRITE3res w = {0};
		READ3res r;

		memset(data, (int)('a' + i), n);
		begin_call(c, NFS3_PROG, 3, NFS3_PROC_WRITE);
		assert_true(zdr_WRITE3args(&c->enc, &args));
		send_in_fragments(c, finish_call(c) - 4, cases[i].step, cases[i].empty);
		assert_true(receive_reply(c));
		open_reply(c);
		assert_true(zdr_WRITE3res(&c->dec, &w));
		assert_int_equal(w.status, NFS3_OK);
		assert_int_equal(read_bytes(c, &file, 0, n, &r), NFS3_OK);
		assert_int_equal(r.READ3res_u.resok.count, n);
		assert_memory_equal(r.READ3res_u.resok.data.data_val, data, n);
	}
	client_close(c);
}

/* What cannot be answered ends the connection, and no other one. */
static void broken_records(void **state)
{
	static const struct {
		uint8_t bytes[64];
		size_t n;
	} cases[] = {
	    {{0x80, 0x10, 0x20, 1}, 4}, /* longer than any call */
	    {{0xff, 0xff, 0xff, 0xff}, 4},
	    {{0x80, 0, 0, 0}, 4},					/* nothing */
	    {{0x80, 0, 0, 8, 1, 2, 3, 4, 0, 0, 0, 0}, 12},		/* half a header */
	    {{0x80, 0, 0, 12, 1, 2, 3, 4, 0, 0, 0, 1, 0, 0, 0, 2}, 16}, /* a reply */
	    {{0, 0, 0, 4, 1, 2, 3, 4, 0x80, 0x10, 0x20, 0}, 12},	/* together too long */
	};
	struct client *other = client_open(*state, "127.0.0.1");
	char byte;

	for (size_t i = 0; i < VS_ARRAY_LEN(cases); i++) {
		struct client *c = client_open(*state, "127.0.0.1");

		send_all(c, cases[i].bytes, cases[i].n);
		assert_true(recv(c->fd, &byte, 1, 0) <= 0);
		client_close(c);
		begin_call(other, NFS3_PROG, 3, NFS3_PROC_NULL);
		exchange(other);
	}
	client_close(other);
}

/* ---- many at once ---- */

static void pipelined(void **state)
{
	enum { FILES = 8, CALLS = 400 };
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), file[FILES];
	bool seen[CALLS] = {false};
	uint32_t first;
	char block[4096];
	WRITE3res w;

	for (int i = 0; i < FILES; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "pipe-%d", i);
		file[i] = make_file(c, &root, name);
		memset(block, 'A' + i, sizeof(block));
		assert_int_equal(write_bytes(c, &file[i], 0, block, sizeof(block), UNSTABLE, &w),
				 NFS3_OK);
	}
	first = c->xid + 1;
	for (int i = 0; i < CALLS; i++) {
		READ3args args = {fh(&file[i % FILES]), 0, sizeof(block)};

		begin_call(c, NFS3_PROG, 3, NFS3_PROC_READ);
		assert_true(zdr_READ3args(&c->enc, &args));
		send_call(c);
	}
	for (int i = 0; i < CALLS; i++) {
		READ3res r = {0};
		uint32_t n;

		assert_true(receive_reply(c));
		c->xid = reply_word(c, 0);
		n = c->xid - first;
		assert_true(n < CALLS && !seen[n]);
		seen[n] = true;
		open_reply(c);
		assert_true(zdr_READ3res(&c->dec, &r));
		assert_int_equal(r.READ3res_u.resok.count, sizeof(block));
		assert_int_equal(r.READ3res_u.resok.data.data_val[17], 'A' + n % FILES);
	}
	client_close(c);
}

/* A client that sends and sends and reads nothing gets no more memory than its share. */
static void who_does_not_read(void **state)
{
	enum { CALLS = 200, DATA = 1 << 20 };
	struct client *greedy = client_open(*state, "127.0.0.1"),
		      *modest = client_open(*state, "127.0.0.1"),
		      *third = client_open(*state, "127.0.0.1");
	struct handle root = mounted(greedy, "/one"), file = make_file(greedy, &root, "greedy");
	static char data[DATA];
	WRITE3res w;
	READ3res r;

	memset(data, 'g', sizeof(data));
	assert_int_equal(write_bytes(greedy, &file, 0, data, DATA, UNSTABLE, &w), NFS3_OK);
	for (int i = 0; i < CALLS; i++) {
		READ3args args = {fh(&file), 0, DATA};

		begin_call(greedy, NFS3_PROG, 3, NFS3_PROC_READ);
		assert_true(zdr_READ3args(&greedy->enc, &args));
		send_call(greedy);
	}
	/* One each of the other thread's and of its own. */
	for (int i = 0; i < 20; i++) {
		assert_int_equal(read_bytes(modest, &file, 0, DATA, &r), NFS3_OK);
		assert_int_equal(r.READ3res_u.resok.count, DATA);
		assert_int_equal(write_bytes(third, &file, 0, data, DATA, UNSTABLE, &w), NFS3_OK);
	}
	for (int i = 0; i < CALLS; i++) {
		assert_true(receive_reply(greedy));
		assert_int_equal(greedy->reply_len, 24 + 4 + 88 + 12 + DATA);
		assert_int_equal(greedy->reply[greedy->reply_len - 1], 'g');
	}
	client_close(greedy);
	client_close(modest);
	client_close(third);
}

/* With one thread the places are exact: all 8 are its own. */
static void restart(struct scene *s, unsigned threads)
{
	nfs_server_stop(s->server);
	s->threads = threads;
	start_server(s, scene_key);
}

/* Whether the connection still is one. */
static bool answers(struct client *c)
{
	begin_call(c, NFS3_PROG, 3, NFS3_PROC_NULL);
	(void)!send(c->fd, c->call, finish_call(c), MSG_NOSIGNAL);
	return receive_reply(c);
}

/* Who has been silent longest makes room, nobody is refused. */
static void too_many_clients(void **state)
{
	struct scene *s = *state;
	struct nfs_server_client_info info[16];
	struct client *c[12];
	unsigned alive = 0;

	restart(s, 1);
	for (size_t i = 0; i < VS_ARRAY_LEN(c); i++) {
		c[i] = client_open(s, "127.0.0.1");
		assert_true(answers(c[i]));
	}
	assert_true(nfs_server_clients(s->server, info, VS_ARRAY_LEN(info)) <= 8);
	for (size_t i = 0; i < VS_ARRAY_LEN(c); i++)
		alive += answers(c[i]);
	assert_int_equal(alive, 8);
	for (size_t i = 0; i < VS_ARRAY_LEN(c); i++)
		client_close(c[i]);
	restart(s, 0);
}

/* Who is on no list takes nobody's place. */
static void strangers(void **state)
{
	struct client *c[8], *stranger[12];
	unsigned alive = 0;

	restart(*state, 1);
	for (size_t i = 0; i < VS_ARRAY_LEN(c); i++) {
		c[i] = client_open(*state, i % 2 ? "127.0.0.1" : "127.0.0.3");
		assert_true(answers(c[i]));
	}
	stranger[0] = client_open(*state, "127.0.0.9");
	assert_false(answers(stranger[0]));
	client_close(stranger[0]);
	for (size_t i = 0; i < VS_ARRAY_LEN(c); i++) {
		assert_true(answers(c[i]));
		client_close(c[i]);
	}
	for (size_t i = 0; i < VS_ARRAY_LEN(stranger); i++) {
		stranger[i] = client_open(*state, "127.0.0.9");
		(void)answers(stranger[i]);
	}
	for (size_t i = 0; i < VS_ARRAY_LEN(c); i++) {
		c[i] = client_open(*state, i % 2 ? "127.0.0.1" : "127.0.0.3");
		assert_true(answers(c[i]));
	}
	for (size_t i = 0; i < VS_ARRAY_LEN(c); i++) {
		assert_true(answers(c[i]));
		client_close(c[i]);
	}
	for (size_t i = 0; i < VS_ARRAY_LEN(stranger); i++) {
		alive += answers(stranger[i]);
		client_close(stranger[i]);
	}
	assert_int_equal(alive, 0);
	restart(*state, 0);
}

/* ---- calls that come twice ---- */

/* Sends the call that c->call still holds, as a client does that got no answer; its status. */
static uint32_t repeat(struct client *c, size_t n)
{
	send_all(c, c->call, n);
	assert_true(receive_reply(c));
	open_reply(c);
	return reply_word(c, 6);
}

static void duplicates(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"), *other;
	struct handle root = mounted(c, "/one");
	REMOVE3args args = {at(&root, "twice")};
	size_t n;

	(void)make_file(c, &root, "twice");
	begin_call(c, NFS3_PROG, 3, NFS3_PROC_REMOVE);
	assert_true(zdr_REMOVE3args(&c->enc, &args));
	n = finish_call(c);
	assert_int_equal(repeat(c, n), NFS3_OK);
	assert_int_equal(repeat(c, n), NFS3_OK);
	(void)close(c->fd);
	client_connect(*state, c, "127.0.0.1");
	assert_int_equal(repeat(c, n), NFS3_OK); /* from another port */
	/* The same bytes of another client are another call. */
	other = client_open(*state, "127.0.0.4");
	memcpy(other->call, c->call, n);
	other->xid = c->xid;
	assert_int_equal(repeat(other, n), NFS3ERR_NOENT);
	client_close(other);
	assert_int_equal(remove_name(c, &root, "twice"), NFS3ERR_NOENT);
	client_close(c);
}

/* Both connections of a client send the same at once: it is done once, and both hear so. */
static void duplicates_at_once(void **state)
{
	struct client *a = client_open(*state, "127.0.0.1"), *b = client_open(*state, "127.0.0.1");
	struct handle root = mounted(a, "/one");

	for (int i = 0; i < 50; i++) {
		char name[32];
		MKDIR3args args = {.where = at(&root, name)};
		size_t n;

		(void)snprintf(name, sizeof(name), "at once %d", i);
		begin_call(a, NFS3_PROG, 3, NFS3_PROC_MKDIR);
		assert_true(zdr_MKDIR3args(&a->enc, &args));
		n = finish_call(a);
		b->xid = a->xid;
		send_all(a, a->call, n);
		send_all(b, a->call, n);
		assert_true(receive_reply(a) && receive_reply(b));
		open_reply(a);
		open_reply(b);
		assert_int_equal(reply_word(a, 6), NFS3_OK);
		assert_int_equal(a->reply_len, b->reply_len);
		assert_memory_equal(a->reply, b->reply, a->reply_len);
	}
	client_close(a);
	client_close(b);
}

/* ---- who may what ---- */

static void client_lists(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *outside = client_open(*state, "127.0.0.9"),
		      *reader = client_open(*state, "127.0.0.3");
	struct handle root = mounted(c, "/one"), two = mounted(c, "/two"), mine,
		      file = make_file(c, &root, "listed");
	ACCESS3args access3 = {fh(&root), 0x3f};
	COMMIT3args commit = {fh(&file), 0, 0};
	exports list = NULL;
	ACCESS3res granted;
	COMMIT3res committed;
	WRITE3res w;
	READ3res r;
	fattr3 a;

	assert_int_equal(mount_share(outside, "/one", &mine), MNT3ERR_ACCES);
	begin_call(outside, MOUNT_PROG, 3, MOUNT3_EXPORT);
	exchange(outside);
	assert_true(zdr_exports(&outside->dec, &list));
	assert_null(list);
	/* A handle alone opens nothing. */
	assert_int_equal(getattr(outside, &root, &a), NFS3ERR_ACCES);
	assert_int_equal(read_bytes(outside, &file, 0, 10, &r), NFS3ERR_ACCES);
	assert_int_equal(write_bytes(outside, &file, 0, "x", 1, UNSTABLE, &w), NFS3ERR_ACCES);
	assert_int_equal(mount_share(reader, "/one", &mine), MNT3_OK);
	assert_int_equal(mount_share(reader, "/two", &mine), MNT3ERR_ACCES);
	assert_int_equal(getattr(reader, &two, &a), NFS3ERR_ACCES);
	assert_int_equal(read_bytes(reader, &file, 0, 10, &r), NFS3_OK);
	assert_int_equal(write_bytes(reader, &file, 0, "x", 1, UNSTABLE, &w), NFS3ERR_ROFS);
	assert_int_equal(CALL(reader, COMMIT, &commit, &committed), NFS3ERR_ROFS);
	assert_int_equal(remove_name(reader, &root, "listed"), NFS3ERR_ROFS);
	assert_int_equal(CALL(reader, ACCESS, &access3, &granted), NFS3_OK);
	assert_int_equal(granted.ACCESS3res_u.resok.access &
			     (ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_DELETE),
			 0);
	client_close(c);
	client_close(outside);
	client_close(reader);
}

static void squashed_root(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1"),
		      *squashed = client_open(*state, "127.0.0.4");
	struct handle root = mounted(c, "/one"), dir = make_dir(c, &root, "for all"), file;
	SETATTR3args set = {.object = fh(&dir)};
	CREATE3args create = {.where = at(&root, "squashed"), .how.mode = GUARDED};
	CREATE3res made;
	SETATTR3res res;
	fattr3 a;

	assert_int_equal(CALL(squashed, CREATE, &create, &made), NFS3ERR_ACCES);
	set.new_attributes.mode.set_it = 1;
	set.new_attributes.mode.set_mode3_u.mode = 0777;
	assert_int_equal(CALL(squashed, SETATTR, &set, &res), NFS3ERR_PERM);
	assert_int_equal(CALL(c, SETATTR, &set, &res), NFS3_OK);
	file = make_file(squashed, &dir, "squashed");
	assert_int_equal(getattr(c, &file, &a), NFS3_OK);
	assert_int_equal(a.uid, NFS_ANONYMOUS);
	assert_int_equal(a.gid, NFS_ANONYMOUS);
	client_close(c);
	client_close(squashed);
}

static void forged_handles(void **state)
{
	struct client *c = client_open(*state, "127.0.0.1");
	struct handle root = mounted(c, "/one"), two = mounted(c, "/two"), file,
		      other = make_file(c, &two, "other"), none = {0, ""}, bad;
	RENAME3args rename3 = {at(&root, "crosses"), at(&two, "crosses")};
	LINK3args link3;
	RENAME3res renamed;
	LINK3res linked;
	fattr3 a;

	file = make_file(c, &root, "crosses");
	for (u_int i = 0; i < file.len; i++) {
		bad = file;
		bad.b[i] ^= 0x40;
		assert_int_equal(getattr(c, &bad, &a), NFS3ERR_BADHANDLE);
	}
	for (u_int n = 0; n <= NFS3_FHSIZE; n++) {
		bad = file;
		bad.len = n;
		assert_int_equal(getattr(c, &bad, &a), n == file.len ? NFS3_OK : NFS3ERR_BADHANDLE);
	}
	assert_int_equal(CALL(c, RENAME, &rename3, &renamed), NFS3ERR_XDEV);
	link3 = (LINK3args){fh(&other), at(&root, "crosses too")};
	assert_int_equal(CALL(c, LINK, &link3, &linked), NFS3ERR_XDEV);
	link3 = (LINK3args){fh(&file), at(&none, "crosses too")};
	assert_int_equal(CALL(c, LINK, &link3, &linked), NFS3ERR_BADHANDLE);
	assert_int_equal(lookup(c, &root, "crosses", NULL), NFS3_OK);
	client_close(c);
}

static void refused_options(void **state)
{
	static const char *const bad[] = {"nowhere:2049"};
	struct nfs_server_options opts = {.listen = bad, .nlisten = 1};
	struct nfs_server *srv;
	struct vs_error err = {0};

	(void)state;
	assert_int_equal(nfs_server_start(&opts, &srv, &err), VS_E_INVAL);
	opts = (struct nfs_server_options){.key = scene_key, .key_len = 8};
	assert_int_equal(nfs_server_start(&opts, &srv, &err), VS_E_INVAL);
	opts = (struct nfs_server_options){.threads = 17};
	assert_int_equal(nfs_server_start(&opts, &srv, &err), VS_E_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rpc_errors),	  cmocka_unit_test(fragments),
	    cmocka_unit_test(broken_records),	  cmocka_unit_test(pipelined),
	    cmocka_unit_test(who_does_not_read),  cmocka_unit_test(too_many_clients),
	    cmocka_unit_test(strangers),	  cmocka_unit_test(duplicates),
	    cmocka_unit_test(duplicates_at_once), cmocka_unit_test(client_lists),
	    cmocka_unit_test(squashed_root),	  cmocka_unit_test(forged_handles),
	    cmocka_unit_test(refused_options),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
