#pragma once

/* EngineReply: from an answer of the engine to what it means. For the engine, tests and the fuzzer. */

#include <json-c/json_types.h>

#include "engine/engine.h"
#include "engine/http-client.h"

typedef enum EngineOperation {
        ENGINE_ANY_OPERATION,
        ENGINE_PING,
        ENGINE_INSPECT,
        ENGINE_START,
        ENGINE_STOP,
        ENGINE_PAUSE,
        ENGINE_UNPAUSE,
        ENGINE_LOGS,
        ENGINE_EXEC,
        ENGINE_INSPECT_EXEC,
        ENGINE_RESTART,
        ENGINE_INSPECT_NETWORK,
        ENGINE_CONNECT_NETWORK,
        ENGINE_DISCONNECT_NETWORK,
        ENGINE_LIST,
        ENGINE_LIST_NAMES,
        ENGINE_LIST_INTERNAL,
        ENGINE_INFO,
        _ENGINE_OPERATION_MAX,
} EngineOperation;

/* `ret_message` gets the engine's own sentence, or ours; one line, the caller's, NULL only if there is no
 * memory. */
EngineOutcome engine_reply_classify(EngineOperation operation, const HttpResponse *response, char **ret_message);
/* The "message" of an error's body, or the body itself if it is no JSON. NULL: nothing in it. */
char *engine_reply_message(const char *body, size_t size);
/* The engine answers that it does not know our version of the API: it has been replaced since it was asked. */
bool engine_reply_is_wrong_version(const HttpResponse *response);
/* The minor of the version to be spoken with an engine that says "1.MINOR" is its newest: 24 to 47. NULL: it
 * says nothing. */
unsigned engine_reply_version(const char *text);
/* NULL: it is no object, deeper than 32 levels, of more than 65536 values, or there is no memory. The caller puts it. */
json_object *engine_reply_parse(const char *body, size_t size);
/* Returns a negative errno to end it. */
typedef int (*EngineItemHandler)(json_object *item, void *userdata);
/* Hands over what the list has, one at a time: built as a whole, it would take twenty times its size. What the handler returns if that is
 * negative; -EBADMSG if it is no list, as deep as above, of up to 1048576 values: some may have been handed over already. -ENOMEM. */
int engine_reply_each(const char *body, size_t size, EngineItemHandler handler, void *userdata);
/* A string member of a JSON object, as the caller's copy. -EBADMSG. */
int engine_reply_string(const char *body, size_t size, const char *name, char **ret);
/* The reply to GET /exec/ID/json. -EAGAIN while it runs, -EBADMSG. */
int engine_reply_exit_code(const char *body, size_t size, int *ret);
/* The same: what it runs; NULL: it does not run. -EBADMSG. */
int engine_reply_exec_argv(const char *body, size_t size, char ***ret);
/* Appends the strings of an array (no array: none) from the one at `first` on. -EBADMSG: too many, or what is no text; -ENOMEM. */
int engine_reply_words(char ***words, json_object *array, size_t first);
/* The reply to GET /networks or /images/json: the names and ids that are fit for a request, and tags of images as they are; `internal`: of
 * networks that are. -EBADMSG. */
int engine_reply_names(const char *body, size_t size, bool internal, char ***ret);
