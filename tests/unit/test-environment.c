#include "command/environment.h"
#include "test.h"

static const char *get(char *const *list, const char *name) {
        return environment_get(list, name, strlen(name));
}

static void test_a_command_gets_what_it_names(void) {
        static const char *const commands[] = {
                "mysqladmin ping -p$PASSWORD",
                "mysqladmin ping \"-p${PASSWORD}\"",
                "test -n '${PASSWORD:-}'",
                "docker exec -e PASSWORD db ping",
                "PASSWORD=\"$PASSWORD\" /opt/bin/check.sh",
        };
        char *const own[] = { (char *) "LANG=C", (char *) "HOME=/var/lib/wakechain", NULL };
        char *const dotenv[] = { (char *) "PASSWORD=pa ss", (char *) "PASS=other", (char *) "WORD=other", NULL };
        const Environment environment = { own, dotenv };

        for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
                _cleanup_(strv_freep) char **list = NULL;

                ASSERT_OK(environment_for_command(&list, &environment, commands[i]));
                ASSERT_EQ(strv_length(list), 3);
                ASSERT_STREQ(get(list, "LANG"), "C");
                ASSERT_STREQ(get(list, "HOME"), "/var/lib/wakechain");
                ASSERT_STREQ(get(list, "PASSWORD"), "pa ss");
        }
}

static void test_a_command_gets_nothing_else(void) {
        static const char *const commands[] = { "true", "", "echo $PASSWORD2 $MY_PASSWORD $password" };
        char *const dotenv[] = { (char *) "PASSWORD=secret", NULL };
        const Environment environment = { .dotenv = dotenv };

        for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
                _cleanup_(strv_freep) char **list = NULL;

                ASSERT_OK(environment_for_command(&list, &environment, commands[i]));
                ASSERT_EQ(strv_length(list), 0);
        }
}

static void test_what_is_ours_stays(void) {
        char *const own[] = { (char *) "USER=wakechain", (char *) "PORT=80", (char *) "EMPTY=", NULL };
        char *const dotenv[] = { (char *) "USER=x", (char *) "PORT=81", (char *) "EMPTY=x", NULL };
        const Environment environment = { own, dotenv };
        _cleanup_(strv_freep) char **list = NULL;

        ASSERT_OK(environment_for_command(&list, &environment, "curl $USER:$PORT$EMPTY"));
        ASSERT_EQ(strv_length(list), 3);
        ASSERT_STREQ(get(list, "USER"), "wakechain");
        ASSERT_STREQ(get(list, "PORT"), "80");
        ASSERT_STREQ(get(list, "EMPTY"), "");
}

static void test_no_command_gets_what_changes_how_programs_run(void) {
        static const char *const names[] = {
                "LD_PRELOAD",
                "LD_LIBRARY_PATH",
                "LD_PROFILE",
                "GLIBC_TUNABLES",
                "GCONV_PATH",
                "LOCPATH",
                "MALLOC_CHECK_",
                "PATH",
                "IFS",
                "ENV",
                "BASH_ENV",
                "BASH_FUNC_x",
                "SHELLOPTS",
                "HOME",
                "LISTEN_FDS",
                "NOTIFY_SOCKET",
                "WATCHDOG_USEC",
                "JOURNAL_STREAM",
                "SYSTEMD_LOG",
                "XDG_CONFIG_HOME",
                "CURL_HOME",
                "DBUS_SYSTEM_BUS",
                "GNUTLS_SYSTEM_FILE",
                "OPENSSL_CONF",
                "XTABLES_LIBDIR",
                "PYTHONPATH",
                "PERL5LIB",
                "NODE_OPTIONS",
        };
        static const char *const fine[] = { "LD",          "PATHS",    "MY_PATH",
                                            "ENVIRONMENT", "HOMEPAGE", "MYSQL_ROOT_PASSWORD",
                                            "DOCKER_HOST" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                char entry[64], command[64];
                char *const dotenv[] = { entry, NULL };
                const Environment environment = { .dotenv = dotenv };
                _cleanup_(strv_freep) char **list = NULL;

                (void) snprintf(entry, sizeof(entry), "%s=/tmp/evil", names[i]);
                (void) snprintf(command, sizeof(command), "%s=/opt:$%s true", names[i], names[i]);
                ASSERT_OK(environment_for_command(&list, &environment, command));
                ASSERT_EQ(strv_length(list), 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(fine); i++)
                ASSERT_TRUE(environment_name_is_safe(fine[i], strlen(fine[i])));
        ASSERT_FALSE(environment_name_is_safe("PATH=/bin", 4));
}

static void test_no_environment(void) {
        _cleanup_(strv_freep) char **list = NULL;

        ASSERT_OK(environment_for_command(&list, NULL, "echo $A"));
        ASSERT_EQ(strv_length(list), 0);
}

int main(void) {
        test_a_command_gets_what_it_names();
        test_a_command_gets_nothing_else();
        test_what_is_ours_stays();
        test_no_command_gets_what_changes_how_programs_run();
        test_no_environment();
        return EXIT_SUCCESS;
}
