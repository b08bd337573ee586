#include <json-c/json.h>

#include "io/event-parser.h"
#include "io/printable.h"

/* EventParser: keeps what has come, and gives json-c's incremental tokener one object at a time. What waits,
 * one object, and its depth are bounded; events of other types, or of things without a proper name, are
 * passed over. */

#define PENDING_MAX ((size_t) 1024 * 1024)
#define OBJECT_MAX ((size_t) 256 * 1024)
#define DEPTH_MAX 16

static const struct {
        const char *action;
        ContainerEventType type;
} event_types[] = {
        { "start", CONTAINER_EVENT_START },
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
        json_tokener *tokener;
        char *data;
        size_t size, offset;
        size_t object_size; /* of the object that has begun */
};

void parsed_event_done(ParsedEvent *event) {
        assert(event);
        event->container = mfree(event->container);
}

int event_parser_new(EventParser **ret) {
        _cleanup_(event_parser_freep) EventParser *parser = new0(EventParser, 1);

        assert(ret);

        if (!parser)
                return -ENOMEM;
        parser->tokener = json_tokener_new_ex(DEPTH_MAX);
        if (!parser->tokener)
                return -ENOMEM;

        *ret = TAKE_PTR(parser);
        return 0;
}

EventParser *event_parser_free(EventParser *parser) {
        if (!parser)
                return NULL;

        if (parser->tokener)
                json_tokener_free(parser->tokener);
        free(parser->data);
        return mfree(parser);
}

int event_parser_feed(EventParser *parser, const char *data, size_t size) {
        size_t left = parser->size - parser->offset;
        char *larger;

        if (size > PENDING_MAX - left)
                return -ENOBUFS;

        if (parser->offset > 0)
                memmove(parser->data, parser->data + parser->offset, left);
        parser->offset = 0;
        parser->size = left;

        larger = realloc(parser->data, left + size + 1);
        if (!larger)
                return -ENOMEM;
        parser->data = larger;
        memcpy(parser->data + left, data, size);
        parser->size += size;
        return 0;
}

static json_object *member(json_object *object, const char *name) {
        json_object *value = NULL;

        return json_object_is_type(object, json_type_object) && json_object_object_get_ex(object, name, &value)
                               ? value
                               : NULL;
}

static const char *member_string(json_object *object, const char *name) {
        json_object *value = member(object, name);

        return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

/* 0: no event that we know. */
static int event_from_json(json_object *object, ParsedEvent *ret) {
        json_object *attributes = member(member(object, "Actor"), "Attributes");
        const char *action = member_string(object, "Action"), *name = member_string(attributes, "name");
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

        *ret = (ParsedEvent){
                .type = event_types[i].type,
                .container = strdup(name),
                .exit_code = (int) CLAMP(strtol(exit_code, NULL, 10), 0L, 255L),
        };
        return ret->container ? 1 : -ENOMEM;
}

/* The next object of the stream. NULL and 0: more data is needed. */
static int event_parser_object(EventParser *parser, json_object **ret) {
        size_t n;

        *ret = NULL;
        if (parser->object_size == 0) /* json-c takes blanks between objects for the beginning of one */
                while (parser->offset < parser->size && strchr(" \r\n\t", parser->data[parser->offset]))
                        parser->offset++;
        n = parser->size - parser->offset;
        if (n == 0)
                return 0;

        *ret = json_tokener_parse_ex(parser->tokener, parser->data + parser->offset, (int) n);
        switch (json_tokener_get_error(parser->tokener)) {
        case json_tokener_success:
                parser->offset += json_tokener_get_parse_end(parser->tokener);
                parser->object_size = 0;
                json_tokener_reset(parser->tokener);
                return 0;
        case json_tokener_continue:
                parser->offset = parser->size;
                parser->object_size += n;
                return parser->object_size > OBJECT_MAX ? -EBADMSG : 0;
        default:
                return -EBADMSG;
        }
}

int event_parser_next(EventParser *parser, ParsedEvent *ret) {
        assert(parser);
        assert(ret);

        for (;;) {
                json_object *object;
                size_t offset = parser->offset;
                int r;

                r = event_parser_object(parser, &object);
                if (r < 0)
                        return r;
                if (!object && parser->offset == offset)
                        return 0;
                if (!object)
                        continue;
                if (!json_object_is_type(object, json_type_object)) {
                        json_object_put(object);
                        return -EBADMSG;
                }
                r = event_from_json(object, ret);
                json_object_put(object);
                if (r != 0)
                        return r;
        }
}
