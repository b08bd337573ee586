#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "front/rules.h"
#include "net/socket-table.h"
#include "util/fd.h"
#include "util/strv.h"
#include "util/text.h"

/* Rules: three lists, and one hit is enough. In texts a `*` stands for any characters, none as well.
 *
 * A user agent is found anywhere in the header's value, whatever its case: "uptime" is what people write for
 * "Mozilla/5.0+(compatible; UptimeRobot/2.0; …)". A path without a `*` is itself and what lies below it: "/health" is
 * "/health" and "/health/live", and not "/healthy"; but "/" is the first page alone, for else it would be all of them.
 * Paths are compared as they were sent, without their query. */

#define LIST_SIZE_MAX ((size_t) 64 * 1024)

void rules_done(Rules *rules) {
        free(rules->addresses);
        strv_free(rules->user_agents);
        strv_free(rules->paths);
        *rules = (Rules){};
}

int rules_add_address(Rules *rules, const char *text) {
        AddressPrefix prefix, *larger;
        int r;

        r = address_prefix_parse(&prefix, text);
        if (r < 0)
                return r;
        larger = reallocarray(rules->addresses, rules->n_addresses + 1, sizeof(prefix));
        if (!larger)
                return -ENOMEM;
        rules->addresses = larger;
        rules->addresses[rules->n_addresses++] = prefix;
        return 0;
}

/* With a star on both sides. */
int rules_add_user_agent(Rules *rules, const char *text) {
        _cleanup_free_ char *anywhere = NULL;

        if (isempty(text))
                return -EINVAL;
        anywhere = text_printf("*%s*", text);
        return !anywhere ? -ENOMEM : strv_append(&rules->user_agents, anywhere);
}

int rules_add_path(Rules *rules, const char *text) {
        return text[0] != '/' ? -EINVAL : strv_append(&rules->paths, text);
}

/* "user-agent TEXT" or "path PATH", each on a line of its own; what follows a # is for people. */
static int rules_add_list(Rules *rules, const char *folder, const char *list, const char *word,
                          int (*add)(Rules *rules, const char *text)) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        char *next;
        int r;

        if (list[0] == '\0' || strspn(list, "abcdefghijklmnopqrstuvwxyz") != strlen(list))
                return -EINVAL;
        path = text_printf("%s/%s", folder, list);
        if (!path)
                return -ENOMEM;
        /* Not file_read(), which needs /proc. */
        fd = open(path, O_RDONLY | O_CLOEXEC);
        r = fd < 0 ? -errno : fd_read_all(fd, LIST_SIZE_MAX, &text, NULL);
        if (r < 0)
                return r;
        next = text;
        for (char *line = strsep(&next, "\n"); line; line = strsep(&next, "\n")) {
                char *entry;

                line[strcspn(line, "#")] = '\0';
                for (size_t n = strlen(line); n > 0 && line[n - 1] == ' '; n--)
                        line[n - 1] = '\0';
                entry = strchr(line, ' ');
                if (line[0] == '\0')
                        continue;
                if (!entry)
                        return -EBADMSG;
                *entry++ = '\0';
                r = streq(line, word) ? add(rules, entry) : 0;
                if (r < 0)
                        return r == -ENOMEM ? r : -EBADMSG;
        }
        return 0;
}

int rules_add_user_agents_of(Rules *rules, const char *folder, const char *list) {
        return rules_add_list(rules, folder, list, "user-agent", rules_add_user_agent);
}

int rules_add_paths_of(Rules *rules, const char *folder, const char *list) {
        return rules_add_list(rules, folder, list, "path", rules_add_path);
}

bool rules_are_about_requests(const Rules *rules) {
        return rules->user_agents || rules->paths;
}

bool rules_match_address(const Rules *rules, const struct sockaddr *client) {
        const void *address;

        if (client->sa_family == AF_INET)
                address = &((const struct sockaddr_in *) client)->sin_addr;
        else if (client->sa_family == AF_INET6)
                address = &((const struct sockaddr_in6 *) client)->sin6_addr;
        else
                return false;
        for (size_t i = 0; i < rules->n_addresses; i++)
                if (address_prefix_matches(&rules->addresses[i], client->sa_family, address))
                        return true;
        return false;
}

bool rules_match_peer(const Rules *rules, int fd) {
        struct sockaddr_storage peer = {};
        socklen_t size = sizeof(peer);

        return rules->n_addresses > 0 && getpeername(fd, (struct sockaddr *) &peer, &size) >= 0 &&
               rules_match_address(rules, (struct sockaddr *) &peer);
}

static bool same(char a, char b, bool fold) {
        return fold ? tolower((unsigned char) a) == tolower((unsigned char) b) : a == b;
}

/* The whole text. After a star only the last one is ever tried again, further on: earlier ones have all that they
 * need. */
static bool matches(const char *pattern, RequestText text, bool fold) {
        const char *star = NULL;
        size_t i = 0, retry = 0;

        while (i < text.size)
                if (*pattern == '*') {
                        star = ++pattern;
                        retry = i;
                } else if (*pattern != '\0' && same(*pattern, text.data[i], fold)) {
                        pattern++;
                        i++;
                } else if (star) {
                        pattern = star;
                        i = ++retry;
                } else
                        return false;
        return pattern[strspn(pattern, "*")] == '\0';
}

static bool matches_path(const char *pattern, RequestText path) {
        size_t n = strlen(pattern);

        if (strchr(pattern, '*'))
                return matches(pattern, path, false);
        if (path.size < n || memcmp(pattern, path.data, n) != 0)
                return false;
        return path.size == n || (n > 1 && (pattern[n - 1] == '/' || path.data[n] == '/'));
}

bool rules_match_request(const Rules *rules, const Request *request) {
        for (char **pattern = rules->user_agents; pattern && *pattern && request->user_agent.data; pattern++)
                if (matches(*pattern, request->user_agent, true))
                        return true;
        for (char **pattern = rules->paths; pattern && *pattern && request->path.data; pattern++)
                if (matches_path(*pattern, request->path))
                        return true;
        return false;
}
