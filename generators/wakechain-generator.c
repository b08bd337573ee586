#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "service-units.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/safe-file.h"
#include "util/text.h"

/* wakechain-generator NORMAL [EARLY LATE]: dependencies.json to unit files. systemd runs it at boot and
 * at each daemon-reload, before there is a bus, a network, an engine, or a file system but those of /usr
 * and /etc: it reads files and writes files, below NORMAL only, which is empty and which systemd removes
 * before the next run.
 *
 * A service's files are made in memory first and linked into sockets.target last, so that whatever fails,
 * a service is either there or not. Drop-ins are named 00-, before anything that an administrator adds:
 * theirs are read later, and win. */

#define DROPIN "00-wakechain.conf"
#define RELOADED "wakechain.reloaded" /* no unit: what wakechain-unsettled.path waits for */
#define PROBLEMS_SHOWN 20
#define LOG_LINES 60
#define LOG_LINE_SIZE 900 /* the kernel refuses records of 1024 bytes, with a prefix of its own */

/* Units that flush the firewall, or begin with an empty one. The same list is in
 * units/wakechain-redirect.service.in and units/wakechain-settle.service.in. */
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

_printf_(2, 3) static void generator_log(int level, const char *format, ...) {
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
        r = fd_write_all(fd, data, size);
        if (r < 0)
                (void) unlinkat(generator->folder_fd, name, 0);
        return r;
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

/* For variables in health commands. PID 1 opens it, follows links, and waits if it is a pipe, so it is named only where none but root can
 * put it. COMPOSEDIR/.env, which is anybody's, is the waker's to read. */
static bool environment_is_safe(const Service *service) {
        char path[SERVICE_NAME_MAX + sizeof("/etc/wakechain/env/.env")];
        _cleanup_free_ char *why = NULL;
        int r;

        (void) snprintf(path, sizeof(path), "/etc/wakechain/env/%s.env", service->name);
        r = safe_file_check(arg_root, path, FILE_OF_ROOT, &why);
        if (r >= 0 || r == -ENOENT)
                return true;
        generator_log(LOG_WARNING, "Service '%s': '%s' is not read: %s", service->name, path, why ?: strerror(-r));
        return false;
}

static void generate_service(Generator *generator, const Service *service) {
        const UnitsWanted wanted = {
                .config = generator->config,
                .root = arg_root,
                .engine_has_group = generator->engine_has_group,
                .has_environment = environment_is_safe(service),
        };
        _cleanup_(service_units_done) ServiceUnits units = {};
        char name[128], link[256];
        bool has_socket = service_has_front(service);
        int r;

        r = service_units_make(&units, &wanted, service);
        if (r == -ENOMEM) {
                generator_fail(generator, r, service->name);
                return;
        }
        if (r < 0) {
                generator_log(LOG_ERR,
                              "Service '%s' has a text that no unit file can carry, skipping the service.",
                              service->name);
                return;
        }

        (void) snprintf(name, sizeof(name), "wake@%s.service", service->name);
        r = dropin_write(generator, name, &units.waker);
        if (r >= 0 && has_socket) {
                (void) snprintf(name, sizeof(name), "wake-front@%s.service", service->name);
                r = dropin_write(generator, name, &units.front);
        }
        if (r >= 0 && has_socket) {
                (void) snprintf(name, sizeof(name), "wake@%s.socket", service->name);
                r = file_write(generator, name, &units.socket);
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

/* What `systemctl enable` would do for those who settle, when there is a use for them. A firewall's first start, and an engine's, finds
 * wakechain-redirect.service active, and leaves it at that: the other one is what looks then. */
static void generate_settle(Generator *generator) {
        static const char names[] = "wakechain-names.socket";
        static const char redirect[] = "wakechain-redirect.service";
        static const char redirect_file[] = UNIT_DIR "/wakechain-redirect.service";
        static const char settle_file[] = UNIT_DIR "/" SETTLE_UNIT;
        _cleanup_(unit_text_done) UnitText text = {};
        int r;

        r = want(generator, "multi-user.target", redirect, redirect_file);
        if (r >= 0)
                r = want(generator, engine_units[generator->config->engine].wants, redirect, redirect_file);
        for (size_t i = 0; i < ELEMENTSOF(firewalls) && r >= 0; i++) {
                r = want(generator, firewalls[i], redirect, redirect_file);
                if (r >= 0)
                        r = want(generator, firewalls[i], SETTLE_UNIT, settle_file);
        }

        for (size_t i = 0; i < generator->config->n_services && r >= 0; i++)
                if (service_has_names(&generator->config->services[i])) {
                        r = want(generator, "sockets.target", names, UNIT_DIR "/wakechain-names.socket");
                        break;
                }

        /* Who is started together with a socket looks when that listens. */
        unit_text_print(&text,
                        "# Written by wakechain-generator(8) at boot and at each daemon-reload: changes are lost.\n\n[Unit]\n");
        for (size_t i = 0; i < generator->config->n_services; i++)
                if (service_has_front(&generator->config->services[i]))
                        unit_text_print(&text, "After=wake@%s.socket\n", generator->config->services[i].name);
        if (r >= 0)
                r = dropin_write(generator, SETTLE_UNIT, &text);
        if (r < 0)
                generator_fail(generator, r, SETTLE_UNIT);
}

/* That the units are other ones now. */
static void leave_stamp(Generator *generator) {
        int fd = openat(generator->folder_fd, RELOADED, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

        if (fd < 0)
                generator_fail(generator, -errno, RELOADED);
        (void) fd_close(fd);
}

/* Not getgrnam(): that may ask services which wait for us. */
static bool group_exists(const char *name) {
        _cleanup_free_ char *path = NULL;
        struct group *group;
        bool found = false;
        FILE *file;

        path = text_printf("%s/etc/group", arg_root);
        if (!path)
                return false;
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

        folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder_fd < 0) {
                r = -errno;
                generator_log(LOG_ERR, "Failed to open '%s': %s", folder, strerror(-r));
                return r;
        }
        generator = (Generator){ .folder_fd = folder_fd };
        leave_stamp(&generator);

        r = config_load_or_remembered(&config, arg_root, &problems);
        if (r == -ENOENT && problems.n_problems == 0)
                return 0;
        show_problems(&problems);
        if (r < 0) {
                generator_log(LOG_ERR, "Failed to load dependencies.json, generating nothing: %s", strerror(-r));
                return r;
        }
        show_remembered(config);

        generator.config = config;
        generator.engine_has_group = group_exists(engine_units[config->engine].group);
        for (size_t i = 0; i < config->n_services; i++)
                generate_service(&generator, &config->services[i]);
        if (generator.services) {
                generate_web(&generator);
                generate_settle(&generator);
        }
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
