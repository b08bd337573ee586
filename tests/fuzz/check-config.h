#pragma once

/* Checks of a config that was loaded from hostile bytes: aborts if it breaks a promise. */

#include "config/config.h"

#define CHECK(condition)          \
        do {                      \
                if (!(condition)) \
                        abort();  \
        } while (false)

/* `config` may be NULL. */
void check_config(const Config *config);
void check_problems(const ProblemList *problems, const Config *config);
