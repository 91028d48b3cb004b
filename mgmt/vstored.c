/* vstored(8): serves a store until SIGTERM. */
#include "common/log.h"
#include "mgmt/node.h"
#include "mgmt/notify.h"
#include "mgmt/version.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Blocked before any thread starts, so that none of them is interrupted. */
static int take_signals(struct vs_error *err)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* a file-size limit is an error of the write */
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || (fd = signalfd(-1, &set, SFD_CLOEXEC)) < 0)
		return vs_fail_errno(err, "cannot take signals");
	return fd;
}

static int serve(const struct mg_options *o, struct vs_error *err)
{
	struct signalfd_siginfo si;
	struct mg_node *node;
	int fd = take_signals(err), rc;

	if (fd < 0)
		return fd;
	rc = mg_node_open(o, &node, err);
	if (rc != 0)
		return rc;
	vs_info("ready: store %s, control socket %s/vstored.sock", o->stores.at[0], node->state);
	mg_notify("READY=1");
	while (read(fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		;
	vs_info("stopping after %s", si.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
	mg_notify("STOPPING=1");
	mg_node_close(node);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	static struct mg_options o;
	struct vs_error err = {0};
	int rc;

	switch (mg_options_parse(argc, argv, &o, &err)) {
	case MG_HELP:
		(void)fputs(mg_options_help, stdout);
		return 0;
	case MG_SHOW_VERSION:
		(void)printf("vstored %s\n", MG_VERSION);
		return 0;
	case MG_USAGE:
		(void)fprintf(stderr, "vstored: %s\n", err.text);
		return 2;
	case MG_RUN:
		break;
	}
	vs_log_set_level(o.log_level);
	rc = serve(&o, &err);
	if (rc != 0)
		(void)fprintf(stderr, "vstored: %s\n", err.text);
	return rc == 0 ? 0 : 1;
}
