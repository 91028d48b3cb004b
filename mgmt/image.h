/*
 * Disk images through qemu-img: what a file is, and converting it from and to a private NBD socket.
 *
 * An image may name other files (backing files, data files, extents); nothing but the file asked
 * for is ever read: such images are refused. Threads: those of tasks; calls wait for the program.
 */
#ifndef MG_IMAGE_H
#define MG_IMAGE_H

#include "mgmt/task.h"

#include <stdint.h>

#define MG_IMAGE_FORMAT 16

struct mg_image {
	char format[MG_IMAGE_FORMAT];
	uint64_t size; /* bytes of the disk inside */
};

/* raw, qcow2, vmdk, vhdx, vdi; exporting: not vdi. */
bool mg_image_format_ok(const char *format, bool exporting);
/*
 * format: what the user said it is, or NULL to find out. Whole and without references to other
 * files, else VS_E_INVAL or VS_E_CORRUPT with one line.
 */
int mg_image_probe(struct mg_task *t, const char *path, const char *format, struct mg_image *out,
		   struct vs_error *err) vs_must_check;
/* Copies the image into, or the export out of, an NBD server's Unix socket; progress goes to t. */
int mg_image_to_nbd(struct mg_task *t, const char *path, const struct mg_image *image,
		    const char *socket, const char *export_name,
		    struct vs_error *err) vs_must_check;
int mg_image_from_nbd(struct mg_task *t, const char *socket, const char *export_name,
		      const char *path, const char *format, uint64_t size,
		      struct vs_error *err) vs_must_check;

#endif
