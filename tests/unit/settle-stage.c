#include <arpa/inet.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "scripted-server.h"
#include "settle-stage.h"
#include "test.h"
#include "util/fd.h"
#include "util/strv.h"
#include "util/time.h"

#define UNITS_MAX 16
#define CONTAINERS_MAX 8
#define UNIT_PATH "/org/freedesktop/systemd1/unit"
#define ENGINE_PATH "/run/docker.sock"

/* What test and PID 1 share. */
static struct {
        StageUnit units[UNITS_MAX];
        size_t n_units;
        unsigned n_resets;
        char log[4096];
} * shared;

static int fds[UNITS_MAX]; /* of PID 1 */
static pid_t engine;
static int answers[2] = { -EBADF, -EBADF }; /* of the engine, which has the second */

/* PID 1 */

static int listen_at(const StageUnit *unit) {
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(unit->port) };
        int fd, one = 1, r;

        fd = socket(unit->path ? AF_UNIX : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(fd >= 0);
        if (unit->path) {
                char folder[64];

                (void) snprintf(folder, sizeof(folder), "%.*s", (int) (strrchr(unit->path, '/') - unit->path),
                                unit->path);
                ASSERT_OK(directory_make(folder));
                (void) snprintf(un.sun_path, sizeof(un.sun_path), "%s", unit->path);
                (void) unlink(unit->path);
                r = bind(fd, (struct sockaddr *) &un, sizeof(un));
        } else {
                ASSERT_TRUE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) >= 0);
                r = bind(fd, (struct sockaddr *) &in6, sizeof(in6));
        }
        if (r < 0 || listen(fd, 16) < 0)
                TEST_FAIL("%s: %m", unit->name);
        return fd;
}

/* What the test has changed since is made so before anybody looks. */
static void open_and_close(void) {
        static unsigned n_resets;

        for (size_t i = 0; i < UNITS_MAX; i++)
                if (i >= shared->n_units || !shared->units[i].listens || shared->n_resets != n_resets)
                        fds[i] = fd_close(fds[i]);
        n_resets = shared->n_resets;
        for (size_t i = 0; i < shared->n_units; i++)
                if (shared->units[i].listens && fds[i] < 0)
                        fds[i] = listen_at(&shared->units[i]);
}

static StageUnit *find(const char *name) {
        for (size_t i = 0; i < shared->n_units; i++)
                if (streq(shared->units[i].name, name))
                        return &shared->units[i];
        return NULL;
}

static int handle_list(sd_bus_message *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        char **states, **patterns;

        open_and_close();
        ASSERT_OK(sd_bus_message_read_strv(call, &states));
        ASSERT_OK(sd_bus_message_read_strv(call, &patterns));
        ASSERT_OK(sd_bus_message_new_method_return(call, &reply));
        ASSERT_OK(sd_bus_message_open_container(reply, 'a', "(ssssssouso)"));
        for (size_t i = 0; i < shared->n_units; i++) {
                const StageUnit *unit = &shared->units[i];
                _cleanup_free_ char *path = NULL;
                bool wanted = false;

                for (char **pattern = patterns; pattern && *pattern; pattern++)
                        wanted |= fnmatch(*pattern, unit->name, 0) == 0;
                ASSERT_OK(sd_bus_path_encode(UNIT_PATH, unit->name, &path));
                if (wanted)
                        ASSERT_OK(sd_bus_message_append(reply, "(ssssssouso)", unit->name, "",
                                                        unit->missing ? "not-found" : "loaded", unit->state, "",
                                                        "", path, unit->busy ? 1 : 0, unit->busy ? "start" : "",
                                                        "/"));
        }
        ASSERT_OK(sd_bus_message_close_container(reply));
        strv_free(states);
        strv_free(patterns);
        return sd_bus_send(NULL, reply, NULL);
}

static int handle_get(sd_bus_message *call) {
        _cleanup_free_ char *name = NULL;
        const char *interface, *property;
        const StageUnit *unit;
        char address[64];

        ASSERT_TRUE(sd_bus_path_decode(sd_bus_message_get_path(call), UNIT_PATH, &name) > 0);
        ASSERT_OK(sd_bus_message_read(call, "ss", &interface, &property));
        unit = find(name);
        if (streq(property, "LoadState"))
                return sd_bus_reply_method_return(call, "v", "s", unit && !unit->missing ? "loaded" : "not-found");
        if (streq(property, "ActiveState"))
                return sd_bus_reply_method_return(call, "v", "s", !unit || unit->stops ? "inactive" : unit->state);
        ASSERT_TRUE(unit);
        if (streq(property, "InactiveExitTimestampMonotonic") && unit->asked)
                unit->asked();
        if (streq(property, "InactiveExitTimestampMonotonic"))
                return sd_bus_reply_method_return(call, "v", "t", (uint64_t) unit->has_run);
        if (streq(property, "StateChangeTimestampMonotonic"))
                return sd_bus_reply_method_return(call, "v", "t",
                                                  MIN(unit->changed_usec, time_now(CLOCK_MONOTONIC)));
        if (streq(property, "Result"))
                return sd_bus_reply_method_return(call, "v", "s", unit->killed ? "signal" : "exit-code");
        if (streq(property, "MainPID"))
                return sd_bus_reply_method_return(call, "v", "u", (uint32_t) unit->pid);
        ASSERT_STREQ(property, "Listen");
        (void) snprintf(address, sizeof(address), "[::]:%u", unit->port);
        return sd_bus_reply_method_return(call, "v", "a(ss)", 1, "Stream", unit->path ?: address);
}

static int handle_job(sd_bus_message *call, const char *method) {
        bool stop = streq(method, "StopUnit");
        const char *name, *mode;
        StageUnit *unit;

        ASSERT_OK(sd_bus_message_read(call, "ss", &name, &mode));
        ASSERT_STREQ(mode, streq(method, "StartUnit") ? "fail" : "replace");
        ASSERT_TRUE(strlen(shared->log) + strlen(method) + strlen(name) + 2 < sizeof(shared->log));
        (void) sprintf(shared->log + strlen(shared->log), "%s %s\n", method, name);
        unit = find(name);
        if (!unit && !streq(name, "wakechain-folders.service"))
                return sd_bus_reply_method_errorf(call, "org.freedesktop.systemd1.NoSuchUnit",
                                                  "Unit %s not found.", name);
        if (unit && !unit->stubborn) {
                bool fails = !stop && unit->fails > 0;

                unit->fails -= fails;
                unit->state = stop ? "inactive" : fails ? "failed" : "active";
                unit->listens = !stop && !fails && (unit->port > 0 || unit->path);
                unit->has_run = true;
                unit->changed_usec = time_now(CLOCK_MONOTONIC);
                fds[unit - shared->units] = fd_close(fds[unit - shared->units]);
                open_and_close();
        }
        return sd_bus_reply_method_return(call, "o", "/org/freedesktop/systemd1/job/1");
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        const char *member = sd_bus_message_get_member(message);

        if (!sd_bus_message_is_method_call(message, NULL, NULL)) {
                if (streq(strempty(member), "Disconnected"))
                        sd_bus_close_unref(sd_bus_message_get_bus(message));
                return 0;
        }
        if (streq(member, "ListUnitsByPatterns"))
                return handle_list(message);
        if (streq(member, "Get"))
                return handle_get(message);
        if (streq(member, "StartUnit") || streq(member, "StopUnit") || streq(member, "TryRestartUnit"))
                return handle_job(message, member);
        TEST_FAIL("unexpected call: %s", member);
}

static int on_connection(sd_event_source *source, int listener, uint32_t revents, void *userdata) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        sd_bus *bus;

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(sd_bus_new(&bus));
        ASSERT_OK(sd_bus_set_fd(bus, fd, fd));
        ASSERT_OK(sd_bus_set_server(bus, true, (sd_id128_t){ .bytes = { 1 } }));
        ASSERT_OK(sd_bus_add_filter(bus, NULL, on_message, NULL));
        ASSERT_OK(sd_bus_start(bus));
        return sd_bus_attach_event(bus, sd_event_source_get_event(source), 0);
}

static int on_child(sd_event_source *source, const siginfo_t *info, void *userdata) {
        _exit(info->si_code == CLD_EXITED ? info->si_status : EXIT_FAILURE);
}

static void make_machine(void) {
        struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        ASSERT_EQ(mount("proc", "/proc", "proc", 0, NULL), 0);
        for (size_t i = 0; i < 3; i++)
                ASSERT_EQ(mount("stage", ((const char *[]){ "/run", "/etc", "/var" })[i], "tmpfs", 0, NULL), 0);
        ASSERT_OK(directory_make("/run/systemd"));
        ASSERT_OK(directory_make("/etc/wakechain"));
        ASSERT_TRUE(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) >= 0);
}

static int run_machine(int (*test)(void)) {
        const StageUnit private = { .name = "private", .path = "/run/systemd/private" };
        sd_event *event;
        sigset_t mask;
        pid_t child;

        make_machine();
        for (size_t i = 0; i < UNITS_MAX; i++)
                fds[i] = -EBADF;
        ASSERT_EQ(sigemptyset(&mask), 0);
        ASSERT_EQ(sigaddset(&mask, SIGCHLD), 0);
        ASSERT_EQ(sigprocmask(SIG_BLOCK, &mask, NULL), 0);
        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(sd_event_add_io(event, NULL, listen_at(&private), EPOLLIN, on_connection, NULL));
        child = fork();
        ASSERT_TRUE(child >= 0);
        if (child == 0) {
                sd_event_unref(event);
                ASSERT_EQ(sigprocmask(SIG_UNBLOCK, &mask, NULL), 0);
                return test();
        }
        ASSERT_OK(sd_event_add_child(event, NULL, child, WEXITED, on_child, NULL));
        (void) sd_event_loop(event);
        return EXIT_FAILURE;
}

int stage_run(int (*test)(void)) {
        int status;
        pid_t child;

        if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) < 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                fprintf(stderr, "No namespaces of its own here, skipping what needs them.\n");
                return 77;
        }
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ASSERT_TRUE(shared != MAP_FAILED);
        child = fork();
        ASSERT_TRUE(child >= 0);
        if (child == 0)
                return run_machine(test);
        ASSERT_EQ(waitpid(child, &status, 0), child);
        /* Whose children have lost their PID 1 cannot have others, which a look for leaks at the exit needs: the test has done that. */
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

/* The test's side */

static void end_engine(void) {
        if (engine > 0) {
                ASSERT_EQ(kill(engine, SIGKILL), 0);
                ASSERT_EQ(waitpid(engine, NULL, 0), engine);
        }
        engine = 0;
        answers[0] = fd_close(answers[0]);
        answers[1] = fd_close(answers[1]);
        (void) unlink(ENGINE_PATH);
}

void stage_reset(void) {
        static const char *const folders[] = { "/run/wakechain/control", "/run/wakechain/lease",
                                               "/run/wakechain/status", "/var/lib/wakechain/bindings",
                                               "/var/lib/wakechain/lease" };

        end_engine();
        memset(shared->units, 0, sizeof(shared->units));
        shared->n_units = 0;
        shared->n_resets++;
        *shared->log = '\0';
        ASSERT_EQ(system("rm -rf /run/wakechain /var/lib/wakechain /etc/wakechain/*"), 0);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                ASSERT_OK(directory_make(folders[i]));
}

StageUnit *stage_unit(const char *name) {
        StageUnit *unit = find(name);

        if (unit)
                return unit;
        ASSERT_TRUE(shared->n_units < UNITS_MAX);
        unit = &shared->units[shared->n_units];
        *unit = (StageUnit){ .state = "inactive" };
        (void) snprintf(unit->name, sizeof(unit->name), "%s", name);
        shared->n_units++;
        return unit;
}

static StageUnit *add(const char *prefix, const char *service, const char *suffix, const char *state) {
        StageUnit *unit;
        char name[64];

        (void) snprintf(name, sizeof(name), "%s@%s.%s", prefix, service, suffix);
        unit = stage_unit(name);
        unit->state = state;
        unit->has_run = streq(state, "active");
        unit->listens = unit->has_run;
        return unit;
}

void stage_service(const char *name, uint16_t redirect_port) {
        StageUnit *control;
        char *path;

        add("wake", name, "socket", "active")->port = redirect_port;
        add("wake", name, "service", "inactive");
        ASSERT_TRUE(asprintf(&path, "/run/wakechain/control/%s.sock", name) > 0);
        control = add("wake-control", name, "socket", "active");
        control->path = streq(name, "a")   ? "/run/wakechain/control/a.sock"
                        : streq(name, "b") ? "/run/wakechain/control/b.sock"
                                           : "/run/wakechain/control/c.sock";
        ASSERT_STREQ(control->path, path);
        free(path);
}

void stage_config(const char *text) {
        ASSERT_OK(file_replace("/etc/wakechain/dependencies.json", text, strlen(text), 0644, false));
}

static char *engine_reply(const StageContainer *containers, size_t n) {
        char *text;
        size_t size;
        FILE *stream = open_memstream(&text, &size);

        ASSERT_TRUE(stream);
        fputs("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[", stream);
        for (size_t i = 0; i < n; i++)
                fprintf(stream, "%s{\"Id\":\"%s\",\"Names\":[\"/%s\"],\"State\":\"%s\"}", i > 0 ? "," : "",
                        containers[i].id, containers[i].name, containers[i].state);
        fputs("]", stream);
        ASSERT_EQ(fclose(stream), 0);
        return text;
}

typedef struct Answer {
        unsigned connections, inspects;
} Answer;

static int on_question(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        const Answer answer = {
                .connections = scripted_server_connections(userdata),
                .inspects = scripted_server_requests(userdata, "GET /v1.41/containers/") -
                            scripted_server_requests(userdata, "GET /v1.41/containers/json"),
        };

        ASSERT_EQ(write(answers[1], &answer, sizeof(answer)), sizeof(answer));
        return 0;
}

static Answer ask_engine(void) {
        Answer answer;

        ASSERT_EQ(kill(engine, SIGUSR1), 0);
        ASSERT_EQ(read(answers[0], &answer, sizeof(answer)), sizeof(answer));
        return answer;
}

static void run_engine(const ScriptedRule *rules, size_t n) {
        ScriptedServer *server;
        unsigned ready = 0;
        sd_event *event;
        sigset_t mask;

        end_engine();
        ASSERT_EQ(pipe2(answers, O_CLOEXEC), 0);
        engine = fork();
        ASSERT_TRUE(engine >= 0);
        if (engine > 0) {
                ASSERT_EQ(read(answers[0], &ready, sizeof(ready)), sizeof(ready));
                return;
        }
        (void) signal(SIGPIPE, SIG_IGN);
        ASSERT_EQ(sigemptyset(&mask), 0);
        ASSERT_EQ(sigaddset(&mask, SIGUSR1), 0);
        ASSERT_EQ(sigprocmask(SIG_BLOCK, &mask, NULL), 0);
        ASSERT_OK(sd_event_new(&event));
        server = scripted_server_new(event, ENGINE_PATH, rules, n);
        ASSERT_TRUE(server);
        ASSERT_OK(sd_event_add_signal(event, NULL, SIGUSR1, on_question, server));
        ASSERT_EQ(write(answers[1], &ready, sizeof(ready)), sizeof(ready));
        (void) sd_event_loop(event);
        _exit(EXIT_FAILURE);
}

#define REQUEST_LIST "GET /v1.41/containers/json?all=1 "

void stage_engine(const StageContainer *containers, size_t n) {
        ScriptedRule rules[CONTAINERS_MAX + 4] = { RULE_PING };
        StageContainer early[CONTAINERS_MAX] = {};
        char *texts[2 * CONTAINERS_MAX + 2] = {};
        size_t n_texts = 0, n_rules = 1, n_late = 0;

        ASSERT_TRUE(n <= CONTAINERS_MAX);
        if (!containers) {
                end_engine();
                return;
        }
        for (size_t i = 0; i < n; i++) {
                early[i] = containers[i];
                n_late += containers[i].late;
                if (containers[i].late)
                        early[i].state = "created";
        }
        if (n_late > 0) {
                texts[n_texts] = engine_reply(early, n);
                rules[n_rules++] = (ScriptedRule){ REQUEST_LIST, texts[n_texts++], .close = true, .times = 1 };
        }
        texts[n_texts] = engine_reply(containers, n);
        rules[n_rules++] = (ScriptedRule){ REQUEST_LIST, texts[n_texts++], .close = true };
        for (size_t i = 0; i < n; i++) {
                char *request, *reply;

                ASSERT_TRUE(asprintf(&request, "GET /v1.41/containers/%s/json", containers[i].name) > 0);
                ASSERT_TRUE(asprintf(&reply,
                                     REPLY_BODY("200 OK",
                                                "{\"Id\":\"%s\",\"Name\":\"/%s\",\"State\":{\"Running\":%s,\"Pid\":7},"
                                                "\"HostConfig\":{\"NetworkMode\":\"%s\",\"PortBindings\":%s}}"),
                                     containers[i].id, containers[i].name,
                                     streq(containers[i].state, "running") ? "true" : "false",
                                     containers[i].network_mode ?: "n", containers[i].bindings ?: "{}") > 0);
                rules[n_rules++] = (ScriptedRule){ request, containers[i].silent ? NULL : reply, .close = true };
                texts[n_texts++] = request;
                texts[n_texts++] = reply;
        }
        rules[n_rules++] = (ScriptedRule){ "GET /v1.41/containers/",
                                           REPLY_BODY("404 Not Found", "{\"message\":\"No such container: x\"}"),
                                           .close = true };
        run_engine(rules, n_rules);
        while (n_texts > 0)
                free(texts[--n_texts]);
}

void stage_engine_hangs(void) {
        static const ScriptedRule rules[] = { { "GET", NULL } };

        run_engine(rules, ELEMENTSOF(rules));
}

const char *stage_log(void) {
        static char log[sizeof(shared->log)];

        strcpy(log, shared->log);
        *shared->log = '\0';
        return log;
}

unsigned stage_connections(void) {
        return ask_engine().connections;
}

unsigned stage_inspects(void) {
        return ask_engine().inspects;
}
