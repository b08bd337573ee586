#include "check-config.h"

/* A dependencies.json of somebody hostile. Whatever it says, what comes out is sound: the promises that the
 * generator and the waker rely on are checked here on everything that loads, and what is said about the rest is
 * safe to print. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        ProblemList problems = {};
        Config *config = NULL;
        int r;

        r = config_parse(&config, "fuzz.json", (const char *) data, size, &problems);
        CHECK(r == 0 || r == -EBADMSG);
        CHECK((r == 0) == (config != NULL));
        CHECK(r == 0 || problems.n_errors > 0);

        check_config(config);
        check_problems(&problems, config);
        config_free(config);
        problem_list_done(&problems);
        return 0;
}
