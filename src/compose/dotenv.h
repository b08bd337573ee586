#pragma once

/* Dotenv: what the .env file of a compose folder says, as compose understands it: `v1` as docker-compose 1.x does (see compose_is_v1()), else as
 * version 2 and later. Whoever may write there is not trusted: see
 * util/safe-file.h for what is read at all. */

#include "util/macro.h"
#include "util/strv.h"

/* Far more than compose projects have. The kernel takes 128 KiB for a variable, so each that is read here can be passed on. */
#define DOTENV_SIZE_MAX ((size_t) 64 * 1024)
#define DOTENV_VARIABLES_MAX 1000U

/* "NAME=VALUE", ..., each name once; nothing if there is no file. On failure nothing, and `reterr_why` (which the caller frees) goes
 * on after the path: what is wrong, and what to do; it may be NULL. */
int dotenv_read(char ***ret, const char *root, const char *folder, bool v1, char **reterr_why);

/* `text` ends with a NUL behind its `size` bytes. -EBADMSG: not a text; -E2BIG: more variables, or with what they refer to more text, than we take. Lines that make no sense are
 * passed over. */
int dotenv_parse(char ***ret, const char *text, size_t size, bool v1);
