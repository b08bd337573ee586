#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/listen.h"
#include "unit-text.h"
#include "util/fd.h"
#include "util/log.h"

/* wakechain-generator NORMAL [EARLY LATE]: dependencies.json to unit files. systemd runs it at boot and
 * at each daemon-reload, before there is a bus, a network, an engine, or a file system but those of /usr
 * and /etc: it reads files and writes files, below NORMAL only, which is empty and which systemd removes
 * before the next run.
 *
 * A service's files are made in memory first and linked into sockets.target last, so that whatever fails,
 * a service is either there or not. Drop-ins are named 00-, before anything that an administrator adds:
 * theirs are read later, and win. */

#define DROPIN "00-wakechain.conf"
#define PROBLEMS_SHOWN 20
#define LOG_LINES 60
#define LOG_LINE_SIZE 900 /* the kernel refuses records of 1024 bytes, with a prefix of its own */

/* What a waker may need for each of its containers in order to stop them one after the other, where
 * nobody has said anything: the engine's grace period of 10 s and its answer. A waker that knows better
 * asks for more (EXTEND_TIMEOUT_USEC=). */
#define STOP_BUDGET (15 * USEC_PER_SEC)
#define STOP_BUDGET_UNIT (105 * USEC_PER_SEC) /* systemd's DefaultTimeoutStopSec= of 90 s instead */
#define STOP_SLACK (15 * USEC_PER_SEC)

/* What the template puts on the front's command line. The kernel takes 128 KiB for one variable. */
#define DRAIN_TIMEOUT_USEC (10 * USEC_PER_SEC) /* the front's own */
#define OPTIONS_VARIABLE "WAKECHAIN_FRONT_OPTIONS"
#define OPTIONS_MAX ((size_t) 120 * 1024)

typedef struct EngineUnits {
        const char *group; /* may open the engine's socket */
        const char *wants, *after;
} EngineUnits;

static const EngineUnits engine_units[_ENGINE_KIND_MAX] = {
        [ENGINE_DOCKER] = { "docker", "docker.service", "docker.service docker.socket containerd.service" },
        [ENGINE_SWARM] = { "docker", "docker.service", "docker.service docker.socket containerd.service" },
        [ENGINE_PODMAN] = { "podman", "podman.socket", "podman.socket podman.service" },
};

/* Units that flush the firewall, or begin with an empty one. The same list is in
 * units/wakechain-redirect.service.in. */
static const char *const firewalls[] = {
        "nftables.service",  "netfilter-persistent.service",
        "iptables.service",  "ip6tables.service",
        "firewalld.service", "ufw.service",
};

typedef struct Generator {
        const Config *config;
        int folder_fd;
        bool engine_has_group;
        bool services; /* there is one */
        bool redirects; /* there is one in redirect mode */
        int error; /* the first; the run goes on */
} Generator;

static const char *arg_root = "";
static int log_fd = STDERR_FILENO;
static bool log_is_kmsg = false;

/* systemd gives generators a standard error that nobody reads. The kernel's log is what exists at that
 * time; in a container, the console. */
static void generator_log_open(void) {
        const char *pid = getenv("SYSTEMD_EXEC_PID");
        int fd;

        if (!pid || strtol(pid, NULL, 10) != getpid())
                return;
        fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY);
        log_is_kmsg = fd >= 0;
        if (fd < 0)
                fd = open("/dev/console", O_WRONLY | O_CLOEXEC | O_NOCTTY);
        if (fd >= 0)
                log_fd = fd;
}

static void generator_log(int level, const char *format, ...) _printf_(2, 3);
static void generator_log(int level, const char *format, ...) {
        static unsigned n_lines = 0;
        char line[LOG_LINE_SIZE];
        va_list arguments;
        int n = 0;

        /* A full /run says the same of each file. */
        if (++n_lines > LOG_LINES)
                return;

        if (log_is_kmsg)
                n = snprintf(line, sizeof(line), "<%i>", LOG_DAEMON | level);
        if (log_fd != STDERR_FILENO)
                n += snprintf(line + n, sizeof(line) - (size_t) n, "wakechain-generator[%i]: ", getpid());
        va_start(arguments, format);
        n += vsnprintf(line + n, sizeof(line) - (size_t) n, format, arguments);
        va_end(arguments);

        /* One write is one record, or one line among those of others. */
        n = MIN(n, (int) sizeof(line) - 2);
        line[n++] = '\n';
        if (write(log_fd, line, (size_t) n) < 0)
                return;
}

static void generator_fail(Generator *generator, int error, const char *what) {
        generator_log(LOG_ERR, "Failed to write '%s': %s", what, strerror(-error));
        if (generator->error == 0)
                generator->error = error;
}

static int folder_make(Generator *generator, const char *name) {
        if (mkdirat(generator->folder_fd, name, 0755) < 0 && errno != EEXIST)
                return -errno;
        return 0;
}

/* A new file, whole or not at all. */
static int file_write(Generator *generator, const char *name, const UnitText *text) {
        _cleanup_close_ int fd = -EBADF;
        const char *data;
        size_t size;
        int r;

        r = unit_text_finish(text, &data, &size);
        if (r < 0)
                return r;

        fd = openat(generator->folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return -errno;
        for (size_t done = 0; done < size;) {
                ssize_t n = write(fd, data + done, size - done);

                if (n < 0) {
                        r = -errno;
                        (void) unlinkat(generator->folder_fd, name, 0);
                        return r;
                }
                done += (size_t) n;
        }
        return 0;
}

static int dropin_write(Generator *generator, const char *unit, const UnitText *text) {
        char name[256];
        int r;

        (void) snprintf(name, sizeof(name), "%s.d", unit);
        r = folder_make(generator, name);
        if (r < 0)
                return r;
        (void) snprintf(name, sizeof(name), "%s.d/" DROPIN, unit);
        return file_write(generator, name, text);
}

static int want(Generator *generator, const char *target, const char *unit, const char *file) {
        char name[256];
        int r;

        (void) snprintf(name, sizeof(name), "%s.wants", target);
        r = folder_make(generator, name);
        if (r < 0)
                return r;
        (void) snprintf(name, sizeof(name), "%s.wants/%s", target, unit);
        return symlinkat(file, generator->folder_fd, name) < 0 ? -errno : 0;
}

static void text_begin(UnitText *text, const Service *service) {
        size_t n = strlen(arg_root);

        unit_text_raw(text,
                      "# Written by wakechain-generator(8) at boot and at each daemon-reload: changes are lost.\n"
                      "# To change this unit, use `systemctl edit`.\n");
        if (service->remembered)
                unit_text_raw(text, "# The configuration is broken: this is from when it was last good.\n");
        unit_text_raw(text, "\n[Unit]\n");
        /* Without the root of tests. */
        unit_text_add_user(text, "SourcePath", "",
                           service->file + (strncmp(service->file, arg_root, n) == 0 ? n : 0), "", UNIT_PLAIN);
}

static void text_add_span(UnitText *text, const char *key, uint64_t usec) {
        if (usec >= USEC_INFINITY - USEC_PER_SEC)
                unit_text_add(text, key, "infinity");
        else
                unit_text_add(text, key, "%llus", (unsigned long long) ((usec + USEC_PER_SEC - 1) / USEC_PER_SEC));
}

/* systemd knows one order only, whatever the lists mean together: who is allowed is served, else who is
 * denied is not, else anybody is. A list of allowed addresses alone is meant to be all of them. */
static void text_add_access(UnitText *text, const Service *service) {
        for (char **address = service->allow; address && *address; address++)
                unit_text_add_user(text, "IPAddressAllow", "", *address, "", UNIT_PLAIN);
        for (char **address = service->deny; address && *address; address++)
                unit_text_add_user(text, "IPAddressDeny", "", *address, "", UNIT_PLAIN);
        if (strv_length(service->allow) > 0 && strv_length(service->deny) == 0)
                unit_text_add(text, "IPAddressDeny", "any");
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
                unit_text_raw(text, "BindIPv6Only=both\nFreeBind=yes\n");
        if (n_udp > 0 && n_unix == 0)
                unit_text_add(text, "PassPacketInfo", "yes");
        if (n_udp == n)
                unit_text_add(text, "ReceiveBuffer", "4M");
        if (n_udp + n_unix == 0)
                unit_text_add(text, "NoDelay", "yes");
        if (n_unix > 0)
                unit_text_add(text, "RemoveOnStop", "yes");
}

/* wake@NAME.socket */
static void text_socket(UnitText *text, const Service *service) {
        text_begin(text, service);
        if (service_is_redirected(service)) {
                unit_text_add(text, "Description", "Stack %s while it sleeps: clients of port %u", service->name,
                              service->port);
                /* Not ordered after it: see there. */
                unit_text_raw(text, "Documentation=man:wakechain-generator(8)\n"
                                    "Wants=wakechain-redirect.service\n\n"
                                    "[Socket]\n");
                /* The wildcard, both families: a redirected packet comes to the address of the interface
                 * that it came in by. */
                unit_text_add(text, "ListenStream", "%u", service->redirect_port);
                unit_text_raw(text, "BindIPv6Only=both\n"
                                    "NoDelay=yes\n"
                                    "ExecStartPost=" PROGRAM_DIR "/wakechain-redirect up %i\n"
                                    "ExecStopPost=" PROGRAM_DIR "/wakechain-redirect down %i\n"
                                    "CapabilityBoundingSet=CAP_NET_ADMIN CAP_DAC_OVERRIDE\n"
                                    "NoNewPrivileges=yes\n");
        } else {
                unit_text_add(text, "Description", "Clients of stack %s", service->name);
                unit_text_raw(text, "Documentation=man:wakechain-generator(8)\n\n"
                                    "[Socket]\n");
                text_add_listen(text, service);
                text_add_access(text, service);
        }
        unit_text_add(text, "Service", "wake-front@%s.service", service->name);
        if (!service_is_udp(service))
                unit_text_raw(text, "Backlog=4096\n"
                                    "KeepAlive=yes\n");
        unit_text_raw(text, "TriggerLimitIntervalSec=0\n");
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
                unit_text_add(text, "Wants", "wake-control@%s.socket", dependency->name);
                unit_text_add(text, "After", "wake-control@%s.socket", dependency->name);
        }
}

/* wake@NAME.service.d/ */
static void text_waker(UnitText *text, const Generator *generator, const Service *service) {
        const EngineUnits *engine = &engine_units[generator->config->engine];
        uint64_t stop_usec = stop_budget(service);
        const char *folder = service->compose_dir;
        char stack[SERVICE_NAME_MAX + 16];

        /* systemd takes no such path, and what it means without the `..` is known on the running system
         * only. */
        if (folder && path_goes_up(folder)) {
                generator_log(LOG_WARNING, "Service '%s': '%s' has '..' in it, not reading .env there.",
                              service->name, folder);
                folder = NULL;
        }

        text_begin(text, service);
        (void) snprintf(stack, sizeof(stack), "Stack %s (", service->name);
        unit_text_add_user(text, "Description", stack,
                           service->page_title ? service->page_title : service->container, ")", UNIT_PLAIN);
        unit_text_add(text, "Wants", "%s", engine->wants);
        unit_text_add(text, "After", "%s", engine->after);
        text_add_held(text, generator->config, service);
        if (folder)
                unit_text_add_user(text, "RequiresMountsFor", "", folder, "", UNIT_WORD);

        unit_text_raw(text, "\n[Service]\n");
        if (generator->engine_has_group)
                unit_text_add(text, "SupplementaryGroups", "%s", engine->group);
        else
                unit_text_raw(text, "# No SupplementaryGroups=: the engine's group does not exist.\n");
        /* The waker gives up first, and has the time to undo what it did. */
        text_add_span(text, "TimeoutStartSec", usec_add(service->global_timeout_usec, stop_usec));
        text_add_span(text, "TimeoutStopSec", usec_add(service->drain_timeout_usec, stop_usec));
        /* For variables in health commands. What compose reads as .env and systemd as EnvironmentFile=
         * differs in interpolation, `export` and comments behind a value; simple KEY=VALUE lines, quoted
         * or not, are the same in both. */
        if (folder)
                unit_text_add_user(text, "EnvironmentFile", "-", folder, "/.env", UNIT_GLOB);
        unit_text_add_user(text, "EnvironmentFile", "-/etc/wakechain/env/", service->name, ".env", UNIT_GLOB);
}

/* One more word of the front's command line, as systemd splits the value of a variable there: at blanks, outside of
 * quotes, where a backslash protects what follows. */
static void options_add(UnitText *options, const char *name, const char *value) {
        static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/+,-";

        unit_text_raw(options, options->data[options->size - 1] == '=' ? "--" : " --");
        unit_text_raw(options, name);
        unit_text_raw(options, "=");
        if (value[strspn(value, safe)] == '\0') {
                unit_text_raw(options, value);
                return;
        }
        unit_text_raw(options, "\"");
        for (; *value; value++) {
                if (strchr("\"\\", *value))
                        unit_text_raw(options, "\\");
                unit_text_raw(options, (char[]){ *value, '\0' });
        }
        unit_text_raw(options, "\"");
}

static void options_add_all(UnitText *options, const char *name, char *const *values) {
        for (; values && *values; values++)
                options_add(options, name, *values);
}

/* What differs from the front's own defaults: it reads no configuration. */
static void text_add_options(UnitText *text, const Service *service) {
        static const char *const pages[_PAGE_MODE_MAX] = { [PAGE_ALWAYS] = "always", [PAGE_NEVER] = "never" };
        _cleanup_(unit_text_done) UnitText options = {};
        _cleanup_free_ char *value = NULL, *drain = NULL;
        const char *data;
        char span[32];
        size_t size;
        int r;

        unit_text_raw(&options, OPTIONS_VARIABLE "=");
        if (service->drain_timeout_usec != DRAIN_TIMEOUT_USEC) {
                if (asprintf(&drain, "%" PRIu64 "us", service->drain_timeout_usec) < 0) {
                        text->error = -ENOMEM;
                        return;
                }
                options_add(&options, "drain-timeout", drain);
        }
        if (pages[service->page])
                options_add(&options, "page", pages[service->page]);
        if (service->proxy_protocol > 0)
                options_add(&options, "proxy-protocol", service->proxy_protocol == 1 ? "v1" : "v2");
        if (service->idle_bytes && service->idle_timeout_usec > 0) {
                (void) snprintf(span, sizeof(span), "%" PRIu64 "ms", service->idle_timeout_usec / USEC_PER_MSEC);
                options_add(&options, "idle-bytes", span);
        }
        options_add_all(&options, "ignore-address", service->ignore_addresses);
        options_add_all(&options, "ignore-user-agent", service->ignore_user_agents);
        options_add_all(&options, "ignore-path", service->ignore_paths);

        r = unit_text_finish(&options, &data, &size);
        if (r < 0 || size > OPTIONS_MAX) {
                text->error = MIN(r, -E2BIG);
                return;
        }
        if (size == strlen(OPTIONS_VARIABLE "="))
                return;
        value = strndup(data, size);
        if (!value)
                text->error = -ENOMEM;
        else
                unit_text_add_user(text, "Environment", "", value, "", UNIT_WORD);
}

/* wake-front@NAME.service.d/ */
static void text_front(UnitText *text, const Service *service) {
        text_begin(text, service);
        unit_text_add(text, "Description", "Front of stack %s", service->name);
        unit_text_raw(text, "\n[Service]\n");
        text_add_options(text, service);
        text_add_span(text, "TimeoutStopSec", usec_add(service->drain_timeout_usec, 5 * USEC_PER_SEC));
}

static void generate_service(Generator *generator, const Service *service) {
        _cleanup_(unit_text_done) UnitText socket = {}, waker = {}, front = {};
        char name[128], link[256];
        bool has_socket = service_has_front(service);
        int r = 0;

        text_waker(&waker, generator, service);
        if (has_socket) {
                text_socket(&socket, service);
                text_front(&front, service);
        }
        if (socket.error < 0 || waker.error < 0 || front.error < 0) {
                generator_log(LOG_ERR,
                              "Service '%s' has a text that no unit file can carry, skipping the service.",
                              service->name);
                return;
        }

        (void) snprintf(name, sizeof(name), "wake@%s.service", service->name);
        r = dropin_write(generator, name, &waker);
        if (r >= 0 && has_socket) {
                (void) snprintf(name, sizeof(name), "wake-front@%s.service", service->name);
                r = dropin_write(generator, name, &front);
        }
        if (r >= 0 && has_socket) {
                (void) snprintf(name, sizeof(name), "wake@%s.socket", service->name);
                r = file_write(generator, name, &socket);
        }

        if (r >= 0) {
                (void) snprintf(name, sizeof(name), "wake-control@%s.socket", service->name);
                r = want(generator, "sockets.target", name, UNIT_DIR "/wake-control@.socket");
        }
        if (r >= 0 && has_socket) {
                (void) snprintf(name, sizeof(name), "wake@%s.socket", service->name);
                (void) snprintf(link, sizeof(link), "../%s", name);
                r = want(generator, "sockets.target", name, link);
        }
        if (r < 0)
                generator_fail(generator, r, name);
        generator->services = true;
        if (has_socket && service_is_redirected(service))
                generator->redirects = true;
}

/* Looks at boot which stacks run already. */
static void generate_boot(Generator *generator) {
        int r;

        r = want(generator, "multi-user.target", "wakechain-boot.service", UNIT_DIR "/wakechain-boot.service");
        if (r < 0)
                generator_fail(generator, r, "wakechain-boot.service");
}

/* The web service's sockets, which fronts of any service may need. */
static void generate_web(Generator *generator) {
        static const char *const sockets[] = { "wakechain-page.socket", "wakechain-web.socket" };
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(sockets) && r >= 0; i++) {
                char file[128];

                (void) snprintf(file, sizeof(file), UNIT_DIR "/%s", sockets[i]);
                r = want(generator, "sockets.target", sockets[i], file);
                if (r < 0)
                        generator_fail(generator, r, sockets[i]);
        }
}

/* What `systemctl enable` would do for the redirects' units, when there is a use for them. A firewall's first start finds
 * wakechain-redirect.service active, and leaves it at that: the check is what looks then. */
static void generate_redirect(Generator *generator) {
        static const char setup[] = "wakechain-redirect.service";
        static const char setup_file[] = UNIT_DIR "/wakechain-redirect.service";
        static const char check[] = "wakechain-redirect-check.service";
        static const char check_file[] = UNIT_DIR "/wakechain-redirect-check.service";
        int r;

        r = want(generator, "multi-user.target", setup, setup_file);
        for (size_t i = 0; i < ELEMENTSOF(firewalls) && r >= 0; i++) {
                r = want(generator, firewalls[i], setup, setup_file);
                if (r >= 0)
                        r = want(generator, firewalls[i], check, check_file);
        }
        if (r < 0)
                generator_fail(generator, r, setup);
}

/* Not getgrnam(): that may ask services which wait for us. */
static bool group_exists(const char *name) {
        _cleanup_free_ char *path = NULL;
        struct group *group;
        bool found = false;
        FILE *file;

        if (asprintf(&path, "%s/etc/group", arg_root) < 0) {
                path = NULL;
                return false;
        }
        file = fopen(path, "re");
        if (!file)
                return false;
        while (!found && (group = fgetgrent(file)))
                found = streq(group->gr_name, name);
        (void) fclose(file);
        return found;
}

static void show_problems(const ProblemList *problems) {
        size_t shown = 0;

        /* Errors first: they are what costs somebody a service. */
        for (int level = PROBLEM_ERROR; level <= PROBLEM_WARNING; level++)
                for (size_t i = 0; i < problems->n_problems; i++) {
                        const Problem *problem = &problems->problems[i];
                        _cleanup_free_ char *line = NULL;

                        if ((int) problem->level != level || shown >= PROBLEMS_SHOWN)
                                continue;
                        line = problem_to_string(problem);
                        if (line)
                                generator_log(level == PROBLEM_ERROR ? LOG_ERR : LOG_WARNING, "%s", line);
                        shown++;
                }
        if (problems->n_problems > shown)
                generator_log(LOG_ERR, "%zu more problems: see `wakectl check`.", problems->n_problems - shown);
}

static void show_remembered(const Config *config) {
        if (config->remembered)
                generator_log(LOG_ERR,
                              "'%s' cannot be used: all %zu services go on listening as they did when it was last good. "
                              "They cannot be woken before it is repaired, see `wakectl check`.",
                              config->path, config->n_services);
        for (size_t i = 0; i < config->n_services && !config->remembered; i++)
                if (config->services[i].remembered)
                        generator_log(LOG_ERR,
                                      "Service '%s' is broken and goes on listening as it did when it was last good. It "
                                      "cannot be woken before '%s' is repaired, see `wakectl check`.",
                                      config->services[i].name, config->services[i].file);
}

static int run(const char *folder) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_close_ int folder_fd = -EBADF;
        Generator generator;
        int r;

        r = config_load_or_remembered(&config, arg_root, &problems);
        if (r == -ENOENT && problems.n_problems == 0)
                return 0;
        show_problems(&problems);
        if (r < 0) {
                generator_log(LOG_ERR, "Failed to load dependencies.json, generating nothing: %s", strerror(-r));
                return r;
        }
        show_remembered(config);

        folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder_fd < 0) {
                r = -errno;
                generator_log(LOG_ERR, "Failed to open '%s': %s", folder, strerror(-r));
                return r;
        }

        generator = (Generator){
                .config = config,
                .folder_fd = folder_fd,
                .engine_has_group = group_exists(engine_units[config->engine].group),
        };

        for (size_t i = 0; i < config->n_services; i++)
                generate_service(&generator, &config->services[i]);
        if (generator.services) {
                generate_boot(&generator);
                generate_web(&generator);
        }
        if (generator.redirects)
                generate_redirect(&generator);
        return generator.error;
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                { "root", required_argument, NULL, 'r' },
                {},
        };
        int option;

        umask(0022);
        generator_log_open();

        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                if (option != 'r')
                        return EXIT_FAILURE;
                arg_root = optarg;
        }
        if (argc - optind != 1 && argc - optind != 3) {
                generator_log(LOG_ERR, "Takes one or three folders.");
                return EXIT_FAILURE;
        }
        return run(argv[optind]) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
