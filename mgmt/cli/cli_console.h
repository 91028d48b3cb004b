/*
 * A terminal on a VM's serial console: bytes pass both ways between this process's standard input
 * and output and the console's Unix socket until either ends or Ctrl-] is typed. One thread.
 */
#ifndef CLI_CONSOLE_H
#define CLI_CONSOLE_H

#include "common/err.h"

/* 0 when detached or the console closed. The terminal is put back as it was. */
int cli_console_run(const char *socket_path, struct vs_error *err) vs_must_check;

#endif
