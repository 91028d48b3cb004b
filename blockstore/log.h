/*
 * The log: units being filled, written and flushed (FORMAT.md, "Units"; DESIGN.md, "Log").
 *
 * One unit is open at a time; several are being written. A unit is acknowledged when the device has
 * completed it and every earlier one. Engine's thread only.
 */
#ifndef BS_LOG_H
#define BS_LOG_H

#include "blockstore/device.h"
#include "blockstore/fiber.h"
#include "blockstore/log_format.h"
#include "blockstore/segment.h"

struct bs_engine;
struct bs_iop;

enum bs_unit_state { BS_UNIT_FREE, BS_UNIT_OPEN, BS_UNIT_WRITING, BS_UNIT_WRITTEN, BS_UNIT_ACKED };

struct bs_unit {
	uint8_t *buf;
	enum bs_unit_state state;
	uint32_t seg, off, cap; /* place and most bytes, header included */
	uint32_t head_cap;	/* bytes kept for the header; the payload starts there */
	uint32_t records_len, records, payload_len, unit_len;
	uint64_t seq, check;
	bool first;
	bool fua;     /* an operation in it waits until it is durable */
	bool durable; /* its write makes it so, and nothing else (log_flush.c) */
	uint32_t ahead[BS_LOG_AHEAD];
	uint64_t *pages; /* ids given to map pages */
	unsigned npages;
	struct bs_iop *ops, **ops_tail; /* acknowledged with it */
	unsigned readers;		/* front ends copy out of buf */
	int status;
	struct bs_engine *engine;
	struct bs_devio io;
};

struct bs_log_meta { /* where checkpoints write pages; [1] takes second copies */
	uint32_t seg, off;
};

struct bs_log {
	struct bs_unit *units;
	uint8_t *mem; /* their buffers */
	unsigned nunits;
	struct bs_unit *open;
	struct bs_unit *flight[64]; /* sealed, not acknowledged, oldest first */
	unsigned nflight;
	unsigned max_pages;
	uint32_t unit_max, head_small, head_large;
	uint64_t epoch, next_seq, chain, acked_chain;
	uint64_t written_seq; /* this and all before have been completed by the device */
	uint64_t durable_seq; /* this and all before survive power loss */
	uint32_t seg, off;
	uint32_t ahead[BS_LOG_AHEAD];
	struct bs_log_meta meta[2];
	uint64_t bytes, records; /* appended since open */
	bool large;		 /* load is high: next unit gets a large header */
	bool retrying;		 /* a unit failed: all in flight are written again elsewhere */
	unsigned retries;
	/* flush */
	struct bs_iop *flush_ops;   /* wait for durable_seq to reach theirs */
	struct bs_waitq flush_wait; /* fibers that do */
	bool flush_wanted, flush_busy;
	uint64_t flush_first;  /* smallest sequence that somebody waits for */
	uint64_t flush_target; /* of the flush in flight */
	struct bs_devio flush_io;
	uint64_t asked_seq; /* the last one that somebody wanted durable */
	unsigned lone;	    /* how much flushes have lately been for one unit each */
	bool never_alone;   /* a unit's durable write has failed */
	bool drain;	    /* seal at once: the cut waits */
};

int bs_log_init(struct bs_engine *e) vs_must_check; /* memory only */
void bs_log_destroy(struct bs_log *l);
/* Begins an epoch in fresh segments. VS_E_NOSPC. */
int bs_log_begin(struct bs_engine *e) vs_must_check;

/*
 * Room for a coming step in one unit: bytes of records, of payload, and ids of map pages. In a
 * fiber it waits for buffers and for the cleaner. VS_E_AGAIN, VS_E_NOSPC, VS_E_FAILED, VS_E_ROFS.
 */
int bs_log_room(struct bs_engine *e, enum bs_need need, uint32_t records, uint32_t payload,
		uint32_t pages) vs_must_check;
/* (step) Space for a record of len bytes, counted as one record. */
uint8_t *bs_log_record(struct bs_engine *e, uint32_t len);
/* (step) Copies stored bytes in; gives the place. */
void bs_log_payload(struct bs_engine *e, const void *data, uint32_t len, struct bs_place *where);
void bs_log_note_page(struct bs_engine *e, uint64_t cid); /* (step) */
/* (step) op is acknowledged (bs_op_acked) with what has been appended so far. */
void bs_log_attach(struct bs_engine *e, struct bs_iop *op);
/* The same for an operation whose last record may lie in a unit that is sealed or done. */
void bs_log_attach_last(struct bs_engine *e, struct bs_iop *op);
/* Calls bs_op_flushed(op) once all that was appended or acknowledged before is durable. */
void bs_log_flush_op(struct bs_engine *e, struct bs_iop *op);
/* In a fiber: until everything appended is durable. */
int bs_log_commit(struct bs_engine *e) vs_must_check;

/* Seals and submits what is due; called at the end of every poll. Whether it did anything. */
bool bs_log_pump(struct bs_engine *e);
/* The log goes on in a fresh segment; false when it cannot do so now. */
bool bs_log_leave(struct bs_engine *e);
void bs_log_drop_open(struct bs_engine *e); /* the open unit, when nothing is in it */
bool bs_log_serves(const struct bs_log *l); /* operations wait for it */
bool bs_log_quiet(const struct bs_log *l);  /* nothing open, nothing in flight */
/* Bytes of a place that is still in memory, else NULL. The unit must be released afterwards. */
const uint8_t *bs_log_find(struct bs_engine *e, const struct bs_place *p, struct bs_unit **unit);
void bs_log_release(struct bs_engine *e, struct bs_unit *unit);
void bs_log_fail_waiters(struct bs_engine *e);

/* Between log.c and log_flush.c. */
/* Flushes come one by one, each for one unit. */
bool bs_log_flush_lone(const struct bs_log *l);
/* (step) u is sealed: whether its write alone is to make it durable. */
bool bs_log_flush_alone(const struct bs_engine *e, const struct bs_unit *u);
void bs_log_flush_reached(struct bs_engine *e, uint64_t seq); /* durable up to this one */
void bs_log_flush_answer(struct bs_engine *e);		      /* to those whose wait is over */
bool bs_log_flush_start(struct bs_engine *e);		      /* if one is due */

#endif
