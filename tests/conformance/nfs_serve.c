/*
 * nfs_serve STORE ADDRESS: the datastores "one" and "two" of a store in a file, which is made if it
 * is not there, over NFS to everybody on loopback, until SIGTERM. STORE.kept remembers clients.
 */
#include "blockstore/device.h"
#include "blockstore/store.h"
#include "targets/nfs/server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STORE_BYTES (INT64_C(1) << 30)

static const uint8_t key[32] = "the key of the test's handles...";
static char kept[4096];

static int save(void *arg, const uint8_t *bytes, size_t len, struct vs_error *err)
{
	char fresh[sizeof(kept) + 4];
	FILE *f;

	(void)arg;
	(void)snprintf(fresh, sizeof(fresh), "%s.new", kept);
	f = fopen(fresh, "we");
	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f) || rename(fresh, kept))
		return vs_fail(err, VS_E_IO, "cannot write %s", fresh);
	return 0;
}

static int load(void *arg, uint8_t *bytes, size_t max, size_t *len, struct vs_error *err)
{
	FILE *f = fopen(kept, "re");

	(void)arg;
	(void)err;
	*len = f ? fread(bytes, 1, max, f) : 0;
	if (f)
		(void)fclose(f);
	return 0;
}

static int make(const char *path, struct vs_error *err)
{
	const struct bs_init_options init = {.compression = BS_CODING_LZ4};
	struct bs_device *dev;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), status;

	if (fd < 0 || ftruncate(fd, STORE_BYTES) || close(fd))
		return vs_fail(err, VS_E_IO, "cannot make %s", path);
	status = bs_device_open(path, 0, 0, &dev, err);
	if (status)
		return status;
	status = bs_store_init(dev, &init, err);
	bs_device_close(dev);
	return status;
}

static int serve(struct ds_store *const d[2], const char *address, struct vs_error *err)
{
	const struct nfs_server_options opts = {.listen = &address,
						.nlisten = 1,
						.key = key,
						.key_len = sizeof(key),
						.keeper = {save, load, NULL}};
	const struct nfs_rule all = {"127.0.0.0/8", false, NFS_SQUASH_NONE, NFS_ANONYMOUS,
				     NFS_ANONYMOUS};
	static const char *const names[2] = {"one", "two"};
	struct nfs_server *srv;
	char text[NFS_ADDRESS_MAX];
	sigset_t wanted;
	int status, sig;

	(void)sigemptyset(&wanted);
	(void)sigaddset(&wanted, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &wanted, NULL);
	status = nfs_server_start(&opts, &srv, err);
	if (status)
		return status;
	for (unsigned i = 0; i < 2 && !status; i++)
		status = nfs_server_share(srv, names[i], d[i], &all, 1, err);
	if (status == 0)
		status = nfs_server_address(srv, 0, text);
	if (status == 0) {
		nfs_server_serve(srv);
		(void)printf("%s\n", text);
		(void)fflush(stdout);
		(void)sigwait(&wanted, &sig);
	}
	nfs_server_stop(srv);
	return status;
}

static int run(const char *path, const char *address, struct vs_error *err)
{
	const struct bs_open_options opts = {0};
	bool fresh = access(path, F_OK) != 0;
	struct bs_device *dev;
	struct bs_store *store;
	struct ds_store *d[2];
	int status = fresh ? make(path, err) : 0;

	if (status || bs_device_open(path, 0, 0, &dev, err) ||
	    bs_store_open(dev, &opts, &store, err) ||
	    (fresh && (ds_create(store, "one", err) || ds_create(store, "two", err))) ||
	    ds_open(store, "one", &d[0], err) || ds_open(store, "two", &d[1], err))
		return err->code;
	status = serve(d, address, err);
	ds_close(d[0]);
	ds_close(d[1]);
	return bs_store_close(store, err) ? err->code : status;
}

int main(int argc, char **argv)
{
	struct vs_error err = {0};

	if (argc != 3)
		return 2;
	(void)snprintf(kept, sizeof(kept), "%s.kept", argv[1]);
	if (run(argv[1], argv[2], &err) == 0)
		return 0;
	(void)fprintf(stderr, "nfs_serve: %s\n", err.text);
	return 1;
}
