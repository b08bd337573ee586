#pragma once

/* Container: the life of one dependency's container during a wake and until it sleeps again: lease, look, start, look
 * again, check, ready; later stop. It reports every change through one handler and decides nothing about the others. */

#include <systemd/sd-event.h>
#include "io/engine.h"
#include "io/lease.h"
#include "model/service.h"
#include "model/status.h"

typedef struct Container Container;

/* What all containers of a wake share; borrowed, outlives them. */
typedef struct ContainerContext {
        sd_event *event;
        Engine *engine;
        const Service *service;
        const char *wake_id;
        char *const *environment; /* of health commands */
        const char *root; /* "" outside of tests */
} ContainerContext;

typedef enum ContainerPhase {
        CONTAINER_NEW,
        CONTAINER_LEASING, /* waits for its lock */
        CONTAINER_LOOKING, /* first inspect */
        CONTAINER_PREPARED, /* what it is before the wake is known */
        CONTAINER_STARTING, /* the start is asked for */
        CONTAINER_VERIFYING, /* it was answered; does it run, and where? */
        CONTAINER_CHECKING, /* probe */
        CONTAINER_EXAMINING, /* it died: why, and does it come back? */
        CONTAINER_READY,
        CONTAINER_FAILED,
        CONTAINER_LOST, /* was ready, and does not run any more */
        CONTAINER_STOPPING,
        CONTAINER_STOPPED, /* or left alone because it was not ours to stop: released in any case */
        _CONTAINER_PHASE_MAX,
        _CONTAINER_PHASE_INVALID = -EINVAL,
} ContainerPhase;

/* Something about it has changed. Must not free it, and should look at it later rather than act at once. */
typedef void (*ContainerHandler)(Container *container, void *userdata);

int container_new(Container **ret, const ContainerContext *context, const Dependency *dependency,
                  ContainerHandler handler, void *userdata);
Container *container_free(Container *container);
DEFINE_CLEANUP(Container *, container_free);

/* Takes over the lock that an earlier life of this process put into the descriptor store. Takes the fd on success. */
int container_adopt_lease(Container *container, int fd);

/* NEW → PREPARED or FAILED. */
void container_prepare(Container *container);
/* PREPARED → READY or FAILED. A container that runs already is not started again, one known to be ready not even checked. */
void container_start(Container *container);
/* Any phase → STOPPED: stops what wakechain started unless somebody else uses it; a `rollback` leaves what was only adopted. Never
 * fails: what cannot be stopped is logged and let go. */
void container_stop(Container *container, bool rollback);

/* Clients are forwarded to this port of it: ready means that it accepts there too. Before container_start(). */
void container_set_backend_port(Container *container, uint16_t port);

void container_on_event(Container *container, const ContainerEvent *event);
/* The event stream was interrupted: events may have been missed. */
void container_on_resync(Container *container);

const Dependency *container_dependency(const Container *container);
ContainerPhase container_phase(const Container *container);
bool container_is_prepared(const Container *container);
/* A start was asked for and not answered yet. */
bool container_is_starting(const Container *container);
/* What was asked of the engine last has failed at least once, and is asked again. */
bool container_is_retrying(const Container *container);
/* Of the last look; NULL before. */
const ContainerInfo *container_info(const Container *container);
FailureReason container_reason(const Container *container);
const char *container_error(const Container *container); /* a sentence, or NULL */
/* The engine could not be talked to at the last try. */
bool container_lacks_engine(const Container *container);
/* How long a stop of it may take: the engine's grace and some. */
uint64_t container_stop_budget(const Container *container);
/* Would container_stop() stop it, other users aside? */
bool container_is_ours(const Container *container, bool rollback);

/* Fills everything but `step` and `estimate_usec`. `begin_usec`: when the wake began, CLOCK_MONOTONIC. */
int container_describe(const Container *container, uint64_t begin_usec, DependencyStatus *ret);
