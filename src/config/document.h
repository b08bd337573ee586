#pragma once

/* Document: one file of a config as JSON, and the list of them. */

#include <json-c/json.h>
#include "config/problem.h"
#include "util/strv.h"

typedef struct Document {
        char *file;
        json_object *object; /* never anything but an object */
        json_object *doubled; /* its services that have a member twice: a set, as an object; may be NULL */
} Document;

typedef struct DocumentList {
        Document *documents; /* the main one first */
        size_t n_documents;
        char **lost; /* files, or a folder of them, of whose services nothing is known */
} DocumentList;

void document_list_done(DocumentList *list);
/* Takes `object`, also on failure. -ENOMEM. */
int document_list_add(DocumentList *list, const char *file, json_object *object);
/* What the text says. -EBADMSG if that is no JSON object: then the file is lost. Problems are reported. */
int document_list_parse(DocumentList *list, const char *file, const char *text, size_t size,
                        ProblemList *problems);
/* Of this file, or of one in this folder, nothing is known. */
bool document_list_has_lost(const DocumentList *list, const char *file);

/* The object that is its member `services`, or NULL. */
json_object *document_services(const Document *document);

/* The path services.NAME, for as long as the block lasts. */
extern const JsonPath path_services;
