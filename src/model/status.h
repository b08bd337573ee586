#pragma once

/* Status: what a service is doing, as /run/wakechain/status/NAME.json and the control socket show it. */

#include <json-c/json.h>
#include "util/macro.h"
#include "util/strv.h"
#include "util/time.h"

typedef enum ServiceState {
        SERVICE_ASLEEP,
        SERVICE_WAKING,
        SERVICE_AWAKE,
        SERVICE_STOPPING,
        SERVICE_FAILED,
        _SERVICE_STATE_MAX,
        _SERVICE_STATE_INVALID = -EINVAL,
} ServiceState;

typedef enum DependencyState {
        DEPENDENCY_PENDING,
        DEPENDENCY_STARTING,
        DEPENDENCY_CHECKING,
        DEPENDENCY_READY,
        DEPENDENCY_FAILED,
        DEPENDENCY_STOPPED,
        _DEPENDENCY_STATE_MAX,
        _DEPENDENCY_STATE_INVALID = -EINVAL,
} DependencyState;

typedef enum WakeTrigger {
        TRIGGER_CONNECTION,
        TRIGGER_MANUAL,
        TRIGGER_SCHEDULE,
        TRIGGER_PREWARM,
        TRIGGER_API,
        TRIGGER_OUTSIDE, /* nobody has asked for it: somebody else has started its containers */
        _TRIGGER_MAX,
        _TRIGGER_INVALID = -EINVAL,
} WakeTrigger;

/* The closed list of reasons. */
typedef enum FailureReason {
        FAILURE_NONE,
        FAILURE_HEALTH_CHECK_FAILED,
        FAILURE_START_FAILED,
        FAILURE_CONTAINER_EXITED,
        FAILURE_NOT_FOUND,
        FAILURE_IMAGE_MISSING,
        FAILURE_PORT_CONFLICT,
        FAILURE_NETWORK_MISSING,
        FAILURE_ENGINE_UNAVAILABLE,
        FAILURE_GLOBAL_TIMEOUT,
        FAILURE_DEPENDENCY_CYCLE,
        FAILURE_CONFIG_INVALID,
        _FAILURE_MAX,
        _FAILURE_INVALID = -EINVAL,
} FailureReason;

typedef struct DependencyStatus {
        char *container;
        bool required;
        unsigned step; /* from 1 */
        DependencyState state;
        uint64_t started_usec; /* since the wake began; 0: not yet */
        uint64_t checking_usec; /* when its start was answered, and looking whether it is ready began */
        uint64_t ready_usec;
        uint64_t estimate_usec;
        FailureReason reason;
        char *error; /* a sentence, or NULL */
} DependencyStatus;

/* Another port of the service, where its clients are forwarded to. */
typedef struct PortStatus {
        uint16_t port;
        char *address; /* of the host, as a text; "0.0.0.0" and "::" are all of one family. NULL: any */
        bool udp;
        bool accepts; /* somebody does: until then its clients wait */
        char **backends;
} PortStatus;

/* A virtual address of the service: whose clients are forwarded to these by the port that they want. */
typedef struct NameStatus {
        char *address;
        char **backends;
} NameStatus;

typedef struct Status {
        char *service;
        ServiceState state;
        uint64_t since_usec; /* CLOCK_REALTIME */
        WakeTrigger trigger;
        char *wake_id; /* UUID, or NULL */
        uint64_t elapsed_usec; /* of a wake under way: since it began; what progress is computed from */
        uint64_t estimate_usec; /* the whole wake */
        char **backends; /* "172.18.0.4:80", "[fd00::2]:80", "/run/x.sock" */
        NameStatus *names;
        size_t n_names;
        PortStatus *ports; /* that have backends of their own */
        size_t n_ports;
        unsigned holders;
        FailureReason reason;
        char *error; /* a sentence, or NULL */
        char *busy; /* what else than a client keeps it awake, to go on after "stays awake: "; NULL: nothing */
        DependencyStatus *dependencies;
        size_t n_dependencies;
} Status;

Status *status_free(Status *status);
DEFINE_CLEANUP(Status *, status_free);

/* Progress, 0 to 1: 1 only when the thing is done. */
double dependency_status_progress(const DependencyStatus *dependency, uint64_t elapsed_usec);
double status_progress(const Status *status);
/* Rounded down, and never done before it is. */
unsigned progress_percent(double share);
/* What is still to come: nothing once it is ready or has failed. */
uint64_t dependency_status_remaining(const DependencyStatus *dependency, uint64_t elapsed_usec);
uint64_t status_remaining(const Status *status);
/* How long it is until it takes longer than usual; 0: it does already. Of what is under way. */
uint64_t dependency_status_late_in(const DependencyStatus *dependency, uint64_t elapsed_usec);
uint64_t status_late_in(const Status *status);

/* NULL: none that we know. */
const char *status_trigger(const Status *status);
/* startedMs, checkingMs, readyMs and estimateMs. False for want of memory. */
bool dependency_status_add_times(const DependencyStatus *dependency, json_object *object);
/* The object of DESIGN section 3. NULL when out of memory. */
json_object *status_to_json(const Status *status);
/* Reads back what readers need: service, state, since, trigger, wakeId, backends, names, ports, holders, reason, error, busy, dependencies with
 * their name, type, state and error. Unknown members are ignored, since the writer may be newer. -EBADMSG if malformed. */
int status_from_json(Status **ret, json_object *object);

const char *service_state_to_string(ServiceState state);
ServiceState service_state_from_string(const char *text);
const char *dependency_state_to_string(DependencyState state);
DependencyState dependency_state_from_string(const char *text);
const char *wake_trigger_to_string(WakeTrigger trigger);
WakeTrigger wake_trigger_from_string(const char *text);
const char *failure_reason_to_string(FailureReason reason);
FailureReason failure_reason_from_string(const char *text);
