/*
 * A whole server on loopback, given the bytes of an initiator as they come: the first byte says
 * whether they begin with a login that is right. Each run is a connection of its own; its end is
 * waited for, so that nothing is left for the next one.
 */
#include "targets/iscsi/server.h"

#include "blockstore/store.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IQN "iqn.2026-11.org.example:fuzz"
#define BHS 48

static struct iscsi_server *server;

static void check(int rc, const struct vs_error *err)
{
	if (rc == 0)
		return;
	fprintf(stderr, "%s\n", err->text);
	abort();
}

static void start(void)
{
	const struct iscsi_portal portal = {.tag = 1, .address = "127.0.0.1"};
	const struct iscsi_lun_config lun = {.lun = 0, .volume = "v"};
	const struct iscsi_target_config target = {.iqn = IQN, .luns = &lun, .nluns = 1};
	const struct bs_init_options init = {.segment_size = 1 << 20};
	const struct bs_open_options open = {.memory = UINT64_C(256) << 20};
	const struct bs_volume_spec volume = {.name = "v", .size = 4 << 20, .sector = 512};
	struct iscsi_server_options options = {.portals = &portal, .nportals = 1, .threads = 1};
	char path[] = "/var/tmp/fuzz-iscsi-XXXXXX";
	struct vs_error err = {0};
	struct bs_device *dev;
	int fd = mkstemp(path);

	if (fd < 0)
		abort();
	close(fd);
	unlink(path);
	check(bs_device_open(path, BS_DEVICE_CREATE, UINT64_C(256) << 20, &dev, &err), &err);
	unlink(path); /* the store keeps it open */
	check(bs_store_init(dev, &init, &err), &err);
	check(bs_store_open(dev, &open, &options.store, &err), &err);
	check(bs_volume_create(options.store, &volume, NULL, &err), &err);
	check(iscsi_server_start(&options, &server, &err), &err);
	check(iscsi_server_set_target(server, &target, &err), &err);
}

static void say(int fd, const void *data, size_t len)
{
	(void)!send(fd, data, len, MSG_NOSIGNAL); /* the target may have had enough */
}

/* One request that leads to the full feature phase; flags choose the digests. */
static void login(int fd, uint8_t flags)
{
	static const char *const keys[] = {"", "HeaderDigest=CRC32C", "DataDigest=CRC32C",
					   "InitialR2T=No"};
	const char *more = keys[flags >> 1 & 3];
	uint8_t pdu[BHS + 256] = {0x43, 0x87, [8] = 0x80, [19] = 1, [27] = 1};
	int n =
	    snprintf((char *)pdu + BHS, sizeof(pdu) - BHS,
		     "InitiatorName=iqn.1994-05.org.example:f%cTargetName=" IQN "%c%s", 0, 0, more);

	n += more[0] ? 1 : 0;
	pdu[7] = (uint8_t)n;
	say(fd, pdu, BHS + (((size_t)n + 3) & ~(size_t)3));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char answer[65536];
	int fd, one = 1;

	if (!size)
		return 0;
	if (!server)
		start();
	to.sin_port = htons(iscsi_server_port(server, 0));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		abort();
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (data[0] & 1)
		login(fd, data[0]);
	say(fd, data + 1, size - 1);
	shutdown(fd, SHUT_WR);
	while (recv(fd, answer, sizeof(answer), 0) > 0)
		;
	close(fd);
	return 0;
}
