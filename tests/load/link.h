/*
 * A connection to a disk served by somebody, for load generators: iSCSI (libiscsi), NBD
 * (simple replies, TCP or Unix socket) or a file on an NFS server (libnfs). Independent of the node's own code.
 *
 * One thread. The caller owns a request and its data from link_submit until done is called; done
 * runs inside link_turn. When the connection dies, what is outstanding is never completed: nobody
 * knows whether it took effect.
 */
#ifndef TESTS_LOAD_LINK_H
#define TESTS_LOAD_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum link_op { LINK_READ, LINK_WRITE, LINK_FLUSH };

struct link_req {
	enum link_op op;
	bool fua;
	uint64_t offset; /* bytes, multiple of 4096 */
	uint32_t length; /* bytes, multiple of 4096; 0 for FLUSH */
	uint8_t *data;
	void (*done)(struct link_req *req, int status); /* 0 or -1 with the reason printed */
	void *arg;

	/* private */
	uint64_t cookie;
	size_t sent, received;
	struct link_req *next;
};

struct link;

struct link_ops {
	void (*submit)(struct link *l, struct link_req *req);
	int (*turn)(struct link *l); /* waits and completes; -1: the connection is dead */
	void (*close)(struct link *l);
};

struct link {
	const struct link_ops *ops;
	uint64_t size;
};

/* iscsi://HOST:PORT/IQN/LUN; NULL with the reason on stderr. */
struct link *link_iscsi_open(const char *url);
/* nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH; the same. */
struct link *link_nbd_open(const char *url);
/* nfs://HOST/EXPORT/FILE?nfsport=PORT&mountport=PORT; the same. */
struct link *link_nfs_open(const char *url);

static inline struct link *link_open(const char *url)
{
	if (strncmp(url, "nbd", 3) == 0)
		return link_nbd_open(url);
	return strncmp(url, "nfs", 3) == 0 ? link_nfs_open(url) : link_iscsi_open(url);
}
static inline void link_submit(struct link *l, struct link_req *req)
{
	l->ops->submit(l, req);
}
static inline int link_turn(struct link *l)
{
	return l->ops->turn(l);
}
static inline void link_close(struct link *l)
{
	l->ops->close(l);
}

#endif
