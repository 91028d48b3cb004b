/*
 * Guest memory as the front end shares it: files mapped by region.
 *
 * Belongs to one I/O thread; counted, because requests hold the mapping they were made with while
 * the front end sends a new one. Files must be sealed against shrinking (memfd with F_SEAL_SHRINK):
 * otherwise the front end could cut a file under the mapping and kill the daemon with SIGBUS.
 */
#ifndef VHOST_MEM_H
#define VHOST_MEM_H

#include "targets/vhost/msg_format.h"

#include <sys/uio.h>

struct vhost_mem;

/* One descriptor per region, in order; they stay the caller's. VS_E_INVAL, VS_E_NOMEM, VS_E_IO. */
int vhost_mem_new(const struct vhost_mem_table *table, const int *fds, struct vhost_mem **out,
		  struct vs_error *err) vs_must_check;
struct vhost_mem *vhost_mem_get(struct vhost_mem *m);
void vhost_mem_put(struct vhost_mem *m); /* NULL is accepted */

/*
 * [addr, addr + len) of guest physical memory as pieces, appended to iov[*n...max). VS_E_RANGE when
 * any byte lies outside the regions, VS_E_LIMIT when iov is full.
 */
int vhost_mem_guest(const struct vhost_mem *m, uint64_t addr, uint64_t len, struct iovec *iov,
		    unsigned *n, unsigned max) vs_must_check;
/* A piece of the front end's address space, NULL unless it lies in one region. */
void *vhost_mem_user(const struct vhost_mem *m, uint64_t addr, uint64_t len);

/*
 * Checks that fd can be mapped up to end (bytes) without any later SIGBUS: a file sealed against
 * shrinking and long enough.
 */
int vhost_mem_check_file(int fd, uint64_t end, struct vs_error *err) vs_must_check;

#endif
