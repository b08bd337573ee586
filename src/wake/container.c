#include <limits.h>
#include <stdio.h>

#include "io/probe.h"
#include "wake/container.h"
#include "wake/notify.h"
#include "wake/record.h"

/* Container: see the header for its phases. Three rules shape the code:
 *
 * - Nothing waits: a busy lock and an engine in trouble are tried again on one timer, with growing pauses. The waker's global
 *   timeout ends that, not the container.
 * - That we are going to start it is written into the lease's record before the start is asked for. Killed in between, the next
 *   life finds the record and knows that the container, if it runs, is ours.
 * - A 204 to a start is no fact. The look afterwards is, and after that the events. */

#define INSPECT_TIMEOUT (10 * USEC_PER_SEC)
#define START_TIMEOUT (60 * USEC_PER_SEC)
#define LOGS_TIMEOUT (5 * USEC_PER_SEC)
#define STOP_SLACK (15 * USEC_PER_SEC) /* over the engine's grace period, until its answer */
#define STOP_ATTEMPTS 6
#define STOP_AGAIN USEC_PER_SEC
#define BROKEN_ATTEMPTS 5 /* 5xx answers in a row, then it is no passing trouble */
#define RESTARTS_MAX 2
#define RETRY_FIRST (20 * USEC_PER_MSEC)
#define RETRY_LAST (5 * USEC_PER_SEC)
#define LEASE_RETRY (20 * USEC_PER_MSEC)
#define COMEBACK_DELAY (3 * USEC_PER_SEC) /* a restart or an upgrade looks like a death at first */

struct Container {
        const ContainerContext *context; /* borrowed */
        const Dependency *dependency; /* borrowed */
        ContainerHandler handler;
        void *userdata;

        ContainerPhase phase;
        uint16_t backend_port;
        Lease *lease;
        LeaseRecord record;
        ContainerInfo *info;
        Probe *probe;
        EngineCall *call;
        sd_event_source *timer;

        EngineOutcome last_outcome;
        unsigned attempts; /* of the request under way */
        unsigned restarts;
        bool start_cancelled;
        bool started_now; /* by this wake */
        bool died; /* since the start was answered */
        int exit_code;
        uint64_t started_usec, ready_usec; /* CLOCK_MONOTONIC, 0: not yet */
        FailureReason reason;
        char *error;
};

static void container_resume(Container *container);

int container_new(Container **ret, const ContainerContext *context, const Dependency *dependency,
                  ContainerHandler handler, void *userdata) {
        Container *container;

        assert(ret);
        assert(context);
        assert(dependency);
        assert(handler);

        container = malloc(sizeof(*container));
        if (!container)
                return -ENOMEM;
        *container = (Container){
                .context = context,
                .dependency = dependency,
                .handler = handler,
                .userdata = userdata,
        };
        *ret = container;
        return 0;
}

static void container_cancel(Container *container) {
        container->call = engine_call_free(container->call);
        container->probe = probe_free(container->probe);
        container->timer = sd_event_source_disable_unref(container->timer);
}

Container *container_free(Container *container) {
        if (!container)
                return NULL;

        container_cancel(container);
        container_info_free(container->info);
        lease_record_done(&container->record);
        lease_free(container->lease);
        free(container->error);
        return mfree(container);
}

static void container_set_phase(Container *container, ContainerPhase phase) {
        container->phase = phase;
        container->attempts = 0;
        container->handler(container, container->userdata);
}

static const char *container_name(const Container *container) {
        return container->dependency->name;
}

static void container_fail(Container *container, FailureReason reason, const char *format, ...) _printf_(3, 4);
static void container_fail(Container *container, FailureReason reason, const char *format, ...) {
        va_list arguments;

        container_cancel(container);
        free(container->error);
        va_start(arguments, format);
        if (vasprintf(&container->error, format, arguments) < 0)
                container->error = NULL;
        va_end(arguments);

        container->reason = reason;
        record_dependency(LOG_WARNING, container_name(container), DEPENDENCY_FAILED, reason, USEC_INFINITY,
                          "dependency %s failed: %s", container_name(container), container_error(container));
        container_set_phase(container, CONTAINER_FAILED);
}

/* Waiting, and trying again */

static int container_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Container *container = ASSERT_PTR(userdata);

        container->timer = sd_event_source_disable_unref(container->timer);
        container_resume(container);
        return 0;
}

static void container_resume_after(Container *container, uint64_t usec) {
        int r;

        container->timer = sd_event_source_disable_unref(container->timer);
        r = sd_event_add_time_relative(container->context->event, &container->timer, CLOCK_MONOTONIC, usec, 1,
                                       container_on_timer, container);
        if (r < 0)
                container_fail(container, FAILURE_START_FAILED, "out of memory");
}

static void container_retry(Container *container) {
        uint64_t pause = RETRY_FIRST << MIN(container->attempts, 10U);

        if (container->attempts++ == 0)
                container->handler(container, container->userdata);
        pause = MIN(pause, RETRY_LAST);
        /* Twenty stacks that lost the engine together shall not come back together. */
        container_resume_after(container, pause + (uint64_t) rand() % (pause / 4 + 1));
}

static const struct {
        FailureReason reason;
        const char *advice;
} outcome_failures[] = {
        [ENGINE_NO_CONTAINER] = { FAILURE_NOT_FOUND,
                                  "create it with 'docker compose up --no-start' in its project" },
        [ENGINE_NO_NETWORK] = { FAILURE_NETWORK_MISSING,
                                "its network was removed or made anew; recreate the container" },
        [ENGINE_NO_IMAGE] = { FAILURE_IMAGE_MISSING, "pull or build its image" },
        [ENGINE_PORT_TAKEN] = { FAILURE_PORT_CONFLICT, "another program uses a port that it publishes" },
        [ENGINE_CONFLICT] = { FAILURE_START_FAILED, NULL },
        [ENGINE_REFUSED] = { FAILURE_START_FAILED, NULL },
        [ENGINE_BROKEN] = { FAILURE_START_FAILED, NULL },
        [ENGINE_UNREACHABLE] = { FAILURE_ENGINE_UNAVAILABLE, NULL },
        [ENGINE_TIMED_OUT] = { FAILURE_ENGINE_UNAVAILABLE, NULL },
};

/* The engine said no. Returns after arranging either another try or the end. */
static void container_handle_refusal(Container *container, const EngineReply *reply) {
        FailureReason reason = FAILURE_START_FAILED;
        const char *advice = NULL;

        if (engine_outcome_is_transient(reply->outcome) &&
            (reply->outcome != ENGINE_BROKEN || container->attempts < BROKEN_ATTEMPTS)) {
                log_debug("Engine, about %s: %s (%s), trying again.", container_name(container), reply->message,
                          engine_outcome_to_string(reply->outcome));
                container_retry(container);
                return;
        }

        if ((size_t) reply->outcome < ELEMENTSOF(outcome_failures) &&
            outcome_failures[reply->outcome].reason != FAILURE_NONE) {
                reason = outcome_failures[reply->outcome].reason;
                advice = outcome_failures[reply->outcome].advice;
        }
        container_fail(container, reason, "%s%s%s", reply->message, advice ? "; " : "", strempty(advice));
}

/* Every engine call goes through here, so that there is one at a time and its outcome is remembered. */
static EngineOutcome container_take_reply(Container *container, EngineReply *reply) {
        container->call = engine_call_free(container->call);
        container->last_outcome = reply->outcome;
        return reply->outcome;
}

static void container_check_asked(Container *container, int r) {
        if (r >= 0)
                return;
        log_debug_errno(r, "Failed to ask the engine about %s: %m", container_name(container));
        container_retry(container);
}

/* The lease and its record */

static void container_write_record(Container *container) {
        int r;

        r = lease_write(container->lease, &container->record);
        if (r < 0)
                log_warning_errno(r, "Failed to write the lease of %s, ignoring: %m", container_name(container));
}

/* What another service wrote meanwhile counts: it may have started the container that we found running, or adopted it. */
static int container_read_record(Container *container) {
        int r;

        lease_record_done(&container->record);
        /* A record of a container that does not run is of an earlier run, ended by somebody else or by a reboot. */
        if (container->info && !container->info->running)
                return 0;

        r = lease_read(container->lease, &container->record);
        if (container->started_now || container->context->service->adopt)
                container->record.ours = true;
        return r;
}

static void container_lease(Container *container) {
        int r;

        if (!container->lease) {
                r = lease_open(&container->lease, container->context->root, container_name(container));
                if (r < 0) {
                        container_fail(container, FAILURE_START_FAILED, "cannot open its lease: %s", strerror(-r));
                        return;
                }
        }

        r = lease_share(container->lease);
        if (r == -EAGAIN) {
                container_resume_after(container, LEASE_RETRY);
                return;
        }
        if (r >= 0) {
                char name[NAME_MAX];

                (void) snprintf(name, sizeof(name), LEASE_FDNAME_PREFIX "%s", container_name(container));
                (void) notify_store(name, lease_fd(container->lease));
        }
        if (r < 0) {
                container_fail(container, FAILURE_START_FAILED, "cannot take its lease: %s", strerror(-r));
                return;
        }

        container_set_phase(container, CONTAINER_LOOKING);
        container_resume(container);
}

static void container_release(Container *container) {
        char name[NAME_MAX];

        if (!container->lease)
                return;

        /* The stored duplicate shares the lock: unlocking releases both, forgetting only saves the descriptor. */
        (void) lease_release(container->lease);
        (void) snprintf(name, sizeof(name), LEASE_FDNAME_PREFIX "%s", container_name(container));
        notify_forget(name);
        container->lease = lease_free(container->lease);
}

int container_adopt_lease(Container *container, int fd) {
        int r;

        assert(container->phase == CONTAINER_NEW);

        r = lease_adopt(&container->lease, fd, container_name(container));
        return r;
}

/* Looking */

static void container_take_info(Container *container, EngineReply *reply) {
        container_info_free(container->info);
        container->info = TAKE_PTR(reply->info);
}

static void container_on_look(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);

        if (container_take_reply(container, reply) != ENGINE_OK) {
                container_handle_refusal(container, reply);
                return;
        }

        container_take_info(container, reply);
        if (container_read_record(container) < 0) {
                container_fail(container, FAILURE_START_FAILED, "out of memory");
                return;
        }
        container_set_phase(container, CONTAINER_PREPARED);
}

static void container_look(Container *container, EngineHandler handler) {
        container_check_asked(container,
                              engine_inspect(&container->call, container->context->engine,
                                             container_name(container), INSPECT_TIMEOUT, handler, container));
}

void container_prepare(Container *container) {
        assert(container->phase == CONTAINER_NEW);

        container_set_phase(container, CONTAINER_LEASING);
        container_resume(container);
}

/* Checking */

static void container_set_ready(Container *container) {
        container->ready_usec = time_now(CLOCK_MONOTONIC);
        container->record.ready = true;
        container_write_record(container);
        container_set_phase(container, CONTAINER_READY);
}

static void container_on_probe(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        uint64_t span = usec_sub(time_now(CLOCK_MONOTONIC), container->started_usec);
        char text[SPAN_MAX];

        if (verdict == PROBE_READY) {
                container->probe = probe_free(container->probe);
                record_dependency(LOG_INFO, container_name(container), DEPENDENCY_READY, FAILURE_NONE, span,
                                  "dependency %s ready after %s", container_name(container),
                                  span_to_string(span, text));
                container_set_ready(container);
        } else if (verdict == PROBE_TIMED_OUT)
                container_fail(container, FAILURE_HEALTH_CHECK_FAILED, "not ready after %s: %s",
                               span_to_string(container->dependency->health.budget_usec, text), detail);
        else
                container_fail(container, FAILURE_HEALTH_CHECK_FAILED, "its check cannot be made: %s", detail);
}

static void container_check(Container *container) {
        int r;

        container->probe = probe_free(container->probe);
        r = probe_new(&container->probe, container->context->event, container->context->engine,
                      container->dependency, container->info, container->dependency->network,
                      container->backend_port, container->context->environment, container_on_probe, container);
        if (r < 0)
                container_fail(container, FAILURE_HEALTH_CHECK_FAILED, "its check cannot be made: %s",
                               strerror(-r));
        else
                container_set_phase(container, CONTAINER_CHECKING);
}

/* It runs: is it the run that is known to be ready? */
static void container_check_if_needed(Container *container) {
        bool known;

        if (container_read_record(container) < 0) {
                container_fail(container, FAILURE_START_FAILED, "out of memory");
                return;
        }
        known = container->record.ready && container->record.started_at &&
                streq(container->record.started_at, container->info->started_at);
        if (!known) {
                char *started_at = strdup(container->info->started_at);

                free(container->record.started_at);
                container->record.started_at = started_at;
                container->record.ready = false;
                container_write_record(container);
                container_check(container);
                return;
        }

        record_dependency(LOG_INFO, container_name(container), DEPENDENCY_READY, FAILURE_NONE, USEC_INFINITY,
                          "dependency %s was ready already", container_name(container));
        container_set_ready(container);
}

/* The record first: killed after the start was asked for, the next life must know whose it is. */
static void container_begin_start(Container *container) {
        container->started_now = true;
        lease_record_done(&container->record);
        container->record = (LeaseRecord){ .ours = true, .wake_id = strdup(container->context->wake_id) };
        container_write_record(container);
        container_set_phase(container, CONTAINER_STARTING);
        container_resume(container);
}

/* Dying, on the way or later */

static void container_examine(Container *container);

static void container_on_examined(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);

        if (container_take_reply(container, reply) != ENGINE_OK) {
                container_handle_refusal(container, reply);
                return;
        }

        container_take_info(container, reply);
        container->died = false;
        if (container->info->running) {
                /* The engine's restart policy, or somebody, was faster. */
                container_check_if_needed(container);
                return;
        }
        if (container->ready_usec > 0) {
                container_set_phase(container, CONTAINER_LOST);
                return;
        }
        if (container->restarts++ < RESTARTS_MAX) {
                container_begin_start(container);
                return;
        }
        container_fail(container, FAILURE_CONTAINER_EXITED, "exited with status %i, %u times%s%s",
                       container->info->exit_code, container->restarts,
                       isempty(container->info->error) ? "" : ": ", container->info->error);
}

static void container_on_logs(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        bool told = container_take_reply(container, reply) == ENGINE_OK && !isempty(reply->output);

        record_dependency(LOG_WARNING, container_name(container), DEPENDENCY_STARTING, FAILURE_CONTAINER_EXITED,
                          USEC_INFINITY, "dependency %s exited with status %i%s%s", container_name(container),
                          container->exit_code, told ? ", its last lines:\n" : "", told ? reply->output : "");
        container->exit_code = 0;
        container_look(container, container_on_examined);
}

static void container_examine(Container *container) {
        container_cancel(container);
        container_set_phase(container, CONTAINER_EXAMINING);
        container_check_asked(container,
                              engine_logs(&container->call, container->context->engine, container_name(container),
                                          10, LOGS_TIMEOUT, container_on_logs, container));
}

/* Starting */

static void container_on_verified(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);

        if (container_take_reply(container, reply) != ENGINE_OK) {
                container_handle_refusal(container, reply);
                return;
        }

        container_take_info(container, reply);
        if (!container->info->running || container->died) {
                container->exit_code = container->info->exit_code;
                container_examine(container);
                return;
        }
        container_check_if_needed(container);
}

static void container_verify(Container *container) {
        container_cancel(container);
        container_set_phase(container, CONTAINER_VERIFYING);
        container_resume(container);
}

static void container_on_started(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        EngineOutcome outcome = container_take_reply(container, reply);

        if (outcome == ENGINE_OK || outcome == ENGINE_ALREADY)
                container_verify(container);
        else if (outcome == ENGINE_PAUSED && !container->info->paused) {
                /* Somebody has paused it since we looked. */
                container->info->paused = true;
                container_resume(container);
        } else
                container_handle_refusal(container, reply);
}

static void container_post_start(Container *container) {
        container->died = false;
        container_check_asked(container,
                              engine_start(&container->call, container->context->engine, container_name(container),
                                           START_TIMEOUT, container_on_started, container));
}

static void container_post_unpause(Container *container) {
        container_check_asked(container, engine_unpause(&container->call, container->context->engine,
                                                        container_name(container), START_TIMEOUT,
                                                        container_on_started, container));
}

void container_start(Container *container) {
        assert(container->phase == CONTAINER_PREPARED);

        container->started_usec = time_now(CLOCK_MONOTONIC);
        if (container->info->running && !container->info->paused) {
                container_check_if_needed(container);
                return;
        }
        if (!container->info->running)
                container_begin_start(container);
        else {
                container_set_phase(container, CONTAINER_STARTING);
                container_resume(container);
        }
}

void container_set_backend_port(Container *container, uint16_t port) {
        container->backend_port = port;
}

/* Stopping */

static void container_set_stopped(Container *container) {
        container_cancel(container);
        container_release(container);
        container_set_phase(container, CONTAINER_STOPPED);
}

static void container_on_stopped(EngineCall *call, EngineReply *reply, void *userdata) {
        Container *container = ASSERT_PTR(userdata);
        EngineOutcome outcome = container_take_reply(container, reply);

        if (outcome == ENGINE_ALREADY && container->start_cancelled) {
                /* The engine may come to the start only after this stop: once more. */
                container->start_cancelled = false;
                container_resume_after(container, STOP_AGAIN);
                return;
        }
        if (engine_outcome_is_transient(outcome) && container->attempts < STOP_ATTEMPTS) {
                container_retry(container);
                return;
        }
        if (outcome == ENGINE_OK || outcome == ENGINE_ALREADY || outcome == ENGINE_NO_CONTAINER) {
                lease_record_done(&container->record);
                container_write_record(container);
                record_dependency(LOG_INFO, container_name(container), DEPENDENCY_STOPPED, FAILURE_NONE,
                                  USEC_INFINITY, "dependency %s stopped", container_name(container));
        } else
                /* The record stays: whoever uses it next still knows that it is ours. */
                record_dependency(LOG_ERR, container_name(container), DEPENDENCY_FAILED, FAILURE_NONE,
                                  USEC_INFINITY, "dependency %s could not be stopped, leaving it: %s",
                                  container_name(container), reply->message);
        container_set_stopped(container);
}

static void container_post_stop(Container *container) {
        unsigned grace = container->info ? container->info->stop_timeout_sec : 10;

        container_check_asked(container,
                              engine_stop(&container->call, container->context->engine, container_name(container),
                                          grace, container_stop_budget(container), container_on_stopped,
                                          container));
}

uint64_t container_stop_budget(const Container *container) {
        return (container->info ? container->info->stop_timeout_sec : 10) * USEC_PER_SEC + STOP_SLACK;
}

bool container_is_ours(const Container *container, bool rollback) {
        if (!container->record.ours || container->dependency->keep)
                return false;
        /* What was only adopted ran before, and goes on running. What another wake has started, and nobody uses any more, does not. */
        return !rollback || container->started_now || container->record.wake_id;
}

void container_stop(Container *container, bool rollback) {
        container->start_cancelled = container->phase == CONTAINER_STARTING && container->call;
        container_cancel(container);
        /* The look is older than a start that is under way; our own record of that is not. */
        if (container->lease && (!container->info || container->info->running))
                (void) container_read_record(container);
        if (!container->lease || !container_is_ours(container, rollback)) {
                container_set_stopped(container);
                return;
        }
        if (lease_seize(container->lease) < 0) {
                log_debug("Another service uses %s, leaving it.", container_name(container));
                container_set_stopped(container);
                return;
        }
        container_set_phase(container, CONTAINER_STOPPING);
        container_resume(container);
}

/* What the timer and a change of phase go on with. */
static void container_resume(Container *container) {
        switch (container->phase) {
        case CONTAINER_LEASING:
                container_lease(container);
                break;
        case CONTAINER_LOOKING:
                container_look(container, container_on_look);
                break;
        case CONTAINER_STARTING:
                if (container->info->paused)
                        container_post_unpause(container);
                else
                        container_post_start(container);
                break;
        case CONTAINER_VERIFYING:
                container_look(container, container_on_verified);
                break;
        case CONTAINER_EXAMINING:
                container_look(container, container_on_examined);
                break;
        case CONTAINER_READY:
                container_examine(container);
                break;
        case CONTAINER_STOPPING:
                container_post_stop(container);
                break;
        default:
                break;
        }
}

/* What it was found to be may not hold any more when its turn comes. */
static void container_look_again(Container *container) {
        container_cancel(container);
        container_set_phase(container, CONTAINER_LOOKING);
        container_resume(container);
}

void container_on_event(Container *container, const ContainerEvent *event) {
        switch (event->type) {
        case CONTAINER_EVENT_DIE:
                container->exit_code = event->exit_code;
                if (container->phase == CONTAINER_LOOKING || container->phase == CONTAINER_PREPARED)
                        container_look_again(container);
                else if (container->phase == CONTAINER_CHECKING)
                        container_examine(container);
                else if (container->phase == CONTAINER_VERIFYING)
                        container->died = true;
                else if (container->phase == CONTAINER_READY)
                        container_resume_after(container, COMEBACK_DELAY);
                break;
        case CONTAINER_EVENT_START:
                /* Back before we gave it up: it may have another address. */
                if (container->phase == CONTAINER_READY)
                        container_verify(container);
                break;
        case CONTAINER_EVENT_HEALTHY:
        case CONTAINER_EVENT_UNHEALTHY:
                if (container->probe)
                        probe_set_health(container->probe, event->type == CONTAINER_EVENT_HEALTHY
                                                                           ? HEALTH_HEALTHY
                                                                           : HEALTH_UNHEALTHY);
                break;
        default:
                break;
        }
}

void container_on_resync(Container *container) {
        if (container->phase == CONTAINER_PREPARED)
                container_look_again(container);
        else if (container->phase == CONTAINER_READY || container->phase == CONTAINER_CHECKING)
                container_verify(container);
}

/* Telling */

const Dependency *container_dependency(const Container *container) {
        return container->dependency;
}

ContainerPhase container_phase(const Container *container) {
        return container->phase;
}

bool container_is_prepared(const Container *container) {
        return container->phase >= CONTAINER_PREPARED;
}

bool container_is_starting(const Container *container) {
        return container->phase == CONTAINER_STARTING;
}

bool container_is_retrying(const Container *container) {
        return container->attempts > 0;
}

const ContainerInfo *container_info(const Container *container) {
        return container->info;
}

FailureReason container_reason(const Container *container) {
        return container->reason;
}

const char *container_error(const Container *container) {
        return container->error;
}

bool container_lacks_engine(const Container *container) {
        return container->phase < CONTAINER_READY &&
               (container->last_outcome == ENGINE_UNREACHABLE || container->last_outcome == ENGINE_TIMED_OUT ||
                container->last_outcome == ENGINE_BROKEN);
}

static const DependencyState phase_states[] = {
        [CONTAINER_NEW] = DEPENDENCY_PENDING,       [CONTAINER_LEASING] = DEPENDENCY_PENDING,
        [CONTAINER_LOOKING] = DEPENDENCY_PENDING,   [CONTAINER_PREPARED] = DEPENDENCY_PENDING,
        [CONTAINER_STARTING] = DEPENDENCY_STARTING, [CONTAINER_VERIFYING] = DEPENDENCY_STARTING,
        [CONTAINER_CHECKING] = DEPENDENCY_CHECKING, [CONTAINER_EXAMINING] = DEPENDENCY_CHECKING,
        [CONTAINER_READY] = DEPENDENCY_READY,       [CONTAINER_FAILED] = DEPENDENCY_FAILED,
        [CONTAINER_LOST] = DEPENDENCY_STOPPED,      [CONTAINER_STOPPING] = DEPENDENCY_STOPPED,
        [CONTAINER_STOPPED] = DEPENDENCY_STOPPED,
};

int container_describe(const Container *container, uint64_t begin_usec, DependencyStatus *ret) {
        DependencyStatus status = {
                .container = strdup(container_name(container)),
                .required = container->dependency->type == DEPENDENCY_REQUIRED,
                /* A failure stays visible when what had been started is stopped again. */
                .state = container->reason != FAILURE_NONE ? DEPENDENCY_FAILED : phase_states[container->phase],
                .started_usec = container->started_usec > 0 ? container->started_usec - begin_usec : 0,
                .ready_usec = container->ready_usec > 0 ? container->ready_usec - begin_usec : 0,
                .reason = container->reason,
        };

        if (!status.container)
                return -ENOMEM;
        if (container->error) {
                status.error = strdup(container->error);
                if (!status.error) {
                        free(status.container);
                        return -ENOMEM;
                }
        }
        *ret = status;
        return 0;
}
