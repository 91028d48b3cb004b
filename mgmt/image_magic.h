/* Formats of disk images by how they begin. Pure, any thread. */
#ifndef MG_IMAGE_MAGIC_H
#define MG_IMAGE_MAGIC_H

#include <stddef.h>
#include <stdint.h>

/* The name of the format that the len bytes at p begin like, or NULL. */
const char *mg_image_magic(const uint8_t *p, size_t len);

#endif
