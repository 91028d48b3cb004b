#include "blockstore/super_format.h"

static const uint8_t super_magic[8] = "VSTORE\r\n";
static const uint8_t owner_magic[8] = "VSOWNER\n";

enum {
	S_MAGIC = 0,
	S_VERSION = 8,
	S_SEGMENT_SIZE = 12,
	S_COMPAT = 16,
	S_RO_COMPAT = 24,
	S_INCOMPAT = 32,
	S_UUID = 40,
	S_DEVICE_SIZE = 56,
	S_SEGMENTS = 64,
	S_COMPRESSION = 68,
	S_CLEAN = 69,
	S_CHECKPOINT = 72,
	S_WRITTEN = 80,
	S_EPOCH = 88,
	S_NEXT_SEQ = 96,
	S_CHAIN = 104,
	S_LOG_SEG = 112,
	S_LOG_OFF = 116,
	S_AHEAD = 120,
	S_DURABLE = 136,
	S_ERA = 144,
	S_NEXT_VOLUME = 152,
	S_WORKS = 160,
	S_CONTENTS = 168,
	S_STORED = 176,
	S_REFERENCES = 184,
	S_PLACE_HINT = 192,
	S_MAP_HINT = 200,
	S_DROPS = 208, /* of both runs */
	S_DROP_CURSOR = 224,
	S_DROP_SIDE = 232,
	S_ROOTS = 256,	    /* BS_TREES of 64 bytes */
	S_INDEX = 960,	    /* segment + 1 (4), reserved (4), nonce (8) */
	S_KEY_SLOTS = 1024, /* BS_KEY_SLOTS of 256 bytes, zero: unused */
	S_DEVICES = 3072,   /* BS_DEVTAB_SIZE */
	S_CHECK = 4088,
};

#define ROOT_SIZE 64u
_Static_assert(S_ROOTS + BS_TREES * ROOT_SIZE <= S_INDEX, "roots overlap the saved index");
_Static_assert(S_KEY_SLOTS + BS_KEY_SLOTS * 256 <= S_DEVICES, "key slots overlap devices");
_Static_assert(S_DEVICES + BS_DEVTAB_SIZE <= S_CHECK, "devices overlap checksum");

uint64_t bs_super_offset(uint64_t device_size, unsigned slot, unsigned copy)
{
	return (copy ? device_size - BS_TAIL_AREA : 0) + slot * BS_SUPER_SIZE;
}

void bs_super_encode(uint8_t b[BS_SUPER_SIZE], const struct bs_super *s)
{
	memset(b, 0, BS_SUPER_SIZE);
	memcpy(b + S_MAGIC, super_magic, sizeof(super_magic));
	vs_put_le32(b + S_VERSION, s->version);
	vs_put_le32(b + S_SEGMENT_SIZE, s->segment_size);
	vs_put_le64(b + S_COMPAT, s->compat);
	vs_put_le64(b + S_RO_COMPAT, s->ro_compat);
	vs_put_le64(b + S_INCOMPAT, s->incompat);
	memcpy(b + S_UUID, s->uuid.b, 16);
	vs_put_le64(b + S_DEVICE_SIZE, s->device_size);
	vs_put_le32(b + S_SEGMENTS, s->segments);
	b[S_COMPRESSION] = s->compression;
	b[S_CLEAN] = s->clean;
	vs_put_le64(b + S_CHECKPOINT, s->checkpoint);
	vs_put_le64(b + S_WRITTEN, (uint64_t)s->written);
	vs_put_le64(b + S_EPOCH, s->epoch);
	vs_put_le64(b + S_NEXT_SEQ, s->next_seq);
	vs_put_le64(b + S_CHAIN, s->chain);
	vs_put_le32(b + S_LOG_SEG, s->log_seg);
	vs_put_le32(b + S_LOG_OFF, s->log_off);
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		vs_put_le32(b + S_AHEAD + 4 * i, s->ahead[i]);
	vs_put_le64(b + S_DURABLE, s->durable_seq);
	vs_put_le64(b + S_ERA, s->era);
	vs_put_le64(b + S_NEXT_VOLUME, s->next_volume);
	vs_put_le64(b + S_WORKS, s->works);
	vs_put_le64(b + S_CONTENTS, s->contents);
	vs_put_le64(b + S_STORED, s->stored_bytes);
	vs_put_le64(b + S_REFERENCES, s->references);
	vs_put_le64(b + S_PLACE_HINT, s->place_hint);
	vs_put_le64(b + S_MAP_HINT, s->map_hint);
	vs_put_le64(b + S_DROPS, s->drops[0]);
	vs_put_le64(b + S_DROPS + 8, s->drops[1]);
	vs_put_le64(b + S_DROP_CURSOR, s->drop_cursor);
	b[S_DROP_SIDE] = s->drop_side;
	for (unsigned i = 0; i < BS_TREES; i++) {
		uint8_t *r = b + S_ROOTS + i * ROOT_SIZE;

		bs_ptr_put(r, &s->roots[i].ptr);
		vs_put_le64(r + 32, s->roots[i].leaves);
		r[40] = s->roots[i].height;
	}
	if (s->incompat & BS_INCOMPAT_DEVICES)
		bs_devtab_put(b + S_DEVICES, &s->tab);
	vs_put_le32(b + S_INDEX, s->index.first);
	vs_put_le64(b + S_INDEX + 8, s->index.nonce);
	vs_put_le64(b + S_CHECK, bs_checksum(b, S_CHECK));
}

/* Every leaf up to the last has been written once, so there are no more than pages. */
static uint64_t leaves_max(const struct bs_super *s, unsigned height)
{
	uint64_t pages = (uint64_t)s->segments * (s->segment_size / BS_PAGE), n = height ? 1 : 0;

	while (height-- > 1)
		n *= BS_PTRS_PER_PAGE;
	return VS_MIN(n, pages);
}

static int check_fields(const struct bs_super *s)
{
	uint32_t z = s->segment_size;

	if (z < BS_SEGMENT_MIN || z > BS_SEGMENT_MAX || (z & (z - 1)) || s->segments < 16)
		return VS_E_CORRUPT;
	if (s->device_size % BS_PAGE || s->device_size < BS_HEAD_AREA + BS_TAIL_AREA ||
	    (!s->tab.ndevs && (s->device_size - BS_HEAD_AREA - BS_TAIL_AREA) / z < s->segments))
		return VS_E_CORRUPT;
	if (s->log_seg >= s->segments || s->log_off > z || s->log_off % BS_PAGE ||
	    s->compression > BS_CODING_ZSTD)
		return VS_E_CORRUPT;
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		if (s->ahead[i] >= s->segments)
			return VS_E_CORRUPT;
	if (s->next_seq == 0 || s->next_seq > BS_COUNT_MAX || s->durable_seq >= s->next_seq ||
	    s->checkpoint > BS_COUNT_MAX || s->era > BS_COUNT_MAX)
		return VS_E_CORRUPT;
	for (unsigned i = 0; i < BS_TREES; i++)
		if (s->roots[i].height > BS_TREE_HEIGHT_MAX ||
		    s->roots[i].leaves > leaves_max(s, s->roots[i].height))
			return VS_E_CORRUPT;
	for (unsigned i = 0; i < 2; i++)
		if (s->drops[i] > BS_DROPS_MAX ||
		    s->drops[i] > s->roots[BS_TREE_DROP].leaves * BS_DROPS_PER_PAGE)
			return VS_E_CORRUPT;
	if (s->drop_side > 1)
		return VS_E_CORRUPT;
	if (s->works > s->roots[BS_TREE_WORK].leaves * BS_WORKS_PER_PAGE ||
	    s->next_volume > s->roots[BS_TREE_VOLUME].leaves * BS_VOLENTS_PER_PAGE + 1)
		return VS_E_CORRUPT;
	return 0;
}

int bs_super_decode(const uint8_t b[BS_SUPER_SIZE], struct bs_super *s)
{
	if (memcmp(b + S_MAGIC, super_magic, sizeof(super_magic)) != 0)
		return VS_E_NOTSTORE;
	if (vs_get_le64(b + S_CHECK) != bs_checksum(b, S_CHECK))
		return VS_E_CORRUPT;
	s->version = vs_get_le32(b + S_VERSION);
	if (s->version != BS_FORMAT_VERSION)
		return VS_E_VERSION;
	s->segment_size = vs_get_le32(b + S_SEGMENT_SIZE);
	s->compat = vs_get_le64(b + S_COMPAT);
	s->ro_compat = vs_get_le64(b + S_RO_COMPAT);
	s->incompat = vs_get_le64(b + S_INCOMPAT);
	memcpy(s->uuid.b, b + S_UUID, 16);
	s->device_size = vs_get_le64(b + S_DEVICE_SIZE);
	s->segments = vs_get_le32(b + S_SEGMENTS);
	s->compression = b[S_COMPRESSION];
	s->clean = b[S_CLEAN] != 0;
	s->index.first = vs_get_le32(b + S_INDEX);
	s->index.nonce = vs_get_le64(b + S_INDEX + 8);
	s->checkpoint = vs_get_le64(b + S_CHECKPOINT);
	s->written = (int64_t)vs_get_le64(b + S_WRITTEN);
	s->epoch = vs_get_le64(b + S_EPOCH);
	s->next_seq = vs_get_le64(b + S_NEXT_SEQ);
	s->chain = vs_get_le64(b + S_CHAIN);
	s->log_seg = vs_get_le32(b + S_LOG_SEG);
	s->log_off = vs_get_le32(b + S_LOG_OFF);
	for (unsigned i = 0; i < BS_LOG_AHEAD; i++)
		s->ahead[i] = vs_get_le32(b + S_AHEAD + 4 * i);
	s->durable_seq = vs_get_le64(b + S_DURABLE);
	s->era = vs_get_le64(b + S_ERA);
	s->next_volume = vs_get_le64(b + S_NEXT_VOLUME);
	s->works = vs_get_le64(b + S_WORKS);
	s->contents = vs_get_le64(b + S_CONTENTS);
	s->stored_bytes = vs_get_le64(b + S_STORED);
	s->references = vs_get_le64(b + S_REFERENCES);
	s->place_hint = vs_get_le64(b + S_PLACE_HINT);
	s->map_hint = vs_get_le64(b + S_MAP_HINT);
	s->drops[0] = vs_get_le64(b + S_DROPS);
	s->drops[1] = vs_get_le64(b + S_DROPS + 8);
	s->drop_cursor = vs_get_le64(b + S_DROP_CURSOR);
	s->drop_side = b[S_DROP_SIDE];
	for (unsigned i = 0; i < BS_TREES; i++) {
		const uint8_t *r = b + S_ROOTS + i * ROOT_SIZE;

		bs_ptr_get(r, &s->roots[i].ptr);
		s->roots[i].leaves = vs_get_le64(r + 32);
		s->roots[i].height = r[40];
	}
	s->tab = (struct bs_devtab){0};
	if (s->segment_size && (s->incompat & BS_INCOMPAT_DEVICES) &&
	    bs_devtab_get(b + S_DEVICES, s->segments, s->segment_size, &s->tab))
		return VS_E_CORRUPT;
	return check_fields(s);
}

void bs_owner_encode(uint8_t b[BS_SUPER_SIZE], const struct bs_owner *o)
{
	memset(b, 0, BS_SUPER_SIZE);
	memcpy(b, owner_magic, sizeof(owner_magic));
	b[8] = o->held;
	memcpy(b + 16, o->store.b, 16);
	memcpy(b + 32, o->machine, sizeof(o->machine));
	memcpy(b + 64, o->host, sizeof(o->host));
	vs_put_le64(b + 128, o->beat);
	vs_put_le64(b + S_CHECK, bs_checksum(b, S_CHECK));
}

int bs_owner_decode(const uint8_t b[BS_SUPER_SIZE], struct bs_owner *o)
{
	if (memcmp(b, owner_magic, sizeof(owner_magic)) != 0)
		return VS_E_NOENT;
	if (vs_get_le64(b + S_CHECK) != bs_checksum(b, S_CHECK))
		return VS_E_CORRUPT;
	o->held = b[8] != 0;
	memcpy(o->store.b, b + 16, 16);
	memcpy(o->machine, b + 32, sizeof(o->machine));
	memcpy(o->host, b + 64, sizeof(o->host));
	o->host[sizeof(o->host) - 1] = '\0';
	o->beat = vs_get_le64(b + 128);
	return 0;
}
