#include <yaml.h>

#include "compose/compose-yaml.h"

/* ComposeYaml: libyaml reads the text, and what it read is copied into JSON objects, for which there is one reader. An alias is
 * copied anew wherever it stands, so the number of values and their depth are bounded: neither a mapping within itself nor one
 * that doubles at each step gets far. */

#define DEPTH_MAX 64
#define VALUES_MAX 100000

typedef struct Reader {
        yaml_document_t document;
        size_t n_values;
} Reader;

/* A scalar without quotes, that says that there is nothing. */
static bool is_null(const yaml_node_t *node) {
        static const char *const words[] = { "", "~", "null", "Null", "NULL" };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (streq((const char *) node->data.scalar.value, words[i]))
                        return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        return false;
}

static int reader_copy(Reader *reader, json_object **ret, int index, unsigned depth) {
        const yaml_node_t *node = yaml_document_get_node(&reader->document, index);
        json_object *copy = NULL, *value;
        int r = 0;

        *ret = NULL;
        if (!node || depth > DEPTH_MAX || ++reader->n_values > VALUES_MAX)
                return -EBADMSG;

        if (node->type == YAML_SCALAR_NODE) {
                if (is_null(node))
                        return 0;
                copy = json_object_new_string((const char *) node->data.scalar.value);
        } else
                copy = node->type == YAML_MAPPING_NODE ? json_object_new_object() : json_object_new_array();
        if (!copy)
                return -ENOMEM;

        if (node->type == YAML_SEQUENCE_NODE)
                for (const yaml_node_item_t *item = node->data.sequence.items.start;
                     r >= 0 && item < node->data.sequence.items.top; item++) {
                        r = reader_copy(reader, &value, *item, depth + 1);
                        if (r >= 0 && json_object_array_add(copy, value) < 0) {
                                json_object_put(value);
                                r = -ENOMEM;
                        }
                }
        else if (node->type == YAML_MAPPING_NODE)
                for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
                     r >= 0 && pair < node->data.mapping.pairs.top; pair++) {
                        const yaml_node_t *key = yaml_document_get_node(&reader->document, pair->key);

                        if (!key || key->type != YAML_SCALAR_NODE)
                                continue;
                        r = reader_copy(reader, &value, pair->value, depth + 1);
                        if (r >= 0 &&
                            json_object_object_add(copy, (const char *) key->data.scalar.value, value) < 0) {
                                json_object_put(value);
                                r = -ENOMEM;
                        }
                }

        if (r < 0)
                json_object_put(copy);
        else
                *ret = copy;
        return r;
}

int compose_yaml_read(json_object **ret, const char *text, size_t size) {
        yaml_parser_t parser;
        Reader reader = {};
        int r;

        if (!yaml_parser_initialize(&parser))
                return -ENOMEM;
        yaml_parser_set_input_string(&parser, (const unsigned char *) text, size);
        if (yaml_parser_load(&parser, &reader.document)) {
                r = reader_copy(&reader, ret, 1, 0); /* the root; there is none in an empty text */
                yaml_document_delete(&reader.document);
        } else
                r = parser.error == YAML_MEMORY_ERROR ? -ENOMEM : -EBADMSG;
        yaml_parser_delete(&parser);
        return r;
}
