#include "mgmt/options.h"

#include "common/bytes.h"
#include "common/text.h"
#include "mgmt/copy.h"

#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_MIN (UINT64_C(256) << 20)

const char mg_options_help[] =
    "Usage: vstored [OPTION]...\n"
    "Serves a store of volumes until SIGTERM. Stays in the foreground.\n"
    "\n"
    "      --config FILE           configuration file [/etc/vstore/vstore.conf]\n"
    "      --state DIR             state folder [/var/lib/vstore]\n"
    "      --store DEVICE          file, block device, iscsi:// LUN or nfs:// file made by\n"
    "                              \"vstore init\" [STATE/store.img];\n"
    "                              given once for each device of a store of several\n"
    "      --store-secret-file FILE\n"
    "                              CHAP secret for a store on an iscsi:// LUN, of its URL's user\n"
    "      --store-hold SECONDS    how long the store waits for a LUN or server that is away [60]\n"
    "      --memory SIZE           limit for caches, tables and index [25% of RAM]\n"
    "      --iscsi [TAG@]ADDR:PORT listen for iSCSI, \"off\" for none [127.0.0.1:3260]\n"
    "      --isns ADDR:PORT        register iSCSI targets with this iSNS server [off]\n"
    "      --nfs ADDR:PORT         listen for NFS, \"off\" for none [127.0.0.1:2049]\n"
    "      --nfs-portmap ADDR:PORT answer as the port mapper there, for NFS [off]\n"
    "      --nbd ADDR:PORT         listen for NBD, \"off\" for none [off]\n"
    "      --discard on|off        give what is free back to the devices [on]\n"
    "      --log-level LEVEL       error, warning, info or debug [info]\n"
    "      --help                  show this text and exit\n"
    "      --version               show the version and exit\n"
    "\n"
    "Each option is also a key of the configuration file (\"memory = 2G\"); the command line "
    "wins.\n"
    "--store, --iscsi, --nfs, --nfs-portmap and --nbd may be given several times.\n";

int mg_options_listen(const char *text, bool tagged, struct mg_listen *out, struct vs_error *err)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				 .ai_socktype = SOCK_STREAM};
	const char *host = text, *end, *colon;
	struct addrinfo *ai = NULL;
	char *at = strchr(text, '@');
	uint64_t tag = 1, port;

	memset(out, 0, sizeof(*out));
	if (at) {
		char number[8] = "";

		if (tagged && (size_t)(at - text) < sizeof(number))
			memcpy(number, text, (size_t)(at - text));
		if (vs_parse_u64(number, UINT16_MAX, &tag) != 0 || tag == 0)
			return vs_fail(err, VS_E_INVAL, "bad address '%s': %s", text,
				       tagged ? "TAG must be 1 to 65535"
					      : "no TAG@ is allowed here");
		host = at + 1;
	}
	colon = strrchr(host, ':');
	end = colon;
	if (*host == '[') {
		host++;
		end = strchr(host, ']');
		if (!end || end + 1 != colon)
			end = NULL;
	} else if (colon && memchr(host, ':', (size_t)(colon - host))) {
		end = NULL; /* IPv6 without brackets */
	}
	if (!end || end == host || (size_t)(end - host) >= sizeof(out->host) ||
	    strlen(text) >= sizeof(out->text) || vs_parse_u64(colon + 1, UINT16_MAX, &port) != 0)
		return vs_fail(
		    err, VS_E_INVAL,
		    "bad address '%s': expected %sADDR:PORT with a numeric address, IPv6 "
		    "in brackets, or \"off\"",
		    text, tagged ? "[TAG@]" : "");
	memcpy(out->host, host, (size_t)(end - host));
	if (getaddrinfo(out->host, colon + 1, &hints, &ai) != 0)
		return vs_fail(err, VS_E_INVAL, "bad address '%s': '%s' is not a numeric address",
			       text, out->host);
	memcpy(&out->addr, ai->ai_addr, ai->ai_addrlen);
	out->addr_len = ai->ai_addrlen;
	freeaddrinfo(ai);
	out->tag = (uint16_t)tag;
	out->port = (uint16_t)port;
	(void)snprintf(out->text, sizeof(out->text), "%s", at ? at + 1 : text);
	return 0;
}

/* "off" drops the addresses before it, so that later words win here, too. */
static int set_listen(struct mg_listens *l, const char *key, const char *value,
		      struct vs_error *err)
{
	struct vs_error why;
	int rc;

	l->given = true;
	if (strcmp(key, "isns") == 0)
		l->n = 0;
	if (strcmp(value, "off") == 0) {
		l->n = 0;
		return 0;
	}
	if (l->n == MG_LISTEN_MAX)
		return vs_fail(err, VS_E_LIMIT, "%s: at most %d addresses", key, MG_LISTEN_MAX);
	rc = mg_options_listen(value, strcmp(key, "iscsi") == 0, &l->at[l->n], &why);
	if (rc != 0)
		return vs_fail(err, rc, "%s: %s", key, why.text);
	l->n++;
	return 0;
}

static int set_path(char *to, size_t max, const char *key, const char *value, struct vs_error *err)
{
	if (*value == '\0')
		return vs_fail(err, VS_E_INVAL, "%s: a path is missing", key);
	if (strlen(value) >= max)
		return vs_fail(err, VS_E_INVAL, "%s: path is longer than %zu bytes", key, max - 1);
	mg_copy(to, max, value);
	return 0;
}

static int add_store(struct mg_stores *s, const char *value, struct vs_error *err)
{
	int rc;

	if (s->n == MG_STORES_MAX)
		return vs_fail(err, VS_E_LIMIT, "store: at most %d devices", MG_STORES_MAX);
	rc = set_path(s->at[s->n], sizeof(s->at[0]), "store", value, err);
	s->n += rc == 0;
	return rc;
}

static int set_memory(struct mg_options *o, const char *value, struct vs_error *err)
{
	if (vs_parse_size(value, &o->memory) != 0)
		return vs_fail(err, VS_E_INVAL, "memory: '%s' is not a size such as 512M or 4G",
			       value);
	if (o->memory < MEMORY_MIN)
		return vs_fail(err, VS_E_INVAL, "memory: '%s' is too little; at least 256M", value);
	return 0;
}

static int set_hold(struct mg_options *o, const char *value, struct vs_error *err)
{
	uint64_t seconds;

	if (vs_parse_u64(value, 86400, &seconds) != 0 || seconds == 0)
		return vs_fail(err, VS_E_INVAL, "store-hold: '%s' is not 1 to 86400 seconds",
			       value);
	o->store_hold_ns = seconds * UINT64_C(1000000000);
	return 0;
}

int mg_options_set(struct mg_options *o, const char *key, const char *value, struct vs_error *err)
{
	if (strcmp(key, "state") == 0)
		return set_path(o->state, sizeof(o->state), key, value, err);
	if (strcmp(key, "store") == 0)
		return add_store(&o->stores, value, err);
	if (strcmp(key, "store-secret-file") == 0)
		return set_path(o->store_secret_file, sizeof(o->store_secret_file), key, value,
				err);
	if (strcmp(key, "store-hold") == 0)
		return set_hold(o, value, err);
	if (strcmp(key, "memory") == 0)
		return set_memory(o, value, err);
	if (strcmp(key, "iscsi") == 0)
		return set_listen(&o->iscsi, key, value, err);
	if (strcmp(key, "isns") == 0)
		return set_listen(&o->isns, key, value, err);
	if (strcmp(key, "nfs") == 0)
		return set_listen(&o->nfs, key, value, err);
	if (strcmp(key, "nfs-portmap") == 0)
		return set_listen(&o->nfs_portmap, key, value, err);
	if (strcmp(key, "nbd") == 0)
		return set_listen(&o->nbd, key, value, err);
	if (strcmp(key, "discard") == 0) {
		o->discard = strcmp(value, "on") == 0 ? 1 : strcmp(value, "off") == 0 ? -1 : 0;
		return o->discard
			   ? 0
			   : vs_fail(err, VS_E_INVAL, "discard: '%s' is neither on nor off", value);
	}
	if (strcmp(key, "log-level") == 0) {
		if (vs_log_parse_level(value, &o->log_level) != 0)
			return vs_fail(err, VS_E_INVAL,
				       "log-level: '%s' is none of error, warning, info, debug",
				       value);
		return 0;
	}
	return vs_fail(err, VS_E_INVAL, "unknown key '%s'", key);
}

struct parse {
	struct mg_options *o;
	struct vs_error err;
};

static int ini_key(void *arg, const char *section, const char *name, const char *value)
{
	struct parse *p = arg;

	if (p->err.code != 0)
		return 0; /* the first error is the one to tell */
	if (*section) {
		vs_fail(&p->err, VS_E_INVAL, "unknown section [%s]; keys stand without sections",
			section);
		return 0;
	}
	return mg_options_set(p->o, name, value, &p->err) == 0;
}

/* The default file need not exist; one that was asked for must. */
static int read_config(struct mg_options *o, bool asked, struct vs_error *err)
{
	struct parse p = {.o = o};
	FILE *f = fopen(o->config, "re");
	int line;

	if (!f) {
		if (errno == ENOENT && !asked)
			return 0;
		return vs_fail_errno(err, "cannot read configuration %s", o->config);
	}
	line = ini_parse_file(f, ini_key, &p);
	if (ferror(f) && line == 0)
		line = -1;
	(void)fclose(f);
	if (line == 0)
		return 0;
	if (line < 0)
		return vs_fail(err, VS_E_IO, "cannot read configuration %s", o->config);
	return vs_fail(err, VS_E_INVAL, "%s:%d: %s", o->config, line,
		       p.err.code != 0 ? p.err.text : "expected \"key = value\"");
}

static int defaults(struct mg_options *o, struct vs_error *err)
{
	if (!o->stores.n) {
		int n =
		    snprintf(o->stores.at[0], sizeof(o->stores.at[0]), "%s/store.img", o->state);

		if (n < 0 || (size_t)n >= sizeof(o->stores.at[0]))
			return vs_fail(err, VS_E_INVAL, "state: path is too long");
		o->stores.n = 1;
	}
	if (!o->memory) {
		uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

		o->memory = VS_MAX(VS_ALIGN_DOWN(ram / 4, UINT64_C(1) << 20), MEMORY_MIN);
	}
	if (!o->iscsi.given && set_listen(&o->iscsi, "iscsi", "127.0.0.1:3260", err) != 0)
		return VS_E_INVAL;
	if (!o->nfs.given && set_listen(&o->nfs, "nfs", "127.0.0.1:2049", err) != 0)
		return VS_E_INVAL;
	if (o->nfs_portmap.n && !o->nfs.n)
		return vs_fail(err, VS_E_INVAL, "nfs-portmap: NFS is off; give its address (nfs)");
	return 0;
}

/* Values of the command line, kept until the file was read; an option's listens replace the file's.
 */
static void merge(struct mg_options *o, const struct mg_options *cli)
{
	if (cli->state[0])
		memcpy(o->state, cli->state, sizeof(o->state));
	if (cli->stores.n)
		o->stores = cli->stores;
	if (cli->store_secret_file[0])
		memcpy(o->store_secret_file, cli->store_secret_file, sizeof(o->store_secret_file));
	if (cli->store_hold_ns)
		o->store_hold_ns = cli->store_hold_ns;
	if (cli->memory)
		o->memory = cli->memory;
	if (cli->iscsi.given)
		o->iscsi = cli->iscsi;
	if (cli->isns.given)
		o->isns = cli->isns;
	if (cli->nfs.given)
		o->nfs = cli->nfs;
	if (cli->nfs_portmap.given)
		o->nfs_portmap = cli->nfs_portmap;
	if (cli->nbd.given)
		o->nbd = cli->nbd;
	if (cli->discard)
		o->discard = cli->discard;
	if (cli->log_level != 0)
		o->log_level = cli->log_level;
}

static const struct option longopts[] = {
    {"config", required_argument, NULL, 'c'},
    {"state", required_argument, NULL, 'o'},
    {"store", required_argument, NULL, 'o'},
    {"store-secret-file", required_argument, NULL, 'o'},
    {"store-hold", required_argument, NULL, 'o'},
    {"memory", required_argument, NULL, 'o'},
    {"iscsi", required_argument, NULL, 'o'},
    {"isns", required_argument, NULL, 'o'},
    {"nfs", required_argument, NULL, 'o'},
    {"nfs-portmap", required_argument, NULL, 'o'},
    {"nbd", required_argument, NULL, 'o'},
    {"discard", required_argument, NULL, 'o'},
    {"log-level", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static enum mg_options_action parse_args(int argc, char **argv, struct mg_options *cli, bool *asked,
					 struct vs_error *err)
{
	int c, index;

	optind = 0; /* a full restart, so that tests may parse more than once */
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", longopts, &index)) != -1) {
		switch (c) {
		case 'h':
			return MG_HELP;
		case 'V':
			return MG_SHOW_VERSION;
		case 'c':
			if (set_path(cli->config, sizeof(cli->config), "config", optarg, err) != 0)
				return MG_USAGE;
			*asked = true;
			break;
		case 'o':
			if (mg_options_set(cli, longopts[index].name, optarg, err) != 0)
				return MG_USAGE;
			break;
		case ':':
			vs_fail(err, VS_E_INVAL, "%s wants a value; see --help", argv[optind - 1]);
			return MG_USAGE;
		default:
			vs_fail(err, VS_E_INVAL, "unknown option %s; see --help", argv[optind - 1]);
			return MG_USAGE;
		}
	}
	if (optind < argc) {
		vs_fail(err, VS_E_INVAL, "unexpected argument '%s'; see --help", argv[optind]);
		return MG_USAGE;
	}
	return MG_RUN;
}

enum mg_options_action mg_options_parse(int argc, char **argv, struct mg_options *o,
					struct vs_error *err)
{
	struct mg_options *cli = calloc(1, sizeof(*cli));
	enum mg_options_action action = MG_USAGE;
	bool asked = false;

	memset(o, 0, sizeof(*o));
	mg_copy(o->state, sizeof(o->state), MG_STATE_DEFAULT);
	o->log_level = VS_LOG_INFO;
	if (!cli) {
		vs_fail(err, VS_E_NOMEM, "out of memory");
		return MG_USAGE;
	}
	mg_copy(cli->config, sizeof(cli->config), MG_CONFIG_DEFAULT);
	action = parse_args(argc, argv, cli, &asked, err);
	if (action == MG_RUN) {
		memcpy(o->config, cli->config, sizeof(o->config));
		if (read_config(o, asked, err) != 0)
			action = MG_USAGE;
		merge(o, cli);
		if (action == MG_RUN && defaults(o, err) != 0)
			action = MG_USAGE;
	}
	free(cli);
	return action;
}
