#include "test.h"
#include "util/json-members.h"

static void test_members_are_there_or_not(void) {
        _cleanup_(json_freep) json_object *object = json_tokener_parse(
                        "{\"text\":\"a\",\"nul\":\"a\\u0000b\",\"yes\":true,\"n\":1,\"none\":null}");

        ASSERT_STREQ(json_member_text(object, "text"), "a");
        ASSERT_NULL(json_member_text(object, "nul"));
        ASSERT_NULL(json_member_text(object, "n"));
        ASSERT_NULL(json_member_text(object, "none"));
        ASSERT_NULL(json_member_text(object, "other"));
        ASSERT_NULL(json_member_text(NULL, "text"));
        ASSERT_NULL(json_member(json_member(object, "text"), "text"));
        ASSERT_TRUE(json_member_of(object, "n", json_type_int) != NULL);
        ASSERT_NULL(json_member_of(object, "n", json_type_string));
        ASSERT_TRUE(json_member_is_true(object, "yes"));
        ASSERT_FALSE(json_member_is_true(object, "n"));
        ASSERT_FALSE(json_member_is_true(NULL, "yes"));
}

static void test_objects_are_built(void) {
        const char *const texts[] = { "a", "b", NULL };
        json_object *object = json_object_new_object();

        object = json_built(object, json_add_text(object, "text", "a") && json_add_text(object, "none", NULL) &&
                                                    json_add(object, "texts", json_new_texts((char **) texts)) &&
                                                    json_add(object, "empty", json_new_texts(NULL)));
        ASSERT_STREQ(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN),
                     "{\"text\":\"a\",\"none\":null,\"texts\":[\"a\",\"b\"],\"empty\":[]}");
        json_free(object);
}

/* What is given is taken in any case: a sanitizer sees a leak. */
static void test_no_memory_is_told(void) {
        json_object *object = json_object_new_object();

        ASSERT_FALSE(json_add(object, "member", NULL));
        ASSERT_FALSE(json_add(NULL, "member", json_object_new_string("text")));
        ASSERT_FALSE(json_append(NULL, json_object_new_string("text")));
        ASSERT_FALSE(json_add_null(NULL, "member"));
        ASSERT_NULL(json_built(object, false));
}

int main(void) {
        test_members_are_there_or_not();
        test_objects_are_built();
        test_no_memory_is_told();
        return EXIT_SUCCESS;
}
