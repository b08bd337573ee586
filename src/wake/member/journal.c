#include <inttypes.h>
#include <stdio.h>
#include <sys/uio.h>

#include "util/text.h"
#include "wake/member/journal.h"

/* Journal: sd_journal_send() takes a fixed list of fields, but which apply differs from entry to entry; so they are gathered into
 * an array and sent in one go. Without a journal the sentence alone is written. */

#define FIELDS_MAX 10

typedef struct Entry {
        char *fields[FIELDS_MAX];
        size_t n_fields;
} Entry;

static char entry_service[128], entry_wake_id[64];

void journal_begin(const char *service, const char *wake_id) {
        (void) snprintf(entry_service, sizeof(entry_service), "%s", service);
        (void) snprintf(entry_wake_id, sizeof(entry_wake_id), "%s", wake_id);
}

static void entry_add(Entry *entry, const char *format, ...) _printf_(2, 3);
static void entry_add(Entry *entry, const char *format, ...) {
        va_list arguments;
        char *field;
        int r;

        assert(entry->n_fields < FIELDS_MAX);

        va_start(arguments, format);
        r = vasprintf(&field, format, arguments);
        va_end(arguments);
        if (r >= 0)
                entry->fields[entry->n_fields++] = field;
}

/* Adds what all have in common, sends and frees. */
static void entry_send(Entry *entry, int level, const char *message_id, const char *state, FailureReason reason,
                       const char *sentence) {
        struct iovec vector[FIELDS_MAX];

        if (!log_to_journal())
                log_full_errno(level, 0, "%s", sentence);
        else if (log_enabled(level)) {
                entry_add(entry, "PRIORITY=%i", level);
                entry_add(entry, "MESSAGE_ID=%s", message_id);
                entry_add(entry, "WAKECHAIN_STATE=%s", state);
                if (entry_service[0] != '\0')
                        entry_add(entry, "WAKECHAIN_SERVICE=%s", entry_service);
                if (entry_wake_id[0] != '\0')
                        entry_add(entry, "WAKECHAIN_WAKE_ID=%s", entry_wake_id);
                if (reason != FAILURE_NONE)
                        entry_add(entry, "WAKECHAIN_REASON=%s", failure_reason_to_string(reason));
                entry_add(entry, "MESSAGE=%s", sentence);
                for (size_t i = 0; i < entry->n_fields; i++)
                        vector[i] = (struct iovec){ entry->fields[i], strlen(entry->fields[i]) };
                (void) sd_journal_sendv(vector, (int) entry->n_fields);
        }
        for (size_t i = 0; i < entry->n_fields; i++)
                free(entry->fields[i]);
}

void journal_service(int level, const char *message_id, ServiceState state, FailureReason reason,
                     const char *format, ...) {
        _cleanup_free_ char *sentence = NULL;
        va_list arguments;

        va_start(arguments, format);
        sentence = text_vprintf(format, arguments);
        va_end(arguments);
        if (sentence)
                entry_send(&(Entry){}, level, message_id, service_state_to_string(state), reason, sentence);
}

void journal_dependency(int level, const char *name, DependencyState state, FailureReason reason,
                        uint64_t duration_usec, const char *format, ...) {
        const char *message_id = state == DEPENDENCY_FAILED ? WAKECHAIN_MESSAGE_DEPENDENCY_FAILED
                                                            : WAKECHAIN_MESSAGE_DEPENDENCY;
        _cleanup_free_ char *what = NULL, *sentence = NULL;
        Entry entry = {};
        va_list arguments;

        va_start(arguments, format);
        what = text_vprintf(format, arguments);
        va_end(arguments);
        if (!what || asprintf(&sentence, "dependency %s%s%s", name, what[0] == ':' ? "" : " ", what) < 0)
                return;
        entry_add(&entry, "WAKECHAIN_DEPENDENCY=%s", name);
        if (duration_usec != USEC_INFINITY)
                entry_add(&entry, "WAKECHAIN_DURATION_USEC=%" PRIu64, duration_usec);
        entry_send(&entry, level, message_id, dependency_state_to_string(state), reason, sentence);
}
