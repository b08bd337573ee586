#pragma once

/* Visitor: answers who wanted a site that sleeps, on the site's own address. */

#include "web/site.h"

/* Of a connection that a front has passed. */
void visitor_answer(Site *site, HttpExchange *request);
