#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "../unit/test.h"
#include "config/config.h"
#include "engine/engine-reply.h"
#include "import/compose-facts.h"
#include "import/engine-facts.h"
#include "import/import.h"
#include "import/writer.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/printable.h"
#include "util/text.h"

/* Golden files: of each folder below cases/, what the engine says (engine.json, a list of inspects), and compose (compose.json, compose.yaml), becomes dependencies.json and
 * the sentences in notes. With WAKECHAIN_UPDATE_GOLDEN=1 these are written instead. The configuration has to be one without a word from the
 * parser of the project, and no byte of what people see may be one that a terminal obeys. */

static char *case_path(const char *folder, const char *name) {
        char *path = text_printf("%s/%s", folder, name);

        ASSERT_TRUE(path);
        return path;
}

static void compare(const char *folder, const char *name, const char *text) {
        _cleanup_free_ char *path = case_path(folder, name), *expected = NULL,
                            *printable = printable_copy(text, strlen(text), true);

        ASSERT_STREQ(printable, text);
        if (streq(strempty(getenv("WAKECHAIN_UPDATE_GOLDEN")), "1")) {
                ASSERT_OK(file_replace(path, text, strlen(text), 0644, false));
                return;
        }
        ASSERT_OK(file_read(path, CONFIG_SIZE_MAX, &expected, NULL));
        if (!streq(expected, text))
                TEST_FAIL("%s differs, it is now:\n%s", path, text);
}

static int read_one(json_object *item, void *userdata) {
        size_t size;
        const char *text = json_print(item, &size);

        ASSERT_OK(import_read_inspect(userdata, text, size));
        return 0;
}

static void read_engine(ImportWorld *world, const char *folder) {
        _cleanup_free_ char *path = case_path(folder, "engine.json"), *text = NULL;
        size_t size;

        ASSERT_OK(file_read(path, CONFIG_SIZE_MAX, &text, &size));
        ASSERT_OK(engine_reply_each(text, size, read_one, world));
}

/* What compose prints of the project in /opt/case, in either version's format. */
static void read_compose(ImportWorld *world, const char *folder) {
        static const char *const names[] = { [COMPOSE_JSON] = "compose.json", [COMPOSE_YAML] = "compose.yaml" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = case_path(folder, names[i]), *text = NULL, *project = NULL;
                size_t size;

                if (access(path, F_OK) < 0)
                        continue;
                ASSERT_OK(file_read(path, CONFIG_SIZE_MAX, &text, &size));
                ASSERT_OK(import_read_compose(world, "/opt/case", (ComposeFormat) i, text, size, "case",
                                              i == COMPOSE_YAML ? '_' : '-', &project));
        }
}

static void check(const char *text) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;

        ASSERT_OK(config_parse(&config, "case", text, strlen(text), &problems));
        if (problems.n_problems > 0)
                TEST_FAIL("%s: %s", problems.problems[0].path, problems.problems[0].text);
}

static void test_case(const char *folder) {
        _cleanup_(import_world_done) ImportWorld world = {};
        _cleanup_(json_freep) json_object *services = json_object_new_object(), *file = json_object_new_object();
        _cleanup_free_ char *text = NULL, *notes = NULL;
        size_t size;
        FILE *out = open_memstream(&notes, &size);

        read_engine(&world, folder);
        read_compose(&world, folder);
        ASSERT_OK(import_world_group(&world));
        for (size_t i = 0; i < world.n_projects; i++) {
                ImportProject *project = &world.projects[i];
                _cleanup_free_ char *why = NULL;
                json_object *service = NULL;
                int r = import_project(&world, project, &service, &why);

                for (char *const *note = project->notes; note && *note; note++)
                        fprintf(out, "%s: %s.\n", project->name, *note);
                if (r >= 0)
                        ASSERT_TRUE(json_add(services, project->name, service));
                else
                        fprintf(out, "%s: refused: %s\n", project->name, why);
        }
        ASSERT_TRUE(json_add(file, "services", json_object_get(services)));
        ASSERT_EQ(fclose(out), 0);
        text = import_text(file);
        check(text);
        compare(folder, "dependencies.json", text);
        compare(folder, "notes", notes);
}

static int is_case(const struct dirent *entry) {
        return entry->d_name[0] != '.';
}

int main(int argc, char **argv) {
        struct dirent **entries;
        int n;

        ASSERT_EQ(argc, 2);
        n = scandir(argv[1], &entries, is_case, alphasort);
        ASSERT_TRUE(n > 0);
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *folder = case_path(argv[1], entries[i]->d_name);

                test_case(folder);
                free(entries[i]);
        }
        free(entries);
        return 0;
}
