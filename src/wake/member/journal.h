#pragma once

/* Journal: what the journal is told of a wake. Everything carries the service and the wake's id, so that one wake can be read
 * alone; the sentence names the dependency. */

#include "catalog/messages.h"
#include "model/status.h"
#include "util/log.h"

/* The wake that all of it belongs to; both are copied. Until it is called there are no such fields. */
void journal_begin(const char *service, const char *wake_id);

/* About the service as a whole; `format` is the sentence. */
void journal_service(int level, const char *message_id, ServiceState state, FailureReason reason,
                     const char *format, ...) _printf_(5, 6);

/* About one dependency: "dependency NAME " and `format` are the sentence. `duration_usec` may be USEC_INFINITY: none. */
void journal_dependency(int level, const char *name, DependencyState state, FailureReason reason,
                        uint64_t duration_usec, const char *format, ...) _printf_(6, 7);
