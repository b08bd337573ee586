#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot/starter.h"
#include "test.h"
#include "util/fd.h"
#include "util/time.h"

/* The starter asks, and blocks, so systemd is a process of its own here, at the other end of a pair of sockets. */

#define MANAGER "org.freedesktop.systemd1.Manager"

typedef struct FakeUnit {
        const char *name, *state;
} FakeUnit;

static const FakeUnit units[] = {
        { "wake@asleep.service", "inactive" },       { "wake@awake.service", "active" },
        { "wake@waking.service", "activating" },     { "wake@failed.service", "failed" },
        { "wake@refused.service", "inactive" },      { "wake@.hidden.service", "inactive" },
        { "wake@stopping.service", "deactivating" },
};

static const char *state_of(const char *unit) {
        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (streq(units[i].name, unit))
                        return units[i].state;
        return "inactive";
}

static int list_units(sd_bus_message *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *name;
        int r;

        ASSERT_OK(sd_bus_message_new_method_return(call, &reply));
        ASSERT_OK(sd_bus_message_open_container(reply, 'a', "(ssssssouso)"));
        ASSERT_OK(sd_bus_message_enter_container(call, 'a', "s"));
        while ((r = sd_bus_message_read(call, "s", &name)) > 0)
                ASSERT_OK(sd_bus_message_append(reply, "(ssssssouso)", name, "", "loaded", state_of(name), "x", "",
                                                "/x", 0, "", "/"));
        ASSERT_OK(r);
        /* What was not asked for. */
        ASSERT_OK(sd_bus_message_append(reply, "(ssssssouso)", "sshd.service", "", "loaded", "inactive", "x", "",
                                        "/x", 0, "", "/"));
        ASSERT_OK(sd_bus_message_close_container(reply));
        ASSERT_OK(sd_bus_send(NULL, reply, NULL));
        return 1;
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        const int *log = userdata;
        const char *unit, *mode;

        if (sd_bus_message_is_method_call(message, MANAGER, "ListUnitsByNames"))
                return list_units(message);
        if (!sd_bus_message_is_method_call(message, MANAGER, "StartUnit"))
                return 0;
        ASSERT_OK(sd_bus_message_read(message, "ss", &unit, &mode));
        ASSERT_STREQ(mode, "fail");
        ASSERT_TRUE(dprintf(*log, "%s ", unit) > 0);
        if (streq(unit, "wake@refused.service"))
                ASSERT_OK(sd_bus_reply_method_errorf(message, "org.freedesktop.DBus.Error.AccessDenied", "no"));
        else
                ASSERT_OK(sd_bus_reply_method_return(message, "o", "/job/1"));
        return 1;
}

static void be_systemd(int fd, int log) {
        sd_bus *bus;
        int r;

        ASSERT_OK(sd_bus_new(&bus));
        ASSERT_OK(sd_bus_set_fd(bus, fd, fd));
        ASSERT_OK(sd_bus_set_server(bus, true,
                                    SD_ID128_MAKE(c5, ce, 47, 09, c8, d1, 4b, cd, 86, 11, a7, 8a, 0f, 2b, 66,
                                                  8e)));
        ASSERT_OK(sd_bus_set_trusted(bus, true));
        ASSERT_OK(sd_bus_add_filter(bus, NULL, on_message, &log));
        ASSERT_OK(sd_bus_start(bus));
        do {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
        } while (r >= 0);
        _exit(EXIT_SUCCESS);
}

/* What the starter returns; `ret_log` names the units that a start was asked for. */
static int start(char *const *services, char **ret_log) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        int pair[2], log[2], r;
        pid_t pid;

        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        ASSERT_EQ(pipe(log), 0);
        pid = fork();
        ASSERT_TRUE(pid >= 0);
        if (pid == 0) {
                fd_close(pair[0]);
                be_systemd(pair[1], log[1]);
        }
        fd_close(pair[1]);
        fd_close(log[1]);

        ASSERT_OK(sd_bus_new(&bus));
        ASSERT_OK(sd_bus_set_fd(bus, pair[0], pair[0]));
        ASSERT_OK(sd_bus_start(bus));
        r = starter_run(bus, services);
        bus = sd_bus_close_unref(bus);
        ASSERT_EQ(waitpid(pid, NULL, 0), pid);
        ASSERT_OK(fd_read_all(log[0], 65536, ret_log, NULL));
        fd_close(log[0]);
        return r;
}

static void test_only_who_does_nothing(void) {
        char *const services[] = { (char *) "asleep",
                                   (char *) "awake",
                                   (char *) "waking",
                                   (char *) "failed",
                                   (char *) ".hidden",
                                   (char *) "stopping",
                                   NULL };
        _cleanup_free_ char *log = NULL;

        ASSERT_EQ(start(services, &log), 3);
        ASSERT_STREQ(log, "wake@asleep.service wake@failed.service wake@.hidden.service ");
}

static void test_one_refusal_is_no_end(void) {
        char *const services[] = { (char *) "refused", (char *) "asleep", NULL };
        _cleanup_free_ char *log = NULL;

        ASSERT_EQ(start(services, &log), 1);
        ASSERT_STREQ(log, "wake@refused.service wake@asleep.service ");
}

static void test_nobody(void) {
        char *const awake[] = { (char *) "awake", NULL };
        _cleanup_free_ char *log = NULL, *none = NULL;

        ASSERT_EQ(start(awake, &log), 0);
        ASSERT_STREQ(log, "");
        ASSERT_EQ(start(NULL, &none), 0);
        ASSERT_STREQ(none, "");
}

/* The bus ends in the middle of it. */
static void test_no_systemd(void) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        char *const services[] = { (char *) "asleep", NULL };
        int pair[2];

        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        ASSERT_OK(sd_bus_new(&bus));
        ASSERT_OK(sd_bus_set_fd(bus, pair[0], pair[0]));
        ASSERT_OK(sd_bus_start(bus));
        fd_close(pair[1]);
        ASSERT_TRUE(starter_run(bus, services) < 0);
}

int main(void) {
        (void) signal(SIGPIPE, SIG_IGN);
        test_only_who_does_nothing();
        test_one_refusal_is_no_end();
        test_nobody();
        test_no_systemd();
        return EXIT_SUCCESS;
}
