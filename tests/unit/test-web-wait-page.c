#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"
#include "util/fd.h"
#include "util/time.h"
#include "web/asset.h"
#include "web/language.h"
#include "web/template.h"
#include "web/wait-page.h"

/* Templates */

typedef struct Thing {
        const char *name;
} Thing;

static const char *get_name(const void *object, const char *rest, char *buffer) {
        return ((const Thing *) object)->name;
}

static const char *get_rest(const void *object, const char *rest, char *buffer) {
        return streq(rest, "none") ? NULL : rest;
}

static const TemplateField thing_fields[] = { { .name = "NAME", .get = get_name }, {} };
static const TemplateField document_fields[] = {
        { .name = "NAME", .get = get_name },
        { .name = "RAW", .get = get_name, .raw = true },
        { .name = "T_", .get = get_rest, .prefix = true },
        {},
};

/* The expansion in a static buffer, or NULL and an error. */
static int error;
static size_t error_offset, n_parts, own_size;
static const char *expand(const char *text, size_t n_things) {
        static const Thing document = { "<&\"'>" };
        static const Thing things[] = { { "a" }, { "b<" }, { "c" } };
        static char result[64 * 1024];
        const TemplateSection sections[] = {
                { NULL, document_fields, &document, sizeof(document), 1 },
                { "THINGS", thing_fields, things, sizeof(things[0]), n_things },
                {},
        };
        TemplateText expanded = {};
        char *at = result;

        error_offset = SIZE_MAX;
        error = template_expand(&expanded, text, strlen(text), sections, &error_offset);
        if (error < 0) {
                ASSERT_NULL(expanded.own);
                ASSERT_NULL(expanded.parts);
                return NULL;
        }
        ASSERT_TRUE(expanded.size < sizeof(result));
        n_parts = expanded.n_parts;
        own_size = expanded.own_size;
        for (size_t i = 0; i < expanded.n_parts; i++)
                at = mempcpy(at, expanded.parts[i].iov_base, expanded.parts[i].iov_len);
        *at = '\0';
        ASSERT_EQ((size_t) (at - result), expanded.size);
        template_text_done(&expanded);
        return result;
}

static void test_long_parts_are_not_copied(void) {
        static char text[32 * 1024], expected[64 * 1024];
        size_t n = 0;

        memset(text, 'x', 4000);
        strcpy(text + 4000, "{{NAME}}");
        ASSERT_TRUE(expand(text, 0));
        ASSERT_EQ(n_parts, 2);
        ASSERT_EQ(own_size, strlen("&lt;&amp;&quot;&#39;&gt;"));

        /* As often as it is told, and a few of them only. */
        memset(text, '\0', sizeof(text));
        strcpy(text, "{{#THINGS}}");
        memset(text + 11, 'y', 1000);
        strcpy(text + 1011, "{{NAME}}{{/THINGS}}");
        memset(text + strlen(text), 'z', 2000);
        for (unsigned i = 0; i < 3; i++) {
                memset(expected + n, 'y', 1000);
                n += 1000;
                n += (size_t) sprintf(expected + n, "%s", i == 1 ? "b&lt;" : i == 0 ? "a" : "c");
        }
        memset(expected + n, 'z', 2000);
        ASSERT_STREQ(expand(text, 3), expected);
        ASSERT_EQ(n_parts, 7);
        ASSERT_EQ(own_size, 7);

        /* The rest of very many is copied. */
        n = 0;
        for (unsigned i = 0; i < 40; i++) {
                memset(text + n, 'v', 600);
                n += 600;
                n += (size_t) sprintf(text + n, "{{T_w}}");
        }
        ASSERT_TRUE(expand(text, 0));
        ASSERT_EQ(n_parts, 64);
}

static void test_placeholders_are_escaped(void) {
        ASSERT_STREQ(expand("", 0), "");
        ASSERT_STREQ(expand("x {y} } { z", 0), "x {y} } { z");
        ASSERT_STREQ(expand("{{NAME}}", 0), "&lt;&amp;&quot;&#39;&gt;");
        ASSERT_STREQ(expand("a{{NAME}}b{{RAW}}c", 0), "a&lt;&amp;&quot;&#39;&gt;b<&\"'>c");
        ASSERT_STREQ(expand("{{T_some}}{{T_}}", 0), "some");
}

static void test_sections_are_repeated(void) {
        ASSERT_STREQ(expand("[{{#THINGS}}({{NAME}}{{T_x}}){{/THINGS}}]", 3), "[(ax)(b&lt;x)(cx)]");
        ASSERT_STREQ(expand("[{{#THINGS}}({{NAME}}){{/THINGS}}]", 0), "[]");
        ASSERT_STREQ(expand("{{#THINGS}}{{NAME}}{{/THINGS}}{{#THINGS}}{{NAME}}{{/THINGS}}", 1), "aa");
}

static void test_wrong_templates_are_refused(void) {
        static const struct {
                const char *text;
                int error;
                size_t offset;
        } cases[] = {
                { "ab{{", EBADMSG, 2 },
                { "ab{{NAME", EBADMSG, 2 },
                { "ab{{NAME}", EBADMSG, 2 },
                { "{{}}", EBADMSG, 0 },
                { "{{ NAME }}", EBADMSG, 0 },
                { "{{{NAME}}}", EBADMSG, 0 },
                { "{{NAMENAMENAMENAMENAMENAMENAMENAMENAMENAMENAMENAMENAME}}", EBADMSG, 0 },
                { "a{{OTHER}}", ENOENT, 1 },
                { "a{{T_none}}", ENOENT, 1 },
                { "a{{#OTHER}}{{/OTHER}}", ENOENT, 1 },
                { "{{/THINGS}}", EBADMSG, 0 },
                { "a{{#THINGS}}b", EBADMSG, 13 },
                { "{{#THINGS}}{{#THINGS}}{{/THINGS}}{{/THINGS}}", EBADMSG, 11 },
                { "{{#THINGS}}{{/OTHER}}", EBADMSG, 11 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                ASSERT_NULL(expand(cases[i].text, 2));
                ASSERT_EQ(error, -cases[i].error);
                ASSERT_EQ(error_offset, cases[i].offset);
        }
        /* Of a section that is not shown, the end is missed all the same. */
        ASSERT_NULL(expand("{{#THINGS}}", 0));
        ASSERT_EQ(error, -EBADMSG);
}

static void test_output_is_bounded(void) {
        _cleanup_free_ char *text = NULL;
        TemplateText expanded = {};
        static const Thing thing = { "x" };
        const TemplateSection sections[] = {
                { NULL, document_fields, &thing, sizeof(thing), 1 },
                { "THINGS", thing_fields, &thing, 0, 1024 },
                {},
        };
        const size_t length = 2048;

        text = malloc(length + 64);
        ASSERT_TRUE(text);
        strcpy(text, "{{#THINGS}}");
        memset(text + 11, 'x', length);
        strcpy(text + 11 + length, "{{/THINGS}}");
        ASSERT_ERROR(template_expand(&expanded, text, strlen(text), sections, NULL), EFBIG);
        ASSERT_NULL(expanded.own);
}

/* Languages */

static void test_accept_language(void) {
        static const struct {
                const char *header, *language;
        } cases[] = {
                { NULL, "en" },
                { "", "en" },
                { "fr", "fr" },
                { "FR-ch", "fr" },
                { "en", "en" },
                { "de", "en" },
                { "de, fr;q=0.3", "fr" },
                { "fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr" },
                { "en-US,en;q=0.5,fr;q=0.4", "en" },
                { "en;q=0.4,fr;q=0.5", "fr" },
                { "en;q=0.5 , fr ; q=0.9", "fr" },
                { "fr,en", "fr" },
                { "en,fr", "en" },
                { "fr;q=0", "en" },
                { "fr;q=0.000, en;q=0", "en" },
                { "en;q=0, *", "fr" },
                { "*", "en" },
                { "*, fr;q=0.1", "en" },
                { "fr;q=0.001, en;q=0.002", "en" },
                { "fr;q=1.000, en;q=0.999", "fr" },
                { "en;q=9, fr;q=1", "en" },
                { "fr;q=", "fr" },
                { "fra, frx-YY", "en" },
                { ",,,;;;=q,fr", "fr" },
                { ";q=1", "en" },
        };
        char endless[4096];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                ASSERT_STREQ(wait_page_language(cases[i].header), cases[i].language);

        memset(endless, ',', sizeof(endless));
        strcpy(endless + sizeof(endless) - 3, "fr");
        ASSERT_STREQ(wait_page_language(endless), "en");
}

static void test_every_text_is_there_twice(void) {
        json_object *english = language_to_json(LANGUAGE_ENGLISH), *french = language_to_json(LANGUAGE_FRENCH);
        unsigned n = 0;

        json_object_object_foreach(english, group, members) {
                json_object_object_foreach(members, name, text) {
                        json_object *others = json_object_object_get(french, group);
                        const char *other = json_object_get_string(json_object_object_get(others, name));

                        ASSERT_FALSE(isempty(json_object_get_string(text)));
                        ASSERT_FALSE(isempty(other));
                        /* What has a number in it, has it in both. */
                        ASSERT_EQ(!strchr(json_object_get_string(text), '#'), !strchr(other, '#'));
                        n++;
                }
        }
        ASSERT_TRUE(n > 30);
        json_object_put(english);
        json_object_put(french);
}

static void test_time_left_in_words(void) {
        char buffer[LANGUAGE_LEFT_MAX];

        ASSERT_STREQ(language_left(LANGUAGE_ENGLISH, 0, buffer), "any moment now");
        ASSERT_STREQ(language_left(LANGUAGE_ENGLISH, USEC_PER_SEC, buffer), "any moment now");
        ASSERT_STREQ(language_left(LANGUAGE_ENGLISH, 7200000, buffer), "about 8 s left");
        ASSERT_STREQ(language_left(LANGUAGE_ENGLISH, 11 * USEC_PER_SEC, buffer), "about 15 s left");
        ASSERT_STREQ(language_left(LANGUAGE_FRENCH, 85 * USEC_PER_SEC, buffer), "encore 85 s environ");
        ASSERT_STREQ(language_left(LANGUAGE_ENGLISH, 86 * USEC_PER_SEC, buffer), "about 2 min left");
        ASSERT_STREQ(language_left(LANGUAGE_FRENCH, 301 * USEC_PER_SEC, buffer), "encore 6 min environ");
        ASSERT_STREQ(language_left(LANGUAGE_ENGLISH, USEC_INFINITY, buffer), "about 9999 min left");
}

/* Pages */

static char *policy;

/* Valid until the next one. */
static const char *render_in(const PageContext *context, const Service *service, const Status *status) {
        PageDocument document = {};
        static char *page;
        size_t size = 0;
        char *at;

        page = mfree(page);
        policy = mfree(policy);
        ASSERT_OK(wait_page_render(&document, context, service, status));
        for (size_t i = 0; i < document.n_parts; i++)
                size += document.parts[i].iov_len;
        at = page = malloc(size + 1);
        ASSERT_TRUE(page);
        for (size_t i = 0; i < document.n_parts; i++)
                at = mempcpy(at, document.parts[i].iov_base, document.parts[i].iov_len);
        *at = '\0';
        ASSERT_EQ(strlen(page), size);
        policy = TAKE_PTR(document.policy);
        page_document_done(&document);
        return page;
}

static const char *render(const char *language, const char *theme, const Service *service, const Status *status) {
        return render_in(&(PageContext){ .language = language, .path = "/a?b=1&c", .theme = theme }, service,
                         status);
}

static void assert_has(const char *page, const char *text) {
        if (!strstr(page, text))
                TEST_FAIL("'%s' is not in %s", text, page);
}

static void assert_has_not(const char *page, const char *text) {
        if (strstr(page, text))
                TEST_FAIL("'%s' is in %s", text, page);
}

static DependencyStatus two_dependencies[2];

static Status clemence(ServiceState state) {
        two_dependencies[0] = (DependencyStatus){ .container = (char *) "mysql-clemence",
                                                  .required = true,
                                                  .step = 1,
                                                  .state = DEPENDENCY_READY,
                                                  .started_usec = 1000,
                                                  .ready_usec = 4 * USEC_PER_SEC,
                                                  .estimate_usec = 5 * USEC_PER_SEC };
        two_dependencies[1] = (DependencyStatus){ .container = (char *) "wordpress-clemence",
                                                  .step = 2,
                                                  .state = DEPENDENCY_STARTING,
                                                  .started_usec = 4 * USEC_PER_SEC,
                                                  .estimate_usec = 8 * USEC_PER_SEC };
        return (Status){
                .service = (char *) "clemence",
                .state = state,
                .trigger = TRIGGER_CONNECTION,
                .elapsed_usec = 8 * USEC_PER_SEC,
                .dependencies = two_dependencies,
                .n_dependencies = 2,
        };
}

static const Service plain = { .name = (char *) "clemence", .page_details = true };

static void test_waking(void) {
        Status status = clemence(SERVICE_WAKING);
        const char *page = render("en", NULL, &plain, &status);

        assert_has(page, "<!DOCTYPE html>\n<html lang=\"en\">");
        assert_has(page, "<title>clemence is waking up</title>");
        assert_has(page, "<body data-state=\"waking\" data-service=\"clemence\"");
        assert_has(page, "<noscript><meta http-equiv=\"refresh\" content=\"3\"></noscript>");
        assert_has(page, "<li data-key=\"mysql-clemence\" data-state=\"ready\" data-remaining=\"0\">");
        assert_has(page, "<span class=\"state\">ready</span>\n<progress max=\"100\" value=\"100\"");
        assert_has(page, "<li data-key=\"wordpress-clemence\" data-state=\"starting\" data-remaining=\"4000\">");
        assert_has(page, "<span class=\"optional\">optional</span> <span class=\"state\">starting</span>\n"
                         "<progress max=\"100\" value=\"50\"");
        assert_has(page, "<span class=\"left\">about 4 s left</span>");
        /* 8 s of 12 */
        assert_has(page, "<progress id=\"total\" max=\"100\" value=\"66\"");
        assert_has(page, "<div id=\"course\" >");
        assert_has(page, "<div id=\"failure\" hidden>");
        /* Small, and nothing of another place. */
        ASSERT_TRUE(strlen(page) < 20 * 1024U);
        assert_has_not(page, "//");
        assert_has_not(page, "{{");
}

static void test_french(void) {
        Status status = clemence(SERVICE_WAKING);
        const char *page = render("fr", NULL, &plain, &status);

        assert_has(page, "<html lang=\"fr\">");
        assert_has(page, "<title>clemence se réveille</title>");
        assert_has(page, "<span class=\"state\">démarrage</span>");
        assert_has(page, "<span class=\"left\">encore 4 s environ</span>");
        assert_has(render("xx", NULL, &plain, &status), "<html lang=\"en\">");
        assert_has(render(NULL, NULL, &plain, &status), "<html lang=\"en\">");
}

static void test_before_the_first_wake_the_plan_is_shown(void) {
        Dependency dependencies[] = {
                { .name = (char *) "mysql-clemence", .estimated_usec = 5 * USEC_PER_SEC },
                { .name = (char *) "nginx", .type = DEPENDENCY_OPTIONAL },
        };
        Service service = plain;
        Status status = { .service = (char *) "clemence", .state = SERVICE_ASLEEP, .trigger = _TRIGGER_INVALID };
        const char *page;

        assert_has(render("en", NULL, &service, &status), "is waking up");

        service.dependencies = dependencies;
        service.n_dependencies = 2;
        page = render("en", NULL, &service, &status);
        assert_has(page, "<li data-key=\"mysql-clemence\" data-state=\"pending\" data-remaining=\"5000\">");
        assert_has(page, "<span class=\"optional\">optional</span> <span class=\"state\">waiting</span>");
        assert_has(page, "<progress id=\"total\" max=\"100\" value=\"0\"");
        assert_has(page, "http-equiv=\"refresh\" content=\"3\"");
}

static void test_failure_says_what_and_why(void) {
        const PageContext later = { .language = "en", .path = "/", .retry_after_usec = 4500000 };
        Status status = clemence(SERVICE_FAILED);
        const char *page;

        status.reason = FAILURE_HEALTH_CHECK_FAILED;
        two_dependencies[0].state = DEPENDENCY_STOPPED;
        two_dependencies[1].state = DEPENDENCY_FAILED;
        two_dependencies[1].reason = FAILURE_HEALTH_CHECK_FAILED;
        two_dependencies[1].error = (char *) "the text of an engine";
        page = render_in(&later, &plain, &status);

        assert_has(page, "<title>clemence did not wake up</title>");
        assert_has(page, "<div id=\"course\" hidden>");
        assert_has(page, "<div id=\"failure\" >");
        assert_has(page, "<dd id=\"failed\"><span>wordpress-clemence</span> </dd>");
        assert_has(page, "<dd id=\"reason\">it started, but did not become ready in time</dd>");
        assert_has(page, "<a id=\"retry\" href=\"\">Try again</a>");
        assert_has(page, "<p id=\"retry-in\" data-after=\"5\">A new attempt is possible in 5 s.</p>");
        /* It would try again and again by itself. */
        assert_has_not(page, "refresh");
        assert_has_not(page, "the text of an engine");

        assert_has(render("fr", NULL, &plain, &status),
                   "<dd id=\"reason\">démarrage effectué, mais pas prêt dans le temps imparti</dd>");
}

static void test_every_state_and_reason_has_its_page(void) {
        static const char *const languages[] = { "en", "fr" };

        for (size_t language = 0; language < ELEMENTSOF(languages); language++)
                for (int state = 0; state < _SERVICE_STATE_MAX; state++)
                        for (int reason = 0; reason < _FAILURE_MAX; reason++)
                                for (int part = 0; part < _DEPENDENCY_STATE_MAX; part++) {
                                        Status status = clemence(state);
                                        char attribute[64];

                                        status.reason = reason;
                                        two_dependencies[1].state = part;
                                        (void) snprintf(attribute, sizeof(attribute), "<body data-state=\"%s\"",
                                                        service_state_to_string(state));
                                        assert_has(render(languages[language], NULL, &plain, &status), attribute);
                                }
}

static void test_longer_than_usual(void) {
        Status status = clemence(SERVICE_WAKING);
        const char *page;

        status.estimate_usec = 30 * USEC_PER_SEC;
        status.elapsed_usec = 15 * USEC_PER_SEC;
        page = render("fr", NULL, &plain, &status);
        assert_has(page, "<span class=\"left\">plus long que d’habitude</span>");
        assert_has(page, "<span id=\"left\">d’un instant");
        status.elapsed_usec = 40 * USEC_PER_SEC;
        assert_has(render("en", NULL, &plain, &status), "<span id=\"left\">taking longer than usual</span>");
}

static void test_awake_is_left_at_once(void) {
        Status status = clemence(SERVICE_AWAKE);
        const char *page = render("en", NULL, &plain, &status);

        assert_has(page, "<title>clemence is up</title>");
        assert_has(page, "http-equiv=\"refresh\" content=\"1\"");
        assert_has(page, "<progress id=\"total\" max=\"100\" value=\"100\"");
}

static void test_nothing_is_done_before_it_is(void) {
        Status status = clemence(SERVICE_WAKING);
        const char *page;

        status.elapsed_usec = 1000000 * USEC_PER_SEC;
        page = render("en", NULL, &plain, &status);
        assert_has(page, "<progress id=\"total\" max=\"100\" value=\"99\"");
        assert_has(page, "<span class=\"state\">starting</span>\n<progress max=\"100\" value=\"99\"");
        assert_has(page, "<span class=\"left\">taking longer than usual</span>");
}

static void test_hostile_names_stay_text(void) {
        Status status = clemence(SERVICE_FAILED);
        Service service = plain;
        const char *page;

        service.page_title = (char *) "</title><script>alert(1)</script>{{NONCE}}";
        two_dependencies[0].container = (char *) "\"><img src=x onerror='x'>&amp;";
        two_dependencies[0].state = DEPENDENCY_FAILED;
        page = render("en", NULL, &service, &status);
        assert_has(page,
                   "<title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;{{NONCE}} did not wake up</title>");
        assert_has(page, "data-key=\"&quot;&gt;&lt;img src=x onerror=&#39;x&#39;&gt;&amp;amp;\"");
        assert_has_not(page, "<img");
        assert_has_not(page, "<script>");
        assert_has_not(page, "' onerror");
}

static void test_without_details_nothing_is_told(void) {
        Status status = clemence(SERVICE_FAILED);
        Service service = plain;
        const char *page;

        service.page_details = false;
        service.page_title = (char *) "My blog";
        status.reason = FAILURE_IMAGE_MISSING;
        status.error = (char *) "secret";
        two_dependencies[1].state = DEPENDENCY_FAILED;
        two_dependencies[1].reason = FAILURE_IMAGE_MISSING;
        page = render("en", NULL, &service, &status);
        assert_has_not(page, "mysql");
        assert_has_not(page, "wordpress");
        assert_has_not(page, "secret");
        assert_has(page, "<dl hidden>");
        assert_has(page, "<dd id=\"reason\"></dd>");
        assert_has(page, "<li data-key=\"1\" data-state=\"ready\"");
        assert_has(page, "<span class=\"name\">Part 2</span>");
        assert_has(render("fr", NULL, &service, &status), "<span class=\"name\">Élément 2</span>");
}

static void test_policy_fits_the_page_and_no_other(void) {
        Status status = clemence(SERVICE_WAKING);
        char first[64] = "", tag[128];
        const char *page = render("en", NULL, &plain, &status), *nonce;

        nonce = strstr(policy, "script-src 'nonce-");
        ASSERT_TRUE(nonce);
        ASSERT_EQ(sscanf(nonce, "script-src 'nonce-%32[0-9a-f]';", first), 1);
        ASSERT_EQ(strlen(first), 32);
        assert_has(policy, "default-src 'none'; ");
        assert_has_not(policy, "unsafe");
        (void) snprintf(tag, sizeof(tag), "<script nonce=\"%s\">", first);
        assert_has(page, tag);
        (void) snprintf(tag, sizeof(tag), "<style nonce=\"%s\">", first);
        assert_has(page, tag);
        /* Attributes of style and event handlers would be refused. */
        assert_has_not(page, " style=\"");
        assert_has_not(page, " onclick");

        (void) render("en", NULL, &plain, &status);
        assert_has_not(policy, first);
}

static void put(const char *folder, const char *name, const char *text) {
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
        ASSERT_OK(file_replace(path, text, strlen(text), 0644, false));
}

static void take(const char *folder, const char *name) {
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
        (void) unlink(path);
}

static void test_theme_replaces_files(void) {
        char folder[] = "/tmp/test-web-page.XXXXXX";
        Status status = clemence(SERVICE_WAKING);

        ASSERT_TRUE(mkdtemp(folder));
        assert_has(render("en", folder, &plain, &status), "<title>clemence is waking up</title>");
        assert_has(render("en", "/does/not/exist", &plain, &status), "<title>clemence is waking up</title>");

        put(folder, "page.css", "p { color: \"</red>\" }");
        assert_has(render("en", folder, &plain, &status), "\">p { color: \"</red>\" }</style>");
        assert_has(render("en", folder, &plain, &status), "EventSource");

        put(folder, "page.html",
            "{{TITLE}} {{TEXT_RETRY}} {{PATH}} {{#DEPENDENCIES}}{{NUMBER}}:{{NAME}}={{WORDS}} {{/DEPENDENCIES}}"
            "{{#REFRESHING}}{{REFRESH}}{{/REFRESHING}}{{#FAILED}}!{{/FAILED}}");
        ASSERT_STREQ(render("en", folder, &plain, &status),
                     "clemence Try again /a?b=1&amp;c 1:mysql-clemence=ready 2:wordpress-clemence=starting 3");

        /* One that cannot be used is not. */
        put(folder, "page.html", "{{UNKNOWN}}");
        assert_has(render("en", folder, &plain, &status), "<title>clemence is waking up</title>");
        put(folder, "page.html", "{{#DEPENDENCIES}}");
        assert_has(render("en", folder, &plain, &status), "<title>clemence is waking up</title>");

        take(folder, "page.html");
        take(folder, "page.css");
        ASSERT_EQ(rmdir(folder), 0);
}

/* A theme of that one placeholder; false if it cannot be used. */
static bool theme_may_say(const char *folder, const char *section, const char *name) {
        Status status = clemence(SERVICE_WAKING);
        char text[256];

        if (section)
                (void) snprintf(text, sizeof(text), "[{{#%s}}{{%s}}{{/%s}}]", section, name, section);
        else
                (void) snprintf(text, sizeof(text), "[{{%s}}]", name);
        put(folder, "page.html", text);
        return render("en", folder, &plain, &status)[0] == '[';
}

/* What the manual page names is there. */
static void test_manual_is_true(void) {
        _cleanup_free_ char *manual = NULL;
        char folder[] = "/tmp/test-web-page.XXXXXX";
        unsigned n = 0;

        ASSERT_TRUE(mkdtemp(folder));
        ASSERT_FALSE(theme_may_say(folder, NULL, "NOTHING"));
        ASSERT_OK(file_read(MANUAL, 1024 * 1024U, &manual, NULL));
        for (const char *at = manual; (at = strstr(at, "{{")); at += 2) {
                char name[64] = "";

                if (sscanf(at, "{{%63[A-Z_]}}", name) != 1 || streq(name, "TEXT_"))
                        continue;
                n++;
                if (!theme_may_say(folder, NULL, name) && !theme_may_say(folder, "DEPENDENCIES", name))
                        TEST_FAIL("no placeholder '%s'", name);
        }
        ASSERT_TRUE(n > 30);
        take(folder, "page.html");
        ASSERT_EQ(rmdir(folder), 0);
}

static void test_path_stays_on_this_host(void) {
        static const char *const bad[] = {
                "//evil.example/",
                "/\\evil.example",
                "javascript:alert(1)",
                "http://evil.example/",
                "*",
                "",
                "/\t/evil.example",
                "/a\nb",
                NULL,
        };
        char folder[] = "/tmp/test-web-page.XXXXXX";
        Status status = clemence(SERVICE_WAKING);

        ASSERT_TRUE(mkdtemp(folder));
        put(folder, "page.html", "{{PATH}}");
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                const PageContext context = { .language = "en", .path = bad[i], .theme = folder };

                ASSERT_STREQ(render_in(&context, &plain, &status), "/");
        }
        take(folder, "page.html");
        ASSERT_EQ(rmdir(folder), 0);
}

static void test_assets(void) {
        const Asset *asset = asset_find("page/page.css");

        ASSERT_TRUE(asset);
        ASSERT_STREQ(asset->type, "text/css; charset=utf-8");
        ASSERT_EQ(strlen(asset->data), asset->size);
        ASSERT_EQ(asset->etag[0], '"');
        ASSERT_FALSE(streq(asset->etag, asset_find("page/page.js")->etag));
        ASSERT_TRUE(asset_find("page/page.html"));
        ASSERT_NULL(asset_find("page/"));
        ASSERT_NULL(asset_find("../page.c"));
        ASSERT_NULL(asset_find("nothing"));
}

int main(void) {
        test_placeholders_are_escaped();
        test_long_parts_are_not_copied();
        test_sections_are_repeated();
        test_wrong_templates_are_refused();
        test_output_is_bounded();
        test_accept_language();
        test_every_text_is_there_twice();
        test_time_left_in_words();
        test_waking();
        test_french();
        test_before_the_first_wake_the_plan_is_shown();
        test_failure_says_what_and_why();
        test_every_state_and_reason_has_its_page();
        test_longer_than_usual();
        test_awake_is_left_at_once();
        test_nothing_is_done_before_it_is();
        test_hostile_names_stay_text();
        test_without_details_nothing_is_told();
        test_policy_fits_the_page_and_no_other();
        test_theme_replaces_files();
        test_manual_is_true();
        test_path_stays_on_this_host();
        test_assets();
        return 0;
}
