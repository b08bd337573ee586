#include <inttypes.h>
#include <systemd/sd-bus.h>

#include "manager/activation.h"
#include "util/log.h"
#include "util/time.h"

/* Activation: systemd does not say what has begun a run, but it says when its units changed. A connection makes the socket "running" first, and
 * then the service leaves "inactive". Who asks for the service moves the service first, and the socket stays as it is until somebody connects
 * or the service is up. And a start that waits for the end of the run before leaves the socket as that run had it. So a socket that
 * has last changed between the end of the run before and the begin of this one has begun this one. */

#define SYSTEMD_DESTINATION "org.freedesktop.systemd1"
#define UNIT_PREFIX "/org/freedesktop/systemd1/unit"
#define PATIENCE (5 * USEC_PER_SEC)

typedef enum Moment {
        SERVICE_ENDED, /* the run before; 0: there was none */
        SERVICE_BEGAN,
        SOCKET_CHANGED,
        _MOMENT_MAX,
} Moment;

static const struct {
        const char *property;
        bool of_socket;
} moments[] = {
        [SERVICE_ENDED] = { "InactiveEnterTimestampMonotonic", false },
        [SERVICE_BEGAN] = { "InactiveExitTimestampMonotonic", false },
        [SOCKET_CHANGED] = { "StateChangeTimestampMonotonic", true },
};

typedef struct Question {
        Activation *activation;
        sd_bus_slot *slot;
        bool answered;
        uint64_t usec;
} Question;

struct Activation {
        sd_bus *bus;
        Question questions[_MOMENT_MAX];
        ActivationHandler handler;
        void *userdata;
};

static int activation_decide(const Activation *activation) {
        uint64_t ended = activation->questions[SERVICE_ENDED].usec,
                 began = activation->questions[SERVICE_BEGAN].usec;
        uint64_t changed = activation->questions[SOCKET_CHANGED].usec;

        log_debug("The run before ended at %" PRIu64 ", the socket changed at %" PRIu64
                  ", this one began at %" PRIu64 ".",
                  ended, changed, began);
        return ended <= changed && changed < began;
}

static int activation_on_answer(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        Question *question = ASSERT_PTR(userdata);
        Activation *activation = question->activation;
        int r;

        r = sd_bus_message_is_method_error(message, NULL)
                            ? -sd_bus_message_get_errno(message)
                            : sd_bus_message_read(message, "v", "t", &question->usec);
        if (r < 0) {
                activation->handler(activation, r, activation->userdata);
                return 0;
        }
        question->answered = true;
        for (size_t i = 0; i < _MOMENT_MAX; i++)
                if (!activation->questions[i].answered)
                        return 0;
        activation->handler(activation, activation_decide(activation), activation->userdata);
        return 0;
}

static int activation_ask(Activation *activation, Moment moment, const char *unit) {
        Question *question = &activation->questions[moment];
        _cleanup_free_ char *path = NULL;
        int r;

        question->activation = activation;
        r = sd_bus_path_encode(UNIT_PREFIX, unit, &path);
        if (r < 0)
                return r;
        return sd_bus_call_method_async(activation->bus, &question->slot, SYSTEMD_DESTINATION, path,
                                        "org.freedesktop.DBus.Properties", "Get", activation_on_answer, question,
                                        "ss", SYSTEMD_DESTINATION ".Unit", moments[moment].property);
}

int activation_new(Activation **ret, sd_event *event, const char *service, const char *socket,
                   ActivationHandler handler, void *userdata) {
        _cleanup_(activation_freep) Activation *activation = NULL;
        int r;

        assert(handler);

        activation = new0(Activation, 1);
        if (!activation)
                return -ENOMEM;
        *activation = (Activation){ .handler = handler, .userdata = userdata };

        r = sd_bus_open_system(&activation->bus);
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(activation->bus, PATIENCE);
        if (r >= 0)
                r = sd_bus_attach_event(activation->bus, event, SD_EVENT_PRIORITY_NORMAL);
        for (Moment moment = 0; r >= 0 && moment < _MOMENT_MAX; moment++)
                r = activation_ask(activation, moment, moments[moment].of_socket ? socket : service);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(activation);
        return 0;
}

Activation *activation_free(Activation *activation) {
        if (!activation)
                return NULL;

        for (size_t i = 0; i < _MOMENT_MAX; i++)
                sd_bus_slot_unref(activation->questions[i].slot);
        sd_bus_close_unref(activation->bus);
        return mfree(activation);
}
