/*
 * What a portal of an array offers. Any thread; calls wait, at most 10 s each.
 */
#ifndef BS_LUN_DISCOVER_H
#define BS_LUN_DISCOVER_H

#include "blockstore/lun.h"

#define BS_LUN_LIST_MAX 256

/*
 * Calls found for each portal of each target that the one asked tells of (SendTargets, RFC 7143
 * appendix C): target and portal are one line each, of whatever an array may send.
 */
int bs_lun_discover(const struct bs_lun_url *portal, const struct bs_lun_login *login,
		    void (*found)(void *arg, const char *target, const char *portal), void *arg,
		    struct vs_error *err) vs_must_check;
/* Logs in to url->target and lists its LUNs, up to max of those that a URL can name. */
int bs_lun_list(const struct bs_lun_url *url, const struct bs_lun_login *login, uint32_t *luns,
		unsigned max, unsigned *n, struct vs_error *err) vs_must_check;

#endif
