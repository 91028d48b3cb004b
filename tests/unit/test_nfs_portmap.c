/*
 * The port mapper of the NFS server as clients meet it: their calls are encoded and the replies
 * decoded by libnfs. NFS listens on 127.0.0.1 and ::1, the port mapper on 127.0.0.1, 127.0.0.9
 * and ::1.
 */
#include "tests/unit/nfs_server_scene.h"

#include "targets/nfs/portmap_format.h"

#include <nfsc/libnfs-raw-portmap.h>

#include <stdio.h>

enum { NFS_V4, NFS_V6, MAP_V4, MAP_ELSEWHERE, MAP_V6 };

static char address[5][NFS_ADDRESS_MAX];

static uint16_t port_of(unsigned i)
{
	return (uint16_t)strtoul(strrchr(address[i], ':') + 1, NULL, 10);
}

static int begin(void **state)
{
	static const char *const listen[] = {"127.0.0.1:0", "[::1]:0"};
	static const char *const portmap[] = {"127.0.0.1:0", "127.0.0.9:0", "[::1]:0"};
	const struct nfs_server_options opts = {
	    .listen = listen, .nlisten = 2, .portmap = portmap, .nportmap = 3};
	struct vs_error err = {0};
	struct nfs_server *srv;

	if (nfs_server_start(&opts, &srv, &err))
		fail_msg("%s", err.text);
	for (size_t i = 0; i < VS_ARRAY_LEN(address); i++)
		assert_int_equal(nfs_server_address(srv, i, address[i]), 0);
	nfs_server_serve(srv);
	*state = srv;
	return 0;
}

static int end(void **state)
{
	nfs_server_stop(*state);
	return 0;
}

static struct client *connect_to(unsigned i)
{
	struct client *c = calloc(1, sizeof(*c));
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port_of(i))};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT,
				   .sin6_port = htons(port_of(i))};
	bool v6 = address[i][0] == '[';

	in.sin_addr.s_addr = htonl(i == MAP_ELSEWHERE ? 0x7f000009 : INADDR_LOOPBACK);
	c->fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(v6 ? connect(c->fd, (struct sockaddr *)&in6, sizeof(in6))
			    : connect(c->fd, (struct sockaddr *)&in, sizeof(in)),
			 0);
	return c;
}

static uint32_t ask_mapping(struct client *c, uint32_t proc, uint32_t prog, uint32_t vers,
			    uint32_t prot)
{
	pmap2_mapping m = {prog, vers, prot, 0};
	uint32_t answer = 0;

	begin_call(c, NFS_PORTMAP_PROG, 2, proc);
	assert_true(zdr_pmap2_mapping(&c->enc, &m));
	exchange(c);
	assert_int_equal(c->reply_len, 28);
	assert_true(zdr_u_int(&c->dec, &answer));
	return answer;
}

/* GETADDR or GETVERSADDR; the answer until the next call. */
static const char *ask_address(struct client *c, uint32_t vers, uint32_t proc, uint32_t prog,
			       uint32_t prog_vers, const char *netid)
{
	static char text[NFS_PORTMAP_UADDR_MAX];
	char *none = (char *)(uintptr_t) "", *id = (char *)(uintptr_t)netid;
	pmap3_mapping m = {prog, prog_vers, id, none, none};
	pmap3_string_result res = {0};

	begin_call(c, NFS_PORTMAP_PROG, vers, proc);
	assert_true(zdr_pmap3_mapping(&c->enc, &m));
	exchange(c);
	assert_true(zdr_pmap3_string_result(&c->dec, &res));
	(void)snprintf(text, sizeof(text), "%s", res.addr);
	return text;
}

static void getport(void **state)
{
	struct client *c = connect_to(MAP_V4), *elsewhere = connect_to(MAP_ELSEWHERE);

	(void)state;
	assert_int_equal(ask_mapping(c, NFS_PORTMAP_GETPORT, NFS3_PROG, 3, 6), port_of(NFS_V4));
	assert_int_equal(ask_mapping(c, NFS_PORTMAP_GETPORT, NFS3_PROG, 4, 6), port_of(NFS_V4));
	assert_int_equal(ask_mapping(c, NFS_PORTMAP_GETPORT, MOUNT_PROG, 3, 6), port_of(NFS_V4));
	assert_int_equal(ask_mapping(c, NFS_PORTMAP_GETPORT, NFS_PORTMAP_PROG, 2, 6),
			 port_of(MAP_V4));
	/* A version that there is not: the program itself says which there are. */
	assert_int_equal(ask_mapping(c, NFS_PORTMAP_GETPORT, MOUNT_PROG, 1, 6), port_of(NFS_V4));
	assert_int_equal(ask_mapping(c, NFS_PORTMAP_GETPORT, NFS3_PROG, 3, 17), 0); /* UDP */
	assert_int_equal(ask_mapping(c, NFS_PORTMAP_GETPORT, 100099, 1, 6), 0);
	/* NFS does not listen on the address that this client came to. */
	assert_int_equal(ask_mapping(elsewhere, NFS_PORTMAP_GETPORT, NFS3_PROG, 3, 6), 0);
	assert_int_equal(ask_mapping(elsewhere, NFS_PORTMAP_GETPORT, NFS_PORTMAP_PROG, 2, 6),
			 port_of(MAP_ELSEWHERE));
	client_close(elsewhere);
	client_close(c);
}

static void getaddr(void **state)
{
	struct client *c = connect_to(MAP_V4), *c6 = connect_to(MAP_V6);
	const uint32_t getaddr = NFS_PORTMAP_GETPORT, exact = NFS_RPCBIND_GETVERSADDR;
	char v4[NFS_PORTMAP_UADDR_MAX], v6[NFS_PORTMAP_UADDR_MAX];
	unsigned p4 = port_of(NFS_V4), p6 = port_of(NFS_V6);

	(void)state;
	(void)snprintf(v4, sizeof(v4), "127.0.0.1.%u.%u", p4 / 256, p4 % 256);
	(void)snprintf(v6, sizeof(v6), "::1.%u.%u", p6 / 256, p6 % 256);
	for (uint32_t vers = 3; vers <= 4; vers++) {
		assert_string_equal(ask_address(c, vers, getaddr, NFS3_PROG, 3, "tcp"), v4);
		assert_string_equal(ask_address(c, vers, getaddr, MOUNT_PROG, 1, ""), v4);
		assert_string_equal(ask_address(c6, vers, getaddr, NFS3_PROG, 4, "tcp6"), v6);
		assert_string_equal(ask_address(c, vers, getaddr, NFS3_PROG, 3, "udp"), "");
		assert_string_equal(ask_address(c, vers, getaddr, NFS3_PROG, 3, "tcp6"), "");
		assert_string_equal(ask_address(c, vers, getaddr, 100099, 3, "tcp"), "");
	}
	assert_string_equal(ask_address(c, 4, exact, NFS3_PROG, 4, "tcp"), v4);
	assert_string_equal(ask_address(c, 4, exact, NFS3_PROG, 2, "tcp"), "");
	client_close(c6);
	client_close(c);
}

/* Whether a list of mappings holds this one once. */
static unsigned count_mapping(const PMAP2DUMPres *res, uint32_t prog, uint32_t vers, uint16_t port)
{
	unsigned n = 0;
	pmap2_mapping_list node;

	for (const void *at = res->list; at; at = node.next) {
		memcpy(&node, at, sizeof(node));
		n += node.map.prog == prog && node.map.vers == vers && node.map.prot == 6 &&
		     node.map.port == port;
	}
	return n;
}

static void dump(void **state)
{
	struct client *c = connect_to(MAP_V4), *c6 = connect_to(MAP_V6);
	PMAP2DUMPres two = {0};
	PMAP3DUMPres four = {0};
	pmap3_mapping_list node;
	unsigned n = 0, udp = 0;

	(void)state;
	begin_call(c, NFS_PORTMAP_PROG, 2, NFS_PORTMAP_DUMP);
	exchange(c);
	assert_true(zdr_PMAP2DUMPres(&c->dec, &two));
	assert_int_equal((size_t)zdr_getpos(&c->dec) + 24, c->reply_len);
	assert_int_equal(count_mapping(&two, NFS3_PROG, 3, port_of(NFS_V4)), 1);
	assert_int_equal(count_mapping(&two, NFS3_PROG, 4, port_of(NFS_V4)), 1);
	assert_int_equal(count_mapping(&two, MOUNT_PROG, 3, port_of(NFS_V4)), 1);
	for (uint32_t vers = 2; vers <= 4; vers++)
		assert_int_equal(count_mapping(&two, NFS_PORTMAP_PROG, vers, port_of(MAP_V4)), 1);
	begin_call(c6, NFS_PORTMAP_PROG, 4, NFS_PORTMAP_DUMP);
	exchange(c6);
	assert_true(zdr_PMAP3DUMPres(&c6->dec, &four));
	assert_int_equal((size_t)zdr_getpos(&c6->dec) + 24, c6->reply_len);
	for (const void *at = four.list; at; at = node.next) {
		memcpy(&node, at, sizeof(node));
		udp += strcmp(node.map.netid, "udp6") == 0 && node.map.prog == 100024;
		assert_true(strcmp(node.map.netid, "tcp6") == 0 || node.map.prog == 100024);
		assert_int_equal(strncmp(node.map.addr, "::1.", 4), 0);
		n += node.map.prog == NFS3_PROG;
	}
	assert_int_equal(n, 2);
	assert_int_equal(udp, 1); /* NSM */
	client_close(c6);
	client_close(c);
}

static uint32_t accept_stat(struct client *c, uint32_t prog, uint32_t vers, uint32_t proc)
{
	begin_call(c, prog, vers, proc);
	send_call(c);
	assert_true(receive_reply(c));
	return reply_word(c, 5);
}

/* Each port answers its own programs, mappings are nobody's to change, calls are not passed on. */
static void refused(void **state)
{
	struct client *c = connect_to(MAP_V4), *nfs = connect_to(NFS_V4);
	uint32_t words[] = {NFS3_PROG, 3, NFS_PORTMAP_STRING_MAX + 1};

	(void)state;
	assert_int_equal(accept_stat(c, NFS3_PROG, 3, 0), NFS_RPC_PROG_UNAVAIL);
	assert_int_equal(accept_stat(c, MOUNT_PROG, 3, 0), NFS_RPC_PROG_UNAVAIL);
	assert_int_equal(accept_stat(nfs, NFS_PORTMAP_PROG, 2, 0), NFS_RPC_PROG_UNAVAIL);
	assert_int_equal(accept_stat(c, NFS_PORTMAP_PROG, 5, 0), NFS_RPC_PROG_MISMATCH);
	assert_int_equal(reply_word(c, 6), 2);
	assert_int_equal(reply_word(c, 7), 4);
	assert_int_equal(accept_stat(c, NFS_PORTMAP_PROG, 2, 5), NFS_RPC_PROC_UNAVAIL); /* CALLIT */
	assert_int_equal(accept_stat(c, NFS_PORTMAP_PROG, 3, 9), NFS_RPC_PROC_UNAVAIL);
	assert_int_equal(accept_stat(c, NFS_PORTMAP_PROG, 4, 5), NFS_RPC_PROC_UNAVAIL); /* BCAST */
	assert_int_equal(accept_stat(c, NFS_PORTMAP_PROG, 2, 3), NFS_RPC_GARBAGE_ARGS);
	assert_int_equal(accept_stat(c, NFS_PORTMAP_PROG, 2, 0), NFS_RPC_SUCCESS);
	assert_int_equal(ask_mapping(c, NFS_PORTMAP_SET, 100099, 1, 6), 0);
	assert_int_equal(ask_mapping(c, NFS_PORTMAP_UNSET, NFS3_PROG, 3, 6), 0);
	assert_int_equal(ask_mapping(c, NFS_PORTMAP_GETPORT, NFS3_PROG, 3, 6), port_of(NFS_V4));
	begin_call(c, NFS_PORTMAP_PROG, 3, NFS_PORTMAP_GETPORT);
	for (size_t i = 0; i < VS_ARRAY_LEN(words); i++)
		assert_true(zdr_u_int(&c->enc, &words[i]));
	send_call(c);
	assert_true(receive_reply(c));
	assert_int_equal(reply_word(c, 5), NFS_RPC_GARBAGE_ARGS);
	client_close(nfs);
	client_close(c);
}

static void universal_addresses(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {{"127.0.0.1.8.1", "127.0.0.1", 2049}, {"::.255.255", "::", 65535}};
	static const char *const bad[] = {"",		"1",	  "8.1x", "1.2.3.4.256.1",
					  "1.2.3.4.8.", "host..1"};
	char host[NFS_PORTMAP_UADDR_MAX], longest[NFS_PORTMAP_UADDR_MAX + 1];
	uint16_t port;

	(void)state;
	for (size_t i = 0; i < VS_ARRAY_LEN(good); i++) {
		struct nfs_bytes b = {(const uint8_t *)good[i].text,
				      (uint32_t)strlen(good[i].text)};

		assert_true(nfs_portmap_uaddr_parse(b, host, &port));
		assert_string_equal(host, good[i].host);
		assert_int_equal(port, good[i].port);
	}
	for (size_t i = 0; i < VS_ARRAY_LEN(bad); i++)
		assert_false(nfs_portmap_uaddr_parse(
		    (struct nfs_bytes){(const uint8_t *)bad[i], (uint32_t)strlen(bad[i])}, host,
		    &port));
	memset(longest, '1', sizeof(longest));
	assert_false(nfs_portmap_uaddr_parse(
	    (struct nfs_bytes){(const uint8_t *)longest, sizeof(longest)}, host, &port));
}

/* More addresses than a server takes, of both kinds together. */
static void too_many(void **state)
{
	const char *at[NFS_LISTEN_MAX];
	struct nfs_server_options opts = {
	    .listen = at, .nlisten = NFS_LISTEN_MAX, .portmap = at, .nportmap = 1};
	struct vs_error err = {0};
	struct nfs_server *srv;

	(void)state;
	for (size_t i = 0; i < NFS_LISTEN_MAX; i++)
		at[i] = "127.0.0.1:0";
	assert_int_equal(nfs_server_start(&opts, &srv, &err), VS_E_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(getport, begin, end),
	    cmocka_unit_test_setup_teardown(getaddr, begin, end),
	    cmocka_unit_test_setup_teardown(dump, begin, end),
	    cmocka_unit_test_setup_teardown(refused, begin, end),
	    cmocka_unit_test(universal_addresses),
	    cmocka_unit_test(too_many),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
