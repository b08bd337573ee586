#pragma once

/* Reply: answers in JSON that we give on our own account, each with the headers that all of them have. */

#include <json-c/json_types.h>
#include "web/http.h"

/* {"error": sentence}, with these headers beside the others (NULL: none). */
void reply_error(HttpExchange *request, unsigned status, const HttpHeader *headers, const char *sentence);
/* The same with a sentence of printf(); ends the connection. */
void reply_refusal(HttpExchange *request, unsigned status, const char *format, ...) _printf_(3, 4);
/* The same with 503 and Retry-After, in seconds. */
void reply_busy(HttpExchange *request, const char *retry_after, const char *format, ...) _printf_(3, 4);
/* NULL: there was no memory for it. */
void reply_object(HttpExchange *request, unsigned status, json_object *object);
/* 200, with a text that is shared. */
void reply_shared(HttpExchange *request, Bytes *text);
