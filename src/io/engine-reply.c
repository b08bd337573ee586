#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>

#include "io/engine-reply.h"
#include "io/printable.h"

/* EngineReply: the table from an answer (status and text) to an outcome. The API has few statuses and many
 * meanings, so that for some of them only the sentence tells what is the matter. The sentences are those that
 * Docker 20.10 and Podman 4.3 were seen to write, and some of later versions. The first row that fits decides;
 * what fits none falls to its class of statuses. */

#define MESSAGE_MAX 512
#define DEPTH_MAX 16
#define ANY 0

static const struct {
        unsigned status;
        const char *text; /* case does not matter; NULL: any */
        EngineOutcome outcome;
} outcomes[] = {
        { 304, NULL, ENGINE_ALREADY },

        { 400, "client version",
          ENGINE_BROKEN }, /* the engine has been replaced: the version is negotiated anew */

        { 403, "already exists in network", ENGINE_ALREADY },
        { ANY, "is already connected to network", ENGINE_ALREADY },

        /* The name in this sentence may say anything, so it comes before what else a 404 can be. */
        { 404, "no such container", ENGINE_NO_CONTAINER },
        { 404, "no container with name or id", ENGINE_NO_CONTAINER },
        { 404, "no such image", ENGINE_NO_IMAGE },
        { 404, "no such exec instance", ENGINE_BROKEN }, /* the engine was restarted in between */
        { 404, "network", ENGINE_NO_NETWORK },
        { 404, "page not found", ENGINE_REFUSED },
        { 404, NULL, ENGINE_NO_CONTAINER },

        { 409, "paused", ENGINE_PAUSED },
        { 409, NULL, ENGINE_CONFLICT },

        { 500, "port is already allocated", ENGINE_PORT_TAKEN },
        { 500, "address already in use", ENGINE_PORT_TAKEN },
        { 500, "ports are not available", ENGINE_PORT_TAKEN },
        { 500, "is not paused", ENGINE_ALREADY },
        { 500, "in state paused", ENGINE_PAUSED },
        { 500, "must be in created or stopped state", ENGINE_CONFLICT },
        { 500, "no such container", ENGINE_NO_CONTAINER },
        { 500, "no such image", ENGINE_NO_IMAGE },
        { 500, "image not known", ENGINE_NO_IMAGE },
        { 500, "network not found", ENGINE_NO_NETWORK },
        { 500, "unable to find network", ENGINE_NO_NETWORK },
        { 500, "ipam error", ENGINE_REFUSED },
        /* The engine's own parts, which come back, speak of missing files as well. */
        { 500, "containerd.sock", ENGINE_BROKEN },
        { 500, "executable file", ENGINE_REFUSED },
        { 500, "command that was not found", ENGINE_REFUSED },
        { 500, "no such file or directory", ENGINE_REFUSED },
        { 500, "not a directory", ENGINE_REFUSED },
        { 500, "invalid mount config", ENGINE_REFUSED },
        { 500, "permission denied", ENGINE_REFUSED },
};

static const struct {
        const char *name;
        bool transient;
} outcome_traits[] = {
        [ENGINE_OK] = { "ok", false },
        [ENGINE_ALREADY] = { "already so", false },
        [ENGINE_NO_CONTAINER] = { "no such container", false },
        [ENGINE_NO_NETWORK] = { "no such network", false },
        [ENGINE_NO_IMAGE] = { "no such image", false },
        [ENGINE_PORT_TAKEN] = { "port taken", false },
        [ENGINE_PAUSED] = { "paused", false },
        [ENGINE_CONFLICT] = { "conflict", true },
        [ENGINE_REFUSED] = { "refused", false },
        [ENGINE_BROKEN] = { "engine failed", true },
        [ENGINE_UNREACHABLE] = { "engine unreachable", true },
        [ENGINE_TIMED_OUT] = { "timed out", true },
};

const char *engine_outcome_to_string(EngineOutcome outcome) {
        return (size_t) outcome < ELEMENTSOF(outcome_traits) ? outcome_traits[outcome].name : "unknown";
}

bool engine_outcome_is_transient(EngineOutcome outcome) {
        return (size_t) outcome < ELEMENTSOF(outcome_traits) && outcome_traits[outcome].transient;
}

static json_object *parse_object(const char *body, size_t size) {
        json_tokener *tokener;
        json_object *object;

        if (size == 0 || size > INT_MAX)
                return NULL;

        tokener = json_tokener_new_ex(DEPTH_MAX);
        if (!tokener)
                return NULL;
        object = json_tokener_parse_ex(tokener, body, (int) size);
        json_tokener_free(tokener);

        if (!json_object_is_type(object, json_type_object)) {
                json_object_put(object);
                return NULL;
        }
        return object;
}

char *engine_reply_message(const char *body, size_t size) {
        json_object *object = parse_object(body, size), *value;
        char *message;

        if (object && json_object_object_get_ex(object, "message", &value) &&
            json_object_is_type(value, json_type_string)) {
                body = json_object_get_string(value);
                size = (size_t) json_object_get_string_len(value);
        }

        message = printable_copy(body, MIN(size, (size_t) MESSAGE_MAX), true);
        json_object_put(object);
        if (!message)
                return NULL;

        /* One line: what follows a line end is mostly a stack of causes. */
        for (char *end = message + strlen(message); end > message && strchr(" \n", end[-1]); end--)
                end[-1] = '\0';
        for (char *byte = message; *byte; byte++)
                if (*byte == '\n')
                        *byte = ' ';
        return *message ? message : mfree(message);
}

bool engine_reply_is_wrong_version(const HttpResponse *response) {
        assert(response);

        return response->error == 0 && response->status == 400 && strcasestr(response->body, "client version");
}

static EngineOutcome classify_status(unsigned status, const char *message) {
        if (status >= 200 && status <= 299)
                return ENGINE_OK;

        for (size_t i = 0; i < ELEMENTSOF(outcomes); i++)
                if ((outcomes[i].status == status || outcomes[i].status == ANY) &&
                    (!outcomes[i].text || strcasestr(message, outcomes[i].text)))
                        return outcomes[i].outcome;

        return status >= 400 && status <= 499 ? ENGINE_REFUSED : ENGINE_BROKEN;
}

static EngineOutcome classify_error(const HttpResponse *response, char **ret_message) {
        const char *what = "the container engine's answer cannot be understood";
        EngineOutcome outcome = ENGINE_BROKEN;

        if (response->error == -ETIMEDOUT) {
                outcome = ENGINE_TIMED_OUT;
                what = "no answer from the container engine";
        } else if (response->error != -EBADMSG && response->error != -EFBIG && response->error != -ENOMEM) {
                outcome = ENGINE_UNREACHABLE;
                what = "cannot reach the container engine";
        }

        if (asprintf(ret_message, "%s: %s", what, response->reason) < 0)
                *ret_message = NULL;
        return outcome;
}

EngineOutcome engine_reply_classify(EngineOperation operation, const HttpResponse *response, char **ret_message) {
        EngineOutcome outcome;

        assert(response);
        assert(ret_message);

        if (response->error < 0)
                return classify_error(response, ret_message);

        *ret_message = engine_reply_message(response->body, response->size);
        outcome = classify_status(response->status, strempty(*ret_message));
        if (outcome == ENGINE_NO_CONTAINER && operation == ENGINE_PING)
                outcome = ENGINE_REFUSED; /* something answers there that is no container engine */

        if (outcome <= ENGINE_ALREADY)
                *ret_message = mfree(*ret_message);
        if (!*ret_message &&
            asprintf(ret_message, "%s (status %u)", engine_outcome_to_string(outcome), response->status) < 0)
                *ret_message = NULL;
        return outcome;
}

int engine_reply_string(const char *body, size_t size, const char *member, char **ret) {
        json_object *object = parse_object(body, size), *value;
        char *copy = NULL;

        assert(member);
        assert(ret);

        if (object && json_object_object_get_ex(object, member, &value) &&
            json_object_is_type(value, json_type_string)) {
                copy = strdup(json_object_get_string(value));
                if (!copy) {
                        json_object_put(object);
                        return -ENOMEM;
                }
        }
        json_object_put(object);
        if (!copy)
                return -EBADMSG;
        *ret = copy;
        return 0;
}

int engine_reply_exit_code(const char *body, size_t size, int *ret) {
        json_object *object = parse_object(body, size), *running, *code;
        int r = -EBADMSG;

        assert(ret);

        if (object && json_object_object_get_ex(object, "Running", &running) &&
            json_object_is_type(running, json_type_boolean)) {
                if (json_object_get_boolean(running))
                        r = -EAGAIN;
                else if (json_object_object_get_ex(object, "ExitCode", &code) &&
                         json_object_is_type(code, json_type_int)) {
                        *ret = json_object_get_int(code);
                        r = 0;
                }
        }
        json_object_put(object);
        return r;
}
