#pragma once

/* Record: what the journal is told of a wake. Every record carries the service and the wake's id, so that one wake can be read
 * alone; the sentence names the dependency. */

#include "catalog/messages.h"
#include "model/status.h"
#include "util/log.h"

/* The wake that all records belong to; both are copied. Until it is called they carry no fields. */
void record_begin(const char *service, const char *wake_id);

/* A record about the service as a whole; `format` is its sentence. */
void record_service(int level, const char *message_id, ServiceState state, FailureReason reason,
                    const char *format, ...) _printf_(5, 6);

/* A record about one dependency. `duration_usec` may be USEC_INFINITY: none. */
void record_dependency(int level, const char *container, DependencyState state, FailureReason reason,
                       uint64_t duration_usec, const char *format, ...) _printf_(6, 7);
