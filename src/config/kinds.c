#include <arpa/inet.h>
#include <stdio.h>

#include "config/kinds.h"
#include "config/listen.h"
#include "model/service.h"
#include "util/time.h"

/* Kinds. Names of containers, networks and units come back in paths, unit files and requests to the engine;
 * they are held to what their owners accept, which contains nothing that means anything there. Free text may
 * contain what it likes but for control characters; a command any character, as it only ever reaches a shell.
 * Lists and texts are bounded, so that a `defaults` cannot be multiplied into more memory than there is. */

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"
#define YEAR_MSEC (INT64_C(365) * 24 * 3600 * 1000)
#define LIST_MAX 128

static bool has_only(const char *text, const char *characters) {
        return text[0] != '\0' && text[strspn(text, characters)] == '\0';
}

static bool has_no_control(const char *text) {
        for (const unsigned char *c = (const unsigned char *) text; *c; c++)
                if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0))
                        return false;
        return true;
}

static bool is_engine_name(const char *text) {
        return text[0] != '_' && text[0] != '.' && text[0] != '-' && has_only(text, LETTERS DIGITS "_.-");
}

/* A unit that can be started and stopped for its own sake: no template, no device, and nothing that merely holds others
 * (a slice, a scope), which a stop would take along. */
static bool is_unit(const char *text) {
        static const char *const suffixes[] = { "service",   "socket", "target", "mount",
                                                "automount", "timer",  "path",   "swap" };
        const char *dot = strrchr(text, '.'), *at = strchr(text, '@');

        if (!dot || dot == text || at == text || (at && at + 1 == dot) ||
            !has_only(text, LETTERS DIGITS ":_.\\@-"))
                return false;
        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
                if (streq(dot + 1, suffixes[i]))
                        return true;
        return false;
}

static bool is_folder(const char *text) {
        return text[0] == '/' && has_no_control(text);
}

static bool is_text(const char *text) {
        return text[0] != '\0' && has_no_control(text);
}

static bool is_command(const char *text) {
        return text[strspn(text, " \t\r\n")] != '\0';
}

static bool is_calendar(const char *text) {
        return has_only(text, LETTERS DIGITS " *:,./~_+-") && text[strspn(text, " ")] != '\0';
}

static bool is_url_path(const char *text) {
        return text[0] == '/' && has_no_control(text);
}

static bool is_host(const char *text) {
        struct in6_addr ipv6;

        return inet_pton(AF_INET6, text, &ipv6) == 1 || (has_only(text, LETTERS DIGITS "_.-") && text[0] != '-');
}

/* HOST:PORT, the host being a name, an IPv4 address, or an IPv6 address in brackets. */
static bool is_host_and_port(const char *text) {
        const char *colon = strrchr(text, ':');
        _cleanup_free_ char *host = NULL;
        struct in6_addr ipv6;
        size_t n;

        if (!colon || colon == text || port_from_string(colon + 1) == 0)
                return false;
        n = (size_t) (colon - text);
        host = strndup(text, n);
        if (!host)
                return false;
        if (host[0] == '[' && host[n - 1] == ']') {
                host[n - 1] = '\0';
                return inet_pton(AF_INET6, host + 1, &ipv6) == 1;
        }
        return has_only(host, LETTERS DIGITS "_.-") && host[0] != '-';
}

static bool is_url(const char *text) {
        const char *host, *end;
        _cleanup_free_ char *authority = NULL;

        if (strncmp(text, "http://", 7) == 0)
                host = text + 7;
        else if (strncmp(text, "https://", 8) == 0)
                host = text + 8;
        else
                return false;
        for (const char *c = text; *c; c++)
                if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\')
                        return false;

        end = host + strcspn(host, "/?#");
        if (end == host)
                return true;
        if (*host == ':')
                authority = strndup(host + 1, (size_t) (end - host - 1));
        else
                authority = strndup(host, (size_t) (end - host));
        if (!authority)
                return false;
        if (*host == ':')
                return port_from_string(authority) > 0;
        if (authority[strlen(authority) - 1] != ']' && strchr(authority, ':'))
                return is_host_and_port(authority);
        if (authority[0] == '[') {
                struct in6_addr ipv6;

                authority[strlen(authority) - 1] = '\0';
                return inet_pton(AF_INET6, authority + 1, &ipv6) == 1;
        }
        return is_host(authority);
}

/* An address, or one with the length of its prefix. */
static bool is_network_address(const char *text) {
        const char *slash = strchr(text, '/');
        _cleanup_free_ char *address = NULL;
        struct in6_addr binary;
        unsigned bits = 0;

        if (slash) {
                size_t n = strspn(slash + 1, DIGITS);

                if (n == 0 || n > 3 || slash[1 + n] != '\0' || (slash[1] == '0' && n > 1))
                        return false;
                bits = (unsigned) strtoul(slash + 1, NULL, 10);
        }
        address = slash ? strndup(text, (size_t) (slash - text)) : strdup(text);
        if (!address)
                return false;
        if (inet_pton(AF_INET, address, &binary) == 1)
                return bits <= 32;
        return inet_pton(AF_INET6, address, &binary) == 1 && bits <= 128;
}

static bool is_listen(const char *text) {
        ListenAddress address;

        return listen_address_from_string(&address, text) >= 0;
}

static int parse_port(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                      void *member) {
        int64_t port;
        int r;

        r = json_get_integer(value, field->kind->minimum, field->kind->maximum, &port);
        if (r < 0)
                return r;
        *(uint16_t *) member = (uint16_t) port;
        return 0;
}

/* `port` as a number, or "port" or "address:port". */
static int parse_tcp(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                     void *member) {
        const char *text = NULL;
        int64_t port;
        char buffer[8];
        char *copy;

        if (json_get_integer(value, 1, UINT16_MAX, &port) >= 0)
                text = (snprintf(buffer, sizeof(buffer), "%d", (int) port), buffer);
        else if (json_object_is_type(value, json_type_string))
                text = json_get_text(value, 0);
        if (!text || (port_from_string(text) == 0 && !is_host_and_port(text)))
                return -EINVAL;
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        free(*(char **) member);
        *(char **) member = copy;
        return 0;
}

/* A number is in ms, but in systemd's spans it is in seconds: "5000" would mean one to us and the other to
 * systemd. */
static bool names_its_units(const char *text) {
        size_t n = strlen(text);

        while (n > 0 && text[n - 1] == ' ')
                n--;
        return n > 0 && (text[n - 1] < '0' || text[n - 1] > '9');
}

static int parse_duration(JsonWalk *walk, const JsonPath *path, const JsonField *field, json_object *value,
                          void *member) {
        uint64_t minimum = (uint64_t) field->kind->minimum * USEC_PER_MSEC;
        uint64_t maximum = (uint64_t) field->kind->maximum * USEC_PER_MSEC;
        uint64_t span;
        int64_t msec;
        int r;

        if (json_object_is_type(value, json_type_string)) {
                const char *text = json_get_text(value, 0);

                if (!text || !names_its_units(text))
                        return -EINVAL;
                r = span_from_string(text, &span);
                if (r >= 0 && span == USEC_INFINITY && field->kind == &kind_idle_timeout)
                        span = 0;
        } else {
                r = json_get_integer(value, field->kind->minimum, field->kind->maximum, &msec);
                span = r < 0 ? 0 : (uint64_t) msec * USEC_PER_MSEC;
        }
        if (r < 0)
                return r;
        if (span < minimum || span > maximum)
                return -ERANGE;
        *(uint64_t *) member = span;
        return 0;
}

#define TYPE_DURATION (JSON_TYPE_NUMBER | JSON_TYPE(string))
#define TYPE_LIST (JSON_TYPE(string) | JSON_TYPE(array))

const JsonKind kind_boolean = { JSON_TYPE(boolean), json_parse_bool, "true or false" };

const JsonKind kind_port = {
        JSON_TYPE_NUMBER, parse_port, "a TCP port, 1 to 65535", .minimum = 1, .maximum = UINT16_MAX,
};
const JsonKind kind_redirect_port = {
        JSON_TYPE_NUMBER,
        parse_port,
        "a TCP port, 1 to 32767 (from 32768 on, an outgoing connection may hold it)",
        .minimum = 1,
        .maximum = REDIRECT_PORT_MAX,
};
const JsonKind kind_order = {
        JSON_TYPE_NUMBER, json_parse_int, "a whole number, 0 to 1000000", .minimum = 0, .maximum = 1000000,
};
const JsonKind kind_retries = {
        JSON_TYPE_NUMBER, json_parse_int, "a whole number, 1 to 100000", .minimum = 1, .maximum = 100000,
};

const JsonKind kind_duration = {
        TYPE_DURATION,
        parse_duration,
        "a duration of at most a year: a whole number of ms, or a text with units such as \"90s\" or \"15min\"",
        .minimum = 0,
        .maximum = YEAR_MSEC,
};
const JsonKind kind_timeout = {
        TYPE_DURATION,
        parse_duration,
        "a duration of 1 ms to a year: a whole number of ms, or a text with units such as \"90s\" or \"15min\"",
        .minimum = 1,
        .maximum = YEAR_MSEC,
};
const JsonKind kind_idle_timeout = {
        TYPE_DURATION,
        parse_duration,
        "a duration of at most a year (0: never): a whole number of ms, or a text with units such as \"15min\"",
        .minimum = 0,
        .maximum = YEAR_MSEC,
};

const JsonKind kind_container = {
        JSON_TYPE(string),
        json_parse_text,
        "the name of a container: letters, digits, '_', '.' and '-', the first of them a letter or digit",
        .longest = 200,
        .valid = is_engine_name,
};
const JsonKind kind_network = {
        JSON_TYPE(string),
        json_parse_text,
        "the name of a network: letters, digits, '_', '.' and '-', the first of them a letter or digit",
        .longest = 200,
        .valid = is_engine_name,
};
const JsonKind kind_unit = {
        JSON_TYPE(string),
        json_parse_text,
        "the full name of a systemd unit that can be started, such as \"postgresql.service\"",
        .longest = 255,
        .valid = is_unit,
};
const JsonKind kind_service = {
        JSON_TYPE(string),
        json_parse_text,
        "the name of a service of this file",
        .longest = SERVICE_NAME_MAX,
        .valid = service_name_is_valid,
};
const JsonKind kind_folder = {
        JSON_TYPE(string),
        json_parse_text,
        "an absolute path without control characters",
        .valid = is_folder,
};
const JsonKind kind_socket = {
        JSON_TYPE(string), json_parse_text,    "the absolute path of a socket, of at most 107 bytes",
        .longest = 107,    .valid = is_folder,
};
const JsonKind kind_backend = {
        JSON_TYPE(string), json_parse_text,           "ADDRESS:PORT, [IPV6]:PORT or CONTAINER:PORT",
        .longest = 255,    .valid = is_host_and_port,
};
const JsonKind kind_command = {
        JSON_TYPE(string), json_parse_text,     "a shell command of at most 65536 bytes, not empty, without NUL",
        .longest = 65536,  .valid = is_command, /* the kernel takes 128 KiB for one argument */
};
const JsonKind kind_url = {
        JSON_TYPE(string),
        json_parse_text,
        "a URL such as \"http://:8080/health\" (no host: the container's address)",
        .longest = 2048,
        .valid = is_url,
};
const JsonKind kind_tcp = {
        JSON_TYPE_NUMBER | JSON_TYPE(string),
        parse_tcp,
        "a TCP port, 1 to 65535, or \"ADDRESS:PORT\"",
};
const JsonKind kind_title = {
        JSON_TYPE(string), json_parse_text,  "a text of 1 to 200 bytes without control characters",
        .longest = 200,    .valid = is_text,
};
const JsonKind kind_calendar = {
        JSON_TYPE(string),
        json_parse_text,
        "a calendar expression of systemd.time(7), such as \"Mon..Fri 07:30\"",
        .longest = 200,
        .valid = is_calendar,
};

const JsonKind kind_listen = {
        TYPE_LIST,
        json_parse_texts,
        "one or up to 16 of \"PORT\", \"IPV4:PORT\", \"[IPV6]:PORT\", \"/PATH\", \"@NAME\", \"udp:ADDRESS\"",
        .minimum = 1,
        .maximum = 16,
        .longest = 128,
        .valid = is_listen,
};
const JsonKind kind_networks = {
        TYPE_LIST,
        json_parse_texts,
        "an address or a network such as \"10.0.0.0/8\" or \"fd00::/8\", or up to 128 of them",
        .maximum = LIST_MAX,
        .longest = 64,
        .valid = is_network_address,
};
const JsonKind kind_user_agents = {
        TYPE_LIST,
        json_parse_texts,
        "a text of 1 to 256 bytes without control characters, or up to 128 of them",
        .maximum = LIST_MAX,
        .longest = 256,
        .valid = is_text,
};
const JsonKind kind_url_paths = {
        TYPE_LIST,
        json_parse_texts,
        "a path that begins with '/', of at most 256 bytes, or up to 128 of them",
        .maximum = LIST_MAX,
        .longest = 256,
        .valid = is_url_path,
};
const JsonKind kind_hosts = {
        TYPE_LIST,           json_parse_texts, "a host name or an address, or up to 128 of them",
        .maximum = LIST_MAX, .longest = 253,   .valid = is_host,
};
const JsonKind kind_dependency_names = {
        TYPE_LIST,           json_parse_texts, "the name of a dependency of this service, or up to 128 of them",
        .maximum = LIST_MAX, .longest = 255,   .valid = is_text,
};
