#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command/host-command.h"
#include "test.h"
#include "util/fd.h"
#include "util/strv.h"
#include "util/time.h"

static sd_event *event;

typedef struct Ended {
        HostCommand *command;
        bool ended, timed_out;
        int exit_status, signal;
        char last_line[256];
        char *captured; /* NULL: nothing */
        char **lines;
} Ended;

static void ended_done(Ended *ended) {
        free(ended->captured);
        strv_free(ended->lines);
}

static void on_ended(HostCommand *command, const HostCommandResult *result, void *userdata) {
        Ended *ended = userdata;

        ended->ended = true;
        ended->timed_out = result->timed_out;
        ended->exit_status = result->exit_status;
        ended->signal = result->signal;
        (void) snprintf(ended->last_line, sizeof(ended->last_line), "%s", result->last_line);
        if (result->captured) {
                ASSERT_EQ(strlen(result->captured), result->captured_size);
                ended->captured = strdup(result->captured);
        }
        ended->command = host_command_free(ended->command);
}

static Ended run(const char *text, char *const *environment, uint64_t timeout_usec) {
        Ended ended = {};

        ASSERT_OK(host_command_new(&ended.command, event, text, environment, timeout_usec, on_ended, &ended));
        ASSERT_FALSE(ended.ended);
        while (!ended.ended)
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_SEC));
        return ended;
}

static void on_line(const char *line, void *userdata) {
        Ended *ended = userdata;

        ASSERT_FALSE(ended->ended);
        ASSERT_OK(strv_append(&ended->lines, line));
}

static Ended run_request(char *const *argv, HostCommandRequest request) {
        Ended ended = {};

        request.argv = argv;
        if (request.timeout_usec == 0)
                request.timeout_usec = USEC_INFINITY;
        ASSERT_OK(host_command_run(&ended.command, event, &request, on_ended, &ended));
        ASSERT_FALSE(ended.ended);
        while (!ended.ended)
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_SEC));
        return ended;
}
#define RUN(request, ...) run_request((char *const[]){ __VA_ARGS__, NULL }, request)
#define REQUEST(...) ((HostCommandRequest){ __VA_ARGS__ })
#define WORD(text) ((char *) (text))

static void test_exit_status_and_last_line(void) {
        Ended ended = run("echo one; echo two >&2; echo; exit 3", NULL, USEC_PER_MINUTE);

        ASSERT_EQ(ended.exit_status, 3);
        ASSERT_STREQ(ended.last_line, "two");
        ended = run("true", NULL, USEC_PER_MINUTE);
        ASSERT_EQ(ended.exit_status, 0);
        ASSERT_STREQ(ended.last_line, "");
        ended = run("nosuchprogram", NULL, USEC_PER_MINUTE);
        ASSERT_EQ(ended.exit_status, 127);
        ASSERT_TRUE(strstr(ended.last_line, "nosuchprogram"));
}

static void test_signal(void) {
        Ended ended = run("kill -TERM $$", NULL, USEC_PER_MINUTE);

        ASSERT_EQ(ended.exit_status, -1);
        ASSERT_EQ(ended.signal, SIGTERM);
}

static void test_much_output(void) {
        Ended ended = run("i=0; while [ $i -lt 20000 ]; do echo 'a line of output'; i=$((i+1)); done; echo last",
                          NULL, USEC_PER_MINUTE);

        ASSERT_EQ(ended.exit_status, 0);
        ASSERT_STREQ(ended.last_line, "last");
}

static void test_environment_is_what_is_given(void) {
        char *const environment[] = { (char *) "A=1 2", NULL };
        char *const with_path[] = { (char *) "PATH=/elsewhere:/bin", NULL };
        Ended ended;

        ASSERT_OK(setenv("LEAKED", "x", true));
        ended = run("echo \"$A|$LEAKED|${PATH:+path}\"", environment, USEC_PER_MINUTE);
        ASSERT_STREQ(ended.last_line, "1 2||path");
        ended = run("echo \"$PATH\"", with_path, USEC_PER_MINUTE);
        ASSERT_STREQ(ended.last_line, "/elsewhere:/bin");
}

static void test_descriptors_are_not_passed_on(void) {
        _cleanup_close_ int leaked = open("/dev/zero", O_RDONLY);
        Ended ended = run("ls -l /proc/self/fd | grep -c zero", NULL, USEC_PER_MINUTE);

        ASSERT_TRUE(leaked >= 0);
        ASSERT_STREQ(ended.last_line, "0");
        ended = run("read line; echo $?", NULL, USEC_PER_MINUTE);
        ASSERT_STREQ(ended.last_line, "1"); /* standard input is at its end */
}

static void test_signals_are_as_at_first(void) {
        sigset_t blocked;
        Ended ended;

        ASSERT_TRUE(sigemptyset(&blocked) >= 0 && sigaddset(&blocked, SIGTERM) >= 0 &&
                    sigprocmask(SIG_BLOCK, &blocked, NULL) >= 0);
        ASSERT_TRUE(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
        ended = run("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t 0'", NULL, USEC_PER_MINUTE);
        ASSERT_STREQ(ended.last_line, "SigBlk:SigIgn:");
}

static void test_capabilities_are_not_inherited(void) {
        Ended ended = run("grep -E '^Cap(Inh|Amb)' /proc/self/status | tr -d '\\n\\t 0'", NULL, USEC_PER_MINUTE);

        ASSERT_STREQ(ended.last_line, "CapInh:CapAmb:");
        if (geteuid() != 0)
                return;
        /* 12 is CAP_NET_ADMIN; root would have it otherwise. */
        ended = run("eff=$(sed -n 's/^CapEff:.*\\(....\\)$/\\1/p' /proc/self/status); echo $(( 0x$eff & 0x1000 ))",
                    NULL, USEC_PER_MINUTE);
        ASSERT_STREQ(ended.last_line, "0");
}

/* What a killed shell leaves behind comes to us, the subreaper, as it would come to init. */
static bool group_exists(const char *pid) {
        pid_t group = (pid_t) strtol(pid, NULL, 10);

        while (waitpid(-group, NULL, WNOHANG) > 0)
                ;
        return kill(-group, 0) >= 0;
}

static void test_hanging_group_is_killed(void) {
        Ended ended = run("echo $$; sleep 1000 & sleep 1000", NULL, 2 * USEC_PER_SEC);

        ASSERT_TRUE(ended.timed_out);
        ASSERT_TRUE(strtol(ended.last_line, NULL, 10) > 1);
        while (group_exists(ended.last_line)) /* until all of it are reaped */
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
}

static void test_background_processes_do_not_hold_it_up(void) {
        Ended ended = run("sleep 1000 & echo $$", NULL, USEC_PER_MINUTE);

        ASSERT_EQ(ended.exit_status, 0);
        while (group_exists(ended.last_line))
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
}

/* -ENOENT: this kernel does not tell. The caller's. */
static int read_children(char **ret) {
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
        return file_read(path, 4096, ret, NULL);
}

static void test_given_up_command_is_reaped(void) {
        _cleanup_free_ char *before = NULL;
        Ended ended = {};
        long command;

        ASSERT_OK(host_command_new(&ended.command, event, "sleep 1000", NULL, USEC_PER_MINUTE, on_ended, &ended));
        if (read_children(&before) == -ENOENT) {
                ended.command = host_command_free(ended.command);
                return;
        }
        command = strtol(before, NULL, 10);
        ended.command = host_command_free(ended.command);
        for (;;) {
                _cleanup_free_ char *children = NULL;
                char *rest;

                ASSERT_OK(read_children(&children));
                if (streq(children, ""))
                        break;
                /* What the shell had begun already comes to us, the subreaper. */
                for (long child = strtol(children, &rest, 10); child > 0; child = strtol(rest, &rest, 10))
                        if (child != command)
                                (void) waitpid((pid_t) child, NULL, WNOHANG);
                ASSERT_OK(sd_event_run(event, 10 * USEC_PER_MSEC));
        }
        ASSERT_FALSE(ended.ended);
}

static void test_program_with_arguments(void) {
        Ended ended = RUN(REQUEST(), WORD("printf"), WORD("%s|"), WORD("a b"), WORD("$HOME *"), WORD(""),
                          WORD("'"));

        ASSERT_EQ(ended.exit_status, 0);
        ASSERT_STREQ(ended.last_line, "a b|$HOME *||'|");
        ASSERT_EQ(RUN(REQUEST(), WORD("nosuchprogram")).exit_status, 127);
        ASSERT_EQ(RUN(REQUEST(), WORD("sh"), WORD("-c"), WORD("exit 7")).exit_status, 7);
}

/* In the PATH that it gets, not in ours. */
static void test_program_is_looked_for(void) {
        char *const environment[] = { WORD("PATH=/nonexistent"), NULL };

        ASSERT_EQ(RUN(REQUEST(.environment = environment), WORD("true")).exit_status, 127);
        ASSERT_EQ(RUN(REQUEST(.environment = environment), WORD("/bin/true")).exit_status, 0);
}

static void test_folder(void) {
        Ended ended = RUN(REQUEST(.folder = "/usr"), WORD("pwd"));

        ASSERT_STREQ(ended.last_line, "/usr");
        ASSERT_EQ(RUN(REQUEST(.folder = "/nonexistent"), WORD("true")).exit_status, 126);
}

static void test_lines(void) {
        _cleanup_(ended_done) Ended ended = RUN(
                        REQUEST(.on_line = on_line), WORD("sh"), WORD("-c"),
                        WORD("printf 'one\\n\\ntwo\\rthree\\n' >&2; printf 'a\\001b\\n'; printf '%02000d\\n' 0; printf end"));

        ASSERT_EQ(strv_length(ended.lines), 6);
        ASSERT_STREQ(ended.lines[0], "one");
        ASSERT_STREQ(ended.lines[1], "two");
        ASSERT_STREQ(ended.lines[2], "three");
        ASSERT_STREQ(ended.lines[3], "a b");
        ASSERT_EQ(strlen(ended.lines[4]), HOST_COMMAND_LINE_MAX);
        ASSERT_STREQ(ended.lines[5], "end");
        ASSERT_STREQ(ended.last_line, "end");
        ASSERT_NULL(ended.captured);
}

static void test_capture(void) {
        _cleanup_(ended_done) Ended ended =
                        RUN(REQUEST(.on_line = on_line, .captured_max = 100), WORD("sh"), WORD("-c"),
                            WORD("echo said; echo document; echo more >&2; echo of it"));
        _cleanup_(ended_done) Ended silent = RUN(REQUEST(.captured_max = 100), WORD("true"));

        ASSERT_STREQ(ended.captured, "said\ndocument\nof it\n");
        ASSERT_EQ(strv_length(ended.lines), 1);
        ASSERT_STREQ(ended.last_line, "more");
        ASSERT_NULL(silent.captured);
}

static void test_capture_is_bounded(void) {
        _cleanup_(ended_done) Ended fits = RUN(REQUEST(.captured_max = 300000), WORD("sh"), WORD("-c"),
                                               WORD("head -c 300000 /dev/zero | tr '\\0' x")),
                                    longer = RUN(REQUEST(.captured_max = 299999), WORD("sh"), WORD("-c"),
                                                 WORD("head -c 300000 /dev/zero | tr '\\0' x; echo; echo end"));

        ASSERT_EQ(strlen(fits.captured), 300000);
        ASSERT_EQ(longer.exit_status, 0);
        ASSERT_NULL(longer.captured);
}

int main(void) {
        ASSERT_TRUE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) >= 0);
        ASSERT_OK(sd_event_new(&event));

        test_exit_status_and_last_line();
        test_signal();
        test_much_output();
        test_environment_is_what_is_given();
        test_descriptors_are_not_passed_on();
        test_signals_are_as_at_first();
        test_capabilities_are_not_inherited();
        test_hanging_group_is_killed();
        test_background_processes_do_not_hold_it_up();
        test_given_up_command_is_reaped();
        test_program_with_arguments();
        test_program_is_looked_for();
        test_folder();
        test_lines();
        test_capture();
        test_capture_is_bounded();

        (void) sd_event_unref(event);
        return 0;
}
