#include "targets/nbd/conn.h"

#include "common/bytes.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>

#define RX_BYTES (3 * NBD_ARENA_UNIT) /* option data up to this is looked at */
#define SKIP_MAX (1u << 20)	      /* and up to this is thrown away; beyond, so is the client */
#define REPLY_BYTES NBD_ARENA_UNIT
#define LIST_BYTES (NBD_ARENA_BYTES - RX_BYTES)
#define OPTIONS_MAX 4096

enum state { ST_FLAGS, ST_OPTION, ST_DATA };

static uint8_t *reply_begin(struct nbd_conn *c, size_t room)
{
	uint8_t *buf = nbd_arena_take(&c->arena, room);

	/* Options are read only while no reply is under way: all of the arena but the input is
	 * free. */
	VS_ASSERT(buf);
	c->hs.out.data = buf;
	c->hs.reply_room = (uint32_t)room;
	return buf;
}

static void reply_sent(struct nbd_out *out)
{
	struct nbd_conn *c = out->owner;

	nbd_arena_give(&c->arena, (void *)(uintptr_t)out->data, c->hs.reply_room);
}

static void reply_end(struct nbd_conn *c, size_t n)
{
	VS_ASSERT(n <= c->hs.reply_room);
	c->hs.out.head_len = 0;
	c->hs.out.len = (uint32_t)n;
	c->hs.out.sent = reply_sent;
	c->hs.out.owner = c;
	nbd_conn_send(c, &c->hs.out);
}

static void reply_ack(struct nbd_conn *c)
{
	reply_end(c, nbd_option_reply_encode(reply_begin(c, REPLY_BYTES), c->hs.option.option,
					     NBD_REP_ACK, 0));
}

static void reply_error(struct nbd_conn *c, uint32_t type, const char *text)
{
	reply_end(c, nbd_option_error_encode(reply_begin(c, REPLY_BYTES), c->hs.option.option, type,
					     text));
}

static void expect(struct nbd_conn *c, enum state state, uint32_t need)
{
	c->hs.state = state;
	c->hs.need = need;
	c->hs.have = 0;
}

static void begin_transmission(struct nbd_conn *c)
{
	nbd_arena_give(&c->arena, c->hs.in, RX_BYTES);
	c->hs.in = NULL;
	nbd_transmit_start(c);
}

/* An export, and a handle of its volume, that the client has asked for. */
struct target {
	struct nbd_export *export;
	struct bs_volume *volume;
};

static int target_open(struct nbd_conn *c, const struct nbd_string *name, struct target *t)
{
	struct nbd_worker *w = c->worker;
	int status;

	t->volume = NULL;
	t->export = nbd_exports_acquire(w->exports, name);
	if (!t->export)
		return VS_E_NOENT;
	status = bs_volume_open(w->store, t->export->name, &t->volume, NULL);
	if (status == 0 && vs_uuid_equal(bs_volume_uuid(t->volume), &t->export->uuid))
		return 0;
	if (status == 0)
		bs_volume_close(t->volume);
	nbd_exports_release(w->exports, t->export);
	return status ? status : VS_E_NOENT;
}

static void target_close(struct nbd_conn *c, struct target *t)
{
	bs_volume_close(t->volume);
	nbd_exports_release(c->worker->exports, t->export);
}

static void target_limits(const struct nbd_conn *c, const struct target *t, bool block_size,
			  struct nbd_limits *out)
{
	bool read_only = t->export->read_only || bs_volume_read_only(t->volume);
	uint32_t sector = bs_volume_sector(t->volume);

	out->size = bs_volume_size(t->volume);
	/* A client that has not asked may send what the engine can take. */
	out->align = block_size ? VS_MAX(sector, 512u) : 512;
	out->max_length = NBD_MAX_LENGTH;
	out->flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_CAN_MULTI_CONN;
	out->flags |= read_only ? NBD_FLAG_READ_ONLY
				: NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
				      NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
	if (c->structured)
		out->flags |= NBD_FLAG_SEND_DF;
	out->status = c->structured && c->hs.meta && strcmp(c->hs.meta_name, t->export->name) == 0;
}

static void attach(struct nbd_conn *c, const struct target *t, const struct nbd_limits *limits)
{
	c->export = t->export;
	c->volume = t->volume;
	c->limits = *limits;
}

static void opt_export_name(struct nbd_conn *c, const uint8_t *data, uint32_t n)
{
	const struct nbd_string name = {(const char *)data, n};
	struct nbd_limits limits;
	struct target t;

	if (target_open(c, &name, &t)) {
		nbd_conn_kill(c); /* the protocol has no error reply here */
		return;
	}
	target_limits(c, &t, false, &limits);
	attach(c, &t, &limits);
	reply_end(c, nbd_export_name_encode(reply_begin(c, REPLY_BYTES), limits.size, limits.flags,
					    c->hs.client_flags & NBD_FLAG_NO_ZEROES));
	begin_transmission(c);
}

static void opt_abort(struct nbd_conn *c, const uint8_t *data, uint32_t n)
{
	(void)data;
	(void)n;
	reply_ack(c);
	nbd_conn_drain(c);
}

static void opt_list(struct nbd_conn *c, const uint8_t *data, uint32_t n)
{
	uint8_t *buf;
	size_t len;

	(void)data;
	if (n) {
		reply_error(c, NBD_REP_ERR_INVALID, "LIST takes no data");
		return;
	}
	buf = reply_begin(c, LIST_BYTES);
	len = nbd_exports_encode(c->worker->exports, buf, LIST_BYTES - NBD_OPTION_REPLY_BYTES);
	len += nbd_option_reply_encode(buf + len, NBD_OPT_LIST, NBD_REP_ACK, 0);
	reply_end(c, len);
}

static void opt_starttls(struct nbd_conn *c, const uint8_t *data, uint32_t n)
{
	(void)data;
	if (n)
		reply_error(c, NBD_REP_ERR_INVALID, "STARTTLS takes no data");
	else
		reply_error(c, NBD_REP_ERR_POLICY, "this server has no TLS");
}

static void reply_target_error(struct nbd_conn *c, int status)
{
	if (status == VS_E_NOENT)
		reply_error(c, NBD_REP_ERR_UNKNOWN, "no such export");
	else if (status == VS_E_CLOSED)
		reply_error(c, NBD_REP_ERR_SHUTDOWN, vs_err_text(status));
	else
		reply_error(c, NBD_REP_ERR_POLICY, vs_err_text(status));
}

static void opt_info_go(struct nbd_conn *c, const uint8_t *data, uint32_t n)
{
	uint32_t option = c->hs.option.option;
	struct nbd_limits limits;
	struct nbd_go go;
	struct target t;
	uint8_t *buf;
	size_t len;
	int status;

	if (nbd_go_decode(data, n, &go)) {
		reply_error(c, NBD_REP_ERR_INVALID, "malformed option data");
		return;
	}
	status = target_open(c, &go.name, &t);
	if (status) {
		reply_target_error(c, status);
		return;
	}
	target_limits(c, &t, go.want_block_size, &limits);
	buf = reply_begin(c, REPLY_BYTES);
	len = nbd_info_export_encode(buf, option, limits.size, limits.flags);
	if (go.want_name)
		len += nbd_info_name_encode(buf + len, option, t.export->name);
	len += nbd_info_block_size_encode(buf + len, option, limits.align, BS_BLOCK,
					  limits.max_length);
	len += nbd_option_reply_encode(buf + len, option, NBD_REP_ACK, 0);
	reply_end(c, len);
	if (option == NBD_OPT_INFO) {
		target_close(c, &t);
		return;
	}
	attach(c, &t, &limits);
	begin_transmission(c);
}

static void opt_structured_reply(struct nbd_conn *c, const uint8_t *data, uint32_t n)
{
	(void)data;
	if (n) {
		reply_error(c, NBD_REP_ERR_INVALID, "STRUCTURED_REPLY takes no data");
		return;
	}
	c->structured = true;
	reply_ack(c);
}

static void opt_meta_context(struct nbd_conn *c, const uint8_t *data, uint32_t n)
{
	uint32_t option = c->hs.option.option;
	bool list = option == NBD_OPT_LIST_META_CONTEXT;
	struct nbd_export *e;
	struct nbd_meta meta;
	uint8_t *buf;
	size_t len = 0;

	if (!list)
		c->hs.meta = false;
	if (!c->structured || nbd_meta_decode(data, n, list, &meta)) {
		reply_error(c, NBD_REP_ERR_INVALID,
			    c->structured ? "malformed option data"
					  : "structured replies must be negotiated first");
		return;
	}
	e = nbd_exports_acquire(c->worker->exports, &meta.name);
	if (!e) {
		reply_target_error(c, VS_E_NOENT);
		return;
	}
	if (!list) {
		c->hs.meta = meta.allocation;
		memcpy(c->hs.meta_name, e->name, sizeof(c->hs.meta_name));
	}
	nbd_exports_release(c->worker->exports, e);
	buf = reply_begin(c, REPLY_BYTES);
	if (meta.allocation || (list && meta.queries == 0))
		len = nbd_meta_context_encode(buf, option, list ? 0 : NBD_META_ALLOCATION_ID,
					      NBD_META_ALLOCATION);
	len += nbd_option_reply_encode(buf + len, option, NBD_REP_ACK, 0);
	reply_end(c, len);
}

typedef void option_fn(struct nbd_conn *c, const uint8_t *data, uint32_t n);

static option_fn *const options[] = {
    [NBD_OPT_EXPORT_NAME] = opt_export_name,
    [NBD_OPT_ABORT] = opt_abort,
    [NBD_OPT_LIST] = opt_list,
    [NBD_OPT_STARTTLS] = opt_starttls,
    [NBD_OPT_INFO] = opt_info_go,
    [NBD_OPT_GO] = opt_info_go,
    [NBD_OPT_STRUCTURED_REPLY] = opt_structured_reply,
    [NBD_OPT_LIST_META_CONTEXT] = opt_meta_context,
    [NBD_OPT_SET_META_CONTEXT] = opt_meta_context,
};

static option_fn *option_find(uint32_t option)
{
	return option < VS_ARRAY_LEN(options) ? options[option] : NULL;
}

static void got_flags(struct nbd_conn *c)
{
	if (nbd_client_flags_decode(c->hs.in, &c->hs.client_flags)) {
		nbd_conn_kill(c);
		return;
	}
	expect(c, ST_OPTION, NBD_OPTION_BYTES);
}

static void got_option(struct nbd_conn *c)
{
	struct nbd_option *o = &c->hs.option;

	if (nbd_option_decode(c->hs.in, o) || ++c->hs.options > OPTIONS_MAX ||
	    o->length > SKIP_MAX ||
	    (o->option == NBD_OPT_EXPORT_NAME && o->length > NBD_STRING_MAX)) {
		nbd_conn_kill(c);
		return;
	}
	if (option_find(o->option) && o->length <= RX_BYTES) {
		expect(c, ST_DATA, o->length);
		return;
	}
	expect(c, ST_OPTION, NBD_OPTION_BYTES);
	c->hs.skip = o->length;
	if (option_find(o->option))
		reply_error(c, NBD_REP_ERR_TOO_BIG, "too much option data");
	else
		reply_error(c, NBD_REP_ERR_UNSUP, "unknown option");
}

static void got_data(struct nbd_conn *c)
{
	uint32_t n = c->hs.need;

	expect(c, ST_OPTION, NBD_OPTION_BYTES);
	option_find(c->hs.option.option)(c, c->hs.in, n);
}

static void (*const states[])(struct nbd_conn *c) = {
    [ST_FLAGS] = got_flags,
    [ST_OPTION] = got_option,
    [ST_DATA] = got_data,
};

/* Returns whether the message is complete. */
static bool fill(struct nbd_conn *c)
{
	struct iovec iov;
	long n;

	if (c->hs.skip)
		iov = (struct iovec){c->worker->scratch,
				     VS_MIN(c->hs.skip, sizeof(c->worker->scratch))};
	else
		iov = (struct iovec){c->hs.in + c->hs.have, c->hs.need - c->hs.have};
	if (iov.iov_len == 0)
		return true;
	n = nbd_conn_receive(c, &iov, 1);
	if (n <= 0)
		return false;
	if (c->hs.skip) {
		c->hs.skip -= (uint32_t)n;
		c->hs.more = true;
		return false;
	}
	c->hs.have += (uint32_t)n;
	c->hs.more = c->hs.have < c->hs.need;
	return !c->hs.more;
}

void nbd_handshake_start(struct nbd_conn *c)
{
	c->hs.in = nbd_arena_take(&c->arena, RX_BYTES);
	VS_ASSERT(c->hs.in);
	expect(c, ST_FLAGS, NBD_CLIENT_FLAGS_BYTES);
	reply_end(c, nbd_hello_encode(reply_begin(c, REPLY_BYTES)));
}

void nbd_handshake_input(struct nbd_conn *c)
{
	for (;;) {
		c->blocked = c->out_head != NULL;
		if (c->blocked)
			return; /* one option at a time: its reply leaves first */
		c->hs.more = false;
		if (fill(c))
			states[c->hs.state](c);
		else if (!c->hs.more)
			return;
		if (c->phase != NBD_HANDSHAKE)
			return;
	}
}
