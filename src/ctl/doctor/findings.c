#include <stdarg.h>

#include "ctl/doctor/findings.h"
#include "util/names.h"
#include "util/printable.h"
#include "util/text.h"

static char *copy(const char *text) {
        return text ? printable_copy(text, strlen(text), /* keep_lines= */ false) : NULL;
}

void findings_done(Findings *findings) {
        for (size_t i = 0; i < findings->n; i++) {
                free(findings->list[i].what);
                free(findings->list[i].why);
                free(findings->list[i].fix);
        }
        free(findings->list);
        *findings = (Findings){};
}

void findings_add(Findings *findings, FindingLevel level, const char *why, const char *fix, const char *what,
                  ...) {
        Finding *larger = reallocarray(findings->list, findings->n + 1, sizeof(*larger));
        _cleanup_free_ char *text = NULL;
        va_list arguments;

        findings->counts[level]++;
        if (!larger)
                return;
        findings->list = larger;
        va_start(arguments, what);
        text = text_vprintf(what, arguments);
        va_end(arguments);
        larger[findings->n++] = (Finding){
                .level = level,
                .check = findings->check,
                .what = copy(text),
                .why = copy(why),
                .fix = copy(fix),
        };
}

const char *finding_level_to_string(FindingLevel level) {
        static const char *const levels[_FINDING_LEVEL_MAX] = {
                [FINDING_ERROR] = "error",
                [FINDING_WARNING] = "warning",
                [FINDING_NOTE] = "note",
        };

        return levels[level];
}
