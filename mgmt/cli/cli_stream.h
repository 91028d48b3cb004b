/*
 * What import and export of streams ("-") share: a volume's private NBD socket, opened by the
 * daemon for this process, and signals that stop the copy between two chunks, so that it can be
 * undone. One thread; after cli_stream_catch_signals SIGINT, SIGTERM and SIGHUP no longer end the
 * process.
 */
#ifndef CLI_STREAM_H
#define CLI_STREAM_H

#include "mgmt/cli/cli.h"
#include "mgmt/cli/cli_nbd.h"

struct cli_stream {
	char *id; /* of the daemon's attachment; NULL: there is none */
	struct cli_nbd *nbd;
};

/*
 * With write the attachment is a draft: the volume goes with it unless it is kept. On failure too
 * cli_stream_close must be called.
 */
int cli_stream_open(struct cli *c, const char *volume, bool write, struct cli_stream *s,
		    struct vs_error *err) vs_must_check;
/* An error with keep means that the volume may not stay. */
int cli_stream_close(struct cli *c, struct cli_stream *s, bool keep, struct vs_error *err);

void cli_stream_catch_signals(void);
bool cli_stream_stopped(void);
bool cli_stream_is_zero(const void *data, size_t len);

#endif
