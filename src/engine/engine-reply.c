#include <limits.h>
#include <stdio.h>

#include "engine/engine-reply.h"
#include "model/service.h"
#include "util/json-members.h"
#include "util/printable.h"

/* EngineReply: the table from an answer (status and text) to an outcome. The API has few statuses and many
 * meanings, so that for some of them only the sentence tells what is the matter. The sentences are those that
 * Docker 20.10 and Podman 4.3 were seen to write, and some of later versions. The first row that fits decides;
 * what fits none falls to its class of statuses. */

#define VERSION_MIN 24U
#define VERSION_MAX 47U
#define MESSAGE_MAX 512
#define DEPTH_MAX 32
#define VALUES_MAX ((size_t) 64 * 1024)
#define LIST_VALUES_MAX ((size_t) 1024 * 1024)
#define WORDS_MAX ((size_t) 1024)
#define NAMES_MAX ((size_t) 16 * 1024)
#define ANY 0

DEFINE_CLEANUP(json_tokener *, json_tokener_free);

static const struct {
        unsigned status;
        const char *text; /* case does not matter; NULL: any */
        EngineOutcome outcome;
        EngineOperation operation; /* ENGINE_ANY_OPERATION: all */
} outcomes[] = {
        { 304, NULL, ENGINE_ALREADY },

        { 400, "client version",
          ENGINE_BROKEN }, /* the engine has been replaced: the version is negotiated anew */

        { 403, "already exists in network", ENGINE_ALREADY },
        { ANY, "is already connected to network", ENGINE_ALREADY },

        /* Something answers there that is no container engine. */
        { 404, NULL, ENGINE_REFUSED, ENGINE_PING },

        { ANY, "no such volume", ENGINE_PART_MISSING, ENGINE_START },
        { 400, "no such container", ENGINE_PART_MISSING, ENGINE_START },
        { 500, "no such container", ENGINE_PART_MISSING, ENGINE_START }, /* with 404 it may be itself */

        /* The name in this sentence may say anything, so it comes before what else a 404 can be. */
        { 404, "no such container", ENGINE_NO_CONTAINER },
        { 404, "no container with name or id", ENGINE_NO_CONTAINER },
        { 404, "no such image", ENGINE_NO_IMAGE },
        { 404, NULL, ENGINE_NO_CONTAINER, ENGINE_INSPECT_EXEC },
        { 404, "no such exec instance", ENGINE_BROKEN }, /* the engine was restarted in between */
        { 404, "network", ENGINE_NO_NETWORK },
        { 404, "page not found", ENGINE_REFUSED },
        { 404, NULL, ENGINE_NO_CONTAINER },

        /* Docker 409, Podman 500. */
        { ANY, "is already paused", ENGINE_ALREADY, ENGINE_PAUSE },
        { ANY, "is not running", ENGINE_NOT_RUNNING, ENGINE_PAUSE },
        { ANY, "non running container", ENGINE_OTHER_STOPPED, ENGINE_START },
        { ANY, "is not running", ENGINE_OTHER_STOPPED, ENGINE_START },
        { 409, "marked for removal", ENGINE_CONFLICT },
        { 409, "paused", ENGINE_PAUSED },
        { 409, NULL, ENGINE_CONFLICT },

        { 500, "port is already allocated", ENGINE_PORT_TAKEN },
        { 500, "all ports are allocated", ENGINE_PORT_TAKEN }, /* of a range */
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
        { 500, "no available ipv4 addresses", ENGINE_REFUSED },
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
        [ENGINE_NOT_RUNNING] = { "not running", false },
        [ENGINE_OTHER_STOPPED] = { "another container does not run", true },
        [ENGINE_PART_MISSING] = { "a part is missing", false },
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

/* A byte or two of text can become an object of several hundred: what would be too many is not built at all. Those
 * within strings are counted as well. */
static bool is_modest(const char *body, size_t size, size_t values_max) {
        size_t n = 0;

        for (size_t i = 0; i < size; i++)
                n += body[i] == ',' || body[i] == '{' || body[i] == '[';
        return n <= values_max;
}

json_object *engine_reply_parse(const char *body, size_t size) {
        _cleanup_(json_tokener_freep) json_tokener *tokener = NULL;
        json_object *object;

        assert(body || size == 0);

        if (size == 0 || size > INT_MAX || !is_modest(body, size, VALUES_MAX))
                return NULL;

        tokener = json_tokener_new_ex(DEPTH_MAX);
        if (!tokener)
                return NULL;
        object = json_tokener_parse_ex(tokener, body, (int) size);
        if (!json_object_is_type(object, json_type_object)) {
                json_object_put(object);
                return NULL;
        }
        return object;
}

static const char *skip_space(const char *text, const char *end) {
        while (text < end && strchr(" \t\r\n", *text) && *text)
                text++;
        return text;
}

int engine_reply_each(const char *body, size_t size, EngineItemHandler handler, void *userdata) {
        _cleanup_(json_tokener_freep) json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX - 1);
        const char *text, *end = body + size;

        assert(body || size == 0);

        if (!tokener)
                return -ENOMEM;
        text = skip_space(body, end);
        if (size > INT_MAX || text == end || *text++ != '[' || !is_modest(body, size, LIST_VALUES_MAX))
                return -EBADMSG;
        text = skip_space(text, end);
        for (bool first = true; text < end && *text != ']'; first = false) {
                _cleanup_(json_freep) json_object *item = NULL;
                int r;

                if (!first && *text++ != ',')
                        return -EBADMSG;
                item = json_tokener_parse_ex(tokener, text, (int) (end - text));
                if (json_tokener_get_error(tokener) != json_tokener_success)
                        return -EBADMSG;
                text = skip_space(text + json_tokener_get_parse_end(tokener), end);
                json_tokener_reset(tokener);
                r = handler(item, userdata);
                if (r < 0)
                        return r;
        }
        return text < end && skip_space(text + 1, end) == end ? 0 : -EBADMSG;
}

char *engine_reply_message(const char *body, size_t size) {
        _cleanup_(json_freep) json_object *object = engine_reply_parse(body, size);
        json_object *value = json_member_of(object, "message", json_type_string);
        char *message;

        if (value) {
                body = json_object_get_string(value);
                size = (size_t) json_object_get_string_len(value);
        }

        message = printable_copy(body, MIN(size, (size_t) MESSAGE_MAX), true);
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

unsigned engine_reply_version(const char *text) {
        unsigned minor = 0;

        if (!text || strncmp(text, "1.", 2) != 0)
                return VERSION_MIN;
        for (text += 2; *text >= '0' && *text <= '9' && minor < VERSION_MAX; text++)
                minor = minor * 10 + (unsigned) (*text - '0');
        return CLAMP(minor, VERSION_MIN, VERSION_MAX);
}

/* Docker and Podman answer these with 204 alone: anything else comes from somebody who has not done it. */
static bool is_done_without_a_word(EngineOperation operation) {
        return operation == ENGINE_START || operation == ENGINE_STOP || operation == ENGINE_RESTART ||
               operation == ENGINE_PAUSE || operation == ENGINE_UNPAUSE;
}

static bool is_success(unsigned status) {
        return status >= 200 && status <= 299;
}

static EngineOutcome classify_status(EngineOperation operation, unsigned status, const char *message) {
        if (is_success(status))
                return status != 204 && is_done_without_a_word(operation) ? ENGINE_BROKEN : ENGINE_OK;

        for (size_t i = 0; i < ELEMENTSOF(outcomes); i++)
                if ((outcomes[i].status == status || outcomes[i].status == ANY) &&
                    (outcomes[i].operation == operation || outcomes[i].operation == ENGINE_ANY_OPERATION) &&
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

        /* A success has what was asked for, and no word about it. */
        *ret_message = is_success(response->status) ? NULL : engine_reply_message(response->body, response->size);
        outcome = classify_status(operation, response->status, strempty(*ret_message));

        if (outcome <= ENGINE_ALREADY)
                *ret_message = mfree(*ret_message);
        if (!*ret_message &&
            asprintf(ret_message, "%s (status %u)", engine_outcome_to_string(outcome), response->status) < 0)
                *ret_message = NULL;
        return outcome;
}

int engine_reply_string(const char *body, size_t size, const char *name, char **ret) {
        _cleanup_(json_freep) json_object *object = engine_reply_parse(body, size);
        const char *text = json_member_text(object, name);
        char *copy;

        assert(ret);

        if (!text)
                return -EBADMSG;
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

int engine_reply_exit_code(const char *body, size_t size, int *ret) {
        _cleanup_(json_freep) json_object *object = engine_reply_parse(body, size);
        json_object *running = json_member_of(object, "Running", json_type_boolean),
                    *code = json_member_of(object, "ExitCode", json_type_int);

        assert(ret);

        if (json_object_get_boolean(running))
                return -EAGAIN;
        if (!running || !code)
                return -EBADMSG;
        *ret = json_object_get_int(code);
        return 0;
}

/* What would not be the same command is none. */
int engine_reply_words(char ***words, json_object *array, size_t first) {
        size_t n = json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;

        if (n > WORDS_MAX)
                return -EBADMSG;
        for (size_t i = first; i < n; i++) {
                const char *text = json_text(json_object_array_get_idx(array, i));

                if (!text)
                        return -EBADMSG;
                if (strv_append(words, text) < 0)
                        return -ENOMEM;
        }
        return 0;
}

int engine_reply_exec_argv(const char *body, size_t size, char ***ret) {
        _cleanup_(json_freep) json_object *object = engine_reply_parse(body, size);
        json_object *running = json_member_of(object, "Running", json_type_boolean),
                    *process = json_member(object, "ProcessConfig");
        _cleanup_(strv_freep) char **argv = NULL;
        int r = running ? 0 : -EBADMSG;

        if (json_object_get_boolean(running)) {
                r = strv_append(&argv, strempty(json_member_text(process, "entrypoint")));
                /* They may be null. */
                if (r >= 0)
                        r = engine_reply_words(&argv, json_member(process, "arguments"), 0);
        }
        if (r >= 0)
                *ret = TAKE_PTR(argv);
        return r;
}

typedef struct NameList {
        char **names;
        bool internal;
} NameList;

static int add_names(json_object *entry, void *userdata) {
        static const char *const keys[] = { "Id", "Name" };
        json_object *tags = json_member_of(entry, "RepoTags", json_type_array);
        NameList *list = userdata;
        int r = strv_length(list->names) < NAMES_MAX ? 0 : -EBADMSG;

        if (list->internal && !json_object_get_boolean(json_member(entry, "Internal")))
                return r;
        for (size_t k = 0; r >= 0 && k < ELEMENTSOF(keys); k++)
                if (engine_name_is_valid(json_member_text(entry, keys[k])))
                        r = strv_append(&list->names, json_member_text(entry, keys[k]));
        for (size_t k = 0; r >= 0 && tags && k < json_object_array_length(tags); k++) {
                const char *tag = json_text(json_object_array_get_idx(tags, k));

                if (tag)
                        r = strv_append(&list->names, tag);
        }
        return r;
}

int engine_reply_names(const char *body, size_t size, bool internal, char ***ret) {
        NameList list = { .internal = internal };
        int r;

        assert(ret);

        r = engine_reply_each(body, size, add_names, &list);
        if (r < 0) {
                strv_free(list.names);
                return r;
        }
        *ret = list.names;
        return 0;
}
