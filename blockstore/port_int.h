/*
 * The inside of a port, shared by its source files: port.c (rings and life), port_cut.c (requests
 * into operations), port_data.c (bytes), port_copy.c (copies) and port_helper.c (a second thread
 * for bytes).
 */
#ifndef BS_PORT_INT_H
#define BS_PORT_INT_H

#include "blockstore/port.h"
#include "common/ring.h"
#include "dedup/many.h"

#include <zstd.h>

#define BS_STAGING_PAGES 512u /* 2 MiB a port, in runs of one operation's blocks */
/* Blocks of writes that are hashed together. */
#define BS_TOGETHER DD_MANY_BEST

struct bs_port_helper;

/* What a thread needs to hash and compress. */
struct bs_hands {
	struct dd_many *hasher;
	ZSTD_CCtx *zc;
};

struct bs_port {
	struct bs_engine *engine;
	struct bs_store *store;
	struct vs_loop *loop;
	struct vs_ring to_engine, to_port;
	struct vs_ring from_helper; /* to the engine */
	struct bs_port_helper *helper;
	bool alone; /* no helper to be had */
	struct bs_iop *ops, *free;
	unsigned depth, busy_ops;
	struct bs_req *head, *tail; /* requests not yet cut into operations */
	struct bs_req *settled;	    /* refused or empty: done is still to be called */
	unsigned outstanding;
	struct bs_arena *staging;
	struct bs_hands hands;
	ZSTD_DCtx *zd;
	struct vs_post post;
	atomic_bool posted;
	uint32_t known;	    /* share of what was written lately that was there, of 65536 */
	atomic_bool hungry; /* waits for operations or staging: wake it for released ones too */
	bool answered;	    /* engine's: wake when the poll ends */
	unsigned unsaid;    /* 0: the engine was woken for all that was sent */
	bool starting, settling, polling;
	struct bs_iop *raw[BS_TOGETHER]; /* writes that are not hashed yet */
	unsigned nraw, raw_blocks;
};

/* To the engine, which is woken at once or before the loop sleeps. */
void bs_port_send(struct bs_port *p, struct bs_iop *op);
void bs_port_work(struct bs_port *p, unsigned blocks); /* the port is about to work on them */
void bs_port_wake_engine(struct bs_port *p);	       /* any thread */
void bs_port_post(struct bs_port *p);		       /* any thread: bs_port_poll is called soon */

/* port_cut.c: the last in line. */
void bs_port_queue(struct bs_port *p, struct bs_req *req);
/* Starts operations for waiting requests while there are operations and staging. */
void bs_port_start(struct bs_port *p);
void bs_port_flush_raw(struct bs_port *p); /* what has gathered is hashed and sent */

/* port_data.c */
/* The request's bytes from rel on, as far as one vector element holds them. */
uint8_t *bs_port_iov_at(const struct bs_req *req, uint64_t rel, size_t *len);
void bs_port_copy_in(const struct bs_req *req, uint64_t rel, uint8_t *to, size_t n);
void bs_port_compress(struct bs_hands *h, struct bs_iop *op); /* stored form of new blocks */
/* The blocks of n writes are hashed; where they will be new, they get their stored form as well. */
void bs_port_ready(struct bs_hands *h, struct bs_iop *const *ops, unsigned n);
void bs_port_expect(const struct bs_port *p, struct bs_iop *op); /* before: what they will be */
void bs_port_learn(struct bs_port *p, const struct bs_iop *op);	 /* from a write that is done */
void bs_port_deliver(struct bs_port *p, struct bs_iop *op);	 /* a read has arrived */
void bs_port_merge(struct bs_port *p, struct bs_iop *op);	 /* a locked read has arrived */
/* What arrived is damaged: whether the engine is asked for it once more. */
bool bs_port_mend(struct bs_port *p, struct bs_iop *op);
int bs_hands_open(struct bs_hands *h) vs_must_check; /* VS_E_NOMEM; then close it all the same */
void bs_hands_close(struct bs_hands *h);

/* The bytes that a read has brought, from op->skip on, to one place. */
int bs_port_gather(struct bs_port *p, struct bs_iop *op, uint8_t *to) vs_must_check;

/* port_copy.c */
bool bs_port_copy_overlaps(const struct bs_req *req); /* its pieces go one after the other */
void bs_port_plan_copy(const struct bs_req *req, struct bs_iop *op);
void bs_port_advance_copy(struct bs_req *req, const struct bs_iop *op);
void bs_port_copy_read(struct bs_iop *op);		       /* it goes by bytes */
void bs_port_copy_keep(struct bs_port *p, struct bs_iop *op);  /* they have arrived */
void bs_port_copy_write(struct bs_port *p, struct bs_iop *op); /* and are let go */
void bs_port_copy_merge(struct bs_iop *op);		       /* into a part of a block */

/* port_helper.c: whether the helper takes op, makes it ready and sends it. */
bool bs_port_help(struct bs_port *p, struct bs_iop *op);
void bs_port_helper_stop(struct bs_port *p); /* it has nothing */

#endif
