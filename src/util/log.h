#pragma once

/* Log: one line for people, fields for filters. Under systemd a record goes to the journal with its fields; otherwise
 * the sentence alone goes to standard error. The library logs at LOG_DEBUG only; programs log once, where they know what
 * was asked for. Levels are those of <syslog.h>; LOG_LEVEL in the environment of the process (`SYSTEMD_LOG_LEVEL`, a
 * name or a number) sets the highest one that is written, LOG_INFO by default. */

#include <stdarg.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include "util/macro.h"

/* Decides where records go, once, before the first one. Without it they go to standard error. */
void log_open(void);
bool log_enabled(int level);
bool log_to_journal(void);
void log_write(int level, int error, const char *format, ...) _printf_(3, 4);
/* Only the first format, "MESSAGE=…", is printed. */
void log_write_message(const char *format, ...);

/* The expression's value is the (negative) error, so that `return log_error_errno(r, …)` reads well. `%m` is the error's
 * text. */
#define log_full_errno(level, error, ...)                       \
        ({                                                      \
                int _level = (level), _error = (error);         \
                if (log_enabled(_level))                        \
                        log_write(_level, _error, __VA_ARGS__); \
                _error > 0 ? -_error : _error;                  \
        })
#define log_error_errno(error, ...) log_full_errno(LOG_ERR, error, __VA_ARGS__)
#define log_warning_errno(error, ...) log_full_errno(LOG_WARNING, error, __VA_ARGS__)
#define log_debug_errno(error, ...) log_full_errno(LOG_DEBUG, error, __VA_ARGS__)
#define log_error(...) ((void) log_full_errno(LOG_ERR, 0, __VA_ARGS__))
#define log_warning(...) ((void) log_full_errno(LOG_WARNING, 0, __VA_ARGS__))
#define log_notice(...) ((void) log_full_errno(LOG_NOTICE, 0, __VA_ARGS__))
#define log_info(...) ((void) log_full_errno(LOG_INFO, 0, __VA_ARGS__))
#define log_debug(...) ((void) log_full_errno(LOG_DEBUG, 0, __VA_ARGS__))
#define log_oom() log_error_errno(-ENOMEM, "Out of memory.")

/* Takes formats "FIELD=…" with their arguments, "MESSAGE=…" the first of them. */
#define log_struct(level, ...)                                                            \
        do {                                                                              \
                int _level = (level);                                                     \
                if (!log_enabled(_level))                                                 \
                        break;                                                            \
                if (log_to_journal())                                                     \
                        (void) sd_journal_send(__VA_ARGS__, "PRIORITY=%i", _level, NULL); \
                else                                                                      \
                        log_write_message(__VA_ARGS__);                                   \
        } while (false)
