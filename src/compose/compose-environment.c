#include <ctype.h>
#include <fcntl.h>
#include <unistd.h>

#include "compose/compose-environment.h"
#include "util/fd.h"
#include "util/text.h"

/* ComposeEnvironment: compose runs where the administrator would run it, in the project's folder, and reads .env there as user wakechain.
 * What is in the environment goes before that. So of the waker's own variables, those that stand in the file are left out, lest a container
 * is made that the administrator's next `up` would make anew. */

int compose_environment_make(char ***ret, const Environment *environment, const char *engine_socket) {
        _cleanup_(strv_freep) char **made = NULL;
        _cleanup_free_ char *host = NULL;
        int r = 0;

        for (char *const *entry = environment->own; entry && *entry && r >= 0; entry++)
                if (!environment_get(environment->dotenv, *entry, strcspn(*entry, "=")))
                        r = strv_append(&made, *entry);
        if (r >= 0 && engine_socket && !environment_get(made, "DOCKER_HOST", strlen("DOCKER_HOST"))) {
                host = text_printf("DOCKER_HOST=unix://%s", engine_socket);
                if (!host)
                        return -ENOMEM;
                r = strv_append(&made, host);
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(made);
        return 0;
}

/* The file's word goes first, as above. */
static const char *project_variable(const Environment *environment, const char *name) {
        const char *value = environment_get(environment->dotenv, name, strlen(name));

        return value ? value : environment_get(environment->own, name, strlen(name));
}

char *compose_environment_project(const char *folder, const Environment *environment) {
        const char *given = project_variable(environment, "COMPOSE_PROJECT_NAME");
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

char compose_environment_separator(const Environment *environment, bool v1) {
        const char *compatible = strempty(project_variable(environment, "COMPOSE_COMPATIBILITY"));

        return v1 || streq(compatible, "1") || strcasecmp(compatible, "true") == 0 ? '_' : '-';
}

/* Version 2 is a plugin, or a binary; 1.x is a script of Python. */
bool compose_is_v1(const char *root) {
        static const char *const programs[] = {
                "/usr/local/lib/docker/cli-plugins/docker-compose",
                "/usr/local/libexec/docker/cli-plugins/docker-compose",
                "/usr/lib/docker/cli-plugins/docker-compose",
                "/usr/libexec/docker/cli-plugins/docker-compose",
                "/usr/local/bin/docker-compose",
                "/usr/bin/docker-compose",
        };

        for (size_t i = 0; i < ELEMENTSOF(programs); i++) {
                _cleanup_free_ char *path = NULL;
                _cleanup_close_ int fd = -EBADF;
                char begin[2];

                path = text_printf("%s%s", root, programs[i]);
                if (!path)
                        return false;
                fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
                if (fd >= 0)
                        return read(fd, begin, 2) == 2 && memcmp(begin, "#!", 2) == 0;
        }
        return false;
}
