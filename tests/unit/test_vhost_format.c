/* The vhost-user messages and virtio-blk's structures against bytes written down from the
 * standards. */
#include "common/bytes.h"
#include "targets/vhost/blk_format.h"
#include "targets/vhost/msg_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void header(void **state)
{
	static const uint8_t get_features[] = {1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t need_reply[] = {5, 0, 0, 0, 9, 0, 0, 0, 8, 1, 0, 0};
	static const uint8_t version_2[] = {1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t huge[] = {1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x80};
	struct vhost_header h;

	(void)state;
	assert_int_equal(vhost_msg_header_decode(get_features, &h), 0);
	assert_int_equal(h.request, VHOST_GET_FEATURES);
	assert_false(h.need_reply);
	assert_int_equal(vhost_msg_header_decode(need_reply, &h), 0);
	assert_int_equal(h.size, 264);
	assert_true(h.need_reply);
	assert_int_equal(vhost_msg_header_decode(version_2, &h), VS_E_VERSION);
	assert_int_equal(vhost_msg_header_decode(huge, &h), VS_E_TOOBIG);
}

static int decode(uint32_t request, const uint8_t *payload, uint32_t size, struct vhost_msg *m)
{
	const struct vhost_header h = {.request = request, .size = size};

	return vhost_msg_decode(&h, payload, m);
}

static void ring_messages(void **state)
{
	static const uint8_t num[] = {2, 0, 0, 0, 0x80, 0, 0, 0};
	uint8_t addr[40] = {1};
	struct vhost_msg m;

	(void)state;
	assert_int_equal(decode(VHOST_SET_VRING_NUM, num, sizeof(num), &m), 0);
	assert_int_equal(m.state.index, 2);
	assert_int_equal(m.state.num, 128);
	assert_int_equal(decode(VHOST_SET_VRING_NUM, num, 7, &m), VS_E_PROTO);
	vs_put_le64(addr + 8, 0x1111);
	vs_put_le64(addr + 16, 0x2222); /* used comes before available */
	vs_put_le64(addr + 24, 0x3333);
	assert_int_equal(decode(VHOST_SET_VRING_ADDR, addr, sizeof(addr), &m), 0);
	assert_int_equal(m.addr.index, 1);
	assert_int_equal(m.addr.desc, 0x1111);
	assert_int_equal(m.addr.used, 0x2222);
	assert_int_equal(m.addr.avail, 0x3333);
	assert_int_equal(decode(VHOST_SET_VRING_ADDR, addr, 39, &m), VS_E_PROTO);
	assert_int_equal(decode(VHOST_SET_OWNER, NULL, 0, &m), 0);
	assert_int_equal(decode(VHOST_SET_OWNER, num, 8, &m), VS_E_PROTO);
	assert_int_equal(decode(7, num, 8, &m), VS_E_NOTSUP);
	assert_int_equal(decode(UINT32_MAX, num, 8, &m), VS_E_NOTSUP);
}

static void memory_table(void **state)
{
	uint8_t p[VHOST_PAYLOAD_MAX] = {2};
	struct vhost_msg m;

	(void)state;
	vs_put_le64(p + 8 + 32, 0x100000000);
	vs_put_le64(p + 8 + 32 + 8, 4096);
	vs_put_le64(p + 8 + 32 + 16, 0x7fff0000);
	vs_put_le64(p + 8 + 32 + 24, 65536);
	assert_int_equal(decode(VHOST_SET_MEM_TABLE, p, 8 + 64, &m), 0);
	assert_int_equal(m.mem.n, 2);
	assert_int_equal(m.mem.regions[1].guest_addr, 0x100000000);
	assert_int_equal(m.mem.regions[1].size, 4096);
	assert_int_equal(m.mem.regions[1].user_addr, 0x7fff0000);
	assert_int_equal(m.mem.regions[1].file_offset, 65536);
	assert_int_equal(decode(VHOST_SET_MEM_TABLE, p, 8 + 63, &m), VS_E_PROTO);
	assert_int_equal(decode(VHOST_SET_MEM_TABLE, p, 4, &m), VS_E_PROTO);
	vs_put_le32(p, VHOST_REGIONS_MAX + 1);
	assert_int_equal(decode(VHOST_SET_MEM_TABLE, p, VHOST_PAYLOAD_MAX, &m), VS_E_PROTO);
	vs_put_le32(p, UINT32_MAX / 32 + 1); /* times 32 wraps */
	assert_int_equal(decode(VHOST_SET_MEM_TABLE, p, VHOST_PAYLOAD_MAX, &m), VS_E_PROTO);
}

static void configuration(void **state)
{
	uint8_t p[VHOST_PAYLOAD_MAX] = {0};
	struct vhost_msg m;

	(void)state;
	vs_put_le32(p, 8);
	vs_put_le32(p + 4, 60);
	assert_int_equal(decode(VHOST_GET_CONFIG, p, 72, &m), 0);
	assert_int_equal(m.config.offset, 8);
	assert_int_equal(m.config.size, 60);
	assert_int_equal(decode(VHOST_GET_CONFIG, p, 71, &m), VS_E_PROTO);
	vs_put_le32(p, VHOST_CONFIG_MAX - 59);
	assert_int_equal(decode(VHOST_GET_CONFIG, p, 72, &m), VS_E_PROTO);
	vs_put_le32(p, UINT32_MAX);
	assert_int_equal(decode(VHOST_GET_CONFIG, p, 72, &m), VS_E_PROTO);
}

static void replies(void **state)
{
	static const uint8_t want[] = {17, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0};
	struct vhost_msg m = {
	    .kind = VHOST_P_U64, .h = {.request = VHOST_GET_QUEUE_NUM, .reply = true}, .u64 = 4};
	uint8_t b[VHOST_MESSAGE_MAX];

	(void)state;
	assert_int_equal(vhost_msg_encode(&m, b), sizeof(want));
	assert_memory_equal(b, want, sizeof(want));
	/* the in-flight description is answered in the length it came in */
	m = (struct vhost_msg){.kind = VHOST_P_INFLIGHT, .h = {.size = 20}};
	assert_int_equal(vhost_msg_encode(&m, b), VHOST_HEADER_SIZE + 20);
	m.h.size = 24;
	assert_int_equal(vhost_msg_encode(&m, b), VHOST_HEADER_SIZE + 24);
}

static void round_trip(void **state)
{
	struct vhost_msg in = {.kind = VHOST_P_INFLIGHT,
			       .h = {.request = VHOST_SET_INFLIGHT_FD, .size = 24}},
			 out;
	uint8_t b[VHOST_MESSAGE_MAX];
	struct vhost_header h;

	(void)state;
	in.inflight = (struct vhost_inflight_desc){
	    .size = 0x123456789a, .offset = 4096, .queues = 3, .queue_size = 128};
	assert_int_equal(vhost_msg_encode(&in, b), VHOST_HEADER_SIZE + 24);
	assert_int_equal(vhost_msg_header_decode(b, &h), 0);
	assert_int_equal(vhost_msg_decode(&h, b + VHOST_HEADER_SIZE, &out), 0);
	assert_int_equal(out.inflight.size, in.inflight.size);
	assert_int_equal(out.inflight.offset, in.inflight.offset);
	assert_int_equal(out.inflight.queues, 3);
	assert_int_equal(out.inflight.queue_size, 128);
}

static void descriptors(void **state)
{
	(void)state;
	assert_int_equal(vhost_msg_fds_max(VHOST_SET_MEM_TABLE), 8);
	assert_int_equal(vhost_msg_fds_max(VHOST_SET_VRING_KICK), 1);
	assert_int_equal(vhost_msg_fds_max(VHOST_GET_FEATURES), 0);
	assert_int_equal(vhost_msg_fds_max(UINT32_MAX), 0);
	assert_string_equal(vhost_msg_name(UINT32_MAX), "unknown request");
}

/* struct virtio_blk_config and requests, virtio 1.2 sections 5.2.4 and 5.2.6 */
static void block_device(void **state)
{
	static const uint8_t req[16] = {1, 0, 0, 0, 9, 9, 9, 9, 0x10, 0, 0, 0, 1, 0, 0, 0};
	static const uint8_t seg[16] = {8, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0, 0, 0, 1, 0, 0, 0};
	const struct vhost_blk_geometry g = {.size = 1 << 20, .sector = 512, .queues = 3};
	const struct vhost_blk_geometry g4 = {.size = 1 << 20, .sector = 4096, .queues = 1};
	uint8_t b[VHOST_BLK_CONFIG_SIZE];
	struct vhost_blk_segment s;
	struct vhost_blk_header h;

	(void)state;
	vhost_blk_header_decode(req, &h);
	assert_int_equal(h.type, VHOST_BLK_OUT);
	assert_int_equal(h.sector, 0x100000010);
	vhost_blk_segment_decode(seg, &s);
	assert_int_equal(s.sector, 0x8000000000000008);
	assert_int_equal(s.sectors, 255);
	assert_int_equal(s.flags, VHOST_BLK_FLAG_UNMAP);
	vhost_blk_config_encode(&g, b);
	assert_int_equal(vs_get_le64(b), 2048); /* capacity: always in units of 512 */
	assert_int_equal(vs_get_le32(b + 20), 512);
	assert_int_equal(b[24], 3); /* 8 sectors in a physical block */
	assert_int_equal(vs_get_le16(b + 34), 3);
	vhost_blk_config_encode(&g4, b);
	assert_int_equal(vs_get_le64(b), 2048);
	assert_int_equal(vs_get_le32(b + 20), 4096);
	assert_int_equal(b[24], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(header),	    cmocka_unit_test(ring_messages),
	    cmocka_unit_test(memory_table), cmocka_unit_test(configuration),
	    cmocka_unit_test(replies),	    cmocka_unit_test(round_trip),
	    cmocka_unit_test(descriptors),  cmocka_unit_test(block_device),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("vhost_format", tests, NULL, NULL);
}
