#include "command/environment.h"

/* Who writes a health command says what it takes from .env; a script that takes more is given it by name (PGPASSWORD="$PGPASSWORD" check.sh),
 * or by root in /etc/wakechain/env. The names below never come from .env, in case somebody writes PATH=$PATH:/opt/bin. */

/* Beginnings of names; with a space at the end, whole names. */
static const char *const unsafe_names[] = {
        /* the loader and libc */
        "LD_",
        "GCONV_PATH ",
        "GETCONF_DIR ",
        "GLIBC_",
        "HOSTALIASES ",
        "LOCALDOMAIN ",
        "LOCPATH ",
        "MALLOC_",
        "NIS_PATH ",
        "NLSPATH ",
        "RESOLV_",
        "RES_OPTIONS ",
        "TMPDIR ",
        "TZDIR ",
        /* shells */
        "BASH",
        "CDPATH ",
        "ENV ",
        "HOME ",
        "IFS ",
        "PATH ",
        "PROMPT_COMMAND ",
        "PS4 ",
        "SHELL ",
        "SHELLOPTS ",
        /* systemd */
        "DBUS_",
        "FDSTORE ",
        "INVOCATION_ID ",
        "JOURNAL_STREAM ",
        "LISTEN_",
        "MAINPID ",
        "NOTIFY_SOCKET ",
        "SYSTEMD_",
        "WATCHDOG_",
        "XDG_",
        /* libraries, interpreters, and programs that load something */
        "CURL_",
        "DOCKER_CONFIG ",
        "GIT_",
        "GNUTLS_",
        "JAVA_TOOL_OPTIONS ",
        "NODE_",
        "OPENSSL_",
        "PERL",
        "PYTHON",
        "RUBY",
        "SSL_CERT_",
        "XTABLES_",
};

bool environment_name_is_safe(const char *name, size_t size) {
        for (size_t i = 0; i < ELEMENTSOF(unsafe_names); i++) {
                size_t n = strcspn(unsafe_names[i], " ");

                if (strncmp(name, unsafe_names[i], n) == 0 && n <= size &&
                    (unsafe_names[i][n] == '\0' || n == size))
                        return false;
        }
        return true;
}

const char *environment_get(char *const *list, const char *name, size_t size) {
        for (; list && *list; list++)
                if (strncmp(*list, name, size) == 0 && (*list)[size] == '=')
                        return *list + size + 1;
        return NULL;
}

static bool command_names(const char *command, const char *name, size_t size) {
        for (const char *word = command + strcspn(command, ENVIRONMENT_LETTERS); *word;
             word += strcspn(word, ENVIRONMENT_LETTERS)) {
                size_t n = strspn(word, ENVIRONMENT_LETTERS);

                if (n == size && memcmp(word, name, n) == 0)
                        return true;
                word += n;
        }
        return false;
}

int environment_for_command(char ***ret, const Environment *environment, const char *command) {
        _cleanup_(strv_freep) char **list = NULL;
        int r = 0;

        assert(command);

        for (char *const *entry = environment ? environment->own : NULL; r >= 0 && entry && *entry; entry++)
                r = strv_append(&list, *entry);
        for (char *const *entry = environment ? environment->dotenv : NULL; r >= 0 && entry && *entry; entry++) {
                size_t size = strcspn(*entry, "=");

                if (command_names(command, *entry, size) && !environment_get(list, *entry, size) &&
                    environment_name_is_safe(*entry, size))
                        r = strv_append(&list, *entry);
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(list);
        return 0;
}
