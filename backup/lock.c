#include "backup/lock.h"

#include "backup/format.h"
#include "common/bytes.h"
#include "common/loop.h"
#include "common/secret.h"
#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCKS "locks/"
#define SECOND UINT64_C(1000000000)
#define REFRESH_NS (4 * 60 * SECOND)
#define LOST_NS (20 * 60 * SECOND)  /* the holder gives up */
#define STALE_NS (30 * 60 * SECOND) /* others disregard it: 10 minutes for clocks that differ */

struct bk_lock {
	struct bk_remote *r;
	struct bk_lock_info info;
	char name[BK_NAME_MAX];
	uint64_t refreshed; /* vs_now_ns */
};

/* Text of a small file under /proc, without the newline. */
static int read_text(const char *path, char *text, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, room - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return VS_E_NOENT;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return 0;
}

/* When a process started, in clock ticks since boot (proc(5), stat, field 22). */
static int process_start(uint32_t pid, uint64_t *start)
{
	char path[32], text[1024], *at;
	unsigned field;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	if (read_text(path, text, sizeof(text)) != 0)
		return VS_E_NOENT;
	at = strrchr(text, ')'); /* field 2 is the command's name and may hold anything */
	for (field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return VS_E_CORRUPT;
	*start = strtoull(at, NULL, 10);
	return 0;
}

/* A name for this kernel's run and this PID namespace: where the PID means something. */
static void where_am_i(char where[BK_WHERE_MAX])
{
	char boot[48] = "", ns[48] = "";
	ssize_t n = readlink("/proc/self/ns/pid", ns, sizeof(ns) - 1);

	ns[n > 0 ? n : 0] = 0;
	if (read_text("/proc/sys/kernel/random/boot_id", boot, sizeof(boot)) != 0 || n <= 0)
		where[0] = 0;
	else
		snprintf(where, BK_WHERE_MAX, "%s %s", boot, ns);
}

static bool process_gone(const struct bk_lock_info *i)
{
	char where[BK_WHERE_MAX];
	uint64_t start;
	int rc;

	where_am_i(where);
	if (!where[0] || strcmp(where, i->where) != 0)
		return false;
	rc = process_start(i->pid, &start);
	return rc == VS_E_NOENT || (rc == 0 && start != i->process_start);
}

static int lock_put(struct bk_lock *l, struct vs_error *err)
{
	uint8_t obj[BK_LOCK_SIZE];
	int rc;

	l->info.refreshed_ns = vs_unix_ns();
	bk_lock_encode(&l->info, obj);
	rc = bk_remote_put(l->r, l->name, obj, sizeof(obj), 0, err);
	if (rc == 0)
		l->refreshed = vs_now_ns();
	return rc;
}

struct look {
	struct bk_lock *mine;
	struct vs_error *err;
};

static int see_lock(void *arg, const char *name, uint64_t size)
{
	struct look *look = arg;
	struct bk_lock *mine = look->mine;
	struct bk_lock_info other;
	struct vs_error one = {0};
	uint8_t *obj;
	char since[32];
	int rc;

	if (strcmp(name, mine->name) == 0)
		return 0;
	rc = bk_remote_load(mine->r, name, BK_OBJECT_MAX, &obj, &size, &one);
	if (rc == VS_E_NOENT)
		return 0;
	if (rc == 0) {
		rc = bk_lock_decode(obj, size, &other, name, &one);
		free(obj);
	}
	if (rc)
		return vs_fail(look->err, rc, "%s", one.text);
	if (!other.exclusive && !mine->info.exclusive)
		return 0;
	if (vs_unix_ns() - other.refreshed_ns > (int64_t)STALE_NS || process_gone(&other)) {
		(void)bk_remote_del(mine->r, name, NULL);
		return 0;
	}
	vs_format_time(other.created_ns, since, sizeof(since));
	return vs_fail(look->err, VS_E_BUSY,
		       "%s is in use: %s on %s (process %u) since %s: try again when it has ended",
		       mine->r->url, other.exclusive ? "a clean-up" : "a backup", other.host,
		       other.pid, since);
}

int bk_lock_take(struct bk_remote *r, bool exclusive, struct bk_lock **out, struct vs_error *err)
{
	struct bk_lock *l = calloc(1, sizeof(*l));
	struct look look = {.mine = l, .err = err};
	uint8_t random[16];
	char hex[33];
	int rc;

	*out = NULL;
	if (!l)
		return vs_fail(err, VS_E_NOMEM, "no memory to lock %s", r->url);
	l->r = r;
	l->info.exclusive = exclusive;
	l->info.created_ns = vs_unix_ns();
	l->info.pid = (uint32_t)getpid();
	where_am_i(l->info.where);
	rc = process_start(l->info.pid, &l->info.process_start);
	if (rc == 0 && gethostname(l->info.host, sizeof(l->info.host) - 1) != 0)
		rc = VS_E_IO;
	if (rc == 0)
		rc = vs_random(random, sizeof(random));
	if (rc) {
		free(l);
		return vs_fail(err, rc, "the system does not tell this process's start or host");
	}
	vs_format_hex(random, sizeof(random), hex);
	snprintf(l->name, sizeof(l->name), LOCKS "%s", hex);
	/* First put, then look: of two that exclude each other at least one sees the other. */
	rc = lock_put(l, err);
	if (rc == 0)
		rc = bk_remote_list(r, LOCKS, see_lock, &look, err);
	if (rc) {
		bk_lock_release(l);
		return rc;
	}
	*out = l;
	return 0;
}

int bk_lock_refresh(struct bk_lock *l, struct vs_error *err)
{
	uint64_t age = vs_now_ns() - l->refreshed;
	uint64_t size;

	if (age > LOST_NS)
		return vs_fail(err, VS_E_TIMEDOUT,
			       "%s was out of reach for %llu minutes: start again", l->r->url,
			       (unsigned long long)(age / (60 * SECOND)));
	if (age < REFRESH_NS)
		return 0;
	if (bk_remote_stat(l->r, l->name, &size, NULL) == VS_E_NOENT)
		return vs_fail(err, VS_E_TIMEDOUT,
			       "%s: somebody removed this job's lock: start again", l->r->url);
	return lock_put(l, err);
}

void bk_lock_release(struct bk_lock *l)
{
	if (!l)
		return;
	(void)bk_remote_del(l->r, l->name, NULL);
	free(l);
}
