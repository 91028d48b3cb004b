#include "blockstore/logread.h"

#include "blockstore/engine.h"

#include <stdlib.h>

int bs_logread_init(struct bs_logread *r)
{
	uint8_t *mem = aligned_alloc(BS_PAGE, BS_LOGREAD_SIDES * BS_LOGREAD_WINDOW);

	for (unsigned i = 0; i < BS_LOGREAD_SIDES; i++)
		r->window[i] =
		    (struct bs_logread_window){.mem = mem + (size_t)i * BS_LOGREAD_WINDOW};
	return mem ? 0 : VS_E_NOMEM;
}

void bs_logread_destroy(struct bs_logread *r)
{
	free(r->window[0].mem);
}

static struct bs_logread_window *window_of(struct bs_logread *r, uint16_t sides)
{
	return &r->window[sides ? (unsigned)__builtin_ctz(sides) % BS_LOGREAD_SIDES : 0];
}

static int read_sides(struct bs_engine *e, uint16_t sides, uint32_t seg, uint32_t off, void *buf,
		      uint32_t len)
{
	return bs_engine_dev_sides(e, BS_DEV_READ, bs_engine_where(e, seg, off), buf, len, sides,
				   NULL);
}

static bool holds(const struct bs_logread_window *w, uint16_t sides, uint32_t seg, uint32_t off,
		  uint32_t len)
{
	return w->len && w->sides == sides && w->seg == seg && off >= w->off &&
	       off - w->off <= w->len && len <= w->len - (off - w->off);
}

int bs_logread(struct bs_engine *e, struct bs_logread *r, uint16_t sides, uint32_t seg,
	       uint32_t off, uint8_t *buf, uint32_t len)
{
	struct bs_logread_window *w = window_of(r, sides);

	if (len > BS_LOGREAD_WINDOW)
		return read_sides(e, sides, seg, off, buf, len);
	if (!holds(w, sides, seg, off, len)) {
		w->sides = sides;
		w->seg = seg;
		w->off = off;
		w->len = VS_MIN(BS_LOGREAD_WINDOW, e->segs.size - off);
		if (read_sides(e, sides, seg, off, w->mem, w->len)) {
			w->len = 0; /* what fails may lie behind what is asked for */
			return read_sides(e, sides, seg, off, buf, len);
		}
	}
	memcpy(buf, w->mem + (off - w->off), len);
	return 0;
}

void bs_logread_forget(struct bs_logread *r, uint16_t sides)
{
	window_of(r, sides)->len = 0;
}
