#include <ctype.h>
#include <stdio.h>

#include "io/compose-environment.h"
#include "util/fd.h"

/* ComposeEnvironment: compose runs where the administrator would run it, in the project's folder, and reads .env there. Our own
 * environment has that file too, but as systemd reads it, which is not quite the same (comments behind values, ${NAME}); and what
 * is in the environment goes first. So names that stand in the file are taken out again, lest a container is made that the
 * administrator's next `up` would make anew. */

#define DOTENV_MAX ((size_t) (1024 * 1024))

static const char *environment_get(char *const *environment, const char *name) {
        size_t size = strlen(name);

        for (; environment && *environment; environment++)
                if (strncmp(*environment, name, size) == 0 && (*environment)[size] == '=')
                        return *environment + size + 1;
        return NULL;
}

/* Does one of the file's lines give the variable that `entry` gives? "A=1", "export A = 1", "A: 1" */
static bool dotenv_has(const char *lines, const char *entry) {
        size_t size = strcspn(entry, "=");

        for (const char *line = lines; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                const char *name = line + strspn(line, " \t");

                if (strncmp(name, "export ", strlen("export ")) == 0) {
                        name += strlen("export ");
                        name += strspn(name, " \t");
                }
                if (strncmp(name, entry, size) == 0 && strspn(name + size, " \t=:") > 0)
                        return true;
        }
        return false;
}

int compose_environment_make(char ***ret, const char *folder, char *const *environment,
                             const char *engine_socket) {
        _cleanup_free_ char *path = NULL, *dotenv = NULL, *host = NULL;
        _cleanup_(strv_freep) char **made = NULL;
        int r = 0;

        assert(ret);
        assert(folder);

        if (asprintf(&path, "%s/.env", folder) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        /* If it cannot be read, compose will say so. */
        if (file_read(path, DOTENV_MAX, &dotenv, NULL) < 0)
                dotenv = NULL;

        for (; environment && *environment && r >= 0; environment++)
                if (!dotenv_has(strempty(dotenv), *environment))
                        r = strv_append(&made, *environment);
        if (r >= 0 && engine_socket && !environment_get(made, "DOCKER_HOST")) {
                if (asprintf(&host, "DOCKER_HOST=unix://%s", engine_socket) < 0) {
                        host = NULL;
                        return -ENOMEM;
                }
                r = strv_append(&made, host);
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(made);
        return 0;
}

char *compose_environment_project(const char *folder, char *const *environment) {
        const char *given = environment_get(environment, "COMPOSE_PROJECT_NAME");
        _cleanup_free_ char *path = NULL;
        char *project;
        size_t n = 0;

        assert(folder);

        path = realpath(folder, NULL);
        if (isempty(given))
                given = path ? strrchr(path, '/') + 1 : "";
        project = malloc(strlen(given) + 1);
        if (!project)
                return NULL;
        for (; *given; given++) {
                unsigned char byte = (unsigned char) tolower((unsigned char) *given);

                if (byte < 0x80 && (isalnum(byte) || byte == '-' || byte == '_'))
                        project[n++] = (char) byte;
        }
        project[n] = '\0';
        return project;
}

char compose_environment_separator(char *const *environment, bool v1) {
        const char *compatible = strempty(environment_get(environment, "COMPOSE_COMPATIBILITY"));

        return v1 || streq(compatible, "1") || strcasecmp(compatible, "true") == 0 ? '_' : '-';
}
