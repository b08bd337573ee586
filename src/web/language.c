#include <stdio.h>

#include "util/json-members.h"
#include "web/language.h"

/* Language: tables of phrases, and the choice between their columns by RFC 9110, section 12.5.4. Titles are of any gender, so the French
 * sentences around them avoid one. */

/* No browser sends more; whatever is behind is not looked at. */
#define HEADER_MAX 1024
#define QUALITY_MAX 1000

static const char *const language_names[_LANGUAGE_MAX] = { [LANGUAGE_ENGLISH] = "en", [LANGUAGE_FRENCH] = "fr" };

typedef struct Phrase {
        const char *name;
        const char *in[_LANGUAGE_MAX];
} Phrase;

static const Phrase phrases[] = {
        /* What follows the title */
        { "WAKING", { "is waking up", "se réveille" } },
        { "READY", { "is up", "est en ligne" } },
        { "FAILED", { "did not wake up", "n’a pas pu se réveiller" } },
        { "ASLEEP", { "is asleep", "est en sommeil" } },
        /* The sentence below */
        { "LEAD_WAKING",
          { "It was asleep to save power. It opens here by itself as soon as it is ready.",
            "En sommeil pour économiser l’énergie, le site s’ouvrira ici de lui-même dès qu’il sera prêt." } },
        { "LEAD_READY", { "Opening it now…", "Ouverture…" } },
        { "LEAD_FAILED",
          { "What had been started for it was stopped again.",
            "Ce qui avait été démarré a de nouveau été arrêté." } },
        { "LEAD_ASLEEP",
          { "It was put to sleep while you were waiting.",
            "La mise en sommeil a eu lieu pendant que vous attendiez." } },
        { "RECONNECTING", { "Connection lost, trying again…", "Connexion perdue, nouvel essai…" } },
        /* The rest of the page */
        { "PROGRESS", { "Progress", "Progression" } },
        { "PERCENT", { "%", " %" } },
        { "PARTS", { "What it is made of", "Ce qui le compose" } },
        { "PART", { "Part", "Élément" } },
        { "OPTIONAL", { "optional", "facultatif" } },
        { "REASON", { "Reason", "Raison" } },
        { "WHAT_FAILED", { "What failed", "Ce qui a échoué" } },
        { "RETRY", { "Try again", "Réessayer" } },
        { "WAKE", { "Wake it up", "Réveiller" } },
        /* # is a number */
        { "RETRY_IN", { "A new attempt is possible in # s.", "Nouvel essai possible dans # s." } },
        { "LEFT_SECONDS", { "about # s left", "encore # s environ" } },
        { "LEFT_MINUTES", { "about # min left", "encore # min environ" } },
        { "LEFT_LONGER", { "taking longer than usual", "plus long que d’habitude" } },
        { "LEFT_MOMENT", { "any moment now", "d’un instant à l’autre" } },
};

static const char *const states[_DEPENDENCY_STATE_MAX][_LANGUAGE_MAX] = {
        [DEPENDENCY_PENDING] = { "waiting", "en attente" },
        [DEPENDENCY_STARTING] = { "starting", "démarrage" },
        [DEPENDENCY_CHECKING] = { "checking", "vérification" },
        [DEPENDENCY_READY] = { "ready", "prêt" },
        [DEPENDENCY_FAILED] = { "failed", "échec" },
        [DEPENDENCY_STOPPED] = { "stopped", "arrêt" },
};

static const char *const reasons[_FAILURE_MAX][_LANGUAGE_MAX] = {
        [FAILURE_NONE] = { "not known", "inconnue" },
        [FAILURE_HEALTH_CHECK_FAILED] = { "it started, but did not become ready in time",
                                          "démarrage effectué, mais pas prêt dans le temps imparti" },
        [FAILURE_START_FAILED] = { "it could not be started", "le démarrage a échoué" },
        [FAILURE_CONTAINER_EXITED] = { "it started and ended again", "arrêt inattendu juste après le démarrage" },
        [FAILURE_NOT_FOUND] = { "it does not exist on this server", "introuvable sur ce serveur" },
        [FAILURE_IMAGE_MISSING] = { "its image is missing on this server", "son image manque sur ce serveur" },
        [FAILURE_PORT_CONFLICT] = { "a port that it needs is taken", "un port nécessaire est déjà pris" },
        [FAILURE_NETWORK_MISSING] = { "a network that it needs is missing", "un réseau nécessaire manque" },
        [FAILURE_ENGINE_UNAVAILABLE] = { "the container engine does not answer",
                                         "le moteur de conteneurs ne répond pas" },
        [FAILURE_GLOBAL_TIMEOUT] = { "all of it together took too long", "l’ensemble a pris trop de temps" },
        [FAILURE_DEPENDENCY_CYCLE] = { "its parts wait for each other", "ses éléments s’attendent l’un l’autre" },
        [FAILURE_CONFIG_INVALID] = { "its configuration is not valid", "sa configuration n’est pas valide" },
};

static Language valid(Language language) {
        return language >= 0 && language < _LANGUAGE_MAX ? language : LANGUAGE_ENGLISH;
}

const char *language_to_string(Language language) {
        return language_names[valid(language)];
}

Language language_from_string(const char *text) {
        for (int i = 0; text && i < _LANGUAGE_MAX; i++)
                if (streq(language_names[i], text))
                        return i;
        return _LANGUAGE_INVALID;
}

static bool is_space(char c) {
        return c == ' ' || c == '\t';
}

static const char *skip_spaces(const char *text, const char *end) {
        while (text < end && is_space(*text))
                text++;
        return text;
}

/* "q=0.8" in thousandths; what is none counts as 1, as if it were not there. */
static unsigned quality(const char *text, const char *end) {
        unsigned value, place = QUALITY_MAX;

        text = skip_spaces(text, end);
        if (end - text < 3 || (text[0] != 'q' && text[0] != 'Q') || text[1] != '=')
                return QUALITY_MAX;
        value = text[2] == '0' ? 0 : QUALITY_MAX;
        for (text += 3; text < end && value < QUALITY_MAX; text++)
                if (*text >= '0' && *text <= '9')
                        value += (unsigned) (*text - '0') * (place /= 10);
                else if (*text != '.')
                        break;
        return MIN(value, (unsigned) QUALITY_MAX);
}

/* Whether a range ("fr", "fr-CH", "*") names the language; 2 by name, 1 by the star. */
static unsigned range_matches(const char *range, const char *end, Language language) {
        while (range < end && is_space(end[-1]))
                end--;
        if (end - range == 1 && *range == '*')
                return 1;
        if (end - range < 2 || (end - range > 2 && range[2] != '-'))
                return 0;
        return strncasecmp(range, language_names[language], 2) == 0 ? 2 : 0;
}

typedef struct Wish {
        unsigned quality, exactness;
} Wish;

/* One element of the list. What names a language counts more than a star, wherever it stands; of "fr-CH;q=0.9, fr" the better. */
static void consider(const char *range, const char *end, Wish wishes[static _LANGUAGE_MAX]) {
        const char *parameter = memchr(range, ';', (size_t) (end - range));
        unsigned value = parameter ? quality(parameter + 1, end) : QUALITY_MAX;

        for (int i = 0; i < _LANGUAGE_MAX; i++) {
                unsigned exactness = range_matches(range, parameter ?: end, i);

                if (exactness > wishes[i].exactness)
                        wishes[i] = (Wish){ value, exactness };
                else if (exactness > 0 && exactness == wishes[i].exactness)
                        wishes[i].quality = MAX(wishes[i].quality, value);
        }
}

Language language_negotiate(const char *accept_language) {
        Wish wishes[_LANGUAGE_MAX] = {};
        Language first = LANGUAGE_ENGLISH;
        const char *end, *at = accept_language;

        if (!at)
                return LANGUAGE_ENGLISH;
        end = at + strnlen(at, HEADER_MAX);
        while (at < end) {
                const char *comma = memchr(at, ',', (size_t) (end - at)) ?: end;

                consider(skip_spaces(at, comma), comma, wishes);
                /* Of equals, the one that is named first. */
                if (wishes[LANGUAGE_FRENCH].exactness == 2 && wishes[LANGUAGE_ENGLISH].exactness < 2)
                        first = LANGUAGE_FRENCH;
                at = comma < end ? comma + 1 : end;
        }
        if (wishes[LANGUAGE_FRENCH].quality == wishes[LANGUAGE_ENGLISH].quality)
                return wishes[LANGUAGE_FRENCH].quality > 0 ? first : LANGUAGE_ENGLISH;
        return wishes[LANGUAGE_FRENCH].quality > wishes[LANGUAGE_ENGLISH].quality ? LANGUAGE_FRENCH
                                                                                  : LANGUAGE_ENGLISH;
}

const char *language_text(Language language, const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(phrases); i++)
                if (streq(phrases[i].name, name))
                        return phrases[i].in[valid(language)];
        return NULL;
}

const char *language_state(Language language, DependencyState state) {
        assert(state >= 0 && state < _DEPENDENCY_STATE_MAX);

        return states[state][valid(language)];
}

const char *language_reason(Language language, FailureReason reason) {
        return reasons[reason >= 0 && reason < _FAILURE_MAX ? reason : FAILURE_NONE][valid(language)];
}

/* Rounded as a person would say it, so that a countdown does not hurry; page.js does the same. */
const char *language_left(Language language, uint64_t span_usec, char buffer[static LANGUAGE_LEFT_MAX]) {
        uint64_t seconds = usec_add(span_usec, USEC_PER_SEC - 1) / USEC_PER_SEC;
        const char *text, *number;

        if (seconds < 2)
                return language_text(language, "LEFT_MOMENT");
        if (seconds > 10)
                seconds = (seconds + 4) / 5 * 5;
        text = language_text(language, seconds < 90 ? "LEFT_SECONDS" : "LEFT_MINUTES");
        if (seconds >= 90)
                seconds = MIN((seconds + 59) / 60, UINT64_C(9999));
        number = strchr(text, '#');
        (void) snprintf(buffer, LANGUAGE_LEFT_MAX, "%.*s%u%s", (int) (number - text), text, (unsigned) seconds,
                        number + 1);
        return buffer;
}

json_object *language_to_json(Language language) {
        json_object *object = json_object_new_object(), *parts[3];
        static const char *const names[] = { "texts", "states", "reasons" };
        bool fine = object;

        language = valid(language);
        for (size_t i = 0; i < ELEMENTSOF(parts) && fine; i++) {
                parts[i] = json_object_new_object();
                fine = json_add(object, names[i], parts[i]);
        }
        for (size_t i = 0; i < ELEMENTSOF(phrases) && fine; i++)
                fine = json_add_text(parts[0], phrases[i].name, phrases[i].in[language]);
        for (int i = 0; i < _DEPENDENCY_STATE_MAX && fine; i++)
                fine = json_add_text(parts[1], dependency_state_to_string(i), states[i][language]);
        for (int i = FAILURE_NONE + 1; i < _FAILURE_MAX && fine; i++)
                fine = json_add_text(parts[2], failure_reason_to_string(i), reasons[i][language]);
        return json_built(object, fine);
}
