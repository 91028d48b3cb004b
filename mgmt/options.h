/*
 * What vstored is started with: options of the command line over keys of the configuration file
 * over defaults. Owned by main, read-only once parsed. Errors: VS_E_INVAL and friends with one line
 * that names the option or the file's line.
 */
#ifndef MG_OPTIONS_H
#define MG_OPTIONS_H

#include "common/err.h"
#include "common/log.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define MG_CONFIG_DEFAULT "/etc/vstore/vstore.conf"
#define MG_STATE_DEFAULT "/var/lib/vstore"
#define MG_LISTEN_MAX 8
#define MG_STORES_MAX 16
#define MG_ISCSI_PORT 3260
#define MG_NBD_PORT 10809
#define MG_STATE_MAX 64 /* longest state path: the sockets below it must fit sun_path */

/* One address that a front end listens on. */
struct mg_listen {
	uint16_t tag;  /* iSCSI: target portal group tag, 1 to 65535; else 1 */
	char text[96]; /* ADDR:PORT as given, for messages */
	char host[64]; /* numeric, without brackets */
	uint16_t port; /* 0: any free one */
	struct sockaddr_storage addr;
	socklen_t addr_len;
};

struct mg_listens {
	struct mg_listen at[MG_LISTEN_MAX];
	unsigned n; /* 0: the front end is off */
	bool given;
};

/* The devices of the store. */
struct mg_stores {
	char at[MG_STORES_MAX][PATH_MAX];
	unsigned n;
};

struct mg_options {
	char config[PATH_MAX];
	char state[MG_STATE_MAX];
	struct mg_stores stores;
	uint64_t memory;		  /* bytes */
	char store_secret_file[PATH_MAX]; /* of LUNs of the store; "": none */
	uint64_t store_hold_ns;		  /* how long the store waits for a LUN; 0: as is usual */
	int discard;			  /* 1 on, -1 off */
	struct mg_listens iscsi, nfs, nbd;
	struct mg_listens nfs_portmap; /* where to be the port mapper for nfs */
	struct mg_listens isns;	       /* the server to register with; at most one */
	enum vs_log_level log_level;
};

enum mg_options_action { MG_RUN, MG_HELP, MG_SHOW_VERSION, MG_USAGE };

/* Parses everything; err is filled with MG_USAGE. Reads the configuration file. */
enum mg_options_action mg_options_parse(int argc, char **argv, struct mg_options *o,
					struct vs_error *err);
/* Sets one key as the configuration file would ("iscsi", "127.0.0.1:3260"). */
int mg_options_set(struct mg_options *o, const char *key, const char *value,
		   struct vs_error *err) vs_must_check;
/* "[TAG@]ADDR:PORT" with numeric ADDR, IPv6 in brackets. tagged: whether TAG@ may stand. */
int mg_options_listen(const char *text, bool tagged, struct mg_listen *out,
		      struct vs_error *err) vs_must_check;
extern const char mg_options_help[];

#endif
