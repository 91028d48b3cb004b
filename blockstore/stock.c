#include "blockstore/stock.h"

#include <string.h>

static void drop_oldest(struct bs_segs *s)
{
	bs_stock_drop(s, s->stock[0]);
	memmove(s->stock, s->stock + 1, --s->stock_named * sizeof(s->stock[0]));
}

void bs_stock_put(struct bs_segs *s, uint32_t seg)
{
	while (s->stock_named >= bs_stock_most(s))
		drop_oldest(s);
	s->stock[s->stock_named++] = seg;
	s->nstocked += !s->seg[seg].stocked;
	s->seg[seg].stocked = true;
}

uint32_t bs_stock_take(struct bs_segs *s)
{
	while (s->stock_named) {
		uint32_t seg = s->stock[--s->stock_named];

		if (!s->seg[seg].stocked)
			continue;
		bs_stock_drop(s, seg);
		return seg;
	}
	return BS_SEG_NONE;
}

void bs_stock_drop(struct bs_segs *s, uint32_t seg)
{
	s->nstocked -= s->seg[seg].stocked;
	s->seg[seg].stocked = false;
}
