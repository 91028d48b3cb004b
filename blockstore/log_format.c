#include "blockstore/log_format.h"

#define UNIT_MAGIC 0x31555356u /* "VSU1" */

enum {
	H_MAGIC = 0,
	H_KIND = 4,
	H_FIRST = 5,
	H_TAG = 8,
	H_EPOCH = 16,
	H_SEQ = 24,
	H_DURABLE = 32,
	H_CHAIN = 40,
	H_UNIT_LEN = 48,
	H_HEAD_LEN = 52,
	H_PAYLOAD_LEN = 56,
	H_RECORDS_LEN = 60,
	H_RECORDS = 64,
	H_AHEAD = 68,
	H_CHECK = 120,
};

void bs_unit_set_tag(uint8_t *buf, uint64_t store_tag)
{
	memset(buf, 0, BS_UNIT_HEAD);
	vs_put_le64(buf + H_TAG, store_tag);
}

static uint64_t head_check(const uint8_t *buf, uint32_t records_len)
{
	uint8_t head[BS_UNIT_HEAD];

	memcpy(head, buf, sizeof(head));
	vs_put_le64(head + H_CHECK, records_len ? bs_checksum(buf + BS_UNIT_HEAD, records_len) : 0);
	return bs_checksum(head, sizeof(head));
}

void bs_unit_encode(uint8_t *buf, struct bs_unit_head *h)
{
	uint32_t used = BS_UNIT_HEAD + h->records_len;

	vs_put_le32(buf + H_MAGIC, UNIT_MAGIC);
	buf[H_KIND] = h->kind;
	buf[H_FIRST] = h->first;
	vs_put_le64(buf + H_EPOCH, h->epoch);
	vs_put_le64(buf + H_SEQ, h->seq);
	vs_put_le64(buf + H_DURABLE, h->durable_seq);
	vs_put_le64(buf + H_CHAIN, h->chain);
	vs_put_le32(buf + H_UNIT_LEN, h->unit_len);
	vs_put_le32(buf + H_HEAD_LEN, h->head_len);
	vs_put_le32(buf + H_PAYLOAD_LEN, h->payload_len);
	vs_put_le32(buf + H_RECORDS_LEN, h->records_len);
	vs_put_le32(buf + H_RECORDS, h->records);
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		vs_put_le32(buf + H_AHEAD + 4 * i, h->ahead[i]);
	memset(buf + used, 0, h->head_len - used);
	h->check = head_check(buf, h->records_len);
	vs_put_le64(buf + H_CHECK, h->check);
}

static bool lengths_ok(const struct bs_unit_head *h, uint32_t seg_size)
{
	if (h->unit_len > seg_size || h->unit_len % BS_PAGE || h->head_len % BS_PAGE)
		return false;
	if (h->head_len < BS_UNIT_HEAD || h->head_len > h->unit_len)
		return false;
	if (h->records_len > h->head_len - BS_UNIT_HEAD)
		return false;
	return h->payload_len <= h->unit_len - h->head_len;
}

int bs_unit_decode(const uint8_t *buf, size_t have, uint32_t seg_size, uint64_t store_tag,
		   struct bs_unit_head *out)
{
	if (have < BS_UNIT_HEAD || vs_get_le32(buf + H_MAGIC) != UNIT_MAGIC ||
	    vs_get_le64(buf + H_TAG) != store_tag)
		return VS_E_NOENT;
	out->kind = buf[H_KIND];
	out->first = buf[H_FIRST] != 0;
	out->epoch = vs_get_le64(buf + H_EPOCH);
	out->seq = vs_get_le64(buf + H_SEQ);
	out->durable_seq = vs_get_le64(buf + H_DURABLE);
	out->chain = vs_get_le64(buf + H_CHAIN);
	out->unit_len = vs_get_le32(buf + H_UNIT_LEN);
	out->head_len = vs_get_le32(buf + H_HEAD_LEN);
	out->payload_len = vs_get_le32(buf + H_PAYLOAD_LEN);
	out->records_len = vs_get_le32(buf + H_RECORDS_LEN);
	out->records = vs_get_le32(buf + H_RECORDS);
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		out->ahead[i] = vs_get_le32(buf + H_AHEAD + 4 * i);
	out->check = vs_get_le64(buf + H_CHECK);
	if (!lengths_ok(out, seg_size))
		return VS_E_CORRUPT;
	if (have < BS_UNIT_HEAD + (size_t)out->records_len)
		return VS_E_RANGE;
	return head_check(buf, out->records_len) == out->check ? 0 : VS_E_CORRUPT;
}

static void put_check(uint8_t *p, uint64_t check)
{
	uint8_t b[8];

	vs_put_le64(b, check);
	memcpy(p, b, 7);
}

static uint64_t get_check(const uint8_t *p)
{
	uint8_t b[8] = {0};

	memcpy(b, p, 7);
	return vs_get_le64(b);
}

static void put_len24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
}

static uint32_t get_len24(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

uint32_t bs_rec_put(uint8_t *b, const struct bs_rec *r)
{
	b[0] = (uint8_t)r->type;
	switch (r->type) {
	case BS_REC_CONTENT:
		vs_put_le64(b + 1, r->cid);
		memcpy(b + 9, r->digest.b, 32);
		b[41] = r->coding | (r->private ? BS_CODING_PRIVATE : 0);
		put_len24(b + 42, r->len);
		put_check(b + 45, r->check);
		return BS_REC_CONTENT_SIZE;
	case BS_REC_MOVE:
		vs_put_le64(b + 1, r->cid);
		b[9] = r->coding;
		put_len24(b + 10, r->len);
		put_check(b + 13, r->check);
		return BS_REC_MOVE_SIZE;
	case BS_REC_TRIM:
		vs_put_le64(b + 1, r->volume);
		vs_put_le64(b + 9, r->block);
		vs_put_le64(b + 17, r->count);
		return BS_REC_TRIM_SIZE;
	case BS_REC_VOL_PUT:
		bs_volent_put(b + 1, &r->vol);
		return BS_REC_VOL_SIZE;
	case BS_REC_VOL_SHARE:
	case BS_REC_ORIGIN:
		vs_put_le64(b + 1, r->other);
		bs_volent_put(b + 9, &r->vol);
		return BS_REC_SHARE_SIZE;
	case BS_REC_VOL_ROLLBACK:
		vs_put_le64(b + 1, r->volume);
		vs_put_le64(b + 9, r->other);
		return BS_REC_ROLLBACK_SIZE;
	case BS_REC_VOL_DELETE:
		vs_put_le64(b + 1, r->volume);
		return BS_REC_RELEASE_SIZE;
	case BS_REC_RELEASE:
	case BS_REC_MAPPAGE:
		vs_put_le64(b + 1, r->cid);
		return BS_REC_RELEASE_SIZE;
	case BS_REC_ABSORB:
	case BS_REC_ALIAS:
		vs_put_le64(b + 1, r->cid);
		vs_put_le64(b + 9, r->other);
		return BS_REC_ABSORB_SIZE;
	case BS_REC_PAGE:
		b[1] = r->tree;
		b[2] = r->level;
		vs_put_le64(b + 3, r->block);
		return BS_REC_PAGE_SIZE;
	case BS_REC_DROP_TURN:
		return BS_REC_DROP_TURN_SIZE;
	case BS_REC_DROP_DRAIN:
		vs_put_le64(b + 1, r->block);
		b[9] = (uint8_t)r->count;
		return BS_REC_DROP_DRAIN_SIZE;
	case BS_REC_ZEROS:
		vs_put_le64(b + 1, r->cid);
		return BS_REC_ZEROS_SIZE;
	case BS_REC_GRAFT:
		vs_put_le64(b + 1, r->volume);
		vs_put_le32(b + 9, r->object);
		vs_put_le64(b + 13, r->other);
		vs_put_le32(b + 21, r->other_object);
		return BS_REC_GRAFT_SIZE;
	case BS_REC_MAP:
	case BS_REC_PAGES:
	case BS_REC_EXPAND:
	case BS_REC_WORDS:
	case BS_REC_END:
		break;
	}
	return bs_rec_put_array_head(b, r);
}

uint32_t bs_rec_put_array_head(uint8_t *b, const struct bs_rec *r)
{
	b[0] = (uint8_t)r->type;
	vs_put_le16(b + 1, (uint16_t)r->count);
	if (r->type == BS_REC_PAGES)
		return BS_REC_PAGES_HEAD;
	if (r->type == BS_REC_EXPAND) {
		vs_put_le64(b + 3, r->cid);
		return BS_REC_EXPAND_HEAD;
	}
	vs_put_le64(b + 3, r->volume);
	if (r->type == BS_REC_WORDS) {
		vs_put_le32(b + 11, r->object);
		return BS_REC_WORDS_HEAD;
	}
	vs_put_le64(b + 11, r->block);
	return BS_REC_MAP_HEAD;
}

static uint32_t fixed_size(uint8_t type)
{
	static const uint16_t sizes[] = {
	    [BS_REC_CONTENT] = BS_REC_CONTENT_SIZE,
	    [BS_REC_MAP] = BS_REC_MAP_HEAD,
	    [BS_REC_PAGES] = BS_REC_PAGES_HEAD,
	    [BS_REC_TRIM] = BS_REC_TRIM_SIZE,
	    [BS_REC_VOL_PUT] = BS_REC_VOL_SIZE,
	    [BS_REC_VOL_DELETE] = BS_REC_RELEASE_SIZE,
	    [BS_REC_VOL_SHARE] = BS_REC_SHARE_SIZE,
	    [BS_REC_VOL_ROLLBACK] = BS_REC_ROLLBACK_SIZE,
	    [BS_REC_RELEASE] = BS_REC_RELEASE_SIZE,
	    [BS_REC_ABSORB] = BS_REC_ABSORB_SIZE,
	    [BS_REC_MOVE] = BS_REC_MOVE_SIZE,
	    [BS_REC_ALIAS] = BS_REC_ALIAS_SIZE,
	    [BS_REC_ORIGIN] = BS_REC_ORIGIN_SIZE,
	    [BS_REC_EXPAND] = BS_REC_EXPAND_HEAD,
	    [BS_REC_ZEROS] = BS_REC_ZEROS_SIZE,
	    [BS_REC_WORDS] = BS_REC_WORDS_HEAD,
	    [BS_REC_GRAFT] = BS_REC_GRAFT_SIZE,
	    [BS_REC_PAGE] = BS_REC_PAGE_SIZE,
	    [BS_REC_MAPPAGE] = BS_REC_MAPPAGE_SIZE,
	    [BS_REC_DROP_TURN] = BS_REC_DROP_TURN_SIZE,
	    [BS_REC_DROP_DRAIN] = BS_REC_DROP_DRAIN_SIZE,
	};

	return type < VS_ARRAY_LEN(sizes) ? sizes[type] : 0;
}

static int get_volent(const uint8_t *p, struct bs_volent *out)
{
	int rc = bs_volent_get(p, out);

	return rc == 0 && out->kind == BS_VOL_FREE ? VS_E_CORRUPT : rc;
}

static int get_body(const uint8_t *b, struct bs_rec *r)
{
	switch (r->type) {
	case BS_REC_CONTENT:
		r->cid = vs_get_le64(b + 1);
		memcpy(r->digest.b, b + 9, 32);
		r->coding = b[41] & (uint8_t)~BS_CODING_PRIVATE;
		r->private = (b[41] & BS_CODING_PRIVATE) != 0;
		r->len = get_len24(b + 42);
		r->check = get_check(b + 45);
		return 0;
	case BS_REC_MOVE:
		r->cid = vs_get_le64(b + 1);
		r->coding = b[9];
		r->len = get_len24(b + 10);
		r->check = get_check(b + 13);
		return 0;
	case BS_REC_TRIM:
		r->volume = vs_get_le64(b + 1);
		r->block = vs_get_le64(b + 9);
		r->count = vs_get_le64(b + 17);
		return 0;
	case BS_REC_VOL_PUT:
		return get_volent(b + 1, &r->vol);
	case BS_REC_VOL_SHARE:
	case BS_REC_ORIGIN:
		r->other = vs_get_le64(b + 1);
		return get_volent(b + 9, &r->vol);
	case BS_REC_VOL_ROLLBACK:
		r->volume = vs_get_le64(b + 1);
		r->other = vs_get_le64(b + 9);
		return 0;
	case BS_REC_VOL_DELETE:
		r->volume = vs_get_le64(b + 1);
		return 0;
	case BS_REC_RELEASE:
	case BS_REC_MAPPAGE:
		r->cid = vs_get_le64(b + 1);
		return 0;
	case BS_REC_ABSORB:
	case BS_REC_ALIAS:
		r->cid = vs_get_le64(b + 1);
		r->other = vs_get_le64(b + 9);
		return 0;
	case BS_REC_PAGE:
		r->tree = b[1];
		r->level = b[2];
		r->block = vs_get_le64(b + 3);
		return 0;
	case BS_REC_MAP:
		r->volume = vs_get_le64(b + 3);
		r->block = vs_get_le64(b + 11);
		return 0;
	case BS_REC_EXPAND:
		r->cid = vs_get_le64(b + 3);
		return 0;
	case BS_REC_WORDS:
		r->volume = vs_get_le64(b + 3);
		r->object = vs_get_le32(b + 11);
		return 0;
	case BS_REC_GRAFT:
		r->volume = vs_get_le64(b + 1);
		r->object = vs_get_le32(b + 9);
		r->other = vs_get_le64(b + 13);
		r->other_object = vs_get_le32(b + 21);
		return 0;
	case BS_REC_ZEROS:
		r->cid = vs_get_le64(b + 1);
		return 0;
	case BS_REC_PAGES:
	case BS_REC_DROP_TURN:
		return 0;
	case BS_REC_DROP_DRAIN:
		r->block = vs_get_le64(b + 1);
		r->count = b[9];
		return 0;
	case BS_REC_END:
		break;
	}
	return VS_E_CORRUPT;
}

int bs_rec_get(const uint8_t *buf, uint32_t len, uint32_t *pos, struct bs_rec *r)
{
	const uint8_t *b = buf + *pos;
	uint32_t left = len - *pos, size, extra = 0;

	if (left < 1)
		return VS_E_CORRUPT;
	size = fixed_size(b[0]);
	if (size == 0 || size > left)
		return VS_E_CORRUPT;
	r->type = (enum bs_rec_type)b[0];
	if (r->type == BS_REC_MAP || r->type == BS_REC_PAGES || r->type == BS_REC_EXPAND ||
	    r->type == BS_REC_WORDS) {
		r->count = vs_get_le16(b + 1);
		r->array = b + size;
		extra = r->type == BS_REC_MAP	  ? (uint32_t)r->count * BS_REC_MAP_EACH
			: r->type == BS_REC_WORDS ? (uint32_t)__builtin_popcountll(r->count) * 8
						  : (uint32_t)r->count * 8;
		if (extra > left - size)
			return VS_E_CORRUPT;
	}
	*pos += size + extra;
	return get_body(b, r);
}
