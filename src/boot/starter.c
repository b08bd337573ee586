#include <stdio.h>

#include "boot/starter.h"
#include "util/log.h"
#include "util/strv.h"

/* Starter: two questions to the service manager: what the units are, and then a job for each that is not active. It is in
 * the middle of a boot; the jobs wait there for whatever they are ordered after. */

#define MANAGER "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
#define UNIT_PREFIX "wake@"
#define UNIT_SUFFIX ".service"

/* Names are valid ones (service_name_is_valid()), and escaped in no unit of ours. */
static int make_units(char *const *services, char ***ret) {
        _cleanup_(strv_freep) char **units = NULL;
        int r;

        for (char *const *service = services; service && *service; service++) {
                char unit[128];

                (void) snprintf(unit, sizeof(unit), UNIT_PREFIX "%s" UNIT_SUFFIX, *service);
                r = strv_append(&units, unit);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(units);
        return 0;
}

static bool state_is_idle(const char *state) {
        return streq(state, "inactive") || streq(state, "failed");
}

/* Those units that do nothing. */
static int find_idle(sd_bus *bus, char *const *units, char ***ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(strv_freep) char **idle = NULL;
        const char *unit, *state;
        int r;

        r = sd_bus_message_new_method_call(bus, &call, MANAGER, "ListUnitsByNames");
        if (r >= 0)
                r = sd_bus_message_append_strv(call, (char **) units);
        if (r >= 0)
                r = sd_bus_call(bus, call, 0, &error, &reply);
        if (r < 0)
                return log_error_errno(r, "Failed to ask systemd for the wakers: %s",
                                       error.message ?: strerror(-r));

        r = sd_bus_message_enter_container(reply, 'a', "(ssssssouso)");
        while (r >= 0 && (r = sd_bus_message_read(reply, "(ssssssouso)", &unit, NULL, NULL, &state, NULL, NULL,
                                                  NULL, NULL, NULL, NULL)) > 0)
                if (state_is_idle(state) && strv_contains(units, unit))
                        r = strv_append(&idle, unit);
        if (r < 0)
                return log_error_errno(r, "Failed to read what systemd says of the wakers: %m");
        *ret = TAKE_PTR(idle);
        return 0;
}

/* "fail": not against a job that is queued for it. */
static int start_unit(sd_bus *bus, const char *unit) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        size_t size = strlen(unit) - strlen(UNIT_PREFIX) - strlen(UNIT_SUFFIX);
        const char *service = unit + strlen(UNIT_PREFIX);
        int r;

        r = sd_bus_call_method(bus, MANAGER, "StartUnit", &error, NULL, "ss", unit, "fail");
        if (r < 0)
                log_warning_errno(r, "Failed to start %s, so that nobody puts it to sleep: %s", unit,
                                  error.message ?: strerror(-r));
        else
                log_struct(LOG_INFO, "MESSAGE=%.*s runs: started %s, which takes it as awake.", (int) size,
                           service, unit, "WAKECHAIN_SERVICE=%.*s", (int) size, service);
        return r;
}

int starter_run(sd_bus *bus, char *const *services) {
        _cleanup_(strv_freep) char **units = NULL, **idle = NULL;
        int r, n = 0;

        assert(bus);

        r = make_units(services, &units);
        if (r < 0 || !units)
                return r;
        r = find_idle(bus, units, &idle);
        if (r < 0)
                return r;
        for (char **unit = idle; unit && *unit; unit++)
                n += start_unit(bus, *unit) >= 0;
        return n;
}
