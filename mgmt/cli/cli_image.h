/* volume import and export: command handlers, as cli_command.run. */
#ifndef CLI_IMAGE_H
#define CLI_IMAGE_H

#include "mgmt/cli/cli.h"

int cli_import_run(struct cli *c);
int cli_export_run(struct cli *c);

#endif
