/*
 * Named errors, one list for the whole node.
 *
 * Functions return 0 or a negative VS_E_* code. Where a person will read the outcome they also take
 * a struct vs_error, which the failing function fills with one line: what failed, why, what to do.
 * A struct vs_error is owned by the caller and touched by one thread at a time; NULL is accepted
 * everywhere and drops the text. The protocols' own codes are mapped from these in one place per
 * protocol (targets/, mgmt/).
 */
#ifndef VS_COMMON_ERR_H
#define VS_COMMON_ERR_H

#include <stdarg.h>

/* name, nearest errno, text for people */
#define VS_ERRORS(X)                                                   \
	X(NOENT, ENOENT, "no such object")                             \
	X(EXIST, EEXIST, "name is in use")                             \
	X(INVAL, EINVAL, "invalid argument")                           \
	X(RANGE, ERANGE, "outside the object's range")                 \
	X(IO, EIO, "input/output error")                               \
	X(CHECKSUM, EIO, "checksum mismatch: stored data is damaged")  \
	X(CORRUPT, EUCLEAN, "on-disk structure is damaged")            \
	X(NOSPC, ENOSPC, "no space left in the store")                 \
	X(NOMEM, ENOMEM, "out of memory")                              \
	X(BUSY, EBUSY, "in use")                                       \
	X(ROFS, EROFS, "read-only")                                    \
	X(VERSION, EPROTONOSUPPORT, "format version is not supported") \
	X(FEATURE, EPROTONOSUPPORT, "feature is not supported")        \
	X(NOTSTORE, EMEDIUMTYPE, "not a vstore store")                 \
	X(LIMIT, EMLINK, "limit reached")                              \
	X(TIMEDOUT, ETIMEDOUT, "timed out")                            \
	X(CANCELED, ECANCELED, "canceled")                             \
	X(PROTO, EPROTO, "protocol error")                             \
	X(ACCESS, EACCES, "permission denied")                         \
	X(MISMATCH, EILSEQ, "compared data differs")                   \
	X(FAILED, EIO, "store has failed; it must be reopened")        \
	X(AGAIN, EAGAIN, "try again")                                  \
	X(NOTSUP, EOPNOTSUPP, "not supported")                         \
	X(TOOBIG, EMSGSIZE, "too large")                               \
	X(CLOSED, ESHUTDOWN, "closed")                                 \
	X(STALE, ESTALE, "no longer there")

enum vs_errcode {
	VS_E_FIRST_ = -4096,
#define VS_ERR_ENUM(name, no, text) VS_E_##name,
	VS_ERRORS(VS_ERR_ENUM)
#undef VS_ERR_ENUM
	    VS_E_LAST_
};

#define VS_ERROR_TEXT_MAX 384

struct vs_error {
	int code; /* 0 or VS_E_* */
	char text[VS_ERROR_TEXT_MAX];
};

/* Fills err (unless NULL) and returns code, so that "return vs_fail(...)" is the error path. */
int vs_fail(struct vs_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As vs_fail, the text followed by strerror(errno); the code is derived from errno. */
int vs_fail_errno(struct vs_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *vs_err_name(int code); /* "NOENT", never NULL */
const char *vs_err_text(int code); /* "no such object", never NULL */
int vs_err_to_errno(int code);	   /* positive errno; 0 for 0 */
int vs_err_from_errno(int no);	   /* nearest VS_E_*; 0 for 0 */

#define vs_must_check __attribute__((warn_unused_result))

#endif
