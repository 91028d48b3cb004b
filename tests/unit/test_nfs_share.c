/* Shares over time: the server starts again, shares come and go, datastores have snapshots. */
#include "tests/unit/nfs_server_scene.h"

static void restart(void **state)
{
	struct scene *s = *state;
	struct client *c = client_open(s, "127.0.0.1");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "restart");
	static const uint8_t another_key[32] = "another key";
	WRITE3res w, after;
	READ3res r;
	fattr3 a;

	assert_int_equal(write_bytes(c, &file, 0, "kept", 4, FILE_SYNC, &w), NFS3_OK);
	client_close(c);
	nfs_server_stop(s->server);
	start_server(s, scene_key);
	c = client_open(s, "127.0.0.1");
	assert_int_equal(read_bytes(c, &file, 0, 10, &r), NFS3_OK);
	assert_memory_equal(r.READ3res_u.resok.data.data_val, "kept", 4);
	assert_int_equal(write_bytes(c, &file, 0, "KEPT", 4, UNSTABLE, &after), NFS3_OK);
	/* So that clients send again what was not committed. */
	assert_memory_not_equal(w.WRITE3res_u.resok.verf, after.WRITE3res_u.resok.verf, 8);
	client_close(c);
	nfs_server_stop(s->server);
	start_server(s, another_key);
	c = client_open(s, "127.0.0.1");
	assert_int_equal(getattr(c, &file, &a), NFS3ERR_BADHANDLE);
	client_close(c);
	nfs_server_stop(s->server);
	start_server(s, scene_key);
}

/* A second server, on IPv6: nobody is answered before it is told to serve. */
static void serves_when_told(void **state)
{
	static const char *const listen[] = {"[::1]:0"};
	static const struct nfs_rule rule = {"::1/128", true, NFS_SQUASH_ALL, NFS_ANONYMOUS,
					     NFS_ANONYMOUS};
	const struct nfs_server_options opts = {.listen = listen, .nlisten = 1};
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct scene *s = *state;
	struct client *c = calloc(1, sizeof(*c));
	struct nfs_server_client_info info = {0};
	char text[NFS_ADDRESS_MAX], byte;
	struct nfs_server *server;
	struct vs_error err = {0};
	struct handle root;

	assert_int_equal(nfs_server_start(&opts, &server, &err), 0);
	assert_int_equal(nfs_server_address(server, 0, text), 0);
	assert_memory_equal(text, "[::1]:", 6);
	to.sin6_port = htons((uint16_t)strtoul(text + 6, NULL, 10));
	c->fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof(to)), 0);
	begin_call(c, NFS3_PROG, 3, NFS3_PROC_NULL);
	send_call(c);
	assert_int_equal(nfs_server_share(server, "six", s->one, &rule, 1, &err), 0);
	assert_int_equal(recv(c->fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(nfs_server_clients(server, &info, 1), 0);
	nfs_server_serve(server);
	assert_true(receive_reply(c));
	assert_int_equal(mount_share(c, "/six", &root), MNT3_OK);
	assert_int_equal(nfs_server_clients(server, &info, 1), 1);
	assert_memory_equal(info.address, "[::1]:", 6);
	assert_int_equal(info.calls, 2);
	assert_true(info.received > 100 && info.sent >= 28); /* the second reply may count yet */
	client_close(c);
	nfs_server_stop(server);
}

static void shares_change(void **state)
{
	static const struct nfs_rule all = {"127.0.0.0/8", false, NFS_SQUASH_NONE, NFS_ANONYMOUS,
					    NFS_ANONYMOUS},
				     wrong = {.clients = "localhost"};
	struct scene *s = *state;
	struct client *c = client_open(s, "127.0.0.9");
	struct handle root, again;
	struct nfs_server_share_info info[4];
	struct vs_error err = {0};
	fattr3 a;

	assert_int_equal(mount_share(c, "/two", &root), MNT3ERR_ACCES);
	assert_int_equal(nfs_server_share(s->server, "two", s->two, &all, 1, &err), 0);
	root = mounted(c, "/two");
	assert_int_equal(nfs_server_share(s->server, "two", s->two, &all, 0, &err), 0);
	assert_int_equal(getattr(c, &root, &a), NFS3ERR_ACCES);
	assert_int_equal(nfs_server_unshare(s->server, "two", &err), 0);
	assert_int_equal(nfs_server_unshare(s->server, "two", &err), VS_E_NOENT);
	assert_int_equal(nfs_server_list(s->server, info, VS_ARRAY_LEN(info)), 1);
	assert_string_equal(info[0].name, "one");
	assert_int_equal(getattr(c, &root, &a), NFS3ERR_STALE);
	assert_int_equal(mount_share(c, "/two", &again), MNT3ERR_NOENT);
	assert_int_equal(nfs_server_share(s->server, "one", s->two, &all, 1, &err), VS_E_EXIST);
	assert_int_equal(nfs_server_share(s->server, "a/b", s->two, &all, 1, &err), VS_E_INVAL);
	assert_int_equal(nfs_server_share(s->server, "two", s->two, &wrong, 1, &err), VS_E_INVAL);
	assert_int_equal(nfs_server_share(s->server, "two", s->two, &all, 1, &err), 0);
	assert_int_equal(getattr(c, &root, &a), NFS3_OK);
	client_close(c);
}

/* Reads are under way all the time: each is answered, with bytes or with what has happened. */
static void unshared_under_load(void **state)
{
	static const struct nfs_rule all = {"127.0.0.0/8", false, NFS_SQUASH_NONE, NFS_ANONYMOUS,
					    NFS_ANONYMOUS};
	enum { CALLS = 48, ROUNDS = 20 };
	struct scene *s = *state;
	struct client *c = client_open(s, "127.0.0.1");
	struct handle root = mounted(c, "/two"), file = make_file(c, &root, "load");
	static char data[65536];
	struct vs_error err = {0};
	WRITE3res w;

	assert_int_equal(write_bytes(c, &file, 0, data, sizeof(data), UNSTABLE, &w), NFS3_OK);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < CALLS; i++) {
			READ3args args = {fh(&file), 0, sizeof(data)};

			begin_call(c, NFS3_PROG, 3, NFS3_PROC_READ);
			assert_true(zdr_READ3args(&c->enc, &args));
			send_call(c);
		}
		assert_int_equal(nfs_server_unshare(s->server, "two", &err), 0);
		for (int i = 0; i < CALLS; i++) {
			assert_true(receive_reply(c));
			assert_true(reply_word(c, 6) == NFS3_OK ||
				    reply_word(c, 6) == NFS3ERR_STALE);
		}
		assert_int_equal(nfs_server_share(s->server, "two", s->two, &all, 1, &err), 0);
	}
	client_close(c);
}

/* The bytes of a file are these four. */
static void assert_reads(struct client *c, const struct handle *file, const char *bytes)
{
	READ3res r;

	assert_int_equal(read_bytes(c, file, 0, 16, &r), NFS3_OK);
	assert_int_equal(r.READ3res_u.resok.count, 4);
	assert_memory_equal(r.READ3res_u.resok.data.data_val, bytes, 4);
}

static void snapshots(void **state)
{
	struct scene *s = *state;
	struct client *c = client_open(s, "127.0.0.1");
	struct handle root = mounted(c, "/one"), file = make_file(c, &root, "kept"), all, snap, old,
		      up, later;
	struct vs_error err = {0};
	fattr3 now, then;
	WRITE3res w;

	assert_int_equal(write_bytes(c, &file, 0, "then", 4, UNSTABLE, &w), NFS3_OK);
	assert_int_equal(ds_snapshot_create(s->one, "monday", &err), 0);
	assert_int_equal(write_bytes(c, &file, 0, "now.", 4, UNSTABLE, &w), NFS3_OK);
	later = make_file(c, &root, "later");
	assert_int_equal(lookup(c, &root, ".snapshots", &all), NFS3_OK);
	assert_int_equal(lookup(c, &all, "monday", &snap), NFS3_OK);
	assert_int_equal(lookup(c, &all, "tuesday", NULL), NFS3ERR_NOENT);
	assert_int_equal(lookup(c, &snap, "later", NULL), NFS3ERR_NOENT);
	assert_int_equal(lookup(c, &snap, "kept", &old), NFS3_OK);
	assert_reads(c, &old, "then");
	assert_reads(c, &file, "now.");
	assert_int_equal(getattr(c, &file, &now), NFS3_OK);
	assert_int_equal(getattr(c, &old, &then), NFS3_OK);
	assert_int_equal(now.fsid, then.fsid);
	assert_int_not_equal(now.fileid, then.fileid);
	assert_int_equal(write_bytes(c, &old, 0, "x", 1, UNSTABLE, &w), NFS3ERR_ROFS);
	assert_int_equal(remove_name(c, &snap, "kept"), NFS3ERR_ROFS);
	assert_int_equal(lookup(c, &snap, "..", &up), NFS3_OK);
	assert_int_equal(mount_share(c, "/one/.snapshots/monday", &up), MNT3_OK);
	assert_memory_equal(up.b, snap.b, snap.len);
	/* A rollback under the client's feet: its handles mean what is there again. */
	assert_int_equal(ds_snapshot_rollback(s->one, "monday", &err), 0);
	assert_reads(c, &file, "then");
	assert_int_equal(getattr(c, &later, &now), NFS3ERR_STALE);
	assert_int_equal(ds_snapshot_delete(s->one, "monday", &err), 0);
	assert_int_equal(getattr(c, &old, &now), NFS3ERR_STALE);
	assert_reads(c, &file, "then");
	client_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(restart), cmocka_unit_test(serves_when_told),
	    cmocka_unit_test(shares_change), cmocka_unit_test(unshared_under_load),
	    cmocka_unit_test(snapshots)};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, scene_setup, scene_teardown);
}
