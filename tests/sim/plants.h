/*
 * The bugs that can be planted in the store (blockstore/plant.h). The ordinary program has none.
 */
#ifndef SIM_PLANTS_H
#define SIM_PLANTS_H

unsigned plants_count(void); /* numbered from 1 */
const char *plants_text(unsigned n);
void plants_set(unsigned n); /* 0: none */
/* The case that is asked first, because others see it too seldom; UINT_MAX: none. */
unsigned plants_case(unsigned n);

#endif
