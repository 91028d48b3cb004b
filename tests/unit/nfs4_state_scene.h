/* What the NFS server remembers of clients, with a clock of the test's own. */
#ifndef TESTS_UNIT_NFS4_STATE_SCENE_H
#define TESTS_UNIT_NFS4_STATE_SCENE_H

#include "tests/unit/nfs_server_scene.h"

#include "targets/nfs/nfs4_grace.h"

static uint64_t clock_ns;

static inline uint64_t now(void)
{
	return clock_ns;
}

static inline struct nfs4_state *state_new(void)
{
	static const uint8_t id[16] = "the test server";
	struct nfs4_state *s;

	assert_int_equal(nfs4_state_new(id, &s), 0);
	clock_ns = UINT64_C(1) << 40;
	s->now = now;
	return s;
}

static inline struct nfs_bytes text(const char *t)
{
	return (struct nfs_bytes){(const uint8_t *)t, (uint32_t)strlen(t)};
}

#endif
