#include <systemd/sd-bus.h>

#include "manager/manager-call.h"
#include "util/printable.h"
#include "util/time.h"

#define SYSTEMD "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
#define SENTENCE_MAX ((size_t) 512)
#define ANSWER_TIMEOUT (25 * USEC_PER_SEC)
#define RELOAD_TIMEOUT (3 * USEC_PER_MINUTE) /* it runs all generators */

static int open_bus(sd_bus **ret, uint64_t timeout_usec) {
        int r = sd_bus_open_system(ret);

        return r < 0 ? r : sd_bus_set_method_call_timeout(*ret, timeout_usec);
}

static int conclude(int r, const sd_bus_error *error, char **ret_sentence) {
        const char *text = error->message ?: strerror(-r);

        if (r >= 0)
                return 0;
        if (sd_bus_error_has_names(error, SD_BUS_ERROR_ACCESS_DENIED,
                                   SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED))
                return -EACCES;
        *ret_sentence = printable_copy(text, strnlen(text, SENTENCE_MAX), /* keep_lines= */ false);
        return r;
}

/* ExecStart= is a list of a path, its arguments and whether its failure is ignored. */
static int append_command(sd_bus_message *message, char *const *command) {
        int r;

        r = sd_bus_message_open_container(message, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(message, "s", "ExecStart");
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'v', "a(sasb)");
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "(sasb)");
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'r', "sasb");
        if (r >= 0)
                r = sd_bus_message_append(message, "s", command[0]);
        if (r >= 0)
                r = sd_bus_message_append_strv(message, (char **) command);
        if (r >= 0)
                r = sd_bus_message_append(message, "b", false);
        for (int i = 0; i < 4 && r >= 0; i++)
                r = sd_bus_message_close_container(message);
        return r;
}

int manager_start_transient(const TransientService *service, char **ret_sentence) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        int r;

        assert(service);
        assert(ret_sentence);

        r = open_bus(&bus, ANSWER_TIMEOUT);
        if (r >= 0)
                r = sd_bus_message_new_method_call(bus, &message, SYSTEMD, "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(message, "ss", service->unit, "fail");
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "(sv)");
        if (r >= 0)
                r = sd_bus_message_append(message, "(sv)(sv)(sv)(sv)(sv)(sv)(sv)", /* */
                                          "Description", "s", service->description, /* */
                                          "Type", "s", "notify", /* */
                                          "TimeoutStartUSec", "t", UINT64_MAX, /* */
                                          "CollectMode", "s", "inactive-or-failed", /* */
                                          "User", "s", service->user, /* */
                                          "Group", "s", service->user, /* */
                                          "Slice", "s", service->slice);
        if (r >= 0)
                r = append_command(message, service->command);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        if (r >= 0)
                r = sd_bus_message_append(message, "a(sa(sv))", 0);
        if (r >= 0)
                r = sd_bus_call(bus, message, 0, &error, NULL);
        return conclude(r, &error, ret_sentence);
}

static int call_for_unit(const char *method, const char *unit, char **ret_sentence) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        assert(unit);
        assert(ret_sentence);

        r = open_bus(&bus, ANSWER_TIMEOUT);
        if (r >= 0)
                r = sd_bus_call_method(bus, SYSTEMD, method, &error, NULL, "ss", unit, "replace");
        return conclude(r, &error, ret_sentence);
}

int manager_start(const char *unit, char **ret_sentence) {
        return call_for_unit("StartUnit", unit, ret_sentence);
}

int manager_stop(const char *unit, char **ret_sentence) {
        return call_for_unit("StopUnit", unit, ret_sentence);
}

int manager_reload(char **ret_sentence) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        assert(ret_sentence);

        r = open_bus(&bus, RELOAD_TIMEOUT);
        if (r >= 0)
                r = sd_bus_call_method(bus, SYSTEMD, "Reload", &error, NULL, NULL);
        return conclude(r, &error, ret_sentence);
}

void manager_units_free(ManagerUnit *units, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(units[i].name);
                free(units[i].description);
        }
        free(units);
}

static int add_unit(ManagerUnit **units, size_t *n, const char *name, const char *description) {
        ManagerUnit *larger = reallocarray(*units, *n + 1, sizeof(*larger));

        if (!larger)
                return -ENOMEM;
        *units = larger;
        larger[*n] = (ManagerUnit){
                .name = strdup(name),
                .description = printable_copy(description, strnlen(description, SENTENCE_MAX),
                                              /* keep_lines= */ false),
        };
        (*n)++;
        return larger[*n - 1].name && larger[*n - 1].description ? 0 : -ENOMEM;
}

int manager_list(ManagerUnit **ret, size_t *ret_n, char *const *states, const char *pattern) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        const char *name, *description;
        int r;

        assert(ret);
        assert(ret_n);

        *ret = NULL;
        *ret_n = 0;
        r = open_bus(&bus, ANSWER_TIMEOUT);
        if (r >= 0)
                r = sd_bus_message_new_method_call(bus, &call, SYSTEMD, "ListUnitsByPatterns");
        if (r >= 0)
                r = sd_bus_message_append_strv(call, (char **) states);
        if (r >= 0)
                r = sd_bus_message_append(call, "as", 1, pattern);
        if (r >= 0)
                r = sd_bus_call(bus, call, 0, NULL, &reply);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(ssssssouso)");
        while (r >= 0 && (r = sd_bus_message_read(reply, "(ssssssouso)", &name, &description, NULL, NULL, NULL,
                                                  NULL, NULL, NULL, NULL, NULL)) > 0)
                r = add_unit(ret, ret_n, name, description);
        return MIN(r, 0);
}

int manager_version(char **ret) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        assert(ret);

        r = open_bus(&bus, ANSWER_TIMEOUT);
        return r < 0 ? r : sd_bus_get_property_string(bus, SYSTEMD, "Version", NULL, ret);
}
