#include "targets/vhost/mem.h"

#include "common/bytes.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct region {
	uint64_t guest_addr, user_addr, size;
	uint8_t *host; /* of guest_addr */
	void *map;
	size_t map_len;
};

struct vhost_mem {
	unsigned refs, n;
	struct region regions[VHOST_REGIONS_MAX];
};

int vhost_mem_check_file(int fd, uint64_t end, struct vs_error *err)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return vs_fail(err, VS_E_INVAL,
			       "shared memory is not a memfd sealed against shrinking; give the "
			       "front end memory-backend-memfd with share=on");
	if (fstat(fd, &st) < 0)
		return vs_fail_errno(err, "cannot stat shared memory");
	if (st.st_size < 0 || end > (uint64_t)st.st_size)
		return vs_fail(err, VS_E_INVAL,
			       "shared memory ends at %lld, but %llu bytes were announced",
			       (long long)st.st_size, (unsigned long long)end);
	return 0;
}

static int map_region(const struct vhost_region *r, int fd, struct region *out,
		      struct vs_error *err)
{
	uint64_t end, start, guest_end, user_end, align;
	struct stat st;
	int rc;

	if (r->size == 0 || __builtin_add_overflow(r->file_offset, r->size, &end) ||
	    __builtin_add_overflow(r->guest_addr, r->size, &guest_end) ||
	    __builtin_add_overflow(r->user_addr, r->size, &user_end))
		return vs_fail(err, VS_E_INVAL, "memory region wraps around");
	rc = vhost_mem_check_file(fd, end, err);
	if (rc)
		return rc;
	if (fstat(fd, &st) < 0)
		return vs_fail_errno(err, "cannot stat shared memory");
	/* huge pages want the offset and the length in their own size */
	align = st.st_blksize > 4096 ? (uint64_t)st.st_blksize : 4096;
	start = VS_ALIGN_DOWN(r->file_offset, align);
	end = VS_ALIGN_UP(end, align);
	out->map = mmap(NULL, end - start, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			(off_t)start);
	if (out->map == MAP_FAILED)
		return vs_fail_errno(err, "cannot map guest memory");
	out->map_len = end - start;
	(void)madvise(out->map, out->map_len, MADV_DONTDUMP);
	out->host = (uint8_t *)out->map + (r->file_offset - start);
	out->guest_addr = r->guest_addr;
	out->user_addr = r->user_addr;
	out->size = r->size;
	return 0;
}

int vhost_mem_new(const struct vhost_mem_table *table, const int *fds, struct vhost_mem **out,
		  struct vs_error *err)
{
	struct vhost_mem *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return vs_fail(err, VS_E_NOMEM, "cannot map guest memory: out of memory");
	m->refs = 1;
	for (uint32_t i = 0; i < table->n; i++) {
		rc = map_region(&table->regions[i], fds[i], &m->regions[i], err);
		if (rc) {
			vhost_mem_put(m);
			return rc;
		}
		m->n++;
	}
	*out = m;
	return 0;
}

struct vhost_mem *vhost_mem_get(struct vhost_mem *m)
{
	m->refs++;
	return m;
}

void vhost_mem_put(struct vhost_mem *m)
{
	if (!m || --m->refs > 0)
		return;
	for (unsigned i = 0; i < m->n; i++)
		munmap(m->regions[i].map, m->regions[i].map_len);
	free(m);
}

static const struct region *find_guest(const struct vhost_mem *m, uint64_t addr)
{
	for (unsigned i = 0; i < m->n; i++)
		if (addr >= m->regions[i].guest_addr &&
		    addr - m->regions[i].guest_addr < m->regions[i].size)
			return &m->regions[i];
	return NULL;
}

int vhost_mem_guest(const struct vhost_mem *m, uint64_t addr, uint64_t len, struct iovec *iov,
		    unsigned *n, unsigned max)
{
	uint64_t end;

	if (__builtin_add_overflow(addr, len, &end))
		return VS_E_RANGE;
	while (len > 0) {
		const struct region *r = find_guest(m, addr);
		uint64_t at, part;

		if (!r)
			return VS_E_RANGE;
		if (*n >= max)
			return VS_E_LIMIT;
		at = addr - r->guest_addr;
		part = VS_MIN(len, r->size - at);
		iov[(*n)++] = (struct iovec){.iov_base = r->host + at, .iov_len = part};
		addr += part;
		len -= part;
	}
	return 0;
}

void *vhost_mem_user(const struct vhost_mem *m, uint64_t addr, uint64_t len)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct region *r = &m->regions[i];

		if (addr >= r->user_addr && vs_range_ok(addr - r->user_addr, len, r->size))
			return r->host + (addr - r->user_addr);
	}
	return NULL;
}
