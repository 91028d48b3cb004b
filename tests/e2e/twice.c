/*
 * Puts blocks into a store twice, as if deduplication had missed them all.
 *
 *     twice STORE BLOCKS
 *
 * Volumes one and two get the same noise, without an index.
 */
#include "blockstore/io.h"
#include "common/bytes.h"

#include <stdio.h>
#include <stdlib.h>

#define EACH 32u

static void must(int rc, const struct vs_error *err)
{
	if (rc == 0)
		return;
	(void)fprintf(stderr, "twice: %s\n", err->text);
	exit(1);
}

static void put(struct bs_store *s, struct bs_port *port, const char *name, uint64_t blocks)
{
	static uint8_t buf[EACH * BS_BLOCK];
	const struct bs_volume_spec spec = {
	    .name = name, .size = VS_ALIGN_UP(blocks, EACH) * BS_BLOCK, .compression = -1};
	struct vs_error err = {0};
	struct bs_volume *v = NULL;
	uint64_t seed = 1;

	must(bs_volume_create(s, &spec, NULL, &err), &err);
	must(bs_volume_open(s, name, &v, &err), &err);
	for (uint64_t i = 0; i < blocks; i += EACH) {
		for (size_t k = 0; k < sizeof(buf); k += 8) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
			vs_put_le64(buf + k, seed ^ seed >> 29);
		}
		must(bs_io_write(port, v, i * BS_BLOCK, buf, sizeof(buf)), &err);
	}
	bs_volume_close(v);
}

int main(int argc, char **argv)
{
	const struct bs_open_options opts = {0};
	struct vs_error err = {0};
	struct bs_device *dev;
	struct bs_store *s;
	struct vs_loop *loop;
	struct bs_port *port;
	uint64_t blocks;

	if (argc != 3) {
		(void)fprintf(stderr, "usage: twice STORE BLOCKS\n");
		return 2;
	}
	blocks = strtoull(argv[2], NULL, 10);
	must(bs_device_open(argv[1], 0, 0, &dev, &err), &err);
	must(bs_store_open(dev, &opts, &s, &err), &err);
	must(bs_store_set_index(s, 0, &err), &err);
	must(vs_loop_new(&loop, &err), &err);
	must(bs_port_open(s, loop, 8, &port, &err), &err);
	put(s, port, "one", blocks);
	put(s, port, "two", blocks);
	bs_port_close(port);
	vs_loop_free(loop);
	must(bs_store_close(s, &err), &err);
	return 0;
}
