#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command/host-command.h"
#include "compose/compose-environment.h"
#include "compose/compose-file.h"
#include "compose/compose-output.h"
#include "compose/composer.h"
#include "lease/lease.h"
#include "util/log.h"
#include "util/strv.h"
#include "util/text.h"
#include "util/time.h"

/* Composer: a queue of containers to be made. While it is not empty the folder's lock is held, and what the project consists
 * of is known. For each container, one program after the other:
 *
 *     version    once: docker compose, or docker-compose, which may be either version
 *     config     once per queue: which service makes which container
 *     up         --no-start --no-recreate (or --force-recreate) --no-deps --no-build SERVICE
 *     connect    v1 alone: it connects a container to its second network only when it starts it itself
 *
 * Whose namespace it shares is made before it: what it gets is that container's id.
 *
 * `up` rather than `create`, which has no --no-deps in either version. It makes all networks and volumes of the project that
 * do not exist, and fails if an external one is missing, needed by this service or not: so does the administrator's. */

#define LOCK_RETRY (100 * USEC_PER_MSEC)
#define SHORT_OUTPUT_MAX 256
#define HELD_LINES_MAX 100U
#define LISTED_MAX 10U /* containers in a sentence */
#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

typedef enum Tool {
        TOOL_PLUGIN, /* docker compose */
        TOOL_ALONE, /* docker-compose, version 2 or later */
        TOOL_V1, /* docker-compose 1.x */
        _TOOL_MAX,
        _TOOL_INVALID = -EINVAL,
} Tool;

static const char *const tool_names[_TOOL_MAX] = {
        [TOOL_PLUGIN] = "docker compose",
        [TOOL_ALONE] = "docker-compose",
        [TOOL_V1] = "docker-compose",
};

struct Composition {
        Composer *composer;
        Composition *next;
        bool queued, anew;
        char *container; /* NULL: what there is, is only looked at */
        ComposeFile *file; /* then: that */
        CompositionHandler handler;
        void *userdata;
};

struct Composer {
        sd_event *event;
        const char *root, *folder; /* borrowed */
        const Environment *environment; /* borrowed */
        ComposerLineHandler on_line;
        void *userdata;
        char *engine_socket;

        Composition *queue; /* the first is being made */
        sd_event_source *timer; /* goes on */
        HostCommand *command;
        ComposeOutput output; /* of the command */
        char **held; /* its lines, shown only if it fails */
        bool holding;

        Lease *lock;
        bool locked;
        Tool tool, trying; /* the first is none until one has answered */
        ComposeFile *file; /* what is known while there is a queue */
        const ComposeService *service; /* that makes the first */
        size_t network; /* of it, that is being connected */
};

static void composer_go_on_after(Composer *composer, uint64_t usec) {
        (void) sd_event_source_set_time_relative(composer->timer, usec);
        (void) sd_event_source_set_enabled(composer->timer, SD_EVENT_ONESHOT);
}

static void composer_end_command(Composer *composer) {
        composer->command = host_command_free(composer->command);
        compose_output_done(&composer->output);
        composer->held = strv_free(composer->held);
}

/* After the queue has changed. */
static void composer_arrange(Composer *composer) {
        composer_end_command(composer);
        composer->service = NULL;
        if (composer->queue) {
                composer_go_on_after(composer, 0);
                return;
        }
        (void) sd_event_source_set_enabled(composer->timer, SD_EVENT_OFF);
        composer->file = compose_file_free(composer->file);
        composer->lock = lease_free(composer->lock);
        composer->locked = false;
}

Composer *composer_free(Composer *composer) {
        if (!composer)
                return NULL;

        assert(!composer->queue);
        composer_arrange(composer);
        (void) sd_event_source_disable_unref(composer->timer);
        (void) sd_event_unref(composer->event);
        free(composer->engine_socket);
        return mfree(composer);
}

int composer_set_engine(Composer *composer, const char *socket_path) {
        char *copy;

        copy = strdup(socket_path);
        if (!copy)
                return -ENOMEM;
        free(composer->engine_socket);
        composer->engine_socket = copy;
        return 0;
}

static int composer_enqueue(Composition **ret, Composer *composer, const char *container, bool anew,
                            CompositionHandler handler, void *userdata) {
        Composition *composition, **last;

        assert(handler);

        composition = malloc(sizeof(*composition));
        if (!composition)
                return -ENOMEM;
        *composition = (Composition){
                .composer = composer,
                .queued = true,
                .anew = anew,
                .container = container ? strdup(container) : NULL,
                .handler = handler,
                .userdata = userdata,
        };
        if (container && !composition->container) {
                free(composition);
                return -ENOMEM;
        }

        for (last = &composer->queue; *last; last = &(*last)->next)
                ;
        *last = composition;
        if (composer->queue == composition)
                composer_arrange(composer);
        *ret = composition;
        return 0;
}

int composer_create(Composition **ret, Composer *composer, const char *container, bool anew,
                    CompositionHandler handler, void *userdata) {
        assert(container);

        return composer_enqueue(ret, composer, container, anew, handler, userdata);
}

int composer_look(Composition **ret, Composer *composer, CompositionHandler handler, void *userdata) {
        return composer_enqueue(ret, composer, NULL, false, handler, userdata);
}

ComposeFile *composition_take_file(Composition *composition) {
        return TAKE_PTR(composition->file);
}

Composition *composition_free(Composition *composition) {
        Composer *composer;

        if (!composition)
                return NULL;

        composer = composition->composer;
        if (composition->queued) {
                bool first = composer->queue == composition;

                for (Composition **each = &composer->queue; *each; each = &(*each)->next)
                        if (*each == composition) {
                                *each = composition->next;
                                break;
                        }
                if (first)
                        composer_arrange(composer);
        }
        free(composition->container);
        compose_file_free(composition->file);
        return mfree(composition);
}

/* The first of the queue is done. The format is a sentence, NULL if there is nothing to say. */
_printf_(3, 4) static void composer_finish(Composer *composer, FailureReason reason, const char *format, ...) {
        Composition *composition = ASSERT_PTR(composer->queue);
        _cleanup_free_ char *sentence = NULL;
        va_list arguments;

        if (format) {
                va_start(arguments, format);
                sentence = text_vprintf(format, arguments);
                va_end(arguments);
        }

        composer->queue = composition->next;
        composition->queued = false;
        composer_arrange(composer);
        composition->handler(composition, reason,
                             sentence ? sentence
                             : format ? "out of memory"
                                      : "",
                             composition->userdata);
        /* The handler may have freed both: nothing goes below this line. */
}

/* Running programs */

static void composer_take_line(const char *line, void *userdata) {
        Composer *composer = ASSERT_PTR(userdata);
        bool shown = compose_output_feed(&composer->output, line);

        line += strspn(line, " ");
        if (!shown || *line == '\0')
                return;
        if (!composer->holding)
                composer->on_line(line, composer->userdata);
        else if (strv_length(composer->held) < HELD_LINES_MAX)
                (void) strv_append(&composer->held, line);
}

static int argv_append(char ***argv, const char *const *words) {
        int r = 0;

        for (; r >= 0 && *words; words++)
                r = strv_append(argv, *words);
        return r;
}

/* `r` is the making of argv. Standard output is captured up to `captured_max`; if it is 0, all is shown line by line. */
static void composer_run(Composer *composer, int r, char *const *argv, size_t captured_max,
                         HostCommandHandler handler) {
        _cleanup_(strv_freep) char **environment = NULL;
        HostCommandRequest request;

        composer_end_command(composer);
        if (r >= 0)
                r = compose_environment_make(&environment, composer->environment, composer->engine_socket);
        if (r >= 0) {
                composer->holding = captured_max > 0;
                request = (HostCommandRequest){
                        .argv = argv,
                        .folder = composer->folder,
                        .environment = environment,
                        .timeout_usec = USEC_INFINITY,
                        .on_line = composer_take_line,
                        .captured_max = captured_max,
                };
                r = host_command_run(&composer->command, composer->event, &request, handler, composer);
        }
        if (r < 0)
                composer_finish(composer, FAILURE_START_FAILED, "compose cannot be run: %s", strerror(-r));
}

static void composer_run_tool(Composer *composer, Tool tool, const char *const *words, size_t captured_max,
                              HostCommandHandler handler) {
        _cleanup_(strv_freep) char **argv = NULL;
        int r;

        r = argv_append(&argv, tool == TOOL_PLUGIN ? WORDS("docker", "compose") : WORDS("docker-compose"));
        if (r >= 0)
                r = argv_append(&argv, words);
        composer_run(composer, r, argv, captured_max, handler);
}

/* The tool has failed with what it said. */
static void composer_fail(Composer *composer, const HostCommandResult *result) {
        const char *container = strempty(composer->queue->container), *folder = composer->folder,
                   *tool = tool_names[composer->tool], *service = composer->service ? composer->service->name : "";
        /* The handler comes after all of it has been forgotten. */
        _cleanup_free_ char *subject = TAKE_PTR(composer->output.subject), *line = TAKE_PTR(composer->output.line);
        const char *said = strempty(line);
        char status[64];

        for (char **held = composer->held; held && *held; held++)
                composer->on_line(*held, composer->userdata);
        if (!line) {
                (void) snprintf(status, sizeof(status), result->signal > 0 ? "signal %d" : "exit status %d",
                                result->signal > 0 ? result->signal : result->exit_status);
                said = status;
        }

        switch (compose_output_trouble(&composer->output)) {
        case COMPOSE_NO_FILE:
                composer_finish(composer, FAILURE_NOT_FOUND,
                                "there is no compose file in '%s' that could make it: correct composeDir in "
                                "dependencies.json",
                                folder);
                return;
        case COMPOSE_UNREADABLE:
                composer_finish(composer, FAILURE_NOT_FOUND,
                                "user wakechain may not read '%s' of the compose project in '%s': let it, and nobody else "
                                "('setfacl -m u:wakechain:r FILE' there)",
                                subject ? subject : said, folder);
                return;
        case COMPOSE_NO_ENGINE:
                composer_finish(composer, FAILURE_ENGINE_UNAVAILABLE,
                                "%s in '%s' cannot talk to the container engine: %s", tool, folder, said);
                return;
        case COMPOSE_NO_NETWORK:
                composer_finish(composer, FAILURE_NETWORK_MISSING,
                                "network '%s' does not exist, which the compose project in '%s' expects: create it "
                                "('docker network create'), or bring up the project that it belongs to",
                                strempty(subject), folder);
                return;
        case COMPOSE_NO_IMAGE:
                if (composer->service && composer->service->built)
                        composer_finish(composer, FAILURE_IMAGE_MISSING,
                                        "the image of container '%s' is missing: run '%s build %s' in '%s' (%s)",
                                        container, tool, service, folder, said);
                else
                        composer_finish(composer, FAILURE_IMAGE_MISSING,
                                        "image '%s' of container '%s' is missing and cannot be pulled: %s; try '%s "
                                        "pull %s' in '%s', or correct the image there",
                                        composer->service ? strempty(composer->service->image) : "", container,
                                        said, tool, service, folder);
                return;
        case COMPOSE_NAME_TAKEN:
                composer_finish(composer, FAILURE_NONE, NULL);
                return;
        default:
                composer_finish(composer, FAILURE_START_FAILED, "%s in '%s' cannot make it: %s", tool, folder,
                                said);
        }
}

/* connect */

static void composer_connect(Composer *composer);

static void composer_on_connected(HostCommand *command, const HostCommandResult *result, void *userdata) {
        Composer *composer = ASSERT_PTR(userdata);

        /* The first was connected when the container was made. */
        composer->network++;
        if (result->exit_status != 0 && !strstr(strempty(composer->output.line), "already exists in network"))
                composer_fail(composer, result);
        else
                composer_connect(composer);
}

static void composer_connect(Composer *composer) {
        const ComposeService *service = composer->service;
        _cleanup_(strv_freep) char **argv = NULL;
        const ComposeNetwork *network;
        int r;

        if (composer->tool != TOOL_V1 || service->n_networks < 2 || composer->network == service->n_networks) {
                composer_finish(composer, FAILURE_NONE, NULL);
                return;
        }

        network = &service->networks[composer->network];
        r = argv_append(&argv, WORDS("docker", "network", "connect", "--alias", service->name));
        for (char **alias = network->aliases; alias && *alias && r >= 0; alias++)
                r = argv_append(&argv, WORDS("--alias", *alias));
        if (r >= 0 && network->ipv4)
                r = argv_append(&argv, WORDS("--ip", network->ipv4));
        if (r >= 0 && network->ipv6)
                r = argv_append(&argv, WORDS("--ip6", network->ipv6));
        if (r >= 0)
                r = argv_append(&argv, WORDS("--", network->name, service->container));
        composer_run(composer, r, argv, SHORT_OUTPUT_MAX, composer_on_connected);
}

/* up */

static void composer_on_made(HostCommand *command, const HostCommandResult *result, void *userdata) {
        Composer *composer = ASSERT_PTR(userdata);

        composer->network = 0;
        if (result->exit_status != 0)
                composer_fail(composer, result);
        else
                composer_connect(composer);
}

static void composer_refuse_unknown(Composer *composer) {
        const ComposeFile *file = composer->file;
        _cleanup_free_ char *list = NULL;
        size_t size = 0;
        FILE *stream;

        stream = open_memstream(&list, &size);
        if (stream) {
                for (size_t i = 0; i < MIN(file->n_services, (size_t) LISTED_MAX); i++)
                        (void) fprintf(stream, "%s%s", i > 0 ? ", " : "", file->services[i].container);
                if (file->n_services > LISTED_MAX)
                        (void) fprintf(stream, ", and %zu more", file->n_services - LISTED_MAX);
                (void) fclose(stream);
        }
        composer_finish(composer, FAILURE_NOT_FOUND,
                        "no service of the compose project in '%s' makes a container '%s'; it makes: %s; correct the "
                        "name in dependencies.json",
                        composer->folder, composer->queue->container, isempty(list) ? "none" : list);
}

/* Who is to be made anyway, and others share its namespace, comes first. */
static void composer_put_first(Composer *composer, const char *container) {
        for (Composition **each = &composer->queue; *each; each = &(*each)->next) {
                Composition *found = *each;

                if (!found->container || !streq(found->container, container))
                        continue;
                *each = found->next;
                found->next = composer->queue;
                composer->queue = found;
                return;
        }
}

static void composer_make(Composer *composer) {
        const ComposeService *owner = NULL;

        if (!composer->queue->container) {
                composer->queue->file = TAKE_PTR(composer->file);
                composer_finish(composer, FAILURE_NONE, NULL);
                return;
        }
        composer->service = compose_file_find(composer->file, composer->queue->container);
        for (size_t n = 0; n < composer->file->n_services && composer->service && composer->service->sharing;
             n++) {
                owner = compose_file_find_service(composer->file, composer->service->sharing);
                if (owner)
                        composer_put_first(composer, owner->container);
                if (!owner || !streq(composer->queue->container, owner->container))
                        break;
                composer->service = owner;
                owner = NULL;
        }
        if (!composer->service) {
                composer_refuse_unknown(composer);
                return;
        }
        /* It would be made all the same, on the default bridge: past a VPN, say. */
        if (composer->tool == TOOL_V1 && composer->service->sharing) {
                composer_finish(composer, FAILURE_START_FAILED,
                                "container '%s' shares a namespace of service '%s', and docker-compose v1 makes it "
                                "rightly only while that runs: run 'docker-compose up -d --force-recreate %s' in '%s' once, or install "
                                "docker compose v2",
                                composer->queue->container, composer->service->sharing, composer->service->name,
                                composer->folder);
                return;
        }

        composer_run_tool(composer, composer->tool,
                          WORDS("up", "--no-start", composer->queue->anew ? "--force-recreate" : "--no-recreate",
                                "--no-deps", "--no-build", "--", composer->service->name,
                                owner && !composer->queue->anew ? owner->name : NULL),
                          0, composer_on_made);
}

/* config */

static void composer_on_config(HostCommand *command, const HostCommandResult *result, void *userdata) {
        Composer *composer = ASSERT_PTR(userdata);
        _cleanup_free_ char *project = NULL;
        int r;

        if (result->exit_status != 0) {
                composer_fail(composer, result);
                return;
        }

        project = compose_environment_project(composer->folder, composer->environment);
        r = project ? 0 : -ENOMEM;
        if (r >= 0)
                r = compose_file_parse(&composer->file, composer->tool == TOOL_V1 ? COMPOSE_YAML : COMPOSE_JSON,
                                       strempty(result->captured), result->captured_size, project,
                                       compose_environment_separator(composer->environment,
                                                                     composer->tool == TOOL_V1));
        if (r < 0) {
                composer_finish(composer, FAILURE_START_FAILED,
                                "what '%s config' prints in '%s' cannot be understood: %s",
                                tool_names[composer->tool], composer->folder, strerror(-r));
                return;
        }
        composer_make(composer);
}

static void composer_read_config(Composer *composer) {
        /* Whoever names a service names its profile with it. v1 prints those of all profiles anyway. */
        composer_run_tool(composer, composer->tool,
                          composer->tool == TOOL_V1 ? WORDS("config")
                                                    : WORDS("--profile", "*", "config", "--format", "json"),
                          COMPOSE_FILE_MAX, composer_on_config);
}

/* version */

static void composer_try_tool(Composer *composer, Tool tool);

static void composer_on_version(HostCommand *command, const HostCommandResult *result, void *userdata) {
        Composer *composer = ASSERT_PTR(userdata);
        const char *version = strempty(result->captured);

        if (result->exit_status == 0 && *version) {
                version += *version == 'v';
                composer->tool = composer->trying == TOOL_ALONE && strncmp(version, "1.", 2) == 0
                                                 ? TOOL_V1
                                                 : composer->trying;
                composer_read_config(composer);
        } else if (composer->trying == TOOL_PLUGIN)
                composer_try_tool(composer, TOOL_ALONE);
        else
                composer_finish(composer, FAILURE_NOT_FOUND,
                                "neither 'docker compose' nor 'docker-compose' is installed, which could make it in '%s': "
                                "install one, or create the container by hand",
                                composer->folder);
}

static void composer_try_tool(Composer *composer, Tool tool) {
        composer->trying = tool;
        composer_run_tool(composer, tool, WORDS("version", "--short"), SHORT_OUTPUT_MAX, composer_on_version);
}

/* The lock */

/* 1: it is ours. 0: busy. Negative: the folder cannot be used. By its inode, since a folder may have many paths. */
static int composer_lock(Composer *composer) {
        char name[64];
        struct stat st;
        int r;

        if (composer->locked)
                return 1;
        if (!composer->lock) {
                if (stat(composer->folder, &st) < 0 || access(composer->folder, R_OK | X_OK) < 0)
                        return -errno;
                if (!S_ISDIR(st.st_mode))
                        return -ENOTDIR;

                (void) snprintf(name, sizeof(name), ".compose-%jx-%jx", (uintmax_t) st.st_dev,
                                (uintmax_t) st.st_ino);
                r = lease_open(&composer->lock, composer->root, name);
                if (r < 0) {
                        /* /run is full, perhaps: that two make it at once is the smaller danger. */
                        log_debug_errno(r, "Failed to open the lock of '%s', going on without: %m",
                                        composer->folder);
                        composer->locked = true;
                        return 1;
                }
        }
        if (lease_seize(composer->lock) == -EAGAIN)
                return 0;
        composer->locked = true;
        return 1;
}

static void composer_refuse_folder(Composer *composer, int error) {
        const char *folder = composer->folder;

        if (error == -ENOENT || error == -ENOTDIR)
                composer_finish(composer, FAILURE_NOT_FOUND,
                                "the compose folder '%s' does not exist: correct composeDir in dependencies.json",
                                folder);
        else if (error == -EACCES)
                composer_finish(composer, FAILURE_NOT_FOUND,
                                "user wakechain may not read the compose folder '%s': let it read and enter that, and "
                                "enter the folders above",
                                folder);
        else
                composer_finish(composer, FAILURE_NOT_FOUND, "the compose folder '%s' cannot be read: %s", folder,
                                strerror(-error));
}

static int composer_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Composer *composer = ASSERT_PTR(userdata);
        int r;

        r = composer_lock(composer);
        if (r < 0)
                composer_refuse_folder(composer, r);
        else if (r == 0)
                composer_go_on_after(composer, LOCK_RETRY);
        else if (composer->tool < 0)
                composer_try_tool(composer, TOOL_PLUGIN);
        else if (!composer->file)
                composer_read_config(composer);
        else
                composer_make(composer);
        return 0;
}

int composer_new(Composer **ret, sd_event *event, const char *root, const char *folder,
                 const Environment *environment, ComposerLineHandler on_line, void *userdata) {
        _cleanup_(composer_freep) Composer *composer = NULL;
        int r;

        assert(event);
        assert(root);
        assert(folder);
        assert(on_line);

        composer = malloc(sizeof(*composer));
        if (!composer)
                return -ENOMEM;
        *composer = (Composer){
                .event = sd_event_ref(event),
                .root = root,
                .folder = folder,
                .environment = environment,
                .on_line = on_line,
                .userdata = userdata,
                .tool = _TOOL_INVALID,
        };

        r = sd_event_add_time_relative(event, &composer->timer, CLOCK_MONOTONIC, 0, 1, composer_on_timer,
                                       composer);
        if (r >= 0)
                r = sd_event_source_set_enabled(composer->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(composer);
        return 0;
}
