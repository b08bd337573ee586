#pragma once

/* Waker, inside: what its parts share. waker.c makes it and takes in what comes from outside, waker-wake.c and waker-sleep.c are the ways
 * up and down, waker-recover.c the way back, waker-status.c tells. */

#include "io/composer.h"
#include "io/probe.h"
#include "model/plan.h"
#include "model/status.h"
#include "util/log.h"
#include "wake/backend.h"
#include "wake/container.h"
#include "wake/control.h"
#include "wake/door.h"
#include "wake/idle.h"
#include "wake/member.h"
#include "wake/notify.h"
#include "wake/record.h"
#include "wake/report.h"
#include "wake/waker.h"

typedef enum WakerPhase {
        WAKER_PREPARING,
        WAKER_STEPPING,
        WAKER_REACHING,
        WAKER_OPENING,
        WAKER_AWAKE,
        WAKER_RECOVERING,
        WAKER_CLOSING,
        WAKER_DRAINING,
        WAKER_STOPPING,
        WAKER_ENDED,
} WakerPhase;

typedef enum SleepCause {
        SLEEP_IDLE, /* may be called off by a client that comes in time */
        SLEEP_ASKED,
        SLEEP_ASKED_ALL, /* including what we have not started */
        SLEEP_LOST, /* a container was stopped by somebody else */
        SLEEP_FAILED,
} SleepCause;

struct Waker {
        sd_event *event; /* borrowed */
        const Config *config; /* borrowed */
        const Service *service; /* borrowed */
        WakerOptions options;

        Plan *plan;
        Engine *engine;
        Composer *composer; /* NULL: the service has no composeDir */
        MemberContext context;
        Member **members; /* one for each dependency */
        const ContainerInfo *
                        *infos; /* refreshed by waker_infos(), borrowed from the members; NULL: no container */
        Control *control;
        Door *door; /* redirect mode */
        Idle *idle;

        Backend backend;
        bool backend_resolved;
        char **backends;
        Dependency reach; /* stands for a backend that is no container of ours */
        Probe *reach_probe;

        WakerPhase phase;
        SleepCause cause;
        bool sleep_all_later; /* PREPARING: when it is known what runs */
        bool door_moved; /* CLOSING, OPENING: the door has answered */
        int door_error; /* of its last move */
        bool was_ready; /* READY=1 was sent */

        char *wake_id;
        WakeTrigger trigger;
        bool taken_over, resume_sleep;
        bool told_begin;
        uint64_t begin_usec; /* CLOCK_MONOTONIC, of the wake or the recovery */
        uint64_t since_usec; /* CLOCK_REALTIME, of the state */
        ServiceState state;
        FailureReason reason;
        char *error;

        uint64_t drain_until_usec;
        unsigned quiet_looks; /* DRAINING: without a connection, in a row */
        sd_event_source *change, *deadline, *drain, *remember;
};

/* The containers' last looks, one for each dependency, refreshed. */
const ContainerInfo *const *waker_infos(Waker *waker);
/* Does the wake wait for it? The container that clients are forwarded to counts, whatever its type. */
bool waker_needs(const Waker *waker, size_t member);
bool waker_is_waking(const Waker *waker);
/* Everything that it needs is ready. */
bool waker_is_served(const Waker *waker);
uint64_t waker_elapsed(const Waker *waker);

/* waker-status.c: to the status file, the holders and systemd. The caller puts the object. */
json_object *waker_status_json(void *userdata);
void waker_publish(Waker *waker);
void waker_set_state(Waker *waker, ServiceState state);
/* Something has changed: look at it when the current event has been dealt with. */
void waker_changed(Waker *waker);

/* waker-wake.c: each goes on with its phase as far as it can. */
void waker_go_on_preparing(Waker *waker);
void waker_go_on_stepping(Waker *waker);
void waker_go_on_opening(Waker *waker);
/* The wake's first record, once. */
void waker_tell_begin(Waker *waker);
/* Everything needed is ready: on to the backend and the port. */
void waker_reach(Waker *waker);
void waker_begin_awake(Waker *waker);
int waker_arm_deadline(Waker *waker);
void waker_on_door(Door *door, int error, void *userdata);
void waker_refresh_backends(Waker *waker);
/* Where clients go, by the containers' last looks. Fails the wake if that cannot be told. */
void waker_resolve_backend(Waker *waker);

/* waker-recover.c: something that it needs has gone while it was awake, and is on its way back. */
void waker_begin_recovering(Waker *waker);
void waker_go_on_recovering(Waker *waker);

/* waker-sleep.c */
void waker_open_door(Waker *waker);
void waker_fail(Waker *waker, FailureReason reason, const char *format, ...) _printf_(3, 4);
void waker_sleep(Waker *waker, SleepCause cause);
bool waker_is_used(void *userdata);
void waker_on_idle(Idle *idle, void *userdata);
void waker_go_on_closing(Waker *waker);
void waker_go_on_stopping(Waker *waker);
