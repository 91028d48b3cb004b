/*
 * Requests and their pieces at the engine: from the taking of memory to the reply. On the worker's
 * thread. What is used up comes back when replies are sent, never earlier.
 */
#ifndef NBD_REQUEST_H
#define NBD_REQUEST_H

#include "targets/nbd/conn.h"

struct nbd_request *nbd_request_take(struct nbd_conn *c); /* NULL: all are in use */
void nbd_request_give(struct nbd_request *r);
/* Queues the last reply, as the request's error and status say; then the request gives itself. */
void nbd_request_answer(struct nbd_request *r);
/* The same once everything is issued and done. */
void nbd_request_answer_if_over(struct nbd_request *r);

/* mem_len 0: a piece without data. NULL when the pieces or the memory are used up for now. */
struct nbd_piece *nbd_piece_take(struct nbd_conn *c, struct nbd_request *r, size_t mem_len);
void nbd_piece_give(struct nbd_piece *p);
/* The engine's answer leads to the reply and gives the piece. r->issued is set before the last. */
void nbd_piece_submit(struct nbd_piece *p, enum bs_op op, uint64_t offset, uint64_t length);
/* A BLOCK_STATUS, in one piece with two units of memory. */
void nbd_piece_submit_status(struct nbd_piece *p);

#endif
