/*
 * One client's connection, from accept to close, and the worker thread it belongs to.
 *
 * Everything here runs on the worker's thread and never blocks on a client. What may be taken by a
 * client is fixed when the connection opens: NBD_REQUESTS requests, NBD_PIECES pieces of work at
 * the engine and an arena of data; what its worker's arena has left comes on top. A connection that
 * has used them up is not read from until some are back, so each client waits for itself only.
 *
 * Invariants: a request is in use from the decoding of its header until its last reply byte is
 * sent; a piece from the taking of its memory until its done (writes) or until its data is sent
 * (reads). inflight counts the pieces that the engine has and the opening under way. A dead
 * connection has no descriptor and no output; it is freed by the worker when inflight is 0.
 */
#ifndef NBD_CONN_H
#define NBD_CONN_H

#include "blockstore/io.h"
#include "common/arena.h"
#include "common/loop.h"
#include "targets/nbd/export.h"
#include "targets/nbd/nbd_format.h"
#include "targets/nbd/opener.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NBD_REQUESTS 64
#define NBD_PIECES 64
#define NBD_PIECE_BYTES (128u << 10) /* writes: the engine's unit of atomicity */
#define NBD_WHOLE_BYTES (256u << 10) /* reads up to this are one piece */
#define NBD_MAX_LENGTH (32u << 20)   /* of READ and WRITE, announced */
#define NBD_STAGE_BYTES 512	     /* headers received ahead */

#define NBD_OWN_UNITS 256u /* of memory for data, each connection */
#define NBD_OWN_BYTES (NBD_OWN_UNITS * VS_ARENA_UNIT)
#define NBD_SHARED_UNITS 2048u /* the same, each worker */

#define NBD_HANDSHAKE_NS (UINT64_C(30) * 1000000000)
#define NBD_DRAIN_NS (UINT64_C(5) * 1000000000)

struct nbd_conn;

struct nbd_worker {
	struct vs_loop *loop;
	struct bs_port *port;
	struct nbd_opener *opener;
	struct nbd_exports *exports;
	struct nbd_conn *conns;
	struct nbd_conn *dirty; /* have something to send, to resume or to be freed */
	struct vs_idle idle;
	struct vs_arena shared;	   /* for connections whose own is used up */
	uint8_t scratch[64 << 10]; /* received here what is thrown away */
	/* Called when a connection is freed. */
	void (*closed)(struct nbd_worker *w);
	void *arg;
};

/* Bytes on their way to the client. */
struct nbd_out {
	struct nbd_out *next;
	uint8_t head[32];
	uint32_t head_len;
	uint32_t len; /* of data, sent after head */
	const void *data;
	void (*sent)(struct nbd_out *out); /* also when the connection died */
	void *owner;
};

struct nbd_request {
	struct nbd_conn *conn;
	struct nbd_request *next_free;
	struct nbd_cmd_header h;
	unsigned pieces; /* taken and not yet done */
	bool issued;	 /* no more pieces will be taken */
	bool stream;	 /* a read whose reply is one run of data in several pieces */
	bool started;	 /* the run's head is queued */
	int status;	 /* first VS_E_* of its pieces */
	enum nbd_error error;
	struct nbd_out out; /* the last reply, unless a piece's data carries it */
};

struct nbd_piece {
	struct bs_req req;
	struct iovec iov;
	struct nbd_conn *conn;
	struct nbd_request *request;
	struct nbd_piece *next_free;
	struct vs_arena *arena; /* that mem is from */
	uint8_t *mem;
	size_t mem_len;
	/* BLOCK_STATUS; mem: one unit of mapped[], one of extents */
	uint64_t pos;	  /* bytes of the volume; what is before is collected */
	uint32_t run;	  /* bytes of the extent being collected */
	uint32_t state;	  /* its NBD_STATE_* */
	uint32_t extents; /* that are complete */
	uint32_t calls;	  /* answers of the engine so far */
	struct nbd_out out;
};

enum nbd_phase { NBD_HANDSHAKE, NBD_TRANSMIT, NBD_DRAIN, NBD_DEAD };

enum nbd_rx { NBD_RX_HEADER, NBD_RX_PAYLOAD, NBD_RX_SKIP, NBD_RX_ISSUE, NBD_RX_STREAM };

struct nbd_conn {
	struct nbd_worker *worker;
	struct nbd_conn *next, *prev;
	struct nbd_conn *next_dirty;
	bool is_dirty;
	struct vs_watch watch;
	struct vs_timer timer; /* limits handshake and drain */
	uint32_t events;       /* what epoll watches for */
	enum nbd_phase phase;
	bool blocked; /* waits for requests, pieces, memory or the output */

	struct nbd_out *out_head, **out_tail;
	uint32_t out_done; /* bytes of out_head that are sent */

	/* handshake.c */
	struct {
		unsigned state; /* enum state there */
		unsigned options;
		uint32_t have, need; /* bytes of the message being received */
		uint32_t skip;	     /* bytes of option data to throw away */
		uint32_t client_flags;
		struct nbd_option option;
		uint8_t *in;			  /* in the arena */
		uint32_t reply_room;		  /* bytes of the arena that out.data holds */
		bool more;			  /* the last receive may have left something */
		char meta_name[BS_FULL_NAME_MAX]; /* the export base:allocation was selected for */
		bool meta;
		struct nbd_go go; /* of the option that waits for opening */
		bool waiting;	  /* for opening */
		struct nbd_out out;
	} hs;

	struct nbd_opening opening;
	struct nbd_export *export;
	struct bs_volume *volume;
	struct nbd_limits limits; /* size is refreshed for each request */
	bool structured;

	/* transmit.c */
	uint8_t stage[NBD_STAGE_BYTES];
	uint32_t stage_pos, stage_len;
	enum nbd_rx rx;
	struct nbd_request *cur; /* being received or issued */
	uint64_t cur_off;
	uint32_t cur_left;
	struct nbd_piece *fill; /* being received into */
	uint32_t filled;
	unsigned inflight;
	struct nbd_request *free_requests;
	struct nbd_piece *free_pieces;
	struct vs_arena arena;
	struct nbd_request requests[NBD_REQUESTS];
	struct nbd_piece pieces[NBD_PIECES];
};

/* conn.c */

/* Takes fd over, also on failure. */
int nbd_conn_open(struct nbd_worker *w, int fd) vs_must_check;
/* No more is read; closes when what is being worked on is answered, or after NBD_DRAIN_NS. */
void nbd_conn_drain(struct nbd_conn *c);
/* Closes at once; the structure stays until the engine is done with it. */
void nbd_conn_kill(struct nbd_conn *c);
void nbd_conn_dirty(struct nbd_conn *c);
void nbd_conn_send(struct nbd_conn *c, struct nbd_out *out);
/* The worker's idle call; register it before the port is opened, so that it runs after the port's.
 */
bool nbd_conn_idle(struct vs_idle *idle);
/* Opens or closes: calls done on this thread with c->opening's result; done counts it out. */
void nbd_conn_opening(struct nbd_conn *c, struct nbd_export *e, struct bs_volume *v,
		      void (*done)(struct vs_post *post));
/* Receives up to n pieces of memory: bytes, 0 when there are none now, or less: it is over. */
long nbd_conn_receive(struct nbd_conn *c, struct iovec *iov, int n);

/* handshake.c */

void nbd_handshake_start(struct nbd_conn *c);
/* Reads and answers options until there is no more input or the phase changes. */
void nbd_handshake_input(struct nbd_conn *c);

/* transmit.c */

void nbd_transmit_start(struct nbd_conn *c);
void nbd_transmit_input(struct nbd_conn *c);
/* Gives up what is half received or half issued; false when the output breaks off by that. */
bool nbd_transmit_abandon(struct nbd_conn *c);

#endif
