/* Guest memory, virtqueues and the in-flight region against drivers that keep the rules and not. */
#include "tests/unit/vhost_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct fixture {
	struct guest g;
	struct vhost_mem *mem;
	struct vhost_ring r;
	struct vhost_chain c;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vhost_mem_table t = guest_table();
	struct vhost_vring_addr a = guest_rings();
	int fds[2];

	if (!f || guest_open(&f->g))
		return -1;
	fds[0] = fds[1] = f->g.fd;
	*state = f;
	if (vhost_mem_new(&t, fds, &f->mem, NULL))
		return -1;
	return vhost_ring_map(&f->r, f->mem, GUEST_NUM, &a);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vhost_mem_put(f->mem);
	guest_close(&f->g);
	free(f);
	return 0;
}

static void memory_translates(void **state)
{
	struct fixture *f = *state;
	struct iovec iov[4];
	unsigned n = 0;

	f->g.ram[GUEST_REGION - 1] = 0xaa;
	f->g.ram[GUEST_REGION] = 0xbb;
	assert_int_equal(vhost_mem_guest(f->mem, GUEST_REGION - 1, 2, iov, &n, 4), 0);
	assert_int_equal(n, 2); /* the regions touch for the guest, not here */
	assert_int_equal(*(uint8_t *)iov[0].iov_base, 0xaa);
	assert_int_equal(*(uint8_t *)iov[1].iov_base, 0xbb);
	n = 0;
	assert_int_equal(vhost_mem_guest(f->mem, GUEST_SIZE - 1, 1, iov, &n, 4), 0);
	assert_int_equal(vhost_mem_guest(f->mem, GUEST_SIZE - 1, 2, iov, &n, 4), VS_E_RANGE);
	assert_int_equal(vhost_mem_guest(f->mem, UINT64_MAX, 1, iov, &n, 4), VS_E_RANGE);
	assert_int_equal(vhost_mem_guest(f->mem, 16, UINT64_MAX, iov, &n, 4), VS_E_RANGE);
	n = 0;
	assert_int_equal(vhost_mem_guest(f->mem, GUEST_REGION - 1, 2, iov, &n, 1), VS_E_LIMIT);
	assert_non_null(vhost_mem_user(f->mem, GUEST_USER_2, GUEST_REGION));
	assert_null(vhost_mem_user(f->mem, GUEST_USER_2, GUEST_REGION + 1));
	assert_null(vhost_mem_user(f->mem, GUEST_USER_1 - 1, 1));
	assert_null(vhost_mem_user(f->mem, UINT64_MAX, UINT64_MAX));
}

static void memory_must_be_sealed_and_long_enough(void **state)
{
	struct fixture *f = *state;
	struct vhost_mem_table t = guest_table();
	int open_fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int fds[2] = {open_fd, open_fd};
	struct vhost_mem *m;

	assert_int_equal(ftruncate(open_fd, GUEST_SIZE), 0);
	assert_int_equal(vhost_mem_new(&t, fds, &m, NULL), VS_E_INVAL);
	close(open_fd);
	fds[0] = fds[1] = f->g.fd;
	t.regions[1].size++;
	assert_int_equal(vhost_mem_new(&t, fds, &m, NULL), VS_E_INVAL);
	t = guest_table();
	t.regions[0].file_offset = UINT64_MAX - 4096;
	assert_int_equal(vhost_mem_new(&t, fds, &m, NULL), VS_E_INVAL);
	t = guest_table();
	t.regions[1].guest_addr = UINT64_MAX - 10;
	assert_int_equal(vhost_mem_new(&t, fds, &m, NULL), VS_E_INVAL);
	t = guest_table();
	t.regions[0].size = 0;
	assert_int_equal(vhost_mem_new(&t, fds, &m, NULL), VS_E_INVAL);
}

static void rings_must_lie_in_memory(void **state)
{
	struct fixture *f = *state;
	struct vhost_vring_addr a = guest_rings();
	struct vhost_ring r = {0};

	assert_int_equal(vhost_ring_map(&r, f->mem, 0, &a), VS_E_INVAL);
	assert_int_equal(vhost_ring_map(&r, f->mem, 12, &a), VS_E_INVAL);
	assert_int_equal(vhost_ring_map(&r, f->mem, 2 * VHOST_RING_MAX, &a), VS_E_INVAL);
	a.desc = GUEST_USER_1 + GUEST_REGION - 16;
	assert_int_equal(vhost_ring_map(&r, f->mem, GUEST_NUM, &a), VS_E_RANGE);
	a = guest_rings();
	a.used = 0;
	assert_int_equal(vhost_ring_map(&r, f->mem, GUEST_NUM, &a), VS_E_RANGE);
	a = guest_rings();
	a.avail++;
	assert_int_equal(vhost_ring_map(&r, f->mem, GUEST_NUM, &a), VS_E_INVAL);
}

static void a_request_goes_round(void **state)
{
	struct fixture *f = *state;
	uint16_t head;

	assert_int_equal(vhost_ring_pop(&f->r, &head), 0);
	guest_desc(&f->g, 3, 0x8000, 16, DESC_NEXT, 7);
	guest_desc(&f->g, 7, GUEST_REGION - 256, 512, DESC_NEXT | DESC_WRITE, 1);
	guest_desc(&f->g, 1, 0x9000, 1, DESC_WRITE, 0);
	guest_offer(&f->g, 3);
	assert_int_equal(vhost_ring_pop(&f->r, &head), 1);
	assert_int_equal(head, 3);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, head, &f->c), 0);
	assert_int_equal(f->c.nread, 1);
	assert_int_equal(f->c.nwrite, 3); /* one buffer lies in both regions */
	assert_int_equal(f->c.read_len, 16);
	assert_int_equal(f->c.write_len, 513);
	assert_int_equal(vhost_ring_pop(&f->r, &head), 0);
	vhost_ring_push(&f->r, 3, 513);
	assert_int_equal(guest_used(&f->g), 1);
	assert_int_equal(guest_used_head(&f->g, 0), 3);
	assert_int_equal(vs_get_le32(f->g.ram + GUEST_USED + 8), 513);
}

static void indexes_wrap(void **state)
{
	struct fixture *f = *state;
	uint16_t head;

	guest_desc(&f->g, 0, 0x8000, 16, 0, 0);
	for (unsigned i = 0; i < 70000; i++) {
		guest_offer(&f->g, 0);
		assert_int_equal(vhost_ring_pop(&f->r, &head), 1);
		vhost_ring_push(&f->r, head, 0);
	}
	assert_int_equal(guest_used(&f->g), (uint16_t)70000);
	assert_int_equal(vhost_ring_pop(&f->r, &head), 0);
}

static void indirect_tables(void **state)
{
	struct fixture *f = *state;
	const uint64_t at = GUEST_REGION - 16; /* the table lies in both regions */
	uint8_t *table = f->g.ram + at;

	guest_desc(&f->g, 0, at, 3 * 16, DESC_INDIRECT, 0);
	guest_desc_at(table, 0x8000, 16, DESC_NEXT, 2);
	guest_desc_at(table + 32, 0x9000, 8, DESC_NEXT | DESC_WRITE, 1);
	guest_desc_at(table + 16, 0xa000, 4, DESC_WRITE, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), 0);
	assert_int_equal(f->c.read_len, 16);
	assert_int_equal(f->c.write_len, 12);
	/* after a normal descriptor */
	guest_desc(&f->g, 5, 0xb000, 32, DESC_NEXT, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 5, &f->c), 0);
	assert_int_equal(f->c.read_len, 48);
	/* nested, looping, out of the table, out of memory, empty, odd, huge */
	guest_desc_at(table + 32, at, 48, DESC_INDIRECT, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc_at(table + 32, 0x9000, 8, DESC_NEXT, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc_at(table + 32, 0x9000, 8, DESC_NEXT, 3);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc(&f->g, 0, GUEST_SIZE - 16, 32, DESC_INDIRECT, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc(&f->g, 0, at, 0, DESC_INDIRECT, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc(&f->g, 0, at, 17, DESC_INDIRECT, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc(&f->g, 0, 0x8000, 16 * (VHOST_RING_MAX + 1), DESC_INDIRECT, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc(&f->g, 0, at, 48, DESC_INDIRECT | DESC_NEXT, 1);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
}

static void hostile_chains(void **state)
{
	struct fixture *f = *state;

	guest_desc(&f->g, 0, 0x8000, 16, DESC_NEXT, 1); /* a loop */
	guest_desc(&f->g, 1, 0x8000, 16, DESC_NEXT, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc(&f->g, 1, 0x8000, 16, DESC_NEXT, GUEST_NUM); /* out of the table */
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc(&f->g, 0, 0x8000, 16, DESC_NEXT | DESC_WRITE, 1); /* readable after writable */
	guest_desc(&f->g, 1, 0x8000, 16, 0, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc(&f->g, 0, UINT64_MAX - 8, 16, 0, 0); /* wraps around */
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc(&f->g, 0, GUEST_SIZE - 8, 16, 0, 0); /* ends outside */
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
	guest_desc(&f->g, 0, 0, UINT32_MAX, 0, 0);
	assert_int_equal(vhost_ring_chain(&f->r, f->mem, 0, &f->c), VS_E_PROTO);
}

static void hostile_rings(void **state)
{
	struct fixture *f = *state;
	uint16_t head;

	guest_offer(&f->g, GUEST_NUM); /* no such descriptor */
	assert_int_equal(vhost_ring_pop(&f->r, &head), VS_E_PROTO);
	f->g.avail = 0;
	guest_offer(&f->g, 2);
	guest_offer(&f->g, 2); /* a head that was not given back */
	assert_int_equal(vhost_ring_pop(&f->r, &head), 1);
	assert_int_equal(vhost_ring_pop(&f->r, &head), VS_E_PROTO);
	f->r.last_avail = (uint16_t)(f->g.avail - GUEST_NUM - 1); /* more than fits */
	assert_int_equal(vhost_ring_pop(&f->r, &head), VS_E_PROTO);
}

static void give(struct fixture *f, unsigned n)
{
	uint16_t head;

	for (unsigned i = 0; i < n; i++) {
		guest_offer(&f->g, 0);
		assert_int_equal(vhost_ring_pop(&f->r, &head), 1);
		vhost_ring_push(&f->r, head, 0);
	}
}

static void interrupts_by_flag(void **state)
{
	struct fixture *f = *state;

	guest_desc(&f->g, 0, 0x8000, 16, 0, 0);
	give(f, 1);
	assert_true(vhost_ring_must_signal(&f->r));
	assert_false(vhost_ring_must_signal(&f->r)); /* nothing new */
	vs_put_le16(f->g.ram + GUEST_AVAIL, 1);	     /* VIRTQ_AVAIL_F_NO_INTERRUPT */
	give(f, 1);
	assert_false(vhost_ring_must_signal(&f->r));
	vhost_ring_kicks_off(&f->r);
	assert_int_equal(vs_get_le16(f->g.ram + GUEST_USED), 1);
	assert_false(vhost_ring_kicks_on(&f->r));
	assert_int_equal(vs_get_le16(f->g.ram + GUEST_USED), 0);
	guest_offer(&f->g, 0);
	assert_true(vhost_ring_kicks_on(&f->r)); /* came in meanwhile */
}

static void interrupts_by_event_index(void **state)
{
	struct fixture *f = *state;
	uint8_t *used_event = f->g.ram + GUEST_AVAIL + 4 + 2 * GUEST_NUM;
	uint8_t *avail_event = f->g.ram + GUEST_USED + 4 + 8 * GUEST_NUM;

	f->r.event_idx = true;
	guest_desc(&f->g, 0, 0x8000, 16, 0, 0);
	give(f, 1);
	assert_true(vhost_ring_must_signal(&f->r)); /* the first after a start, always */
	vs_put_le16(used_event, 3);
	give(f, 2); /* used index 3: event 3 is not passed yet */
	assert_false(vhost_ring_must_signal(&f->r));
	give(f, 1);
	assert_true(vhost_ring_must_signal(&f->r));
	give(f, 1);
	assert_false(vhost_ring_must_signal(&f->r));
	assert_false(vhost_ring_kicks_on(&f->r));
	assert_int_equal(vs_get_le16(avail_event), f->g.avail);
}

/* ---- the in-flight region ---- */

struct again {
	struct vhost_inflight map;
	struct vhost_inflight_desc d;
	int fd;
	uint16_t heads[GUEST_NUM];
	unsigned n;
	bool fresh;
};

static void region_open(struct again *a)
{
	assert_int_equal(vhost_inflight_create(2, GUEST_NUM, &a->fd, &a->d, NULL), 0);
	assert_int_equal(vhost_inflight_map(&a->d, a->fd, &a->map, NULL), 0);
}

/* As after a reconnect: only the region and guest memory are left. */
static int restart(struct fixture *f, struct again *a)
{
	vhost_inflight_unmap(&a->map);
	assert_int_equal(vhost_inflight_map(&a->d, a->fd, &a->map, NULL), 0);
	memset(f->r.busy, 0, sizeof(f->r.busy));
	f->r.used_idx = vhost_ring_used_in_memory(&f->r);
	return vhost_inflight_start(&a->map, 1, GUEST_NUM, f->r.used_idx, &f->r.inflight, a->heads,
				    &a->n, &a->fresh);
}

static void region_close(struct again *a)
{
	vhost_inflight_unmap(&a->map);
	close(a->fd);
}

static void take(struct fixture *f, uint16_t head)
{
	uint16_t got;

	guest_desc(&f->g, head, 0x8000, 16, 0, 0);
	guest_offer(&f->g, head);
	assert_int_equal(vhost_ring_pop(&f->r, &got), 1);
	assert_int_equal(got, head);
}

static void what_was_in_flight_is_found_in_order(void **state)
{
	struct fixture *f = *state;
	struct again a;

	region_open(&a);
	assert_int_equal(restart(f, &a), 0);
	assert_true(a.fresh);
	take(f, 9);
	take(f, 4);
	take(f, 12);
	take(f, 1);
	vhost_ring_push(&f->r, 4, 0);
	assert_int_equal(restart(f, &a), 0);
	assert_false(a.fresh);
	assert_int_equal(a.n, 3);
	assert_int_equal(a.heads[0], 9);
	assert_int_equal(a.heads[1], 12);
	assert_int_equal(a.heads[2], 1);
	/* a second death: those run again come before what was taken later */
	f->r.last_avail = (uint16_t)(f->r.used_idx + a.n);
	for (unsigned i = 0; i < a.n; i++)
		assert_int_equal(vhost_ring_retake(&f->r, a.heads[i]), 0);
	take(f, 0);
	assert_int_equal(restart(f, &a), 0);
	assert_int_equal(a.n, 4);
	assert_int_equal(a.heads[0], 9);
	assert_int_equal(a.heads[3], 0);
	region_close(&a);
}

static void death_while_giving_back(void **state)
{
	struct fixture *f = *state;
	struct again a;

	region_open(&a);
	assert_int_equal(restart(f, &a), 0);
	take(f, 5);
	take(f, 6);
	/* before the used index moved: run again */
	vhost_inflight_give_begin(&f->r.inflight, 5);
	assert_int_equal(restart(f, &a), 0);
	assert_int_equal(a.n, 2);
	/* after it moved: the guest has it back, whatever the mark says */
	vhost_inflight_give_begin(&f->r.inflight, 5);
	vs_put_le16(f->g.ram + GUEST_USED + 2, 1);
	assert_int_equal(restart(f, &a), 0);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.heads[0], 6);
	region_close(&a);
}

static void hostile_regions(void **state)
{
	struct fixture *f = *state;
	struct vhost_inflight m;
	struct again a;
	uint8_t *q;

	region_open(&a);
	assert_int_equal(restart(f, &a), 0);
	q = f->r.inflight.head;
	memset(q + 12, 0xff, 16 * GUEST_NUM); /* indexes, links and counters at random */
	assert_int_equal(restart(f, &a), 0);
	assert_true(a.n <= GUEST_NUM);
	vs_put_le16(q + 8, 2); /* another version */
	assert_int_equal(restart(f, &a), VS_E_VERSION);
	assert_int_equal(
	    vhost_inflight_start(&a.map, 2, GUEST_NUM, 0, &f->r.inflight, a.heads, &a.n, &a.fresh),
	    VS_E_INVAL);
	assert_int_equal(vhost_inflight_start(&a.map, 0, 2 * GUEST_NUM, 0, &f->r.inflight, a.heads,
					      &a.n, &a.fresh),
			 VS_E_INVAL);
	a.d.queues = 200; /* does not fit */
	assert_int_equal(vhost_inflight_map(&a.d, a.fd, &m, NULL), VS_E_INVAL);
	a.d.queues = 2;
	a.d.offset = UINT64_MAX - 7;
	assert_int_equal(vhost_inflight_map(&a.d, a.fd, &m, NULL), VS_E_INVAL);
	a.d.offset = 4096; /* past the file's end */
	assert_int_equal(vhost_inflight_map(&a.d, a.fd, &m, NULL), VS_E_INVAL);
	region_close(&a);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(memory_translates),
	    T(memory_must_be_sealed_and_long_enough),
	    T(rings_must_lie_in_memory),
	    T(a_request_goes_round),
	    T(indexes_wrap),
	    T(indirect_tables),
	    T(hostile_chains),
	    T(hostile_rings),
	    T(interrupts_by_flag),
	    T(interrupts_by_event_index),
	    T(what_was_in_flight_is_found_in_order),
	    T(death_while_giving_back),
	    T(hostile_regions),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("vhost_ring", tests, NULL, NULL);
}
