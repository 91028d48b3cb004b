#include "targets/vhost/msg_format.h"

#include "common/bytes.h"

#define FLAG_VERSION_MASK 3u
#define FLAG_VERSION 1u
#define FLAG_REPLY 4u
#define FLAG_NEED_REPLY 8u
#define REGION_SIZE 32u
#define MEM_HEADER_SIZE 8u
#define CONFIG_HEADER_SIZE 12u
#define INFLIGHT_SIZE 20u
#define INFLIGHT_SIZE_PADDED 24u

static const struct request_info {
	const char *name;
	enum vhost_payload in;
	unsigned fds;
} requests[VHOST_REQUEST_MAX] = {
    [VHOST_GET_FEATURES] = {"GET_FEATURES", VHOST_P_NONE, 0},
    [VHOST_SET_FEATURES] = {"SET_FEATURES", VHOST_P_U64, 0},
    [VHOST_SET_OWNER] = {"SET_OWNER", VHOST_P_NONE, 0},
    [VHOST_RESET_OWNER] = {"RESET_OWNER", VHOST_P_NONE, 0},
    [VHOST_SET_MEM_TABLE] = {"SET_MEM_TABLE", VHOST_P_MEM, VHOST_REGIONS_MAX},
    [VHOST_SET_VRING_NUM] = {"SET_VRING_NUM", VHOST_P_STATE, 0},
    [VHOST_SET_VRING_ADDR] = {"SET_VRING_ADDR", VHOST_P_ADDR, 0},
    [VHOST_SET_VRING_BASE] = {"SET_VRING_BASE", VHOST_P_STATE, 0},
    [VHOST_GET_VRING_BASE] = {"GET_VRING_BASE", VHOST_P_STATE, 0},
    [VHOST_SET_VRING_KICK] = {"SET_VRING_KICK", VHOST_P_U64, 1},
    [VHOST_SET_VRING_CALL] = {"SET_VRING_CALL", VHOST_P_U64, 1},
    [VHOST_SET_VRING_ERR] = {"SET_VRING_ERR", VHOST_P_U64, 1},
    [VHOST_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", VHOST_P_NONE, 0},
    [VHOST_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", VHOST_P_U64, 0},
    [VHOST_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", VHOST_P_NONE, 0},
    [VHOST_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", VHOST_P_STATE, 0},
    [VHOST_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", VHOST_P_NONE, 1},
    [VHOST_GET_CONFIG] = {"GET_CONFIG", VHOST_P_CONFIG, 0},
    [VHOST_SET_CONFIG] = {"SET_CONFIG", VHOST_P_CONFIG, 0},
    [VHOST_GET_INFLIGHT_FD] = {"GET_INFLIGHT_FD", VHOST_P_INFLIGHT, 0},
    [VHOST_SET_INFLIGHT_FD] = {"SET_INFLIGHT_FD", VHOST_P_INFLIGHT, 1},
};

static const struct request_info *info(uint32_t request)
{
	if (request >= VHOST_REQUEST_MAX || !requests[request].name)
		return NULL;
	return &requests[request];
}

const char *vhost_msg_name(uint32_t request)
{
	const struct request_info *i = info(request);

	return i ? i->name : "unknown request";
}

unsigned vhost_msg_fds_max(uint32_t request)
{
	const struct request_info *i = info(request);

	return i ? i->fds : 0;
}

int vhost_msg_header_decode(const uint8_t b[VHOST_HEADER_SIZE], struct vhost_header *h)
{
	uint32_t flags = vs_get_le32(b + 4);

	h->request = vs_get_le32(b);
	h->reply = flags & FLAG_REPLY;
	h->need_reply = flags & FLAG_NEED_REPLY;
	h->size = vs_get_le32(b + 8);
	if ((flags & FLAG_VERSION_MASK) != FLAG_VERSION)
		return VS_E_VERSION;
	return h->size > VHOST_PAYLOAD_MAX ? VS_E_TOOBIG : 0;
}

static int mem_decode(const uint8_t *p, uint32_t size, struct vhost_mem_table *t)
{
	if (size < MEM_HEADER_SIZE)
		return VS_E_PROTO;
	t->n = vs_get_le32(p);
	if (t->n > VHOST_REGIONS_MAX || size < MEM_HEADER_SIZE + t->n * REGION_SIZE)
		return VS_E_PROTO;
	for (uint32_t i = 0; i < t->n; i++) {
		const uint8_t *r = p + MEM_HEADER_SIZE + i * REGION_SIZE;

		t->regions[i].guest_addr = vs_get_le64(r);
		t->regions[i].size = vs_get_le64(r + 8);
		t->regions[i].user_addr = vs_get_le64(r + 16);
		t->regions[i].file_offset = vs_get_le64(r + 24);
	}
	return 0;
}

static size_t mem_encode(const struct vhost_mem_table *t, uint8_t *p)
{
	vs_put_le32(p, t->n);
	vs_put_le32(p + 4, 0);
	for (uint32_t i = 0; i < t->n; i++) {
		uint8_t *r = p + MEM_HEADER_SIZE + i * REGION_SIZE;

		vs_put_le64(r, t->regions[i].guest_addr);
		vs_put_le64(r + 8, t->regions[i].size);
		vs_put_le64(r + 16, t->regions[i].user_addr);
		vs_put_le64(r + 24, t->regions[i].file_offset);
	}
	return MEM_HEADER_SIZE + t->n * REGION_SIZE;
}

static int config_decode(const uint8_t *p, uint32_t size, struct vhost_config *c)
{
	if (size < CONFIG_HEADER_SIZE)
		return VS_E_PROTO;
	c->offset = vs_get_le32(p);
	c->size = vs_get_le32(p + 4);
	c->flags = vs_get_le32(p + 8);
	if (!vs_range_ok(c->offset, c->size, VHOST_CONFIG_MAX) ||
	    c->size > size - CONFIG_HEADER_SIZE)
		return VS_E_PROTO;
	memset(c->data, 0, sizeof(c->data));
	memcpy(c->data, p + CONFIG_HEADER_SIZE, c->size);
	return 0;
}

static size_t config_encode(const struct vhost_config *c, uint8_t *p)
{
	vs_put_le32(p, c->offset);
	vs_put_le32(p + 4, c->size);
	vs_put_le32(p + 8, c->flags);
	memcpy(p + CONFIG_HEADER_SIZE, c->data, c->size);
	return CONFIG_HEADER_SIZE + c->size;
}

static int addr_decode(const uint8_t *p, uint32_t size, struct vhost_vring_addr *a)
{
	if (size != 40)
		return VS_E_PROTO;
	a->index = vs_get_le32(p);
	a->flags = vs_get_le32(p + 4);
	a->desc = vs_get_le64(p + 8);
	a->used = vs_get_le64(p + 16);
	a->avail = vs_get_le64(p + 24);
	a->log = vs_get_le64(p + 32);
	return 0;
}

static size_t addr_encode(const struct vhost_vring_addr *a, uint8_t *p)
{
	vs_put_le32(p, a->index);
	vs_put_le32(p + 4, a->flags);
	vs_put_le64(p + 8, a->desc);
	vs_put_le64(p + 16, a->used);
	vs_put_le64(p + 24, a->avail);
	vs_put_le64(p + 32, a->log);
	return 40;
}

static int inflight_decode(const uint8_t *p, uint32_t size, struct vhost_inflight_desc *d)
{
	/* the specification's fields end at 20; QEMU sends its struct, padding and all */
	if (size != INFLIGHT_SIZE && size != INFLIGHT_SIZE_PADDED)
		return VS_E_PROTO;
	d->size = vs_get_le64(p);
	d->offset = vs_get_le64(p + 8);
	d->queues = vs_get_le16(p + 16);
	d->queue_size = vs_get_le16(p + 18);
	return 0;
}

static size_t inflight_encode(const struct vhost_inflight_desc *d, uint32_t size, uint8_t *p)
{
	memset(p, 0, INFLIGHT_SIZE_PADDED);
	vs_put_le64(p, d->size);
	vs_put_le64(p + 8, d->offset);
	vs_put_le16(p + 16, d->queues);
	vs_put_le16(p + 18, d->queue_size);
	return size == INFLIGHT_SIZE ? INFLIGHT_SIZE : INFLIGHT_SIZE_PADDED;
}

int vhost_msg_decode(const struct vhost_header *h, const uint8_t *p, struct vhost_msg *m)
{
	const struct request_info *i = info(h->request);

	m->h = *h;
	if (!i)
		return VS_E_NOTSUP;
	m->kind = i->in;
	switch (i->in) {
	case VHOST_P_NONE:
		return h->size == 0 ? 0 : VS_E_PROTO;
	case VHOST_P_U64:
		if (h->size != 8)
			return VS_E_PROTO;
		m->u64 = vs_get_le64(p);
		return 0;
	case VHOST_P_STATE:
		if (h->size != 8)
			return VS_E_PROTO;
		m->state.index = vs_get_le32(p);
		m->state.num = vs_get_le32(p + 4);
		return 0;
	case VHOST_P_ADDR:
		return addr_decode(p, h->size, &m->addr);
	case VHOST_P_MEM:
		return mem_decode(p, h->size, &m->mem);
	case VHOST_P_CONFIG:
		return config_decode(p, h->size, &m->config);
	case VHOST_P_INFLIGHT:
		return inflight_decode(p, h->size, &m->inflight);
	}
	return VS_E_PROTO;
}

static size_t payload_encode(const struct vhost_msg *m, uint8_t *p)
{
	switch (m->kind) {
	case VHOST_P_NONE:
		return 0;
	case VHOST_P_U64:
		vs_put_le64(p, m->u64);
		return 8;
	case VHOST_P_STATE:
		vs_put_le32(p, m->state.index);
		vs_put_le32(p + 4, m->state.num);
		return 8;
	case VHOST_P_ADDR:
		return addr_encode(&m->addr, p);
	case VHOST_P_MEM:
		return mem_encode(&m->mem, p);
	case VHOST_P_CONFIG:
		return config_encode(&m->config, p);
	case VHOST_P_INFLIGHT:
		return inflight_encode(&m->inflight, m->h.size, p);
	}
	return 0;
}

size_t vhost_msg_encode(const struct vhost_msg *m, uint8_t b[VHOST_MESSAGE_MAX])
{
	size_t size = payload_encode(m, b + VHOST_HEADER_SIZE);
	uint32_t flags = FLAG_VERSION;

	if (m->h.reply)
		flags |= FLAG_REPLY;
	if (m->h.need_reply)
		flags |= FLAG_NEED_REPLY;
	vs_put_le32(b, m->h.request);
	vs_put_le32(b + 4, flags);
	vs_put_le32(b + 8, (uint32_t)size);
	return VHOST_HEADER_SIZE + size;
}
