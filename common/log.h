/*
 * Log lines on stderr, "<level>" prefixes as sd-daemon(3) reads them. Any thread; one write(2) a
 * line. Secrets never pass through here.
 */
#ifndef VS_COMMON_LOG_H
#define VS_COMMON_LOG_H

enum vs_log_level { VS_LOG_ERROR = 3, VS_LOG_WARNING = 4, VS_LOG_INFO = 6, VS_LOG_DEBUG = 7 };

/* For programs that people run: lines begin with "name: ". name must stay. */
void vs_log_set_program(const char *name);
void vs_log_set_level(enum vs_log_level level);			    /* default VS_LOG_INFO */
int vs_log_parse_level(const char *name, enum vs_log_level *level); /* "error" ... "debug" */
void vs_log(enum vs_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define vs_err(...) vs_log(VS_LOG_ERROR, __VA_ARGS__)
#define vs_warn(...) vs_log(VS_LOG_WARNING, __VA_ARGS__)
#define vs_info(...) vs_log(VS_LOG_INFO, __VA_ARGS__)
#define vs_debug(...) vs_log(VS_LOG_DEBUG, __VA_ARGS__)

#endif
