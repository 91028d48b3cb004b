/*
 * An NFS server: versions 3 (with MOUNT, NLM and NSM on the same port), 4.1 and 4.2, over
 * datastores; and the port mapper that leads clients to it, when it is told to be one.
 *
 * Only datastores that nfs_server_share named are served, and each only to the clients on its list,
 * which is looked at for every request. Clients mount HOST:/NAME; with version 4 also HOST:/, which
 * holds all shares that they may use.
 *
 * Ownership: nfs_server_start gives a server that nfs_server_stop takes back. A datastore that is
 * shared must stay open until it is unshared or the server stopped. Strings and arrays are copied.
 * Threads: any but the engine's, a datastore's and the server's own; the functions wait. Calls that
 * change what is shared are made one after the other by the caller. Errors: VS_E_*, with one line
 * for people in err.
 */
#ifndef NFS_SERVER_H
#define NFS_SERVER_H

#include "datastore/datastore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nfs_server;

#define NFS_LISTEN_MAX 16
#define NFS_SHARES_MAX 256
#define NFS_RULES_MAX 64   /* of a share */
#define NFS_ADDRESS_MAX 64 /* with NUL */
#define NFS_SHARE_NAME_MAX 64
#define NFS_ANONYMOUS 65534u

/*
 * Keeps which clients may reclaim what they had open and locked after a restart: save
 * replaces what was kept and is durable on return; load gives it back (*len 0: there is nothing).
 * load is called by nfs_server_start, save on a thread that does nothing else; both may wait, and
 * clients of NFSv4 that come for the first time, and of NFSv3 that lock for the first time, wait
 * with save.
 */
#define NFS_KEPT_MAX (2u << 20)
struct nfs_keeper {
	int (*save)(void *arg, const uint8_t *kept, size_t len, struct vs_error *err);
	int (*load)(void *arg, uint8_t *kept, size_t max, size_t *len, struct vs_error *err);
	void *arg;
};

/* Where to register what is served, for clients that ask the machine's port mapper. */
struct nfs_rpcbind {
	const char *socket; /* of the machine's rpcbind; NULL: nowhere. Need not be there. */
	/* Something has changed: on a thread that does nothing else. */
	void (*event)(void *arg, bool well, const char *message);
	void *arg;
};
#define NFS_RPCBIND_SOCKET "/run/rpcbind.sock"

struct nfs_server_options {
	const char *const *listen; /* "127.0.0.1:2049", "[::1]:2049"; numeric; port 0: any */
	size_t nlisten;
	/*
	 * Where to answer as the machine's port mapper (RFC 1833), for clients that ask port 111
	 * where NFS and MOUNT are: addresses like those above, with which they are at most
	 * NFS_LISTEN_MAX.
	 */
	const char *const *portmap;
	size_t nportmap;
	/* Is not for servers that are the port mapper themselves. */
	struct nfs_rpcbind rpcbind;
	/*
	 * 1 to 4096, each up to 1.6 MiB of memory; 0: 256. When all are in use, the one that has
	 * been silent longest makes room: clients connect again when they have something to say.
	 */
	unsigned max_connections;
	unsigned threads; /* 1 to 16, each up to 8 MiB of memory; 0: 2 */
	/*
	 * 16 to 32 random bytes that file handles are sealed with: as long as they stay the same,
	 * clients go on over a restart. NULL: made for this start.
	 */
	const uint8_t *key;
	size_t key_len;
	/* save NULL: clients lose what they had open and locked when the server restarts. */
	struct nfs_keeper keeper;
	/* Where the port mappers of clients are, who are called about locks of NFSv3; 0: 111. */
	uint16_t peer_portmap;
};

/* Whose calls are made as the anonymous user. */
enum nfs_squash { NFS_SQUASH_ROOT, NFS_SQUASH_NONE, NFS_SQUASH_ALL };

/* Of several that hold a client's address the one with the longest prefix rules. */
struct nfs_rule {
	const char *clients; /* "192.0.2.0/24", "2001:db8::/32", or one address */
	bool read_only;
	enum nfs_squash squash;
	uint32_t anonymous_uid, anonymous_gid; /* NFS_ANONYMOUS is usual */
};

/*
 * Listens when it returns, but accepts nobody before nfs_server_serve: a client that was there
 * before a restart must not hear that its datastore is gone because it is not shared again yet.
 * VS_E_INVAL (address, key), VS_E_EXIST (address in use), VS_E_ACCESS, VS_E_NOMEM.
 */
int nfs_server_start(const struct nfs_server_options *opts, struct nfs_server **out,
		     struct vs_error *err) vs_must_check;
/* Accepts clients from now on, and is registered. */
void nfs_server_serve(struct nfs_server *srv);
/* Takes the registration back (up to 6 s), answers what is being worked on (up to 5 s for clients
 * that do not read), then disconnects. */
void nfs_server_stop(struct nfs_server *srv);

/*
 * Shares the datastore as /name, or gives a share of that name and datastore another list: on
 * return no request is judged by the old one. VS_E_INVAL (a rule), VS_E_EXIST (name is another
 * datastore's), VS_E_LIMIT.
 */
int nfs_server_share(struct nfs_server *srv, const char *name, struct ds_store *store,
		     const struct nfs_rule *rules, size_t nrules,
		     struct vs_error *err) vs_must_check;
/* On return nothing of the server uses the datastore. VS_E_NOENT. */
int nfs_server_unshare(struct nfs_server *srv, const char *name,
		       struct vs_error *err) vs_must_check;

struct nfs_server_share_info {
	char name[NFS_SHARE_NAME_MAX];
	unsigned rules;
};

/* Fills up to max entries in the order of their sharing; returns how many shares there are. */
size_t nfs_server_list(struct nfs_server *srv, struct nfs_server_share_info *out, size_t max);

struct nfs_server_client_info {
	char address[NFS_ADDRESS_MAX];	/* "192.0.2.7:1023", "[2001:db8::7]:700" */
	int64_t since;			/* Unix time, ns */
	uint64_t calls, received, sent; /* calls and bytes up to now */
};

/* Fills up to max entries; returns how many clients are connected. */
size_t nfs_server_clients(struct nfs_server *srv, struct nfs_server_client_info *out, size_t max);
/*
 * The i-th address with the port in use, as a client names it, those of the port mapper last.
 * VS_E_NOENT beyond the last.
 */
int nfs_server_address(struct nfs_server *srv, size_t i, char text[NFS_ADDRESS_MAX]) vs_must_check;

#endif
