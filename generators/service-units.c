#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>

#include "config/disabled.h"
#include "config/listen.h"
#include "model/defaults.h"
#include "service-units.h"

/* Service units: each is written as it will stand. What is the user's goes through unit_text_add_user(), one directive at a time. */

/* What a waker may need for each of its containers in order to stop them one after the other, where
 * nobody has said anything: the engine's grace period of 10 s and its answer. A waker that knows better
 * asks for more (EXTEND_TIMEOUT_USEC=). */
#define STOP_BUDGET (15 * USEC_PER_SEC)
#define STOP_BUDGET_UNIT (105 * USEC_PER_SEC) /* systemd's DefaultTimeoutStopSec= of 90 s instead */
#define STOP_SLACK (15 * USEC_PER_SEC)

/* What the template puts on the front's command line. The kernel takes 128 KiB for one variable. */
#define OPTIONS_VARIABLE "WAKECHAIN_FRONT_OPTIONS"
#define OPTIONS_MAX ((size_t) 120 * 1024)

const EngineUnits engine_units[_ENGINE_KIND_MAX] = {
        [ENGINE_DOCKER] = { "docker", "docker.service", "docker.service docker.socket containerd.service" },
        [ENGINE_SWARM] = { "docker", "docker.service", "docker.service docker.socket containerd.service" },
        [ENGINE_PODMAN] = { "podman", "podman.socket", "podman.socket podman.service" },
};

static void text_begin(UnitText *text, const UnitsWanted *wanted, const Service *service) {
        size_t n = strlen(wanted->root);

        unit_text_print(text,
                        "# Written by wakechain-generator(8) at boot and at each daemon-reload: changes are lost.\n"
                        "# To change this unit, use `systemctl edit`.\n"
                        "%s"
                        "\n"
                        "[Unit]\n",
                        service->remembered
                                        ? "# The configuration is broken: this is from when it was last good.\n"
                                        : "");
        /* Without the root of tests. */
        unit_text_add_user(text, "SourcePath", "",
                           service->file + (strncmp(service->file, wanted->root, n) == 0 ? n : 0), "", UNIT_PLAIN);
}

/* In whole seconds, rounded up. */
static const char *span(uint64_t usec, char buffer[static SPAN_MAX]) {
        if (usec >= USEC_INFINITY - USEC_PER_SEC)
                return "infinity";
        (void) snprintf(buffer, SPAN_MAX, "%" PRIu64 "s", (usec + USEC_PER_SEC - 1) / USEC_PER_SEC);
        return buffer;
}

/* systemd knows one order only, whatever the lists mean together: who is allowed is served, else who is
 * denied is not, else anybody is. A list of allowed addresses alone is meant to be all of them. */
static void text_add_access(UnitText *text, const Service *service) {
        for (char **address = service->allow; address && *address; address++)
                unit_text_add_user(text, "IPAddressAllow", "", *address, "", UNIT_PLAIN);
        for (char **address = service->deny; address && *address; address++)
                unit_text_add_user(text, "IPAddressDeny", "", *address, "", UNIT_PLAIN);
        if (strv_length(service->allow) > 0 && strv_length(service->deny) == 0)
                unit_text_print(text, "IPAddressDeny=any\n");
}

/* systemd complains of each socket that has no such option, so those of one kind of socket are for units that have no
 * other. The front sets them again, but not before the first datagram has come: what is asked of the kernel here is
 * which of our addresses that was for, and room for more of them than the usual 200 KiB. */
static void text_add_listen(UnitText *text, const Service *service) {
        size_t n = 0, n_unix = 0, n_udp = 0;

        for (char **listen = service->listen; *listen; listen++, n++) {
                ListenAddress address = {};

                (void) listen_address_from_string(&address, *listen);
                if (address.udp)
                        unit_text_add_user(text, "ListenDatagram", "", *listen + strlen("udp:"), "", UNIT_PLAIN);
                else
                        unit_text_add_user(text, "ListenStream", "", *listen, "", UNIT_PLAIN);
                n_unix += address.family == AF_UNIX;
                n_udp += address.udp;
        }

        /* Sockets come before the network and its addresses. */
        if (n > n_unix)
                unit_text_print(text, "BindIPv6Only=both\nFreeBind=yes\n");
        if (n_udp > 0 && n_unix == 0)
                unit_text_print(text, "PassPacketInfo=yes\n");
        if (n_udp == n)
                unit_text_print(text, "ReceiveBuffer=16M\n");
        if (n_udp + n_unix == 0)
                unit_text_print(text, "NoDelay=yes\n");
        if (n_unix > 0)
                unit_text_print(text, "RemoveOnStop=yes\n");
}

/* The wildcard, both families: a redirected packet comes to the address of the interface that it came in by. */
static void text_add_redirected(UnitText *text, const Service *service) {
        bool udp = false;

        unit_text_print(text, "ListenStream=%u\n", service->redirect_port);
        for (size_t i = 0; i < service->n_ports; i++) {
                if (service->ports[i].redirect_port == 0)
                        continue;
                unit_text_print(text, "ListenDatagram=%u\n", service->ports[i].redirect_port);
                udp = true;
        }
        unit_text_print(text, "BindIPv6Only=both\n%s\n", udp ? "PassPacketInfo=yes" : "NoDelay=yes");
}

static bool takes_connections(const Service *service) {
        bool takes = !service->listen;

        for (char **text = service->listen; text && *text && !takes; text++)
                takes = strncmp(*text, "udp:", strlen("udp:")) != 0;
        return takes;
}

/* wake@NAME.socket */
static void text_socket(UnitText *text, const UnitsWanted *wanted, const Service *service) {
        bool redirected = service_is_redirected(service);

        text_begin(text, wanted, service);
        if (redirected && !service_has_main_port(service))
                unit_text_print(text, "Description=Stack %s while it sleeps: clients of UDP port %u\n",
                                service->name, service->ports[0].port);
        else if (redirected && service->port == 0)
                unit_text_print(text, "Description=Stack %s while it sleeps: clients of its names\n",
                                service->name);
        else if (redirected)
                unit_text_print(text, "Description=Stack %s while it sleeps: clients of port %u\n", service->name,
                                service->port);
        else
                unit_text_print(text, "Description=Clients of stack %s\n", service->name);
        /* Whatever becomes of it, the redirects follow. Not ordered after who does that: see there. However often it is started again, it
         * is not dead afterwards. */
        unit_text_print(text,
                        "Documentation=man:wakechain-generator(8)\n"
                        "Wants=" SETTLE_UNIT "\n"
                        "OnSuccess=wakechain-changed.target\n"
                        "OnFailure=wakechain-changed.target\n"
                        "StartLimitIntervalSec=0\n"
                        "ConditionPathExists=!" DISABLED_FOLDER "/%s\n"
                        "\n"
                        "[Socket]\n",
                        service->name);
        if (redirected)
                text_add_redirected(text, service);
        else {
                text_add_listen(text, service);
                text_add_access(text, service);
        }
        unit_text_print(text, "Service=wake-front@%s.service\n", service->name);
        if (takes_connections(service))
                unit_text_print(text, "Backlog=4096\n"
                                      "KeepAlive=yes\n");
        unit_text_print(text, "TriggerLimitIntervalSec=0\n");
}

static bool path_goes_up(const char *path) {
        for (const char *part = path; (part = strstr(part, "/..")); part += 3)
                if (part[3] == '/' || part[3] == '\0')
                        return true;
        return false;
}

/* How long to stop everything may take. To let go of another service takes no time. */
static uint64_t stop_budget(const Service *service) {
        static const uint64_t budgets[_DEPENDENCY_KIND_MAX] = {
                [DEPENDENCY_CONTAINER] = STOP_BUDGET,
                [DEPENDENCY_UNIT] = STOP_BUDGET_UNIT,
        };
        uint64_t usec = STOP_SLACK;

        for (size_t i = 0; i < service->n_dependencies; i++)
                usec += budgets[service->dependencies[i].kind];
        return usec;
}

/* The waker connects to the control sockets of the services that it holds awake, so these come first. It is not ordered after
 * those services themselves, nor after units among its dependencies: it starts them when their turn comes, and with an
 * ordering, its own start would wait for one that somebody else is starting, and its stop, which stops them, would be
 * what their stop waits for. */
static void text_add_held(UnitText *text, const Config *config, const Service *service) {
        for (size_t i = 0; i < service->n_dependencies; i++) {
                const Dependency *dependency = &service->dependencies[i];

                /* A service as it is remembered may name one that is gone. */
                if (dependency->kind != DEPENDENCY_SERVICE || !config_find(config, dependency->name))
                        continue;
                unit_text_print(text,
                                "Wants=wake-control@%s.socket\n"
                                "After=wake-control@%s.socket\n",
                                dependency->name, dependency->name);
        }
}

/* wake@NAME.service.d/ */
static void text_waker(UnitText *text, const UnitsWanted *wanted, const Service *service) {
        const EngineUnits *engine = &engine_units[wanted->config->engine];
        uint64_t stop_usec = stop_budget(service);
        const char *folder = service->compose_dir;
        char stack[SERVICE_NAME_MAX + 16], start[SPAN_MAX], stop[SPAN_MAX];

        text_begin(text, wanted, service);
        (void) snprintf(stack, sizeof(stack), "Stack %s (", service->name);
        unit_text_add_user(text, "Description", stack, service->page_title ?: service->container, ")", UNIT_PLAIN);
        unit_text_print(text,
                        "Wants=%s\n"
                        "After=%s\n",
                        engine->wants, engine->after);
        text_add_held(text, wanted->config, service);
        /* systemd takes no path with `..`, and what it means without is known on the running system only. */
        if (folder && !path_goes_up(folder))
                unit_text_add_user(text, "RequiresMountsFor", "", folder, "", UNIT_WORD);

        unit_text_print(text, "\n"
                              "[Service]\n");
        if (wanted->engine_has_group)
                unit_text_print(text, "SupplementaryGroups=%s\n", engine->group);
        else
                unit_text_print(text, "# No SupplementaryGroups=: the engine's group does not exist.\n");
        /* The waker gives up first, and has the time to undo what it did. */
        unit_text_print(text,
                        "TimeoutStartSec=%s\n"
                        "TimeoutStopSec=%s\n",
                        span(usec_add(service->global_timeout_usec, stop_usec), start),
                        span(usec_add(service->drain_timeout_usec, stop_usec), stop));
        if (wanted->has_environment)
                unit_text_print(text, "EnvironmentFile=-/etc/wakechain/env/%s.env\n", service->name);
}

/* One more word of the front's command line, as systemd splits the value of a variable there: at blanks, outside of
 * quotes, where a backslash protects what follows. */
static void options_add(UnitText *options, const char *name, const char *value) {
        static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/+,-";

        bool quoted = value[strspn(value, safe)] != '\0';

        unit_text_print(options, "%s--%s=%s", options->size == strlen(OPTIONS_VARIABLE "=") ? "" : " ", name,
                        quoted ? "\"" : value);
        for (; quoted && *value; value++)
                unit_text_print(options, "%s%c", strchr("\"\\", *value) ? "\\" : "", *value);
        if (quoted)
                unit_text_print(options, "\"");
}

static void options_add_all(UnitText *options, const char *name, char *const *values) {
        for (; values && *values; values++)
                options_add(options, name, *values);
}

static const char *proxy_protocol_to_string(int version) {
        static const char *const versions[] = { "none", "v1", "v2" };

        return versions[version];
}

/* `place`: where its clients come in. */
static void options_add_port(UnitText *options, const Service *service, const ServicePort *port,
                             const char *place) {
        char value[INET6_ADDRSTRLEN + sizeof("[]:65535=always")];

        if (port->redirect_port > 0) {
                (void) snprintf(value, sizeof(value), "%u=%s", port->redirect_port, place);
                options_add(options, FRONT_OPTION_PORT_UDP, value);
        }
        if (port->page != service->page) {
                (void) snprintf(value, sizeof(value), "%s=%s", place, page_mode_to_string(port->page));
                options_add(options, FRONT_OPTION_PORT_PAGE, value);
        }
        if (port->proxy_protocol != service->proxy_protocol) {
                (void) snprintf(value, sizeof(value), "%s=%s", place,
                                proxy_protocol_to_string(port->proxy_protocol));
                options_add(options, FRONT_OPTION_PORT_PROXY_PROTOCOL, value);
        }
}

static void options_add_ports(UnitText *options, const Service *service) {
        for (size_t i = 0; i < service->n_ports; i++) {
                const ServicePort *port = &service->ports[i];
                ListenAddress address;
                char number[sizeof("65535")];

                (void) snprintf(number, sizeof(number), "%u", port->port);
                if (!service->listen)
                        options_add_port(options, service, port, number);
                for (char **text = port->listen; text && *text; text++) {
                        if (listen_address_from_string(&address, *text) < 0)
                                continue;
                        (void) snprintf(number, sizeof(number), "%u", address.port);
                        options_add_port(options, service, port,
                                         listen_address_is_wildcard(&address) ? number : *text);
                }
        }
}

/* What differs from the front's own defaults: it reads no configuration. */
static void text_add_options(UnitText *text, const Service *service) {
        _cleanup_(unit_text_done) UnitText options = {};
        char drain[32], idle[32];
        const char *data;
        size_t size;
        int r;

        unit_text_print(&options, OPTIONS_VARIABLE "=");
        if (service->drain_timeout_usec != DEFAULT_DRAIN_TIMEOUT_USEC) {
                (void) snprintf(drain, sizeof(drain), "%" PRIu64 "us", service->drain_timeout_usec);
                options_add(&options, FRONT_OPTION_DRAIN_TIMEOUT, drain);
        }
        if (service->page != PAGE_AUTO)
                options_add(&options, FRONT_OPTION_PAGE, page_mode_to_string(service->page));
        if (service->proxy_protocol > 0)
                options_add(&options, FRONT_OPTION_PROXY_PROTOCOL,
                            proxy_protocol_to_string(service->proxy_protocol));
        options_add_ports(&options, service);
        if (service->idle_bytes && service->idle_timeout_usec > 0) {
                (void) snprintf(idle, sizeof(idle), "%" PRIu64 "ms", service->idle_timeout_usec / USEC_PER_MSEC);
                options_add(&options, FRONT_OPTION_IDLE_BYTES, idle);
        }
        options_add_all(&options, FRONT_OPTION_IGNORE_ADDRESS, service->ignore_addresses);
        options_add_all(&options, FRONT_OPTION_IGNORE_USER_AGENT, service->ignore_user_agents);
        options_add_all(&options, FRONT_OPTION_IGNORE_PATH, service->ignore_paths);
        if (service->ignore_answer == 200)
                options_add(&options, FRONT_OPTION_IGNORE_ANSWER, "200");

        r = unit_text_finish(&options, &data, &size);
        if (r < 0 || size > OPTIONS_MAX)
                text->error = MIN(r, -E2BIG);
        else if (size > strlen(OPTIONS_VARIABLE "="))
                unit_text_add_user(text, "Environment", "", data, "", UNIT_WORD);
}

/* wake-front@NAME.service.d/ */
static void text_front(UnitText *text, const UnitsWanted *wanted, const Service *service) {
        char stop[SPAN_MAX];

        text_begin(text, wanted, service);
        unit_text_print(text,
                        "Description=Front of stack %s\n"
                        "\n"
                        "[Service]\n",
                        service->name);
        text_add_options(text, service);
        unit_text_print(text, "TimeoutStopSec=%s\n",
                        span(usec_add(service->drain_timeout_usec, 5 * USEC_PER_SEC), stop));
}

int service_units_make(ServiceUnits *units, const UnitsWanted *wanted, const Service *service) {
        text_waker(&units->waker, wanted, service);
        if (service_has_front(service)) {
                text_socket(&units->socket, wanted, service);
                text_front(&units->front, wanted, service);
        }
        return MIN(MIN(units->socket.error, units->waker.error), units->front.error);
}

void service_units_done(ServiceUnits *units) {
        unit_text_done(&units->socket);
        unit_text_done(&units->waker);
        unit_text_done(&units->front);
}
