#include <stdio.h>
#include <unistd.h>

#include "redirect/units.h"
#include "util/log.h"
#include "util/strv.h"
#include "util/time.h"

/* Units: PID 1 has a socket of its own for root, which is there before a bus is, and which systemctl(1) uses as well. Where that is
 * not to be had, the bus is. */

#define PRIVATE_BUS "unix:path=/run/systemd/private"
#define DESTINATION "org.freedesktop.systemd1"
#define MANAGER DESTINATION, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
#define UNIT_PATH "/org/freedesktop/systemd1/unit"
#define INTERFACE DESTINATION ".Unit"
#define SERVICE_INTERFACE DESTINATION ".Service"
#define CALL_TIMEOUT (5 * USEC_PER_SEC)
#define WAIT_PAUSE (20 * USEC_PER_MSEC)

static const char *const patterns[] = { "wake@*.service",       "wake@*.socket",      "wake-control@*.socket",
                                        "wake-front@*.service", "wakechain-*.socket", NULL };

static void units_forget(Units *units) {
        for (size_t i = 0; i < units->n; i++) {
                free(units->units[i].name);
                free(units->units[i].path);
        }
        units->units = mfree(units->units);
        units->n = 0;
}

void units_done(Units *units) {
        units_forget(units);
        sd_bus_flush_close_unref(units->bus);
        *units = UNITS_NULL;
}

static int bus_open(sd_bus **ret) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, PRIVATE_BUS);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0) {
                bus = sd_bus_flush_close_unref(bus);
                r = sd_bus_open_system(&bus);
        }
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(bus, CALL_TIMEOUT);
        if (r >= 0)
                *ret = TAKE_PTR(bus);
        return r;
}

static UnitState state_from_string(const char *text) {
        static const char *const names[] = { [UNIT_INACTIVE] = "inactive",
                                             [UNIT_ACTIVATING] = "activating",
                                             [UNIT_ACTIVE] = "active",
                                             [UNIT_DEACTIVATING] = "deactivating",
                                             [UNIT_FAILED] = "failed" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(text, names[i]))
                        return (UnitState) i;
        return UNIT_ACTIVE; /* reloading, refreshing, maintenance */
}

static int compare_units(const void *a, const void *b) {
        return strcmp(((const Unit *) a)->name, ((const Unit *) b)->name);
}

static int units_list(Units *units, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        const char *name, *load, *state, *path, *job;
        int r;

        r = sd_bus_message_new_method_call(units->bus, &call, MANAGER, "ListUnitsByPatterns");
        if (r >= 0)
                r = sd_bus_message_append_strv(call, NULL);
        if (r >= 0)
                r = sd_bus_message_append_strv(call, (char **) patterns);
        if (r >= 0)
                r = sd_bus_call(units->bus, call, 0, error, &reply);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(ssssssouso)");
        while (r >= 0 && (r = sd_bus_message_read(reply, "(ssssssouso)", &name, NULL, &load, &state, NULL, NULL,
                                                  &path, NULL, &job, NULL)) > 0) {
                Unit *larger = reallocarray(units->units, units->n + 1, sizeof(*larger)), *unit;

                if (!larger)
                        return -ENOMEM;
                units->units = larger;
                unit = &larger[units->n++];
                *unit = (Unit){
                        .name = strdup(name),
                        .path = strdup(path),
                        .state = state_from_string(state),
                        .loaded = streq(load, "loaded"),
                        .busy = *job,
                        .stops = streq(job, "stop"),
                };
                if (!unit->name || !unit->path)
                        return -ENOMEM;
        }
        if (r >= 0 && units->n > 0)
                qsort(units->units, units->n, sizeof(*units->units), compare_units);
        return r;
}

int units_read(Units *ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(units_done) Units units = UNITS_NULL;
        int r;

        r = bus_open(&units.bus);
        if (r < 0)
                return log_error_errno(r, "Failed to reach systemd: %m");
        r = units_list(&units, &error);
        if (r < 0)
                return log_error_errno(r, "Failed to ask systemd for its units: %s",
                                       error.message ?: strerror(-r));
        *ret = units;
        units = UNITS_NULL;
        return 0;
}

const Unit *units_find_name(const Units *units, const char *name) {
        const Unit wanted = { .name = (char *) name };

        return units->n > 0 ? bsearch(&wanted, units->units, units->n, sizeof(wanted), compare_units) : NULL;
}

const Unit *units_find(const Units *units, const char *prefix, const char *service, const char *suffix) {
        char name[256];

        if (snprintf(name, sizeof(name), "%s@%s.%s", prefix, service, suffix) >= (int) sizeof(name))
                return NULL;
        return units_find_name(units, name);
}

uint64_t units_hash(const Units *units) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

        for (size_t i = 0; i < units->n; i++) {
                const Unit *unit = &units->units[i];

                for (const char *c = unit->name; *c; c++)
                        hash = (hash ^ (uint8_t) *c) * UINT64_C(0x100000001b3);
                hash = (hash ^ (uint64_t) unit->state << 2 ^ (uint64_t) unit->loaded << 1 ^ unit->busy) *
                       UINT64_C(0x100000001b3);
        }
        return hash;
}

/* Of org.freedesktop.systemd1.INTERFACE; NULL if it cannot be told. */
static char *get_word(sd_bus *bus, const char *path, const char *interface, const char *property) {
        char *word = NULL;
        int r;

        r = sd_bus_get_property_string(bus, DESTINATION, path, interface, property, NULL, &word);
        if (r < 0)
                log_debug_errno(r, "Failed to ask for %s of %s: %m", property, path);
        return r < 0 ? NULL : word;
}

bool units_is_stopped(const char *unit) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_free_ char *path = NULL, *load = NULL, *state = NULL;

        if (bus_open(&bus) < 0 || sd_bus_path_encode(UNIT_PATH, unit, &path) < 0)
                return false;
        load = get_word(bus, path, INTERFACE, "LoadState");
        state = get_word(bus, path, INTERFACE, "ActiveState");
        return load && state && streq(load, "loaded") && state_from_string(state) != UNIT_ACTIVE;
}

bool units_is_active(const Units *units, const Unit *unit) {
        _cleanup_free_ char *state = get_word(units->bus, unit->path, INTERFACE, "ActiveState");

        return state && streq(state, "active");
}

bool units_was_killed(const Units *units, const Unit *unit) {
        _cleanup_free_ char *result = get_word(units->bus, unit->path, SERVICE_INTERFACE, "Result");

        return result && !streq(result, "exit-code");
}

/* `otherwise`: if it cannot be told. */
static uint64_t get_number(const Units *units, const Unit *unit, const char *interface, const char *property,
                           char type, uint64_t otherwise) {
        union {
                uint32_t u;
                uint64_t t;
        } value;
        int r;

        r = sd_bus_get_property_trivial(units->bus, DESTINATION, unit->path, interface, property, NULL, type,
                                        &value);
        if (r < 0)
                log_debug_errno(r, "Failed to ask for %s of %s: %m", property, unit->name);
        return r < 0 ? otherwise : type == 'u' ? value.u : value.t;
}

unsigned units_main_pid(const Units *units, const Unit *unit) {
        return (unsigned) get_number(units, unit, SERVICE_INTERFACE, "MainPID", 'u', 0);
}

bool units_have_run(const Units *units, const Unit *unit) {
        return get_number(units, unit, INTERFACE, "InactiveExitTimestampMonotonic", 't', 1) > 0;
}

uint64_t units_changed(const Units *units, const Unit *unit) {
        return get_number(units, unit, INTERFACE, "StateChangeTimestampMonotonic", 't', time_now(CLOCK_MONOTONIC));
}

uint64_t units_age(const Units *units, const Unit *unit) {
        return usec_sub(time_now(CLOCK_MONOTONIC), units_changed(units, unit));
}

int units_read_listen(const Units *units, const Unit *unit, char ***ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(strv_freep) char **list = NULL;
        const char *type, *address;
        int r;

        r = sd_bus_get_property(units->bus, DESTINATION, unit->path, "org.freedesktop.systemd1.Socket", "Listen",
                                NULL, &reply, "a(ss)");
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(ss)");
        while (r >= 0 && (r = sd_bus_message_read(reply, "(ss)", &type, &address)) > 0) {
                char text[256];

                /* A port alone is shown as the wildcard of IPv6. */
                (void) snprintf(text, sizeof(text), "%s%s",
                                streq(type, "Datagram") && *address != '/' ? "udp:" : "", address);
                r = strv_append(&list, text);
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(list);
        return 0;
}

int units_queue(const Units *units, const char *method, const char *unit) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call_method(units->bus, MANAGER, method, &error, NULL, "ss", unit,
                               streq(method, "StartUnit") ? "fail" : "replace");
        if (r < 0)
                log_warning_errno(r, "Failed to queue %s of %s: %s", method, unit, error.message ?: strerror(-r));
        return r;
}

/* A wake may take its time: only sockets count. */
static bool has_socket_jobs(const Units *units) {
        _cleanup_(units_forget) Units now = { .bus = units->bus };
        bool busy = false;

        if (units_list(&now, NULL) < 0)
                return false;
        for (size_t i = 0; i < now.n; i++)
                busy |= now.units[i].busy && !now.units[i].stops &&
                        streq(strrchr(now.units[i].name, '.'), ".socket");
        return busy;
}

void units_wait_for_sockets(const Units *units, uint64_t timeout_usec) {
        uint64_t deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), timeout_usec);

        while (has_socket_jobs(units) && time_now(CLOCK_MONOTONIC) < deadline_usec)
                (void) usleep(WAIT_PAUSE);
}
