#include <inttypes.h>
#include <stdio.h>
#include <sys/uio.h>

#include "wake/record.h"

/* Record: sd_journal_send() takes a fixed list of fields, but which apply differs from record to record; so they are gathered into
 * an array and sent in one go. */

#define RECORD_FIELDS_MAX 10

typedef struct Record {
        char *fields[RECORD_FIELDS_MAX];
        size_t n_fields;
} Record;

static char record_service_name[128], record_wake_id[64];

void record_begin(const char *service, const char *wake_id) {
        (void) snprintf(record_service_name, sizeof(record_service_name), "%s", service);
        (void) snprintf(record_wake_id, sizeof(record_wake_id), "%s", wake_id);
}

static void record_add(Record *record, const char *format, ...) _printf_(2, 3);
static void record_add(Record *record, const char *format, ...) {
        va_list arguments;
        char *field;
        int r;

        assert(record->n_fields < RECORD_FIELDS_MAX);

        va_start(arguments, format);
        r = vasprintf(&field, format, arguments);
        va_end(arguments);
        if (r >= 0)
                record->fields[record->n_fields++] = field;
}

static void record_add_common(Record *record, int level, const char *message_id, FailureReason reason) {
        record_add(record, "PRIORITY=%i", level);
        record_add(record, "MESSAGE_ID=%s", message_id);
        if (record_service_name[0] != '\0')
                record_add(record, "WAKECHAIN_SERVICE=%s", record_service_name);
        if (record_wake_id[0] != '\0')
                record_add(record, "WAKECHAIN_WAKE_ID=%s", record_wake_id);
        if (reason != FAILURE_NONE)
                record_add(record, "WAKECHAIN_REASON=%s", failure_reason_to_string(reason));
}

/* Adds the sentence, sends and frees. */
static void record_send(Record *record, int level, const char *format, va_list arguments) _printf_(3, 0);
static void record_send(Record *record, int level, const char *format, va_list arguments) {
        struct iovec vector[RECORD_FIELDS_MAX];
        _cleanup_free_ char *message = NULL;

        if (vasprintf(&message, format, arguments) < 0)
                message = NULL;
        else if (!log_to_journal())
                log_full_errno(level, 0, "%s", message);
        else if (log_enabled(level)) {
                record_add(record, "MESSAGE=%s", message);
                for (size_t i = 0; i < record->n_fields; i++)
                        vector[i] = (struct iovec){ record->fields[i], strlen(record->fields[i]) };
                (void) sd_journal_sendv(vector, (int) record->n_fields);
        }

        for (size_t i = 0; i < record->n_fields; i++)
                free(record->fields[i]);
}

void record_service(int level, const char *message_id, ServiceState state, FailureReason reason,
                    const char *format, ...) {
        Record record = {};
        va_list arguments;

        record_add_common(&record, level, message_id, reason);
        record_add(&record, "WAKECHAIN_STATE=%s", service_state_to_string(state));
        va_start(arguments, format);
        record_send(&record, level, format, arguments);
        va_end(arguments);
}

void record_dependency(int level, const char *container, DependencyState state, FailureReason reason,
                       uint64_t duration_usec, const char *format, ...) {
        bool failed = state == DEPENDENCY_FAILED;
        Record record = {};
        va_list arguments;

        record_add_common(&record, level,
                          failed ? WAKECHAIN_MESSAGE_DEPENDENCY_FAILED : WAKECHAIN_MESSAGE_DEPENDENCY, reason);
        record_add(&record, "WAKECHAIN_DEPENDENCY=%s", container);
        record_add(&record, "WAKECHAIN_STATE=%s", dependency_state_to_string(state));
        if (duration_usec != USEC_INFINITY)
                record_add(&record, "WAKECHAIN_DURATION_USEC=%" PRIu64, duration_usec);
        va_start(arguments, format);
        record_send(&record, level, format, arguments);
        va_end(arguments);
}
