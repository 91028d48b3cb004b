/* Load on a disk that somebody serves, for tests and benchmarks. See usage(). */
#include "tests/load/load.h"

#include "common/text.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static int usage(void)
{
	fputs("load write URL JOURNAL   random writes and flushes; the journal says what was "
	      "acknowledged\n"
	      "load verify URL JOURNAL  the disk holds what the journal says\n"
	      "load digest URL          SHA-256 of the whole disk\n"
	      "load names URL --count N  files made, looked at, removed in a folder over NFS\n"
	      "load read|fill URL       how many a second; noise, each block unlike any other\n"
	      "                         (--sessions N: a thread and --depth requests each)\n"
	      "  --span SIZE  --block SIZE  --depth N  --seconds N  --count N  --seed N  "
	      "--sequential\n"
	      "URL: iscsi://HOST:PORT/IQN/LUN  nbd://HOST:PORT/EXPORT  "
	      "nbd+unix:///EXPORT?socket=PATH\n"
	      "     nfs://HOST/EXPORT/FILE?nfsport=PORT&mountport=PORT\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"span", 1, NULL, 'p'},	  {"block", 1, NULL, 'b'},    {"depth", 1, NULL, 'd'},
	    {"seconds", 1, NULL, 's'},	  {"count", 1, NULL, 'c'},    {"seed", 1, NULL, 'r'},
	    {"sequential", 0, NULL, 'q'}, {"sessions", 1, NULL, 'n'}, {NULL, 0, NULL, 0}};
	struct load_options o = {
	    .span = UINT64_MAX, .seed = 1, .block = 4096, .depth = 32, .sessions = 1};
	uint64_t *const numbers[] = {
	    ['p'] = &o.span,  ['b'] = &o.block, ['d'] = &o.depth,   ['s'] = &o.seconds,
	    ['c'] = &o.count, ['r'] = &o.seed,	['n'] = &o.sessions};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'q')
			o.sequential = true;
		else if (c == '?' || vs_parse_size(optarg, numbers[c]))
			return usage();
	}
	argv += optind;
	argc -= optind;
	if (argc < 2 || o.depth < 1 || o.depth > LOAD_MAX_DEPTH || o.sessions < 1 ||
	    o.sessions > LOAD_MAX_SESSIONS || o.block < 4096 || o.block % 4096 ||
	    o.block > 16 << 20)
		return usage();
	if (argc == 3 && strcmp(argv[0], "write") == 0)
		return load_write(argv[1], argv[2], &o);
	if (argc == 3 && strcmp(argv[0], "verify") == 0)
		return load_verify(argv[1], argv[2]);
	if (argc == 2 && strcmp(argv[0], "digest") == 0)
		return load_digest(argv[1], &o);
	if (argc == 2 && (strcmp(argv[0], "read") == 0 || strcmp(argv[0], "fill") == 0))
		return load_bench(argv[1], argv[0][0] == 'f', &o);
	if (argc == 2 && strcmp(argv[0], "names") == 0)
		return o.count ? load_names(argv[1], &o) : usage();
	return usage();
}
