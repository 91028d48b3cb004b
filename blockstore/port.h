/*
 * A port's inner side: the rings between a front end's thread and the engine (io.h is the public
 * side). Without a loop (tests/sim) its owner calls bs_port_poll.
 */
#ifndef BS_PORT_H
#define BS_PORT_H

#include "blockstore/op.h"

int bs_port_new(struct bs_engine *e, struct vs_loop *loop, unsigned depth,
		struct bs_port **out) vs_must_check;
void bs_port_free(struct bs_port *p);
/* Operations that the engine or the port works on; those of finished reads linger a little. */
unsigned bs_port_busy(const struct bs_port *p);
/* Port's thread: handles what the engine has answered; whether there was anything. */
bool bs_port_poll(struct bs_port *p);
void bs_port_set_store(struct bs_port *p, struct bs_store *s);
struct bs_store *bs_port_store(const struct bs_port *p);
void bs_port_settle(struct bs_port *p); /* turns the loop until nothing is outstanding or busy */
/* Engine's thread. */
bool bs_port_drain(struct bs_port *p); /* takes in what was submitted */
void bs_port_answer(struct bs_port *p, struct bs_iop *op);
void bs_port_return(struct bs_port *p, struct bs_iop *op); /* the same; nobody waits for it */
void bs_port_wake(struct bs_port *p);			   /* after answers */
struct bs_engine *bs_port_engine(const struct bs_port *p);

/* The public handle; created by volume.c. */
struct bs_volume {
	struct bs_engine *engine;
	struct bs_store *store;
	struct bs_vol *vol;
	struct vs_uuid uuid;
	uint32_t sector;
	bool read_only, objects;
	_Atomic int compression;
	atomic_uint vain; /* new blocks in a row that did not shrink */
};

#endif
