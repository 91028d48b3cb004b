/*
 * A sparse array of bytes in pages that several images share until one writes. Pages not there read
 * as zeros. One thread.
 */
#ifndef SIM_IMAGE_H
#define SIM_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

struct sim_page;

struct sim_image {
	struct sim_page **pages;
	uint64_t count; /* of slots */
	uint64_t held;	/* pages there */
};

void sim_image_init(struct sim_image *m, uint64_t size);
void sim_image_free(struct sim_image *m);
void sim_image_copy(struct sim_image *to, const struct sim_image *from); /* to: uninitialised */
void sim_image_read(const struct sim_image *m, uint64_t offset, void *buf, uint64_t length);
void sim_image_write(struct sim_image *m, uint64_t offset, const void *data, uint64_t length);
/* Every byte is `byte`. */
void sim_image_fill(struct sim_image *m, uint64_t offset, unsigned char byte, uint64_t length);
void sim_image_flip(struct sim_image *m, uint64_t offset, unsigned bit);
bool sim_image_holds(const struct sim_image *m, uint64_t offset); /* the page there */
uint64_t sim_image_sum(const struct sim_image *m);
/* Bytes of the pages held if this range were written. */
uint64_t sim_image_would_hold(const struct sim_image *m, uint64_t offset, uint64_t length);

#endif
