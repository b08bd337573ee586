#pragma once

/* Rules: whose connections neither wake a stack nor keep it awake (`ignore` in dependencies.json). */

#include <sys/socket.h>
#include "front/request.h"

typedef struct AddressPrefix AddressPrefix;

typedef struct Rules {
        AddressPrefix *addresses;
        size_t n_addresses;
        char **user_agents;
        char **paths;
} Rules;

void rules_done(Rules *rules);

/* "10.0.0.0/8". -EINVAL. */
int rules_add_address(Rules *rules, const char *text);
int rules_add_user_agent(Rules *rules, const char *text);
int rules_add_path(Rules *rules, const char *text);
/* What the list of that name below `folder` has of user agents or paths. -EBADMSG: it is none of ours; another error: it cannot be read. */
int rules_add_user_agents_of(Rules *rules, const char *folder, const char *list);
int rules_add_paths_of(Rules *rules, const char *folder, const char *list);

/* Whether the client's first bytes are to be waited for. */
bool rules_are_about_requests(const Rules *rules);

bool rules_match_address(const Rules *rules, const struct sockaddr *client);
/* `fd`: a connected socket. */
bool rules_match_peer(const Rules *rules, int fd);
/* Of a verdict REQUEST_WHOLE. */
bool rules_match_request(const Rules *rules, const Request *request);
