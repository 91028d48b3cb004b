/* A machine's folder: sockets, pid file, log, UEFI variables. Any thread. */
#ifndef VM_FOLDER_H
#define VM_FOLDER_H

#include "vmm/machine.h"

/* The file called name in the machine's folder; VS_E_INVAL when it is too long for a socket. */
int vm_folder_path(const char *folder, const char *machine, const char *name,
		   char path[VM_SOCKET_MAX], struct vs_error *err) vs_must_check;
/* Makes the folder (0700) and gives it to uid, unless (uid_t)-1. */
int vm_folder_make(const char *folder, const char *machine, uid_t uid, gid_t gid,
		   struct vs_error *err) vs_must_check;
int vm_folder_remove(const char *folder, const char *machine, struct vs_error *err) vs_must_check;
/* A listening socket (0600), in place of what was there: the descriptor, or negative. */
int vm_folder_listen(const char *path, struct vs_error *err) vs_must_check;
/* Copies a file unless `to` exists. */
int vm_folder_copy(const char *from, const char *to, uid_t uid, gid_t gid,
		   struct vs_error *err) vs_must_check;

#endif
