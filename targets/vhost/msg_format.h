/*
 * Messages of the vhost-user protocol, as the back end sees them. Pure functions, any thread.
 *
 * The protocol is spoken inside one machine in its own byte order; the node runs on little-endian
 * machines only, so the codecs say so.
 */
#ifndef VHOST_MSG_FORMAT_H
#define VHOST_MSG_FORMAT_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHOST_HEADER_SIZE 12u
#define VHOST_CONFIG_MAX 256u
#define VHOST_REGIONS_MAX 8u
#define VHOST_PAYLOAD_MAX 272u /* 8 + 8 regions of 32, or 12 + 256 of configuration */
#define VHOST_MESSAGE_MAX (VHOST_HEADER_SIZE + VHOST_PAYLOAD_MAX)
#define VHOST_FDS_MAX 8u

enum vhost_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_RESET_OWNER = 4,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_SET_VRING_ERR = 14,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_SET_BACKEND_REQ_FD = 21,
	VHOST_GET_CONFIG = 24,
	VHOST_SET_CONFIG = 25,
	VHOST_GET_INFLIGHT_FD = 31,
	VHOST_SET_INFLIGHT_FD = 32,
	VHOST_REQUEST_MAX
};

/* Sent by the back end on its own channel. */
#define VHOST_BACKEND_CONFIG_CHANGE 2u

/* Bits of the features (virtio 1.x section 6 and vhost-user). */
#define VHOST_F_PROTOCOL_FEATURES (UINT64_C(1) << 30)
/* Bits of the protocol features. */
#define VHOST_PROTOCOL_F_MQ (UINT64_C(1) << 0)
#define VHOST_PROTOCOL_F_REPLY_ACK (UINT64_C(1) << 3)
#define VHOST_PROTOCOL_F_BACKEND_REQ (UINT64_C(1) << 5)
#define VHOST_PROTOCOL_F_CONFIG (UINT64_C(1) << 9)
#define VHOST_PROTOCOL_F_INFLIGHT_SHMFD (UINT64_C(1) << 12)

/* Bits of the u64 of SET_VRING_KICK, CALL and ERR. */
#define VHOST_VRING_INDEX_MASK UINT64_C(0xff)
#define VHOST_VRING_NO_FD UINT64_C(0x100)

struct vhost_header {
	uint32_t request;
	bool reply, need_reply;
	uint32_t size; /* of the payload, at most VHOST_PAYLOAD_MAX */
};

struct vhost_vring_state {
	uint32_t index, num;
};

struct vhost_vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log; /* in the front end's address space */
};

struct vhost_region {
	uint64_t guest_addr, size, user_addr, file_offset;
};

struct vhost_mem_table {
	uint32_t n;
	struct vhost_region regions[VHOST_REGIONS_MAX];
};

struct vhost_config {
	uint32_t offset, size, flags;
	uint8_t data[VHOST_CONFIG_MAX];
};

struct vhost_inflight_desc {
	uint64_t size, offset;
	uint16_t queues, queue_size;
};

/* What the payload of a request is. */
enum vhost_payload {
	VHOST_P_NONE,
	VHOST_P_U64,
	VHOST_P_STATE,
	VHOST_P_ADDR,
	VHOST_P_MEM,
	VHOST_P_CONFIG,
	VHOST_P_INFLIGHT,
};

struct vhost_msg {
	struct vhost_header h;
	enum vhost_payload kind;
	union {
		uint64_t u64;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		struct vhost_mem_table mem;
		struct vhost_config config;
		struct vhost_inflight_desc inflight;
	};
};

/* VS_E_VERSION, VS_E_TOOBIG. */
int vhost_msg_header_decode(const uint8_t b[VHOST_HEADER_SIZE],
			    struct vhost_header *h) vs_must_check;
/*
 * h->size bytes of payload. VS_E_NOTSUP: a request that this back end does not know; VS_E_PROTO: a
 * payload that does not fit its request. m->h is *h.
 */
int vhost_msg_decode(const struct vhost_header *h, const uint8_t *payload,
		     struct vhost_msg *m) vs_must_check;
/* Whole message by kind; h.size is computed, but for INFLIGHT (20 or 24, as the peer sent it). */
size_t vhost_msg_encode(const struct vhost_msg *m, uint8_t b[VHOST_MESSAGE_MAX]);
/* Most file descriptors that the request may carry. */
unsigned vhost_msg_fds_max(uint32_t request);
const char *vhost_msg_name(uint32_t request); /* never NULL */

#endif
