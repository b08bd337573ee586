#pragma once

/* Configurations as texts of a test, in which ' stands for ". */

#include "config/config.h"
#include "test.h"

static inline Config *load_with(ProblemList *problems, const char *text) {
        _cleanup_free_ char *json = strdup(text);
        Config *config = NULL;

        ASSERT_TRUE(json);
        for (char *c = json; *c; c++)
                if (*c == '\'')
                        *c = '"';
        ASSERT_OK(config_parse(&config, "test.json", json, strlen(json), problems));
        return config;
}

/* One without problems. */
static inline Config *load(const char *text) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        Config *config = load_with(&problems, text);

        if (problems.n_problems > 0)
                TEST_FAIL("%s: %s", problems.problems[0].path, problems.problems[0].text);
        return config;
}
