#pragma once

/* UnitManager, inside: unit-manager.c is the connection that all watches share, unit-watch.c one unit. */

#include <systemd/sd-bus.h>
#include "io/unit-manager.h"

#define SYSTEMD_DESTINATION "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

typedef struct UnitProperties {
        char *id; /* an alias has another name */
        char *type, *load_state, *active_state, *sub_state, *result;
        char invocation_id[33];
        int32_t exit_code; /* CLD_… of the main process */
        uint64_t exit_usec; /* CLOCK_MONOTONIC; 0: it has not ended */
        uint64_t stop_timeout_usec;
} UnitProperties;

typedef enum UnitRequest {
        REQUEST_NONE,
        REQUEST_START,
        REQUEST_STOP,
} UnitRequest;

struct UnitWatch {
        UnitManager *manager;
        UnitWatch *next, **previous; /* intrusive list: the pointer that points here */
        char *name; /* as it was asked for */
        char *path; /* of the object, once the bus was reached */
        UnitWatchHandler handler;
        void *userdata;

        UnitProperties properties;
        bool known; /* they have been read */
        sd_bus_slot *changes, *reading;

        UnitRequest request;
        bool request_sent; /* at least once */
        char request_run[33]; /* the invocation id before that */
        char *job; /* path, once the request was accepted */
        sd_bus_slot *asking, *jobs;

        sd_event_source *telling;
        bool tell_info;
        int tell_error;
        char *tell_sentence;
        bool told_lost; /* since the bus was there for the last time */
};

/* unit-manager.c */
int unit_manager_get(UnitManager **ret, sd_event *event);
void unit_manager_add(UnitManager *manager, UnitWatch *watch);
/* Frees the manager with the last one. */
void unit_manager_remove(UnitManager *manager, UnitWatch *watch);
sd_event *unit_manager_event(UnitManager *manager);
sd_bus *unit_manager_bus(UnitManager *manager); /* NULL: not connected */
/* An answer came from systemd: the connection is good. */
void unit_manager_confirm(UnitManager *manager);
/* The connection is of no use: closes it, and tries again later. */
void unit_manager_lose(UnitManager *manager, const char *why);

/* unit-watch.c */
/* The connection was made, or systemd behind it is a new one, or has read its units anew: all is to be asked for again. */
void unit_watch_connect(UnitWatch *watch);
/* It broke: what was asked for is asked for again later. */
void unit_watch_disconnect(UnitWatch *watch);
void unit_watch_tell_lost(UnitWatch *watch, const char *why);
