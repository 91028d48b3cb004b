/*
 * Watches how full the store is and says so in events: at 80, 90 and 95 percent, and when it is
 * less again. Ownership: open and close in pairs. A thread of its own looks every few seconds.
 */
#ifndef MG_SPACE_H
#define MG_SPACE_H

#include "mgmt/node.h"

struct mg_space;

int mg_space_open(struct mg_node *n, struct mg_space **out, struct vs_error *err) vs_must_check;
void mg_space_close(struct mg_space *s);

/*
 * The highest mark (0, 80, 90, 95) that the fill has passed. One that was passed is left only two
 * percent below it, so that a fill around a mark is said once. Pure.
 */
unsigned mg_space_mark(uint64_t used, uint64_t capacity, unsigned before);

#endif
