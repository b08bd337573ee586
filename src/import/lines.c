#include "import/lines.h"
#include "util/fd.h"
#include "util/text.h"

#define FILE_MAX ((size_t) 4 * 1024 * 1024)

static size_t indentation(const char *line) {
        return strspn(line, " ");
}

static bool is_content(const char *line) {
        char c = line[indentation(line)];

        return c != '\0' && c != '\n' && c != '\r' && c != '#';
}

/* "name:", also in quotes. */
static bool is_key(const char *at, const char *name) {
        char quote = *at == '"' || *at == '\'' ? *at : '\0';
        size_t n = strlen(name);

        at += quote != '\0';
        if (strncmp(at, name, n) != 0)
                return false;
        at += n;
        if (quote != '\0' && *at++ != quote)
                return false;
        return at[strspn(at, " ")] == ':';
}

unsigned import_line_of(const char *text, const char *service) {
        bool inside = false;
        size_t depth = 0;
        unsigned number = 0;

        for (const char *line = text, *next; line; line = next ? next + 1 : NULL) {
                size_t at = indentation(line);

                number++;
                next = strchr(line, '\n');
                if (!is_content(line))
                        continue;
                if (at == 0) {
                        inside = is_key(line, "services");
                        depth = 0;
                        continue;
                }
                if (inside && depth == 0)
                        depth = at;
                if (inside && at == depth && is_key(line + at, service))
                        return number;
        }
        return 0;
}

char *import_place_of(const ImportContainer *container) {
        _cleanup_free_ char *files = strdup(strempty(container->files));

        for (char *rest = files, *file; rest && (file = strsep(&rest, ","));) {
                _cleanup_free_ char *path = *file == '/' ? strdup(file)
                                                         : text_printf("%s/%s", strempty(container->folder), file),
                                    *text = NULL;
                unsigned line;

                if (!path || *path != '/' || file_read(path, FILE_MAX, &text, NULL) < 0)
                        continue;
                line = import_line_of(text, container->service);
                if (line > 0)
                        return text_printf("%s:%u", path, line);
        }
        return NULL;
}
