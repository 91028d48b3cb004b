#include "tests/sim/plants.h"

#include "blockstore/plant.h"

#include <limits.h>
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

unsigned plants_case(unsigned n)
{
	switch ((enum bs_plant)n) {
	case BS_PLANT_STALE_FIND:
		return 5;
	case BS_PLANT_STALE_COPY:
		return 9;
	case BS_PLANT_FAILED_ALONE:
	case BS_PLANT_OLD_PLACE:
		return 10;
	case BS_PLANT_UNHELD:
		return 18;
	case BS_PLANT_STALE_CACHE:
	case BS_PLANT_UNCHECKED_MOVE:
		return 23;
	case BS_PLANT_HASTY_WIPE:
		return 25;
	case BS_PLANT_STALE_FILL:
	case BS_PLANT_KEPT_COUNT:
	case BS_PLANT_LOST_BLANK:
	case BS_PLANT_OWN_ERA:
		return 26;
	case BS_PLANT_THAWED_CLONE:
	case BS_PLANT_LOST_WORDS:
		return 27;
	default:
		return UINT_MAX;
	}
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

unsigned plants_case(unsigned n)
{
	(void)n;
	return UINT_MAX;
}

#endif
