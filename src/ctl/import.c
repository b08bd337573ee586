#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "ctl/ctl.h"
#include "ctl/import.h"
#include "ctl/reach.h"
#include "engine/survey.h"
#include "import/compose-facts.h"
#include "import/engine-facts.h"
#include "import/files.h"
#include "import/import.h"
#include "import/writer.h"
#include "util/json-members.h"
#include "util/log.h"
#include "util/nearest.h"
#include "util/printable.h"

/* wakectl import: what exists becomes what dependencies.json says of it, on standard output or in the configuration. All that is said
 * about it goes to standard error. */

#define ENGINE_TIMEOUT (2 * USEC_PER_SEC)
#define CONTAINER_TIMEOUT (20 * USEC_PER_MSEC) /* more, for each that is asked about */
#define EMPTY "{\"services\": {}}"

typedef struct Import {
        const CtlOptions *options;
        ImportWorld world;
        char **projects; /* only these, if there are any */
        ImportFiles *files; /* NULL: printed */
        json_object *services; /* to be printed */
        bool failed, asks;
        size_t n_projects, n_written;
} Import;

static void import_done(Import *import) {
        import_world_done(&import->world);
        import_files_free(import->files);
        strv_free(import->projects);
        json_object_put(import->services);
}

/* That of the configuration, if there is one that says another. */
static char *engine_socket(void) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        (void) config_load(&config, "", NULL, &problems);
        problem_list_done(&problems);
        if (!config)
                (void) config_parse(&config, "dependencies.json", EMPTY, strlen(EMPTY), &problems);
        return config ? strdup(config->engine_socket) : NULL;
}

static int on_inspected(const char *body, size_t size, void *userdata) {
        return import_read_inspect(userdata, body, size);
}

/* All of them: a proxy, or a database, may belong to anybody. */
static int inspect_all(Survey *survey, const char *socket, ImportWorld *world) {
        _cleanup_(survey_freep) Survey *later = NULL;
        size_t n;
        const ListedContainer *list = survey_list(survey, &n);
        _cleanup_free_ char **names = new0(char *, n + 1);
        int r;

        if (!names)
                return log_oom();
        for (size_t i = 0; i < n; i++)
                names[i] = list[i].name;
        survey_allow(survey, ENGINE_TIMEOUT + n * CONTAINER_TIMEOUT);
        survey_set_reader(survey, on_inspected, world);
        r = survey_inspect(survey, names);
        if (r < 0)
                return log_error_errno(r, "Failed to look at the containers: %m");
        for (size_t i = 0; i < n; i++)
                if (!survey_find(survey, names[i])) {
                        if (!later)
                                (void) survey_new(&later, socket, ENGINE_TIMEOUT);
                        if (later && !survey_listed(later, names[i]))
                                continue; /* it has gone since */
                        log_error("The engine did not say in time, or not in a way that can be understood, what '%s' is.",
                                  names[i]);
                        return -EHOSTDOWN;
                }
        return 0;
}

static int look(ImportWorld *world) {
        _cleanup_(survey_freep) Survey *survey = NULL;
        _cleanup_free_ char *socket = engine_socket();
        int r;

        if (!socket)
                return log_oom();
        r = survey_new(&survey, socket, ENGINE_TIMEOUT);
        if (r == -ENOENT)
                log_error("There is no container engine at '%s': is it installed, and running?", socket);
        else if (r < 0 && access(socket, R_OK | W_OK) < 0)
                log_error("The container engine at '%s' may not be asked: run this as root, or as a member of its group.",
                          socket);
        else if (r == -EHOSTDOWN)
                log_error("The container engine at '%s' gives no answer within 2s, or none that will do: 'docker ps' says more.",
                          socket);
        else if (r < 0)
                (void) log_error_errno(r, "Failed to ask the container engine at '%s': %m", socket);
        if (r >= 0)
                r = inspect_all(survey, socket, world);
        return r;
}

/* That of the containers that were made in this folder. */
static const char *project_of_folder(const ImportWorld *world, const char *folder) {
        for (size_t i = 0; i < world->n_containers; i++)
                if (world->containers[i].project && streq(strempty(world->containers[i].folder), folder))
                        return world->containers[i].project;
        return NULL;
}

/* Where compose cannot tell, what its containers say has to do. */
static int ask_compose(Import *import) {
        int r = 0;

        for (char *const *given = import->options->compose; given && *given && r >= 0; given++) {
                _cleanup_free_ char *folder = realpath(*given, NULL), *project = NULL, *why = NULL;
                const char *known;

                if (!folder)
                        return log_error_errno(-errno, "Failed to find the folder '%s': %m", *given);
                r = import_ask_compose(&import->world, folder, import->options->files, &project, &why);
                if (r == -ENOMEM)
                        return log_oom();
                known = r < 0 ? project_of_folder(&import->world, folder) : project;
                if (r < 0 && !known) {
                        log_error("Compose did not tell what the project in '%s' is, and there are no containers of it: %s",
                                  folder, why);
                        return r;
                }
                if (r < 0)
                        log_warning("Compose did not tell what the project in '%s' is, so that what its containers say has to do: %s",
                                    folder, why);
                r = strv_append(&import->projects, known);
        }
        return r < 0 ? log_oom() : 0;
}

/* It is diff's, in colours of nobody. */
void import_show(const ImportChange *change) {
        _cleanup_free_ char *text = printable_copy(change->difference, strlen(change->difference), true);

        if (change->text)
                fprintf(stderr, "--- %s\n+++ %s\n%s", change->path, change->path, strempty(text));
}

bool import_may(const char *question) {
        char answer[16];

        if (isatty(STDIN_FILENO) != 1 || isatty(STDERR_FILENO) != 1)
                return true;
        fprintf(stderr, "%s [y/N] ", question);
        return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int write_project(Import *import, const ImportProject *project, json_object *service) {
        _cleanup_(import_change_done) ImportChange change = {};
        _cleanup_free_ char *why = NULL;
        int r;

        r = import_files_merge(import->files, project->name, service, &change, &why);
        if (r == -EEXIST) {
                log_notice("%s: %s.", project->name, why);
                /* Of all projects, some may be there already; of those that were asked for, none. */
                import->failed |= import->options->project || import->projects;
                return 0;
        }
        if (r == -EINVAL) {
                log_error("%s: not written, since %s.", project->name, why);
                import->failed = true;
                return 0;
        }
        if (r < 0)
                return log_oom();
        for (char *const *name = change.missing; name && *name; name++)
                log_notice("%s: '%s' is in its file, and no container of the project: left as it is.",
                           project->name, *name);
        import_show(&change);
        if (import->options->dry_run || !change.text) {
                log_info("%s: '%s' %s.", project->name, change.path,
                         change.text ? "would be written" : "says all of this already");
                return 0;
        }
        if (import->asks && !import_may("Write this?")) {
                log_info("%s: nothing is written.", project->name);
                return 0;
        }
        r = import_files_write(import->files, &change, &why);
        if (r < 0) {
                log_error("%s: %s", project->name, why ?: "Out of memory.");
                return r;
        }
        log_info("%s: '%s' is written.", project->name, change.path);
        import->n_written++;
        return 0;
}

static int import_one(Import *import, ImportProject *project) {
        _cleanup_(json_freep) json_object *service = NULL;
        _cleanup_free_ char *why = NULL;
        int r;

        import->n_projects++;
        r = import_project(&import->world, project, &service, &why);
        for (char *const *note = project->notes; note && *note; note++)
                log_notice("%s: %s.", project->name, *note);
        if (r == -EINVAL) {
                log_error("%s: left out, since 'wakectl check' would refuse it: %s", project->name, why);
                import->failed = true;
                return 0;
        }
        if (r < 0)
                return log_oom();
        if (import->files)
                return write_project(import, project, service);
        return json_add(import->services, project->name, json_object_get(service)) ? 0 : log_oom();
}

static int import_some(Import *import) {
        const char *wanted = import->options->project;
        ImportProject *only = wanted ? import_world_find(&import->world, wanted) : NULL;
        int r = 0;

        if (wanted && !only) {
                _cleanup_free_ char *shown = printable_copy(wanted, strlen(wanted), false);
                Nearest nearest = nearest_to(wanted);
                char hint[NEAREST_HINT_MAX];

                for (size_t i = 0; i < import->world.n_projects; i++)
                        nearest_offer(&nearest, import->world.projects[i].name);
                log_error("The engine has no container of a compose project '%s'%s", strempty(shown),
                          nearest_hint(&nearest, hint));
                return -ENOENT;
        }
        if (import->world.n_projects == 0) {
                log_error("The engine has no container that compose has made: there is nothing to import.");
                return -ENOENT;
        }
        for (size_t i = 0; i < import->world.n_projects && r >= 0; i++)
                if ((!only || only == &import->world.projects[i]) &&
                    (!import->projects || strv_contains(import->projects, import->world.projects[i].name)))
                        r = import_one(import, &import->world.projects[i]);
        if (r >= 0 && import->n_projects == 0) {
                log_error("None of the folders given by --compose is that of project '%s'.", strempty(wanted));
                return -ENOENT;
        }
        return r;
}

static int print(Import *import) {
        _cleanup_(json_freep) json_object *file = json_object_new_object();
        _cleanup_free_ char *text = NULL;

        if (json_add(file, "services", json_object_get(import->services)))
                text = import_text(file);
        if (!text)
                return log_oom();
        fputs(text, stdout);
        return 0;
}

static int open_files(Import *import) {
        _cleanup_free_ char *why = NULL;
        int r;

        (void) umask(022);
        r = import_files_open(&import->files, "", /* lock= */ !import->options->dry_run, &why);
        if (r < 0)
                log_error("%s", why ?: "Out of memory.");
        return r;
}

static int conclude(const Import *import, int r) {
        if (import->n_written > 0)
                log_info("'wakectl check --engine' looks at the whole, and 'wakectl reload' puts it to use.");
        return r < 0 || import->failed ? CTL_FAILED : CTL_FINE;
}

int verb_import(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(import_done) Import import = { .options = options, .services = json_object_new_object() };
        int r;

        if (options->dry_run && !options->write) {
                log_error("--dry-run shows what --write would do: give both.");
                return CTL_USAGE;
        }
        if (options->files && strv_length(options->compose) != 1) {
                log_error("-f names files of one project: give one --compose as well.");
                return CTL_USAGE;
        }
        if (!import.services) {
                (void) log_oom();
                return CTL_FAILED;
        }
        r = look(&import.world);
        if (r >= 0)
                r = ask_compose(&import);
        if (r >= 0 && import_world_group(&import.world) < 0)
                r = log_oom();
        if (r >= 0 && options->write)
                r = open_files(&import);
        if (r >= 0)
                r = import_some(&import);
        if (r >= 0 && !options->write)
                r = print(&import);
        return conclude(&import, r);
}

/* wakectl add: containers that compose has not made, as if they were a project. */

static int take_container(Import *import, const char *name, const char *service) {
        ImportContainer *container = import_world_container(&import->world, name);

        if (!container) {
                _cleanup_free_ char *shown = printable_copy(name, strlen(name), false);
                Nearest nearest = nearest_to(name);
                char hint[NEAREST_HINT_MAX];

                for (size_t i = 0; i < import->world.n_containers; i++)
                        nearest_offer(&nearest, import->world.containers[i].name);
                log_error("The engine has no container '%s'%s", strempty(shown), nearest_hint(&nearest, hint));
                return -ENOENT;
        }
        if (container->project && !container->added) {
                log_error("'%1$s' is of compose's project '%2$s': 'wakectl import --write --project=%2$s'.", name,
                          container->project);
                return -EINVAL;
        }
        if (container->project)
                return 0;
        container->project = strdup(service);
        container->service = strdup(container->name);
        container->added = true;
        return container->project && container->service ? 0 : log_oom();
}

int verb_add(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(import_done) Import import = { .options = options, .asks = true };
        const char *service = options->name ? options->name : argv[0];
        int r;

        if (!are_service_names((char *[]){ (char *) service }, 1))
                return CTL_USAGE;
        r = look(&import.world);
        for (size_t i = 0; i < import.world.n_containers && r >= 0; i++)
                if (streq(strempty(import.world.containers[i].project), service)) {
                        log_error("'%s' is a project of compose's, which would have a service of this name: give another one by --name.",
                                  service);
                        r = -EEXIST;
                }
        for (int i = 0; i < argc && r >= 0; i++)
                r = take_container(&import, argv[i], service);
        if (r >= 0 && import_world_group(&import.world) < 0)
                r = log_oom();
        if (r >= 0)
                r = open_files(&import);
        if (r >= 0)
                r = import_one(&import, import_world_find(&import.world, service));
        return conclude(&import, r);
}
