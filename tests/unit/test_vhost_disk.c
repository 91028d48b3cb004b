/* A disk on a real store, driven by a front end that keeps the protocol and by ones that do not. */
#include "common/log.h"
#include "common/text.h"
#include "targets/vhost/disk.h"
#include "tests/unit/vhost_frontend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define DISK_SIZE (UINT64_C(16) << 20)
#define SECTORS (DISK_SIZE / 512)
#define FEATURES                                                                           \
	(FE_F_VERSION_1 | FE_F_EVENT_IDX | VHOST_F_PROTOCOL_FEATURES | VHOST_BLK_F_FLUSH | \
	 VHOST_BLK_F_DISCARD | VHOST_BLK_F_WRITE_ZEROES)

struct fixture {
	char dir[40], file[64], sock[64];
	struct bs_store *store;
	struct vhost_server *server;
	struct vhost_disk *disk;
	struct frontend fe;
	int region;
	struct vhost_inflight_desc region_desc;
};

/* Prints why a step of the setup failed. */
static int must(int rc, const struct vs_error *err)
{
	if (rc)
		print_message("# %s\n", err->text);
	return rc;
}

static int open_store(struct fixture *f)
{
	const struct bs_open_options o = {.memory = UINT64_C(256) << 20};
	const struct bs_init_options init = {.segment_size = 1 << 20};
	struct vs_error err = {0};
	struct bs_device *dev;

	if (must(bs_device_open(f->file, BS_DEVICE_CREATE, UINT64_C(512) << 20, &dev, &err), &err))
		return -1;
	if (must(bs_store_init(dev, &init, &err), &err))
		return -1;
	bs_device_close(dev);
	if (must(bs_device_open(f->file, 0, 0, &dev, &err), &err))
		return -1;
	return must(bs_store_open(dev, &o, &f->store, &err), &err);
}

static int start_disk(struct fixture *f, bool read_only)
{
	const struct vhost_disk_opts o = {.volume = "v",
					  .socket_path = f->sock,
					  .uid = (uid_t)-1,
					  .gid = (gid_t)-1,
					  .queues = 2,
					  .read_only = read_only};

	return vhost_disk_start(f->server, &o, &f->disk, NULL);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct bs_volume_spec spec = {.name = "v", .size = DISK_SIZE, .compression = -1};
	struct vs_error err = {0};

	snprintf(f->dir, sizeof(f->dir), "/var/tmp/vhost-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->file, sizeof(f->file), "%s/store", f->dir);
	snprintf(f->sock, sizeof(f->sock), "%s/disk", f->dir);
	f->region = -1;
	*state = f;
	vs_log_set_level(VS_LOG_ERROR); /* what hostile front ends cause is said as warnings */
	if (open_store(f) || must(bs_volume_create(f->store, &spec, NULL, &err), &err) ||
	    must(vhost_server_open(f->store, 1, &f->server, &err), &err) || start_disk(f, false))
		return -1;
	return fe_open(&f->fe);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc;

	fe_close(&f->fe);
	if (f->region >= 0)
		close(f->region);
	vhost_disk_stop(f->disk);
	vhost_server_close(f->server);
	rc = bs_store_close(f->store, NULL);
	unlink(f->file);
	rmdir(f->dir);
	free(f);
	return rc;
}

static void bring_up(struct fixture *f, uint64_t features)
{
	assert_int_equal(fe_connect(&f->fe, f->sock), 0);
	assert_int_equal(fe_negotiate(&f->fe, features), 0);
	assert_int_equal(fe_inflight(&f->fe, &f->region_desc, &f->region), 0);
	assert_int_equal(fe_memory(&f->fe), 0);
	assert_int_equal(fe_start(&f->fe, 0), 0);
}

static void describes_itself(void **state)
{
	struct fixture *f = *state;
	struct vhost_msg m = {
	    .h.request = VHOST_GET_CONFIG, .kind = VHOST_P_CONFIG, .config = {.size = 60}};
	struct stat st;
	uint64_t v;
	int fd;

	assert_int_equal(fe_connect(&f->fe, f->sock), 0);
	assert_int_equal(fe_get_u64(&f->fe, VHOST_GET_FEATURES, &v), 0);
	assert_int_equal(v & FEATURES, FEATURES);
	assert_true(v & VHOST_BLK_F_MQ);
	assert_false(v & VHOST_BLK_F_RO);
	assert_int_equal(fe_get_u64(&f->fe, VHOST_GET_QUEUE_NUM, &v), 0);
	assert_int_equal(v, 2);
	assert_int_equal(fe_message(&f->fe, &m, NULL, 0), 0);
	assert_int_equal(fe_answer(&f->fe, &m, &fd), 0);
	assert_int_equal(m.config.size, 60);
	assert_int_equal(vs_get_le64(m.config.data), SECTORS);
	assert_int_equal(stat(f->sock, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void reads_what_was_written(void **state)
{
	struct fixture *f = *state;
	uint8_t pattern[8192];
	struct bs_volume_info info;
	char id[33];

	bring_up(f, FEATURES);
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + i / 256);
	memcpy(fe_data(&f->fe, 0), pattern, sizeof(pattern));
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_OUT, 3, sizeof(pattern), false), 0);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_FLUSH, 0, 0, false), 0);
	memset(fe_data(&f->fe, 0), 0, sizeof(pattern));
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 3, sizeof(pattern), true), 0);
	assert_memory_equal(fe_data(&f->fe, 0), pattern, sizeof(pattern));
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_GET_ID, 0, VHOST_BLK_ID_SIZE, true), 0);
	assert_int_equal(bs_volume_find(f->store, "v", &info, NULL), 0);
	vs_format_hex(info.uuid.b, 16, id);
	assert_memory_equal(fe_data(&f->fe, 0), id, VHOST_BLK_ID_SIZE);
}

static int segment(struct fixture *f, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	uint8_t *p = fe_data(&f->fe, 0);

	vs_put_le64(p, sector);
	vs_put_le32(p + 8, n);
	vs_put_le32(p + 12, flags);
	return fe_request(&f->fe, type, 0, VHOST_BLK_SEGMENT_SIZE, false);
}

static void zeroes_and_discards(void **state)
{
	struct fixture *f = *state;
	static const uint8_t zeros[512];
	uint8_t *data = fe_data(&f->fe, 0);

	bring_up(f, FEATURES);
	memset(data, 0x55, 16384);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_OUT, 0, 16384, false), 0);
	assert_int_equal(segment(f, VHOST_BLK_WRITE_ZEROES, 1, 3, 0), 0);
	assert_int_equal(segment(f, VHOST_BLK_DISCARD, 8, 16, 0), 0);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 0, 16384, true), 0);
	assert_int_equal(data[0], 0x55);
	for (unsigned i = 1; i < 4; i++)
		assert_memory_equal(data + 512 * i, zeros, 512);
	assert_int_equal(data[512 * 4], 0x55);
	assert_memory_equal(data + 4096, zeros, 512); /* a trim of whole blocks does it all here */
	assert_int_equal(data[12288], 0x55);
	/* bad segments */
	assert_int_equal(segment(f, VHOST_BLK_DISCARD, SECTORS, 1, 0), VHOST_BLK_IOERR);
	assert_int_equal(segment(f, VHOST_BLK_WRITE_ZEROES, UINT64_MAX, 8, 0), VHOST_BLK_IOERR);
	assert_int_equal(segment(f, VHOST_BLK_DISCARD, 0, UINT32_MAX, 0), VHOST_BLK_IOERR);
	assert_int_equal(segment(f, VHOST_BLK_DISCARD, 0, 8, 1), VHOST_BLK_UNSUPP);
	assert_int_equal(segment(f, VHOST_BLK_WRITE_ZEROES, 0, 8, 2), VHOST_BLK_UNSUPP);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_DISCARD, 0, 15, false), VHOST_BLK_IOERR);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_DISCARD, 0, 17 * 16, false),
			 VHOST_BLK_UNSUPP);
}

static void bad_requests(void **state)
{
	struct fixture *f = *state;

	bring_up(f, FEATURES);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, SECTORS, 512, true), VHOST_BLK_IOERR);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, SECTORS - 1, 1024, true),
			 VHOST_BLK_IOERR);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_OUT, UINT64_MAX, 512, false),
			 VHOST_BLK_IOERR);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_OUT, UINT64_MAX / 512 + 1, 512, false),
			 VHOST_BLK_IOERR);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 0, 100, true), VHOST_BLK_IOERR);
	assert_int_equal(fe_request(&f->fe, 2, 0, 512, true), VHOST_BLK_UNSUPP);
	assert_int_equal(fe_request(&f->fe, UINT32_MAX, 0, 512, true), VHOST_BLK_UNSUPP);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 0, 0, true), VHOST_BLK_OK);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 0, 512, true), VHOST_BLK_OK);
}

static void several_at_once(void **state)
{
	struct fixture *f = *state;

	bring_up(f, FEATURES);
	for (unsigned i = 0; i < 5; i++) {
		memset(fe_data(&f->fe, i), (int)i + 1, 4096);
		fe_put(&f->fe, i, VHOST_BLK_OUT, 8 * i, 4096, false);
	}
	assert_int_equal(fe_kick(&f->fe), 0);
	assert_int_equal(fe_collect(&f->fe, 5), 0);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(f->fe.guest.ram[FE_STATUS + i], 0);
		assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 8 * i, 4096, true), 0);
		assert_int_equal(fe_data(&f->fe, 0)[4095], i + 1);
	}
}

static void a_driver_that_breaks_the_rules_stops_its_queue(void **state)
{
	struct fixture *f = *state;
	uint16_t base;

	bring_up(f, FEATURES);
	guest_desc(&f->fe.guest, 0, FE_HEADER, 8, DESC_NEXT, 1); /* no room for a header */
	guest_desc(&f->fe.guest, 1, FE_STATUS, 1, DESC_WRITE, 0);
	guest_offer(&f->fe.guest, 0);
	assert_int_equal(fe_kick(&f->fe), 0);
	assert_int_equal(fe_wait(f->fe.err), 0);
	/* the guest resets its device: all is well again */
	assert_int_equal(fe_stop(&f->fe, &base), 0);
	close(f->region);
	f->region = -1;
	memset(f->fe.guest.ram, 0, GUEST_SIZE);
	f->fe.guest.avail = f->fe.seen = 0;
	assert_int_equal(fe_inflight(&f->fe, &f->region_desc, &f->region), 0);
	assert_int_equal(fe_start(&f->fe, 0), 0);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 0, 512, true), 0);
}

static void stops_and_goes_on(void **state)
{
	struct fixture *f = *state;
	uint16_t base;

	bring_up(f, FEATURES);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 0, 512, true), 0);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 0, 512, true), 0);
	assert_int_equal(fe_stop(&f->fe, &base), 0);
	assert_int_equal(base, 2);
	fe_put(&f->fe, 0, VHOST_BLK_IN, 0, 512, true); /* while it is stopped */
	assert_int_equal(fe_inflight(&f->fe, &f->region_desc, &f->region), 0);
	assert_int_equal(fe_memory(&f->fe), 0);
	assert_int_equal(fe_start(&f->fe, base), 0);
	assert_int_equal(fe_collect(&f->fe, 1), 0); /* found without a kick */
	assert_int_equal(f->fe.guest.ram[FE_STATUS], 0);
}

/* What the daemon's death leaves: heads marked in the region that never came back. */
static void requests_in_flight_run_again(void **state)
{
	struct fixture *f = *state;
	struct vhost_inflight map;
	struct vhost_inflight_queue q;
	uint16_t heads[GUEST_NUM];
	unsigned n;
	bool fresh;

	bring_up(f, FEATURES);
	memset(fe_data(&f->fe, 1), 0x77, 4096);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 0, 512, true), 0);
	close(f->fe.sock);
	vhost_disk_stop(f->disk);
	/* taken by the daemon before it died, as its own code would have written it down */
	fe_put(&f->fe, 1, VHOST_BLK_OUT, 16, 4096, false);
	fe_put(&f->fe, 2, VHOST_BLK_IN, 0, 512, true);
	assert_int_equal(vhost_inflight_map(&f->region_desc, f->region, &map, NULL), 0);
	assert_int_equal(vhost_inflight_start(&map, 0, GUEST_NUM, 1, &q, heads, &n, &fresh), 0);
	assert_int_equal(n, 0);
	vhost_inflight_take(&q, 3);
	vhost_inflight_unmap(&map);

	assert_int_equal(start_disk(f, false), 0);
	assert_int_equal(fe_connect(&f->fe, f->sock), 0);
	assert_int_equal(fe_negotiate(&f->fe, FEATURES), 0);
	assert_int_equal(fe_inflight(&f->fe, &f->region_desc, &f->region), 0);
	assert_int_equal(fe_memory(&f->fe), 0);
	assert_int_equal(fe_start(&f->fe, 1), 0); /* what QEMU remembers: the used index */
	assert_int_equal(fe_collect(&f->fe, 2), 0);
	assert_int_equal(guest_used(&f->fe.guest), 3); /* each once */
	assert_int_equal(f->fe.guest.ram[FE_STATUS + 1], 0);
	assert_int_equal(f->fe.guest.ram[FE_STATUS + 2], 0);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 16, 4096, true), 0);
	assert_int_equal(fe_data(&f->fe, 0)[100], 0x77);
}

static void read_only_disk(void **state)
{
	struct fixture *f = *state;
	uint64_t v;

	vhost_disk_stop(f->disk);
	assert_int_equal(start_disk(f, true), 0);
	bring_up(f,
		 (FEATURES | VHOST_BLK_F_RO) & ~(VHOST_BLK_F_DISCARD | VHOST_BLK_F_WRITE_ZEROES));
	assert_int_equal(fe_get_u64(&f->fe, VHOST_GET_FEATURES, &v), 0);
	assert_true(v & VHOST_BLK_F_RO);
	assert_false(v & VHOST_BLK_F_DISCARD);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_OUT, 0, 512, false), VHOST_BLK_IOERR);
	assert_int_equal(segment(f, VHOST_BLK_DISCARD, 0, 8, 0), VHOST_BLK_IOERR);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 0, 512, true), 0);
}

static void tells_of_a_new_size(void **state)
{
	struct fixture *f = *state;
	struct vhost_msg m = {.h.request = VHOST_SET_BACKEND_REQ_FD};
	uint8_t b[VHOST_HEADER_SIZE];
	struct vhost_header h;
	int pair[2];

	bring_up(f, FEATURES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fe_ack(&f->fe, &m, &pair[1], 1), 0);
	close(pair[1]);
	assert_int_equal(bs_volume_resize(f->store, "v", 2 * DISK_SIZE, false, NULL), 0);
	vhost_disk_resized(f->disk);
	assert_int_equal(recv(pair[0], b, sizeof(b), MSG_WAITALL), sizeof(b));
	assert_int_equal(vhost_msg_header_decode(b, &h), 0);
	assert_int_equal(h.request, VHOST_BACKEND_CONFIG_CHANGE);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, SECTORS, 512, true), 0);
	close(pair[0]);
}

/* The connection is closed, and the disk serves the next one. */
static void assert_dropped(struct fixture *f)
{
	struct vhost_disk_status st;
	char c;

	assert_true(recv(f->fe.sock, &c, 1, 0) <= 0);
	close(f->fe.sock);
	assert_int_equal(fe_connect(&f->fe, f->sock), 0);
	assert_int_equal(fe_negotiate(&f->fe, FEATURES), 0);
	vhost_disk_status(f->disk, &st);
	assert_true(st.connected);
	close(f->fe.sock);
	f->fe.sock = -1;
}

static void garbage_is_dropped(void **state)
{
	struct fixture *f = *state;
	uint8_t junk[400];

	memset(junk, 0xa5, sizeof(junk));
	assert_int_equal(fe_connect(&f->fe, f->sock), 0);
	assert_int_equal(fe_send(&f->fe, junk, sizeof(junk), NULL, 0), 0);
	assert_dropped(f);
}

static void too_many_descriptors_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct vhost_msg m = {.h.request = VHOST_SET_OWNER};
	int fds[12];

	for (unsigned i = 0; i < 12; i++)
		fds[i] = f->fe.call;
	assert_int_equal(fe_connect(&f->fe, f->sock), 0);
	assert_int_equal(fe_message(&f->fe, &m, fds, 12), 0);
	assert_dropped(f);
	assert_int_equal(fe_connect(&f->fe, f->sock), 0);
	assert_int_equal(fe_message(&f->fe, &m, fds, 1), 0); /* one too many for this message */
	assert_dropped(f);
}

static void the_wrong_order_is_refused(void **state)
{
	struct fixture *f = *state;
	struct vhost_msg addr = {
	    .h.request = VHOST_SET_VRING_ADDR, .kind = VHOST_P_ADDR, .addr = {.index = 2}};

	assert_int_equal(fe_connect(&f->fe, f->sock), 0);
	assert_int_equal(fe_negotiate(&f->fe, FEATURES), 0);
	assert_int_equal(fe_set_u64(&f->fe, VHOST_SET_VRING_KICK, 0, f->fe.kick), 1);
	assert_int_equal(fe_set_state(&f->fe, VHOST_SET_VRING_NUM, 0), 1);
	assert_int_equal(fe_set_state(&f->fe, VHOST_SET_VRING_NUM, 65536), 1);
	assert_int_equal(fe_ack(&f->fe, &addr, NULL, 0), 1); /* no such queue */
	addr = (struct vhost_msg){.h.request = VHOST_SET_VRING_ADDR, .kind = VHOST_P_ADDR};
	assert_int_equal(fe_ack(&f->fe, &addr, NULL, 0), 0);
	assert_int_equal(fe_set_state(&f->fe, VHOST_SET_VRING_NUM, GUEST_NUM), 0);
	assert_int_equal(fe_set_u64(&f->fe, VHOST_SET_VRING_KICK, 0, f->fe.kick), 1);
	assert_int_equal(fe_memory(&f->fe), 0);
	/* rings at address 0: not in memory */
	assert_int_equal(fe_set_u64(&f->fe, VHOST_SET_VRING_KICK, 0, f->fe.kick), 1);
	assert_int_equal(fe_set_u64(&f->fe, VHOST_SET_VRING_KICK, 0, -1), 1);
	assert_int_equal(fe_set_u64(&f->fe, VHOST_SET_FEATURES, UINT64_MAX, -1), 1);
	assert_int_equal(fe_start(&f->fe, 0), 0);
	assert_int_equal(fe_request(&f->fe, VHOST_BLK_IN, 0, 512, true), 0);
}

static void the_path_is_guarded(void **state)
{
	struct fixture *f = *state;
	struct vhost_disk_opts o = {
	    .volume = "v", .socket_path = f->sock, .uid = (uid_t)-1, .gid = (gid_t)-1, .queues = 1};
	struct vhost_disk *d;
	struct vs_error err;
	char path[200];

	assert_int_equal(vhost_disk_start(f->server, &o, &d, &err), VS_E_BUSY);
	o.socket_path = f->dir;
	assert_int_equal(vhost_disk_start(f->server, &o, &d, &err), VS_E_EXIST);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	o.socket_path = path;
	assert_int_equal(vhost_disk_start(f->server, &o, &d, &err), VS_E_INVAL);
	o.socket_path = f->sock;
	o.volume = "no-such-volume";
	assert_int_equal(vhost_disk_start(f->server, &o, &d, &err), VS_E_NOENT);
	o.volume = "v";
	o.queues = VHOST_QUEUES_MAX + 1;
	assert_int_equal(vhost_disk_start(f->server, &o, &d, &err), VS_E_INVAL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(describes_itself),
	    T(reads_what_was_written),
	    T(zeroes_and_discards),
	    T(bad_requests),
	    T(several_at_once),
	    T(a_driver_that_breaks_the_rules_stops_its_queue),
	    T(stops_and_goes_on),
	    T(requests_in_flight_run_again),
	    T(read_only_disk),
	    T(tells_of_a_new_size),
	    T(garbage_is_dropped),
	    T(too_many_descriptors_are_dropped),
	    T(the_wrong_order_is_refused),
	    T(the_path_is_guarded),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("vhost_disk", tests, NULL, NULL);
}
