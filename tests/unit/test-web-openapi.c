#include <strings.h>

#include "test.h"
#include "util/fd.h"
#include "web/routes.h"

/* docs/openapi.yaml describes the routes that there are, all of them and no others. */

#define FILE_MAX 1048576U

static char *text;

/* The path as it is written there: {name} stands for what it ends in. */
static char *described_path(const Route *route) {
        static const char *const names[] = {
                [ROUTE_EXACT] = "", [ROUTE_NAME] = "{name}", [ROUTE_SERVICE] = "{service}"
        };
        char *path;

        ASSERT_TRUE(asprintf(&path, "%s%s%s", route->path, names[route->kind], strempty(route->tail)) > 0);
        return path;
}

static bool is_route(const char *path, const char *method) {
        for (const Route *route = routes; route->method; route++) {
                _cleanup_free_ char *described = described_path(route);

                if (streq(described, path) && strcasecmp(route->method, method) == 0)
                        return true;
        }
        return false;
}

/* Below "paths:", a path has two columns before it, and a method four. */
static size_t check_described(void) {
        char path[128] = "", method[16];
        bool in_paths = false;
        size_t n = 0;

        for (char *save = NULL, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                int end = 0;

                if (line[0] != ' ') {
                        in_paths = streq(line, "paths:");
                        continue;
                }
                if (!in_paths)
                        continue;
                if (sscanf(line, "  /%126[^:]:%n", path + 1, &end) == 1 && line[end] == '\0')
                        path[0] = '/';
                else if (streq(line, "  /:"))
                        strcpy(path, "/");
                else if (strncmp(line, "    ", 4) == 0 && line[4] != ' ' &&
                         sscanf(line, "    %15[a-z]:%n", method, &end) == 1 && line[end] == '\0') {
                        if (!streq(method, "parameters")) {
                                if (!is_route(path, method))
                                        TEST_FAIL("%s %s is described, and does not exist", method, path);
                                n++;
                        }
                }
        }
        return n;
}

int main(int argc, char **argv) {
        size_t n = 0;

        ASSERT_EQ(argc, 2);
        ASSERT_OK(file_read(argv[1], FILE_MAX, &text, NULL));
        while (routes[n].method)
                n++;
        ASSERT_EQ(check_described(), n);
        free(text);
        return 0;
}
