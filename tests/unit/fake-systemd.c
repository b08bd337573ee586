#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "fake-systemd.h"
#include "test.h"
#include "util/fd.h"

#define UNITS_MAX 8
#define CONNECTIONS_MAX 16
#define UNIT_PATH "/org/freedesktop/systemd1/unit"
#define MANAGER "org.freedesktop.systemd1.Manager"

typedef struct Job {
        unsigned id; /* 0: none */
        bool stop;
} Job;

struct FakeSystemd {
        sd_event *event;
        int fd;
        sd_event_source *listening;
        char path[64];
        sd_bus *connections[CONNECTIONS_MAX];
        unsigned n_connections; /* ever */
        FakeUnit units[UNITS_MAX];
        Job jobs[UNITS_MAX];
        size_t n_units;
        unsigned last_job;
        char log[4096];
};

static FakeUnit *find(FakeSystemd *systemd, const char *name) {
        for (size_t i = 0; i < systemd->n_units; i++)
                if (streq(systemd->units[i].name, name))
                        return systemd->units[i].alias_of ? find(systemd, systemd->units[i].alias_of)
                                                          : &systemd->units[i];
        return NULL;
}

static Job *job_of(FakeSystemd *systemd, const FakeUnit *unit) {
        return &systemd->jobs[unit - systemd->units];
}

/* Signals */

static void emit(FakeSystemd *systemd, sd_bus_message *signal, const char *sender) {
        ASSERT_OK(sd_bus_message_set_sender(signal, sender));
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (systemd->connections[i]) {
                        int r = sd_bus_send(systemd->connections[i], signal, NULL);

                        /* One that was closed is noticed later. */
                        ASSERT_TRUE(r >= 0 || r == -ECONNRESET || r == -EPIPE || r == -ENOTCONN);
                }
        sd_bus_message_unref(signal);
}

static sd_bus *any_connection(FakeSystemd *systemd) {
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (systemd->connections[i])
                        return systemd->connections[i];
        return NULL;
}

static sd_bus_message *signal_new(FakeSystemd *systemd, const char *path, const char *interface,
                                  const char *member) {
        sd_bus_message *signal;

        if (!any_connection(systemd))
                return NULL;
        ASSERT_OK(sd_bus_message_new_signal(any_connection(systemd), &signal, path, interface, member));
        return signal;
}

static void append_service(sd_bus_message *message, const FakeUnit *unit) {
        ASSERT_OK(sd_bus_message_append(message, "{sv}", "Type", "s",
                                        unit->oneshot || unit->remains ? "oneshot" : "simple"));
        ASSERT_OK(sd_bus_message_append(message, "{sv}", "Result", "s", unit->result));
        ASSERT_OK(sd_bus_message_append(message, "{sv}", "ExecMainCode", "i", unit->exit_code));
        ASSERT_OK(sd_bus_message_append(message, "{sv}", "ExecMainExitTimestampMonotonic", "t",
                                        (uint64_t) (unit->exited ? 4711 : 0)));
        ASSERT_OK(sd_bus_message_append(message, "{sv}", "TimeoutStopUSec", "t", unit->stop_timeout_usec));
        ASSERT_OK(sd_bus_message_append(message, "{sv}", "ExecStart", "a(sas)", 1, "/bin/true", 2, "/bin/true",
                                        "-v"));
}

static void append_unit(sd_bus_message *message, const FakeUnit *unit) {
        uint8_t id[16] = { [15] = (uint8_t) unit->run };

        ASSERT_OK(sd_bus_message_append(message, "{sv}", "Id", "s", unit->name));
        ASSERT_OK(sd_bus_message_append(message, "{sv}", "Names", "as", 1, unit->name));
        ASSERT_OK(sd_bus_message_append(message, "{sv}", "LoadState", "s", unit->load_state));
        ASSERT_OK(sd_bus_message_append(message, "{sv}", "ActiveState", "s", unit->active_state));
        ASSERT_OK(sd_bus_message_append(message, "{sv}", "SubState", "s", unit->sub_state));
        ASSERT_OK(sd_bus_message_open_container(message, 'e', "sv"));
        ASSERT_OK(sd_bus_message_append(message, "s", "InvocationID"));
        ASSERT_OK(sd_bus_message_open_container(message, 'v', "ay"));
        ASSERT_OK(sd_bus_message_append_array(message, 'y', id, unit->run > 0 ? sizeof(id) : 0));
        ASSERT_OK(sd_bus_message_close_container(message));
        ASSERT_OK(sd_bus_message_close_container(message));
}

static void emit_changed(FakeSystemd *systemd, const FakeUnit *unit, const char *interface,
                         void (*append)(sd_bus_message *message, const FakeUnit *unit)) {
        _cleanup_free_ char *path = NULL;
        sd_bus_message *signal;

        ASSERT_OK(sd_bus_path_encode(UNIT_PATH, unit->name, &path));
        signal = signal_new(systemd, path, "org.freedesktop.DBus.Properties", "PropertiesChanged");
        if (!signal)
                return;
        ASSERT_OK(sd_bus_message_append(signal, "s", interface));
        ASSERT_OK(sd_bus_message_open_container(signal, 'a', "{sv}"));
        append(signal, unit);
        ASSERT_OK(sd_bus_message_close_container(signal));
        ASSERT_OK(sd_bus_message_append(signal, "as", 0));
        emit(systemd, signal, "org.freedesktop.systemd1");
}

void fake_systemd_changed(FakeSystemd *systemd, FakeUnit *unit) {
        emit_changed(systemd, unit, "org.freedesktop.systemd1.Service", append_service);
        emit_changed(systemd, unit, "org.freedesktop.systemd1.Unit", append_unit);
}

void fake_systemd_set(FakeSystemd *systemd, FakeUnit *unit, const char *active_state, const char *result) {
        unit->active_state = active_state;
        unit->result = result;
        unit->sub_state = streq(active_state, "active") ? "running" : "dead";
        fake_systemd_changed(systemd, unit);
}

void fake_systemd_run(FakeSystemd *systemd, FakeUnit *unit) {
        unit->run++;
        unit->exited = false;
        unit->exit_code = 0;
        fake_systemd_set(systemd, unit, "active", "success");
}

/* Jobs */

static void carry_out(FakeSystemd *systemd, FakeUnit *unit, const char *result) {
        if (job_of(systemd, unit)->stop) {
                unit->exited = true;
                unit->exit_code = CLD_KILLED;
                fake_systemd_set(systemd, unit, "inactive", "success");
        } else if (streq(result, "failed")) {
                unit->exited = true;
                unit->exit_code = CLD_EXITED;
                fake_systemd_set(systemd, unit, "failed", "exit-code");
        } else if (streq(result, "done") && !unit->skipped) {
                unit->exited = unit->oneshot || unit->remains;
                unit->exit_code = unit->exited ? CLD_EXITED : 0;
                unit->result = "success";
                unit->active_state = unit->oneshot ? "inactive" : "active";
                unit->sub_state = unit->oneshot ? "dead" : unit->remains ? "exited" : "running";
                fake_systemd_changed(systemd, unit);
        }
}

static void job_path(char path[static 64], const Job *job) {
        (void) snprintf(path, 64, "/org/freedesktop/systemd1/job/%u", job->id);
}

void fake_systemd_finish(FakeSystemd *systemd, FakeUnit *unit, const char *result) {
        Job *job = job_of(systemd, unit);
        sd_bus_message *signal;
        char path[64];

        ASSERT_TRUE(job->id > 0);
        carry_out(systemd, unit, result);
        job_path(path, job);
        signal = signal_new(systemd, "/org/freedesktop/systemd1", MANAGER, "JobRemoved");
        if (signal) {
                ASSERT_OK(sd_bus_message_append(signal, "uoss", job->id, path, unit->name, result));
                emit(systemd, signal, "org.freedesktop.systemd1");
        }
        *job = (Job){};
}

bool fake_systemd_has_job(FakeSystemd *systemd, const FakeUnit *unit) {
        return job_of(systemd, unit)->id > 0;
}

static int handle_job(FakeSystemd *systemd, sd_bus_message *message, bool stop) {
        const char *name, *mode, *result = "done";
        FakeUnit *unit;
        char path[64];
        Job *job;

        ASSERT_OK(sd_bus_message_read(message, "ss", &name, &mode));
        ASSERT_STREQ(mode, "replace");
        ASSERT_TRUE(strlen(systemd->log) + strlen(name) + 8 < sizeof(systemd->log));
        (void) sprintf(systemd->log + strlen(systemd->log), "%s %s\n", stop ? "stop" : "start", name);

        unit = find(systemd, name);
        if (!unit)
                return sd_bus_reply_method_errorf(message, "org.freedesktop.systemd1.NoSuchUnit",
                                                  "Unit %s not found.", name);
        if (unit->refusal)
                return sd_bus_reply_method_errorf(message, unit->refusal, "%s", unit->refusal_text);

        /* One that is under way is joined, or cancelled by its opposite. */
        job = job_of(systemd, unit);
        if (job->id > 0 && job->stop != stop)
                fake_systemd_finish(systemd, unit, "canceled");
        if (job->id == 0) {
                *job = (Job){ .id = ++systemd->last_job, .stop = stop };
                if (!stop && !unit->skipped && !streq(unit->active_state, "active")) {
                        unit->run++;
                        unit->exited = false;
                        fake_systemd_set(systemd, unit, "activating", "success");
                } else if (stop && streq(unit->active_state, "active"))
                        fake_systemd_set(systemd, unit, "deactivating", "success");
        }
        job_path(path, job);
        ASSERT_OK(sd_bus_reply_method_return(message, "o", path));

        if (!stop && unit->failing_starts > 0) {
                unit->failing_starts--;
                result = "failed";
        }
        if (!unit->slow)
                fake_systemd_finish(systemd, unit, result);
        return 1;
}

/* Messages */

static int handle_get_all(FakeSystemd *systemd, sd_bus_message *message) {
        FakeUnit missing = {
                .load_state = "not-found", .active_state = "inactive", .sub_state = "dead", .result = "success"
        };
        _cleanup_free_ char *name = NULL;
        sd_bus_message *reply;
        FakeUnit *unit;

        ASSERT_TRUE(sd_bus_path_decode(sd_bus_message_get_path(message), UNIT_PATH, &name) > 0);
        unit = find(systemd, name);
        if (!unit) {
                unit = &missing;
                (void) snprintf(missing.name, sizeof(missing.name), "%s", name);
        }
        ASSERT_OK(sd_bus_message_new_method_return(message, &reply));
        ASSERT_OK(sd_bus_message_open_container(reply, 'a', "{sv}"));
        append_unit(reply, unit);
        append_service(reply, unit);
        ASSERT_OK(sd_bus_message_close_container(reply));
        ASSERT_OK(sd_bus_send(NULL, reply, NULL));
        sd_bus_message_unref(reply);
        return 1;
}

static int handle_get(FakeSystemd *systemd, sd_bus_message *message) {
        _cleanup_free_ char *name = NULL;
        const char *interface, *property;
        FakeUnit *unit;

        ASSERT_TRUE(sd_bus_path_decode(sd_bus_message_get_path(message), UNIT_PATH, &name) > 0);
        ASSERT_OK(sd_bus_message_read(message, "ss", &interface, &property));
        ASSERT_STREQ(interface, "org.freedesktop.systemd1.Unit");
        unit = find(systemd, name);
        if (!unit)
                return sd_bus_reply_method_errorf(message, "org.freedesktop.systemd1.NoSuchUnit", "Not found.");
        if (streq(property, "InactiveEnterTimestampMonotonic"))
                return sd_bus_reply_method_return(message, "v", "t", unit->ended_usec);
        if (streq(property, "InactiveExitTimestampMonotonic"))
                return sd_bus_reply_method_return(message, "v", "t", unit->began_usec);
        ASSERT_STREQ(property, "StateChangeTimestampMonotonic");
        return sd_bus_reply_method_return(message, "v", "t", unit->changed_usec);
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *reterr_error) {
        FakeSystemd *systemd = ASSERT_PTR(userdata);
        const char *member = sd_bus_message_get_member(message);

        if (sd_bus_message_is_signal(message, "org.freedesktop.DBus.Local", "Disconnected")) {
                for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                        if (systemd->connections[i] == sd_bus_message_get_bus(message))
                                systemd->connections[i] = sd_bus_close_unref(systemd->connections[i]);
                return 1;
        }
        if (!sd_bus_message_is_method_call(message, NULL, NULL))
                return 0;
        if (streq(member, "Hello"))
                return sd_bus_reply_method_return(message, "s", ":1.1");
        if (streq(member, "AddMatch") || streq(member, "RemoveMatch") || streq(member, "Subscribe"))
                return sd_bus_reply_method_return(message, NULL);
        if (streq(member, "GetAll"))
                return handle_get_all(systemd, message);
        if (streq(member, "Get"))
                return handle_get(systemd, message);
        if (streq(member, "StartUnit") || streq(member, "StopUnit"))
                return handle_job(systemd, message, streq(member, "StopUnit"));
        TEST_FAIL("unexpected call: %s", member);
}

static int on_connection(sd_event_source *source, int listener, uint32_t revents, void *userdata) {
        FakeSystemd *systemd = ASSERT_PTR(userdata);
        sd_id128_t id;
        sd_bus *bus;
        int fd;

        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(sd_id128_randomize(&id));
        ASSERT_OK(sd_bus_new(&bus));
        ASSERT_OK(sd_bus_set_fd(bus, fd, fd));
        ASSERT_OK(sd_bus_set_server(bus, true, id));
        ASSERT_OK(sd_bus_add_filter(bus, NULL, on_message, systemd));
        ASSERT_OK(sd_bus_start(bus));
        ASSERT_OK(sd_bus_attach_event(bus, systemd->event, 0));
        systemd->n_connections++;
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (!systemd->connections[i]) {
                        systemd->connections[i] = bus;
                        return 0;
                }
        TEST_FAIL("too many connections");
}

static void close_connections(FakeSystemd *systemd) {
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                systemd->connections[i] = sd_bus_close_unref(systemd->connections[i]);
}

void fake_systemd_down(FakeSystemd *systemd) {
        close_connections(systemd);
        systemd->listening = sd_event_source_disable_unref(systemd->listening);
        systemd->fd = fd_close(systemd->fd);
        (void) unlink(systemd->path);
}

void fake_systemd_up(FakeSystemd *systemd) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        memcpy(address.sun_path, systemd->path, sizeof(systemd->path));
        systemd->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ASSERT_TRUE(systemd->fd >= 0);
        ASSERT_EQ(bind(systemd->fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ASSERT_EQ(listen(systemd->fd, 16), 0);
        ASSERT_OK(sd_event_add_io(systemd->event, &systemd->listening, systemd->fd, EPOLLIN, on_connection,
                                  systemd));
}

static void emit_owner(FakeSystemd *systemd, const char *old, const char *new) {
        sd_bus_message *signal =
                        signal_new(systemd, "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged");

        ASSERT_OK(sd_bus_message_append(signal, "sss", "org.freedesktop.systemd1", old, new));
        emit(systemd, signal, "org.freedesktop.DBus");
}

void fake_systemd_reexec(FakeSystemd *systemd) {
        emit_owner(systemd, ":1.0", "");
        for (size_t i = 0; i < systemd->n_units; i++)
                if (systemd->jobs[i].id > 0)
                        systemd->jobs[i].id = ++systemd->last_job;
        emit_owner(systemd, "", ":1.2");
}

void fake_systemd_reload(FakeSystemd *systemd) {
        for (int active = 1; active >= 0; active--) {
                sd_bus_message *signal = signal_new(systemd, "/org/freedesktop/systemd1", MANAGER, "Reloading");

                ASSERT_OK(sd_bus_message_append(signal, "b", active));
                emit(systemd, signal, "org.freedesktop.systemd1");
        }
}

FakeSystemd *fake_systemd_new(sd_event *event) {
        FakeSystemd *systemd = new0(FakeSystemd, 1);
        char folder[] = "/tmp/fake-systemd-XXXXXX", address[128];

        ASSERT_TRUE(systemd != NULL);
        ASSERT_TRUE(mkdtemp(folder) != NULL);
        *systemd = (FakeSystemd){ .event = event, .fd = -EBADF };
        (void) snprintf(systemd->path, sizeof(systemd->path), "%s/bus", folder);
        (void) snprintf(address, sizeof(address), "unix:path=%s", systemd->path);
        ASSERT_EQ(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, true), 0);
        fake_systemd_up(systemd);
        return systemd;
}

FakeSystemd *fake_systemd_free(FakeSystemd *systemd) {
        if (!systemd)
                return NULL;

        fake_systemd_down(systemd);
        *strrchr(systemd->path, '/') = '\0';
        (void) rmdir(systemd->path);
        return mfree(systemd);
}

FakeUnit *fake_systemd_add(FakeSystemd *systemd, const char *name) {
        FakeUnit *unit = &systemd->units[systemd->n_units++];

        ASSERT_TRUE(systemd->n_units <= UNITS_MAX);
        *unit = (FakeUnit){
                .load_state = "loaded",
                .active_state = "inactive",
                .sub_state = "dead",
                .result = "success",
                .stop_timeout_usec = 90 * 1000 * 1000,
        };
        (void) snprintf(unit->name, sizeof(unit->name), "%s", name);
        return unit;
}

const char *fake_systemd_log(FakeSystemd *systemd) {
        return systemd->log;
}

unsigned fake_systemd_connections(FakeSystemd *systemd) {
        return systemd->n_connections;
}
