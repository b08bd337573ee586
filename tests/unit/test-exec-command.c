#include <stdio.h>

#include "probe/exec-command.h"
#include "test.h"
#include "util/strv.h"

static char *const environment[] = {
        (char *) "PASSWORD=s3cret \"x\"",
        (char *) "TWO=a  b",
        (char *) "EMPTY=",
        (char *) "STAR=*",
        (char *) "NAME=db",
        NULL,
};

/* The parts, joined by '|': container|user|environment…|argv…; or what was returned. */
static const char *parse(const char *command) {
        _cleanup_free_ char *container = NULL, *user = NULL;
        _cleanup_(strv_freep) char **env = NULL, **argv = NULL;
        static char text[1024];
        int r;

        r = exec_command_parse(command, environment, &container, &user, &env, &argv);
        if (r <= 0) {
                (void) snprintf(text, sizeof(text), "%d", r);
                return text;
        }
        (void) snprintf(text, sizeof(text), "%s|%s", container, strempty(user));
        for (char **entry = env; entry && *entry; entry++)
                (void) snprintf(text + strlen(text), sizeof(text) - strlen(text), "|%s", *entry);
        for (char **entry = argv; *entry; entry++)
                (void) snprintf(text + strlen(text), sizeof(text) - strlen(text), "|%s", *entry);
        return text;
}

static void test_commands_of_users(void) {
        static const struct {
                const char *command, *parts;
        } cases[] = {
                { "docker exec mysql-clemence mysqladmin ping -h localhost -u root -p$MYSQL_ROOT_PASSWORD",
                  "mysql-clemence||mysqladmin|ping|-h|localhost|-u|root|-p" },
                { "docker exec wordpress-clemence curl -f http://localhost:9000/wp-admin/install.php",
                  "wordpress-clemence||curl|-f|http://localhost:9000/wp-admin/install.php" },
                { "docker exec postgresql-shared pg_isready -U postgres",
                  "postgresql-shared||pg_isready|-U|postgres" },
                { "docker exec redis-shared redis-cli ping", "redis-shared||redis-cli|ping" },
                { "  /usr/bin/docker\texec  a  b \n", "a||b" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_STREQ(parse(cases[i].command), cases[i].parts);
}

static void test_quotes_and_variables(void) {
        static const struct {
                const char *command, *parts;
        } cases[] = {
                { "docker exec a b 'c d' \"e f\" g\\ h", "a||b|c d|e f|g h" },
                { "docker exec a b '' \"\" $EMPTY \"$EMPTY\" $UNSET", "a||b|||" },
                { "docker exec a b \"$PASSWORD\" '$PASSWORD' \\$PASSWORD",
                  "a||b|s3cret \"x\"|$PASSWORD|$PASSWORD" },
                { "docker exec a b -p$PASSWORD", "a||b|-ps3cret|\"x\"" },
                { "docker exec a b x${TWO}y", "a||b|xa|by" },
                { "docker exec a b \"\\\"\\$\\\\\\x\"", "a||b|\"$\\\\x" },
                { "docker exec $NAME b", "db||b" },
                { "docker exec a sh -c 'exit $(( 1 > 0 ))' | cat", "0" },
                { "docker exec a sh -c 'a | b; c > d `e` *'", "a||sh|-c|a | b; c > d `e` *" },
                { "docker exec a b c#d e=f -x=~", "0" },
                { "docker exec a b c#d e=f", "a||b|c#d|e=f" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_STREQ(parse(cases[i].command), cases[i].parts);
}

static void test_options(void) {
        static const struct {
                const char *command, *parts;
        } cases[] = {
                { "docker exec -u root a b", "a|root|b" },
                { "docker exec -uroot a b", "a|root|b" },
                { "docker exec -u=root a b", "a|root|b" },
                { "docker exec --user=root a b -u x", "a|root|b|-u|x" },
                { "docker exec --user root -it a b", "a|root|b" },
                { "docker exec -iu root a b", "a|root|b" },
                { "docker exec -i -t -- a b", "a||b" },
                { "docker exec --interactive --tty a b", "a||b" },
                { "docker exec -e A=1 --env B=2 --env=C=$NAME a b", "a||A=1|B=2|C=db|b" },
                { "docker exec -e A a b", "0" },
                { "docker exec --tty=false a b", "0" },
                { "docker exec -w /x a b", "0" },
                { "docker exec -d a b", "0" },
                { "docker exec --privileged a b", "0" },
                { "docker exec -u", "0" },
                { "docker exec a b -u", "a||b|-u" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_STREQ(parse(cases[i].command), cases[i].parts);
}

static void test_what_the_shell_has_to_do(void) {
        static const char *const commands[] = {
                "",
                " ",
                "docker",
                "docker exec",
                "docker exec a",
                "docker ps -a x",
                "curl -f http://localhost:9002/",
                "sudo docker exec a b",
                "A=1 docker exec a b",
                "docker exec a b | grep c",
                "docker exec a b > /dev/null",
                "docker exec a b 2>&1",
                "docker exec a b && true",
                "docker exec a b; true",
                "docker exec a b &",
                "docker exec a b\ntrue",
                "docker exec a b $(c)",
                "docker exec a b `c`",
                "docker exec a b \"$(c)\"",
                "docker exec a b \"`c`\"",
                "docker exec a b *",
                "docker exec a b c?",
                "docker exec a b [c]",
                "docker exec a b {c,d}",
                "docker exec a b ~",
                "docker exec a b # c",
                "docker exec a b ${C:-d}",
                "docker exec a b ${C",
                "docker exec a b $1",
                "docker exec a b $$",
                "docker exec a b $",
                "docker exec a b $PWD",
                "docker exec a b $STAR",
                "docker exec a b 'c",
                "docker exec a b \"c",
                "docker exec a b c\\",
                "docker exec a b \"c\\",
                "docker exec a b $'c'",
                "docker exec ../a b",
                "docker exec a/b c",
                "docker exec '' b",
                "docker exec - b",
                "docker exec --",
                "! docker exec a b",
        };

        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                if (!streq(parse(commands[i]), "0"))
                        TEST_FAIL("'%s': %s", commands[i], parse(commands[i]));
}

static void test_another_engine_is_for_the_docker_program(void) {
        char *elsewhere[] = { (char *) "DOCKER_HOST=tcp://other:2375", NULL };
        char *container = NULL, *user = NULL, **env = NULL, **argv = NULL;

        ASSERT_EQ(exec_command_parse("docker exec a b", elsewhere, &container, &user, &env, &argv), 0);
        ASSERT_NULL(container);
}

int main(void) {
        test_commands_of_users();
        test_quotes_and_variables();
        test_options();
        test_what_the_shell_has_to_do();
        test_another_engine_is_for_the_docker_program();
        return 0;
}
