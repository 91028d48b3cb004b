#include "targets/nbd/conn.h"

#include "common/bytes.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>

#define RX_BYTES (3 * VS_ARENA_UNIT) /* option data up to this is looked at */
#define SKIP_MAX (1u << 20)	     /* and up to this is thrown away; beyond, so is the client */
#define REPLY_BYTES VS_ARENA_UNIT
#define LIST_BYTES (NBD_OWN_BYTES - RX_BYTES)
#define OPTIONS_MAX 4096

enum state { ST_FLAGS, ST_OPTION, ST_DATA };

static uint8_t *reply_begin(struct nbd_conn *c, size_t room)
{
	uint8_t *buf = vs_arena_take(&c->arena, room);

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

	vs_arena_give(&c->arena, (void *)(uintptr_t)out->data, c->hs.reply_room);
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
	vs_arena_give(&c->arena, c->hs.in, RX_BYTES);
	c->hs.in = NULL;
	nbd_transmit_start(c);
}

static void set_limits(struct nbd_conn *c, bool block_size)
{
	bool read_only = c->export->read_only || bs_volume_read_only(c->volume);
	uint32_t sector = bs_volume_sector(c->volume);
	struct nbd_limits *l = &c->limits;

	l->size = bs_volume_size(c->volume);
	/* A client that has not asked may send what the engine can take. */
	l->align = block_size ? VS_MAX(sector, 512u) : 512;
	l->max_length = NBD_MAX_LENGTH;
	l->flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_CAN_MULTI_CONN;
	l->flags |= read_only ? NBD_FLAG_READ_ONLY
			      : NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
				    NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
	if (c->structured)
		l->flags |= NBD_FLAG_SEND_DF;
	l->status = c->structured && c->hs.meta && strcmp(c->hs.meta_name, c->export->name) == 0;
}

static void reply_target_error(struct nbd_conn *c, int status)
{
	if (c->hs.option.option == NBD_OPT_EXPORT_NAME)
		nbd_conn_kill(c); /* the protocol has no error reply there */
	else if (status == VS_E_NOENT)
		reply_error(c, NBD_REP_ERR_UNKNOWN, "no such export");
	else if (status == VS_E_CLOSED)
		reply_error(c, NBD_REP_ERR_SHUTDOWN, vs_err_text(status));
	else
		reply_error(c, NBD_REP_ERR_POLICY, vs_err_text(status));
}

static void info_closed(struct vs_post *post)
{
	struct nbd_conn *c = post->arg;

	c->inflight--;
	nbd_exports_release(c->worker->exports, c->export);
	c->export = NULL;
	c->hs.waiting = false;
	nbd_conn_dirty(c);
}

static void reply_info(struct nbd_conn *c)
{
	uint32_t option = c->hs.option.option;
	uint8_t *buf = reply_begin(c, REPLY_BYTES);
	size_t len;

	set_limits(c, c->hs.go.want_block_size);
	len = nbd_info_export_encode(buf, option, c->limits.size, c->limits.flags);
	if (c->hs.go.want_name)
		len += nbd_info_name_encode(buf + len, option, c->export->name);
	len += nbd_info_block_size_encode(buf + len, option, c->limits.align, BS_BLOCK,
					  c->limits.max_length);
	len += nbd_option_reply_encode(buf + len, option, NBD_REP_ACK, 0);
	reply_end(c, len);
}

static void reply_export_name(struct nbd_conn *c)
{
	set_limits(c, false);
	reply_end(c,
		  nbd_export_name_encode(reply_begin(c, REPLY_BYTES), c->limits.size,
					 c->limits.flags, c->hs.client_flags & NBD_FLAG_NO_ZEROES));
}

/* EXPORT_NAME, INFO and GO go on here when the volume is open. */
static void target_opened(struct vs_post *post)
{
	struct nbd_conn *c = post->arg;
	uint32_t option = c->hs.option.option;

	c->inflight--;
	c->hs.waiting = false;
	nbd_conn_dirty(c);
	if (c->opening.status) {
		nbd_exports_release(c->worker->exports, c->opening.export);
		if (c->phase == NBD_HANDSHAKE)
			reply_target_error(c, c->opening.status);
		return;
	}
	c->export = c->opening.export;
	c->volume = c->opening.volume;
	if (atomic_load(&c->export->gone)) /* unexported meanwhile, before this was its client */
		nbd_conn_drain(c);
	if (c->phase != NBD_HANDSHAKE)
		return;
	if (option == NBD_OPT_EXPORT_NAME)
		reply_export_name(c);
	else
		reply_info(c);
	if (option != NBD_OPT_INFO) {
		begin_transmission(c);
		return;
	}
	c->hs.waiting = true;
	nbd_conn_opening(c, c->export, c->volume, info_closed);
	c->volume = NULL;
}

static void target_open(struct nbd_conn *c, const struct nbd_string *name)
{
	struct nbd_export *e = nbd_exports_acquire(c->worker->exports, name);

	if (!e) {
		reply_target_error(c, VS_E_NOENT);
		return;
	}
	c->hs.waiting = true;
	nbd_conn_opening(c, e, NULL, target_opened);
}

static void opt_export_name(struct nbd_conn *c, const uint8_t *data, uint32_t n)
{
	const struct nbd_string name = {(const char *)data, n};

	target_open(c, &name);
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

static void opt_info_go(struct nbd_conn *c, const uint8_t *data, uint32_t n)
{
	if (nbd_go_decode(data, n, &c->hs.go))
		reply_error(c, NBD_REP_ERR_INVALID, "malformed option data");
	else
		target_open(c, &c->hs.go.name);
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
	c->hs.in = vs_arena_take(&c->arena, RX_BYTES);
	VS_ASSERT(c->hs.in);
	expect(c, ST_FLAGS, NBD_CLIENT_FLAGS_BYTES);
	reply_end(c, nbd_hello_encode(reply_begin(c, REPLY_BYTES)));
}

void nbd_handshake_input(struct nbd_conn *c)
{
	for (;;) {
		c->blocked = c->out_head || c->hs.waiting;
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
