#include "blockstore/device_pace.h"

#include "common/bytes.h"

/* Whatever they are, so that writes do not wait behind more. */
#define BYTES (UINT64_C(1) << 20)
/* Fewer than this say nothing of how a device works, and would leave it too little to do. */
#define FEW 3u
/* Reads that are remembered. */
#define LATELY 512u
/* Each look forgets this share of the most that was wanted. */
#define FORGET 64u

/* Devices that work on many things at once bring one or two of them at a time. */
static bool brings_all_at_once(const struct bs_device_pace *p)
{
	return 3 * p->together > p->came;
}

bool bs_device_pace_may(struct bs_device_pace *p, uint64_t length, unsigned waiting)
{
	p->wanted = VS_MAX(p->wanted, p->running + waiting);
	if (p->running < FEW && p->bytes + length <= BYTES)
		return true;
	if (brings_all_at_once(p) && p->running >= (p->wanted + 1) / 2)
		return false;
	return !p->running || p->bytes + length <= BYTES;
}

void bs_device_pace_began(struct bs_device_pace *p, uint64_t length)
{
	p->running++;
	p->bytes += length;
}

void bs_device_pace_ended(struct bs_device_pace *p, uint64_t length)
{
	VS_ASSERT(p->running && p->bytes >= length);
	p->running--;
	p->bytes -= length;
}

void bs_device_pace_looked(struct bs_device_pace *p, unsigned done)
{
	if (!done)
		return;
	p->wanted -= p->wanted / FORGET;
	if (done + p->running < FEW)
		return;
	p->came += done;
	if (done >= FEW && done >= 3 * p->running)
		p->together += done;
	if (p->came > LATELY) {
		p->came /= 2;
		p->together /= 2;
	}
}
