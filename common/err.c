#include "common/err.h"

#include "common/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct entry {
	const char *name;
	int no;
	const char *text;
};

static const struct entry entries[] = {
#define VS_ERR_ENTRY(name, no, text) {#name, no, text},
    VS_ERRORS(VS_ERR_ENTRY)
#undef VS_ERR_ENTRY
};

static const struct entry *find(int code)
{
	if (code <= VS_E_FIRST_ || code >= VS_E_LAST_)
		return NULL;
	return &entries[code - VS_E_FIRST_ - 1];
}

const char *vs_err_name(int code)
{
	const struct entry *e = find(code);

	return e ? e->name : code == 0 ? "OK" : "UNKNOWN";
}

const char *vs_err_text(int code)
{
	const struct entry *e = find(code);

	return e ? e->text : code == 0 ? "success" : "unknown error";
}

int vs_err_to_errno(int code)
{
	const struct entry *e = find(code);

	return e ? e->no : code == 0 ? 0 : EIO;
}

int vs_err_from_errno(int no)
{
	if (no == 0)
		return 0;
	if (no == EPERM)
		return VS_E_ACCESS;
	if (no == EDQUOT || no == EFBIG)
		return VS_E_NOSPC;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		if (entries[i].no == no)
			return VS_E_FIRST_ + 1 + (int)i;
	return VS_E_IO;
}

int vs_fail(struct vs_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	vs_clean_line(err->text);
	return code;
}

int vs_fail_errno(struct vs_error *err, const char *fmt, ...)
{
	int no = errno;
	char reason[96];
	va_list ap;
	size_t n;

	if (!err)
		return vs_err_from_errno(no);
	err->code = vs_err_from_errno(no);
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	n = strlen(err->text);
	(void)snprintf(err->text + n, sizeof(err->text) - n, ": %s",
		       strerror_r(no, reason, sizeof(reason)));
	vs_clean_line(err->text);
	return err->code;
}
