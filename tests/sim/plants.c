#include "tests/sim/plants.h"

#include "blockstore/plant.h"

#include <stddef.h>

#ifdef BS_PLANT

enum bs_plant bs_plant;

static const char *const texts[] = {
#define TEXT(name, text) text,
    BS_PLANTS(TEXT)
#undef TEXT
};

unsigned plants_count(void)
{
	return BS_PLANT_COUNT - 1;
}

const char *plants_text(unsigned n)
{
	return texts[n - 1];
}

void plants_set(unsigned n)
{
	bs_plant = (enum bs_plant)n;
}

#else

unsigned plants_count(void)
{
	return 0;
}

const char *plants_text(unsigned n)
{
	(void)n;
	return NULL;
}

void plants_set(unsigned n)
{
	(void)n;
}

#endif
