#include "engine/engine-reply.h"
#include "engine/event-parser.h"
#include "model/service.h"
#include "util/json-members.h"

/* EventParser: keeps what has come, finds where an object ends, and has that parsed in one go. (json-c's own
 * way to take pieces knows comments and bare values, so that what it finds depends on where a piece ends.)
 * What waits, one object, and its depth are bounded; events of other types, or of things without a proper
 * name, are passed over. */

#define PENDING_MAX ((size_t) 1024 * 1024)
#define OBJECT_MAX ((size_t) 128 * 1024)
#define DEPTH_MAX 16U

/* The stream asks for these only (engine.c). */
static const struct {
        const char *action;
        ContainerEventType type;
} event_types[] = {
        { "start", CONTAINER_EVENT_START },
        { "kill", CONTAINER_EVENT_KILL },
        { "die", CONTAINER_EVENT_DIE },
        { "died", CONTAINER_EVENT_DIE }, /* Podman */
        { "stop", CONTAINER_EVENT_STOP },
        { "destroy", CONTAINER_EVENT_DESTROY },
        { "remove", CONTAINER_EVENT_DESTROY }, /* Podman */
        { "pause", CONTAINER_EVENT_PAUSE },
        { "unpause", CONTAINER_EVENT_UNPAUSE },
        { "health_status: healthy", CONTAINER_EVENT_HEALTHY },
        { "health_status: unhealthy", CONTAINER_EVENT_UNHEALTHY },
};

struct EventParser {
        char *data;
        size_t size;
        size_t begin; /* of the first object that was not handed on */
        size_t end; /* how much of it was looked at */
        unsigned depth;
        bool in_string, escaped;
};

void container_event_done(ContainerEvent *event) {
        free((char *) event->container);
        free((char *) event->id);
        *event = (ContainerEvent){};
}

int event_parser_new(EventParser **ret) {
        EventParser *parser = new0(EventParser, 1);

        assert(ret);

        if (!parser)
                return -ENOMEM;
        *ret = parser;
        return 0;
}

EventParser *event_parser_free(EventParser *parser) {
        if (!parser)
                return NULL;

        free(parser->data);
        return mfree(parser);
}

int event_parser_feed(EventParser *parser, const char *data, size_t size) {
        size_t left = parser->size - parser->begin;
        char *larger;

        if (size > PENDING_MAX - left)
                return -ENOBUFS;

        if (parser->begin > 0)
                memmove(parser->data, parser->data + parser->begin, left);
        parser->end -= parser->begin;
        parser->begin = 0;
        parser->size = left;

        larger = realloc(parser->data, left + size + 1);
        if (!larger)
                return -ENOMEM;
        parser->data = larger;
        memcpy(parser->data + left, data, size);
        parser->size += size;
        return 0;
}

static const char *member_string(json_object *object, const char *name) {
        return strempty(json_member_text(object, name));
}

/* 0: no event that we know. */
static int event_from_json(json_object *object, ContainerEvent *ret) {
        json_object *actor = json_member(object, "Actor"), *attributes = json_member(actor, "Attributes");
        const char *action = member_string(object, "Action"), *name = member_string(attributes, "name");
        const char *id = member_string(actor, "ID");
        const char *exit_code = member_string(attributes, "exitCode");
        size_t i = 0;

        if (!streq(member_string(object, "Type"), "container") || !engine_name_is_valid(name))
                return 0;
        while (i < ELEMENTSOF(event_types) && !streq(action, event_types[i].action))
                i++;
        if (i == ELEMENTSOF(event_types))
                return 0;
        if (!*exit_code)
                exit_code = member_string(attributes, "containerExitCode");

        *ret = (ContainerEvent){
                .type = event_types[i].type,
                .container = strdup(name),
                .id = strdup(engine_name_is_valid(id) ? id : ""),
                .exit_code = (int) CLAMP(strtol(exit_code, NULL, 10), 0L, 255L),
                .signal = engine_signal_from_string(member_string(attributes, "signal")),
        };
        if (ret->container && ret->id)
                return 1;
        container_event_done(ret);
        return -ENOMEM;
}

static bool is_blank(char byte) {
        return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* Takes one byte of an object: has it ended with that? */
static bool event_parser_step(EventParser *parser, char byte) {
        if (parser->in_string) {
                if (parser->escaped)
                        parser->escaped = false;
                else if (byte == '\\')
                        parser->escaped = true;
                else
                        parser->in_string = byte != '"';
                return false;
        }

        parser->in_string = byte == '"';
        parser->depth += byte == '{' || byte == '[';
        parser->depth -= byte == '}' || byte == ']';
        return parser->depth == 0;
}

/* Finds the next whole object, which then lies between `begin` and `end`. 1; 0: more data is needed. */
static int event_parser_find(EventParser *parser) {
        if (parser->depth == 0) {
                while (parser->begin < parser->size && is_blank(parser->data[parser->begin]))
                        parser->begin++;
                parser->end = parser->begin;
                if (parser->begin < parser->size && parser->data[parser->begin] != '{')
                        return -EBADMSG;
        }

        while (parser->end < parser->size) {
                if (event_parser_step(parser, parser->data[parser->end++]))
                        return 1;
                if (parser->depth > DEPTH_MAX || parser->end - parser->begin > OBJECT_MAX)
                        return -EBADMSG;
        }
        return 0;
}

int event_parser_next(EventParser *parser, ContainerEvent *ret) {
        int r;

        assert(parser);
        assert(ret);

        while ((r = event_parser_find(parser)) > 0) {
                json_object *object =
                                engine_reply_parse(parser->data + parser->begin, parser->end - parser->begin);

                if (!object)
                        return -EBADMSG;
                parser->begin = parser->end;
                r = event_from_json(object, ret);
                json_object_put(object);
                if (r != 0)
                        return r;
        }
        return r;
}
