#include <systemd/sd-bus.h>

#include "io/unit-manager-internal.h"
#include "util/log.h"
#include "util/time.h"

/* UnitManager: the connection to the bus. It breaks when the bus is restarted; and systemd may go away behind it for a moment
 * (daemon-reexec) or read all units anew (daemon-reload). After each of these the watches ask for everything again, so that nothing
 * depends on what was told in between. A call that fails for want of an answer counts as a broken connection: then there is
 * one way back for all of it. */

#define RETRY_FIRST (50 * USEC_PER_MSEC)
#define RETRY_LAST (5 * USEC_PER_SEC)
#define PATIENCE (3 * USEC_PER_SEC) /* without the bus, until the watches are told */

struct UnitManager {
        UnitManager *next; /* of another event loop */
        sd_event *event;
        sd_bus *bus;
        UnitWatch *watches;
        sd_event_source *timer; /* until the next try */
        unsigned attempts; /* in a row */
        uint64_t lost_usec; /* CLOCK_MONOTONIC; 0: the connection is good */
};

static UnitManager *managers;

static void manager_connect(UnitManager *manager);

static int manager_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        UnitManager *manager = ASSERT_PTR(userdata);

        manager->timer = sd_event_source_disable_unref(manager->timer);
        manager_connect(manager);
        return 0;
}

void unit_manager_lose(UnitManager *manager, const char *why) {
        uint64_t now_usec = time_now(CLOCK_MONOTONIC);
        uint64_t pause_usec = MIN(RETRY_FIRST << MIN(manager->attempts, 10U), RETRY_LAST);

        if (manager->timer)
                return;
        log_debug("The system bus is of no use, trying again: %s", why);
        for (UnitWatch *watch = manager->watches; watch; watch = watch->next)
                unit_watch_disconnect(watch);
        manager->bus = sd_bus_close_unref(manager->bus);

        manager->attempts++;
        if (manager->lost_usec == 0)
                manager->lost_usec = now_usec;
        if (now_usec >= usec_add(manager->lost_usec, PATIENCE))
                for (UnitWatch *watch = manager->watches; watch; watch = watch->next)
                        unit_watch_tell_lost(watch, why);
        if (sd_event_add_time_relative(manager->event, &manager->timer, CLOCK_MONOTONIC, pause_usec, 1,
                                       manager_on_timer, manager) < 0)
                for (UnitWatch *watch = manager->watches; watch; watch = watch->next)
                        unit_watch_tell_lost(watch, "out of memory");
}

void unit_manager_confirm(UnitManager *manager) {
        manager->attempts = 0;
        manager->lost_usec = 0;
        for (UnitWatch *watch = manager->watches; watch; watch = watch->next)
                watch->told_lost = false;
}

static int manager_on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        unit_manager_lose(ASSERT_PTR(userdata), "the connection broke");
        return 0;
}

static int manager_on_subscribed(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        const sd_bus_error *error = sd_bus_message_get_error(message);

        /* Without it there are no signals; but a new systemd may have been told of us by the old one. */
        if (error && !sd_bus_error_has_name(error, "org.freedesktop.systemd1.AlreadySubscribed"))
                unit_manager_lose(ASSERT_PTR(userdata), error->message ?: error->name);
        return 0;
}

static int manager_ask_all(UnitManager *manager) {
        int r;

        r = sd_bus_call_method_async(manager->bus, NULL, SYSTEMD_DESTINATION, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                     "Subscribe", manager_on_subscribed, manager, NULL);
        if (r < 0)
                return r;
        for (UnitWatch *watch = manager->watches; watch && manager->bus; watch = watch->next)
                unit_watch_connect(watch);
        return 0;
}

static int manager_on_owner_changed(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        UnitManager *manager = ASSERT_PTR(userdata);
        const char *new_owner;
        int r;

        r = sd_bus_message_read(message, "sss", NULL, NULL, &new_owner);
        if (r < 0 || isempty(new_owner))
                return 0;
        for (UnitWatch *watch = manager->watches; watch; watch = watch->next)
                unit_watch_disconnect(watch);
        r = manager_ask_all(manager);
        if (r < 0)
                unit_manager_lose(manager, strerror(-r));
        return 0;
}

static int manager_on_reloading(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        UnitManager *manager = ASSERT_PTR(userdata);
        int active;

        if (sd_bus_message_read(message, "b", &active) < 0 || active)
                return 0;
        for (UnitWatch *watch = manager->watches; watch && manager->bus; watch = watch->next)
                unit_watch_connect(watch);
        return 0;
}

/* Listening comes before asking, so that nothing happens unseen in between. */
static int manager_listen(UnitManager *manager) {
        int r;

        r = sd_bus_match_signal_async(manager->bus, NULL, "org.freedesktop.DBus.Local", NULL,
                                      "org.freedesktop.DBus.Local", "Disconnected", manager_on_disconnected, NULL,
                                      manager);
        if (r >= 0)
                r = sd_bus_match_signal_async(manager->bus, NULL, SYSTEMD_DESTINATION, SYSTEMD_PATH,
                                              SYSTEMD_MANAGER, "Reloading", manager_on_reloading, NULL, manager);
        if (r >= 0)
                r = sd_bus_add_match_async(manager->bus, NULL,
                                           "type='signal',sender='org.freedesktop.DBus',"
                                           "path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',"
                                           "member='NameOwnerChanged',arg0='" SYSTEMD_DESTINATION "'",
                                           manager_on_owner_changed, NULL, manager);
        return r;
}

static void manager_connect(UnitManager *manager) {
        int r;

        r = sd_bus_open_system_with_description(&manager->bus, "wakechain");
        if (r >= 0)
                r = sd_bus_attach_event(manager->bus, manager->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = manager_listen(manager);
        if (r >= 0)
                r = manager_ask_all(manager);
        if (r < 0)
                unit_manager_lose(manager, strerror(-r));
}

int unit_manager_get(UnitManager **ret, sd_event *event) {
        UnitManager *manager;
        int r;

        for (manager = managers; manager; manager = manager->next)
                if (manager->event == event) {
                        *ret = manager;
                        return 0;
                }

        manager = malloc(sizeof(*manager));
        if (!manager)
                return -ENOMEM;
        *manager = (UnitManager){
                .event = sd_event_ref(event),
                .next = managers,
                .lost_usec = time_now(CLOCK_MONOTONIC),
        };
        /* Watches are told of failures from the event loop only, so the first try is made there, too. */
        r = sd_event_add_time_relative(event, &manager->timer, CLOCK_MONOTONIC, 0, 1, manager_on_timer, manager);
        if (r < 0) {
                sd_event_unref(manager->event);
                free(manager);
                return r;
        }
        managers = manager;
        *ret = manager;
        return 0;
}

static UnitManager *manager_free(UnitManager *manager) {
        for (UnitManager **other = &managers; *other; other = &(*other)->next)
                if (*other == manager) {
                        *other = manager->next;
                        break;
                }
        sd_event_source_disable_unref(manager->timer);
        sd_bus_close_unref(manager->bus);
        sd_event_unref(manager->event);
        return mfree(manager);
}

void unit_manager_add(UnitManager *manager, UnitWatch *watch) {
        watch->next = manager->watches;
        watch->previous = &manager->watches;
        if (watch->next)
                watch->next->previous = &watch->next;
        manager->watches = watch;
        if (manager->bus)
                unit_watch_connect(watch);
}

void unit_manager_remove(UnitManager *manager, UnitWatch *watch) {
        *watch->previous = watch->next;
        if (watch->next)
                watch->next->previous = watch->previous;
        if (!manager->watches)
                (void) manager_free(manager);
}

sd_event *unit_manager_event(UnitManager *manager) {
        return manager->event;
}

sd_bus *unit_manager_bus(UnitManager *manager) {
        return manager->bus;
}
