#pragma once

/* Defaults: what holds where dependencies.json says nothing, once for who reads it, who writes units from it and who runs without it. */

#include "util/time.h"

#define DEFAULT_IDLE_TIMEOUT_USEC (15 * USEC_PER_MINUTE)
#define DEFAULT_GLOBAL_TIMEOUT_USEC (5 * USEC_PER_MINUTE)
#define DEFAULT_DRAIN_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define DEFAULT_STARTUP_DELAY_USEC (5 * USEC_PER_SEC)
#define DEFAULT_CHECK_INTERVAL_USEC USEC_PER_SEC
#define DEFAULT_CHECK_BUDGET_USEC (30 * USEC_PER_SEC)
#define DEFAULT_START_ORDER 1

/* The options of wakechain-front that wakechain-generator gives it in its drop-in, for what differs from these. */
#define FRONT_OPTION_DRAIN_TIMEOUT "drain-timeout"
#define FRONT_OPTION_IDLE_BYTES "idle-bytes"
#define FRONT_OPTION_IGNORE_ADDRESS "ignore-address"
#define FRONT_OPTION_IGNORE_ANSWER "ignore-answer"
#define FRONT_OPTION_IGNORE_PATH "ignore-path"
#define FRONT_OPTION_IGNORE_USER_AGENT "ignore-user-agent"
#define FRONT_OPTION_PAGE "page"
#define FRONT_OPTION_PORT_PAGE "port-page"
#define FRONT_OPTION_PORT_PROXY_PROTOCOL "port-proxy-protocol"
#define FRONT_OPTION_PORT_UDP "port-udp"
#define FRONT_OPTION_PROXY_PROTOCOL "proxy-protocol"
