#pragma once

/* Kinds: what the values of dependencies.json are, each with its check and with the words that say what was
 * expected. */

#include "util/json-table.h"

extern const JsonKind kind_boolean; /* bool */
extern const JsonKind kind_port; /* uint16_t */
extern const JsonKind kind_redirect_port; /* uint16_t */
extern const JsonKind kind_order; /* int */
extern const JsonKind kind_percent;
extern const JsonKind kind_retries; /* int */

extern const JsonKind kind_duration; /* uint64_t, µs; may be 0 */
extern const JsonKind kind_timeout; /* the same, but more than 0 */
extern const JsonKind kind_idle_timeout; /* "infinity" gives 0 as well */

/* char * */
extern const JsonKind kind_container;
extern const JsonKind kind_network;
extern const JsonKind kind_unit;
extern const JsonKind kind_service;
extern const JsonKind kind_folder;
extern const JsonKind kind_socket;
extern const JsonKind kind_backend;
extern const JsonKind kind_command;
extern const JsonKind kind_url;
extern const JsonKind kind_tcp;
extern const JsonKind kind_title;
extern const JsonKind kind_calendar;

/* char ** */
extern const JsonKind kind_listen;
extern const JsonKind kind_networks;
extern const JsonKind kind_user_agents;
extern const JsonKind kind_url_paths;
extern const JsonKind kind_hosts;
extern const JsonKind kind_dependency_names;
