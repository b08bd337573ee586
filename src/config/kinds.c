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

static bool is_path(const char *text) {
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

static bool is_host(const char *text) {
        struct in6_addr ipv6;

        return inet_pton(AF_INET6, text, &ipv6) == 1 || (has_only(text, LETTERS DIGITS "_.-") && text[0] != '-');
}

/* HOST:PORT, the host being a name, an IPv4 address, or an IPv6 address in brackets. */
static bool is_host_and_port(const char *text) {
        _cleanup_free_ char *host = NULL;
        struct in6_addr ipv6;
        uint16_t port;

        if (host_and_port_from_string(&host, &port, text) < 0)
                return false;
        return strstr(text, "]:") ? text[0] == '[' && inet_pton(AF_INET6, host, &ipv6) == 1
                                  : has_only(host, LETTERS DIGITS "_.-") && host[0] != '-';
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

/* What begins with an @ is one of the front's lists. */
static bool is_user_agent(const char *text) {
        return text[0] == '@' ? streq(text, "@monitors") || streq(text, "@crawlers") || streq(text, "@scanners")
                              : is_text(text);
}

static bool is_ignored_path(const char *text) {
        return streq(text, "@scanners") || is_path(text);
}

static bool is_network_address(const char *text) {
        AddressPrefix prefix;

        return address_prefix_parse(&prefix, text) >= 0;
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

#define TYPE_LIST (JSON_TYPE(string) | JSON_TYPE(array))

/* One table, by what each is made of; `expected` goes on after "expected ". */
#define NUMBER(kind, parser, least, most, text) \
        const JsonKind kind = { JSON_TYPE_NUMBER, parser, text, .minimum = least, .maximum = most }
#define DURATION(kind, least, expression, text)                       \
        const JsonKind kind = { JSON_TYPE_NUMBER | JSON_TYPE(string), \
                                parse_duration,                       \
                                text,                                 \
                                .minimum = least,                     \
                                .maximum = YEAR_MSEC,                 \
                                .pattern = expression }
#define TEXT(kind, bytes, is_valid, expression, text)                       \
        const JsonKind kind = { JSON_TYPE(string), json_parse_text,   text, \
                                .longest = bytes,  .valid = is_valid, .pattern = expression }
#define TEXTS(kind, least, most, bytes, is_valid, expression, text)                        \
        const JsonKind kind = { TYPE_LIST,         json_parse_texts,     text,             \
                                .minimum = least,  .maximum = most,      .longest = bytes, \
                                .valid = is_valid, .pattern = expression }

/* Regular expressions of ECMA-262, which say the same as the functions above but where none can: how large the parts of an
 * address of IPv6 are, how many bytes a text has, how long a duration is. */
#define PLAIN "[^\\u0000-\\u001f\\u007f-\\u009f]"
#define PORT "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4 "(" OCTET "\\.){3}" OCTET
#define IPV6 "[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
#define HOST "[A-Za-z0-9_.][A-Za-z0-9_.-]*"
#define HOST_OR_IPV6 "(" HOST "|\\[" IPV6 "\\])"
#define ENGINE "^[A-Za-z0-9][A-Za-z0-9_.-]*$"
#define COUNT "[0-9]+(\\.[0-9]+)?"
#define UNIT "(us|ms|s|sec|seconds?|m|min|minutes?|h|hr|hours?|d|days?|w|weeks?)"
#define SPAN "(" COUNT "( *" UNIT " *| +))*" COUNT " *" UNIT " *"
#define URL_TEXT "[!#-\\[\\]-~]*"

const JsonKind kind_boolean = { JSON_TYPE(boolean), json_parse_bool, "true or false" };

NUMBER(kind_port, parse_port, 1, UINT16_MAX, "a TCP port, 1 to 65535");
NUMBER(kind_redirect_port, parse_port, 1, REDIRECT_PORT_MAX,
       "a TCP port, 1 to 32767 (from 32768 on, an outgoing connection may hold it)");
NUMBER(kind_order, json_parse_int, 0, 1000000, "a whole number, 0 to 1000000");
NUMBER(kind_percent, json_parse_int, 1, 100000, "a whole number of percent of one processor, 1 to 100000");
NUMBER(kind_retries, json_parse_int, 1, 100000, "a whole number, 1 to 100000");

DURATION(kind_duration, 0, "^ *" SPAN "$",
         "a duration of at most a year: a whole number of ms, or a text with units such as \"90s\" or \"15min\"");
DURATION(kind_timeout, 1, "^ *" SPAN "$",
         "a duration of 1 ms to a year: a whole number of ms, or a text with units such as \"90s\" or \"15min\"");
DURATION(kind_idle_timeout, 0, "^ *(infinity|" SPAN ")$",
         "a duration of at most a year (0: never): a whole number of ms, or a text with units such as \"15min\"");

#define ENGINE_NAME "letters, digits, '_', '.' and '-', the first of them a letter or digit"
TEXT(kind_container, 200, engine_name_is_valid, ENGINE, "the name of a container: " ENGINE_NAME);
TEXT(kind_network, 200, engine_name_is_valid, ENGINE, "the name of a network: " ENGINE_NAME);
TEXT(kind_unit, 255, is_unit,
     "^(?!@)(?![^@]*@\\.[a-z]+$)[A-Za-z0-9:_.\\\\@-]+\\.(service|socket|target|mount|automount|timer|path|swap)$",
     "the full name of a systemd unit that can be started, such as \"postgresql.service\"");
TEXT(kind_service, SERVICE_NAME_MAX, service_name_is_valid, "^(?!\\.{1,2}$)[A-Za-z0-9_.-]+$",
     "the name of a service of this file");
TEXT(kind_folder, 0, is_path, "^/" PLAIN "*$", "an absolute path without control characters");
TEXT(kind_socket, 107, is_path, "^/" PLAIN "*$", "the absolute path of a socket, of at most 107 bytes");
TEXT(kind_backend, 255, is_host_and_port, "^" HOST_OR_IPV6 ":" PORT "$",
     "ADDRESS:PORT, [IPV6]:PORT or CONTAINER:PORT");
/* The kernel takes 128 KiB for one argument. */
TEXT(kind_command, 65536, is_command, "^[^\\u0000]*[^ \\t\\r\\n\\u0000][^\\u0000]*$",
     "a shell command of at most 65536 bytes, not empty, without NUL");
TEXT(kind_url, 2048, is_url, "^https?://" HOST_OR_IPV6 "?(:" PORT ")?([/?#]" URL_TEXT ")?$",
     "a URL such as \"http://:8080/health\" (no host: the container's address)");
const JsonKind kind_tcp = { JSON_TYPE_NUMBER | JSON_TYPE(string),
                            parse_tcp,
                            "a TCP port, 1 to 65535, or \"ADDRESS:PORT\"",
                            .minimum = 1,
                            .maximum = UINT16_MAX,
                            .pattern = "^(" HOST_OR_IPV6 ":)?" PORT "$" };
TEXT(kind_title, 200, is_text, "^" PLAIN "+$", "a text of 1 to 200 bytes without control characters");
TEXT(kind_calendar, 200, is_calendar, "^(?! *$)[A-Za-z0-9 *:,./~_+-]+$",
     "a calendar expression of systemd.time(7), such as \"Mon..Fri 07:30\"");

TEXTS(kind_listen, 1, 16, 128, is_listen,
      "^((udp:)?((" IPV4 "|\\[" IPV6 "\\]):)?" PORT "|[/@][^\\u0000- \\u007f\\\\]{1,106})$",
      "one or up to 16 of \"PORT\", \"IPV4:PORT\", \"[IPV6]:PORT\", \"/PATH\", \"@NAME\", \"udp:ADDRESS\"");
TEXTS(kind_networks, 0, LIST_MAX, 64, is_network_address,
      "^(" IPV4 "(/(3[0-2]|[12]?[0-9]))?|" IPV6 "(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$",
      "an address or a network such as \"10.0.0.0/8\" or \"fd00::/8\", or up to 128 of them");
TEXTS(kind_user_agents, 0, LIST_MAX, 256, is_user_agent, "^(@(monitors|crawlers|scanners)|(?!@)" PLAIN "+)$",
      "a text of 1 to 256 bytes without control characters, \"@monitors\", \"@crawlers\" or \"@scanners\", or up to "
      "128 of them");
TEXTS(kind_url_paths, 0, LIST_MAX, 256, is_ignored_path, "^(@scanners|/" PLAIN "*)$",
      "a path that begins with '/', of at most 256 bytes, \"@scanners\", or up to 128 of them");
TEXTS(kind_hosts, 0, LIST_MAX, 253, is_host, "^(" HOST "|" IPV6 ")$",
      "a host name or an address, or up to 128 of them");
TEXTS(kind_dependency_names, 0, LIST_MAX, 255, is_text, "^" PLAIN "+$",
      "the name of a dependency of this service, or up to 128 of them");
