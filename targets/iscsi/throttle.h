/*
 * How often logins may be tried by those who failed: per address and per initiator name, so that
 * secrets and names cannot be guessed quickly. Nobody waits here: it says how long an answer has
 * to be held back. No allocation after iscsi_throttle_new; any thread (a lock, held briefly).
 *
 * An address gets ISCSI_THROTTLE_FREE failures; then its attempts go one a second, and those that
 * would have to wait longer than 4 s are refused at once. An initiator name gets as many from all
 * addresses together; then its attempts go two a second and wait 8 s at most: one address alone can
 * never fill a name's line. Who has logged in before from the same address, by the same name and to
 * the same target passes both, until that fails. Failures are forgotten after five minutes without.
 * Tables are of fixed size, the entry that was used least recently gives way.
 */
#ifndef ISCSI_THROTTLE_H
#define ISCSI_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define ISCSI_THROTTLE_FREE 3
#define ISCSI_THROTTLE_SECOND UINT64_C(1000000000)

struct iscsi_throttle;

/* Who tries, as hashes under a random key. */
struct iscsi_throttle_who {
	uint64_t address, initiator, nexus; /* nexus: all three names together */
};

struct iscsi_throttle *iscsi_throttle_new(void); /* NULL: out of memory */
void iscsi_throttle_free(struct iscsi_throttle *t);

/* The IPv4 address, or the /64 network of the IPv6 address: a host has all of it. */
uint64_t iscsi_throttle_address(const struct iscsi_throttle *t, const struct sockaddr_storage *ss);
struct iscsi_throttle_who iscsi_throttle_who(const struct iscsi_throttle *t, uint64_t address,
					     const char *initiator, const char *target);

/*
 * An attempt: in how many nanoseconds it may be answered, whatever the answer; the place in the
 * line is taken. False: too many wait already, refuse it now.
 */
bool iscsi_throttle_enter(struct iscsi_throttle *t, const struct iscsi_throttle_who *who,
			  uint64_t now_ns, uint64_t *wait_ns);
void iscsi_throttle_passed(struct iscsi_throttle *t, const struct iscsi_throttle_who *who);
/*
 * Returns how often the address has failed when people should be told of it (the 1st, 2nd, 4th,
 * 8th ... time, and ten times a minute in all), else 0.
 */
unsigned iscsi_throttle_failed(struct iscsi_throttle *t, const struct iscsi_throttle_who *who,
			       uint64_t now_ns);

#endif
