#pragma once

/* Language: the texts of the wait page, in English and French. */

#include <json-c/json.h>
#include "model/status.h"

typedef enum Language {
        LANGUAGE_ENGLISH,
        LANGUAGE_FRENCH,
        _LANGUAGE_MAX,
        _LANGUAGE_INVALID = -EINVAL,
} Language;

/* "en", "fr". */
const char *language_to_string(Language language);
Language language_from_string(const char *text);

/* By the value of an Accept-Language header, which may be NULL. English where nothing fits. */
Language language_negotiate(const char *accept_language);

/* By name ("RETRY"); NULL if there is no such text. */
const char *language_text(Language language, const char *name);
/* Of a dependency, and of why a wake failed: a half sentence. */
const char *language_state(Language language, DependencyState state);
const char *language_reason(Language language, FailureReason reason);

/* "about 8 s left". */
#define LANGUAGE_LEFT_MAX 64
const char *language_left(Language language, uint64_t span_usec, char buffer[static LANGUAGE_LEFT_MAX]);

/* All of it for the page's script: {"texts":{NAME:…},"states":{…},"reasons":{…}}. NULL when out of memory. */
json_object *language_to_json(Language language);
