#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <sys/random.h>

#include "util/fd.h"
#include "util/log.h"
#include "web/asset.h"
#include "web/language.h"
#include "web/page.h"
#include "web/template.h"

/* Page: a template and the values for its placeholders, which wakechain-page(7) lists for themes. The first answer says all there is to say at
 * that moment, so it is right without a script; page.js then keeps it true, from the same texts. The names in it come from a
 * configuration and an engine and are escaped by the template.
 *
 * The policy allows the style and the script of this document by a number that nobody can know before, and a connection to the origin for
 * the events. It does not say who may show the page in a frame: the page does nothing but ask for itself again, and a site that is
 * meant to be framed by another would be broken while it wakes. */

#define THEME_FILE_MAX (256 * 1024U)
#define NONCE_SIZE 16
#define PERCENT_BUSY_MAX 99
#define REFRESH_SEC 3
#define REFRESH_AWAKE_SEC 1

DEFINE_CLEANUP(json_object *, json_object_put);

typedef struct Page Page;

/* A dependency as the page shows it. */
typedef struct Part {
        const Page *page;
        const char *name; /* NULL: it has a number only */
        unsigned number;
        bool required;
        DependencyState state;
        FailureReason reason;
        double progress;
        uint64_t remaining_usec;
} Part;

struct Page {
        const PageContext *context;
        Language language;
        const Service *service;
        const Status *status;
        bool details;
        Part *parts;
        size_t n_parts;
        Part *failed; /* those of them that failed */
        size_t n_failed;
        char nonce[2 * NONCE_SIZE + 1];
        const char *style, *script; /* borrowed */
        const char *words; /* JSON; borrowed */
};

static void page_done(Page *page) {
        free(page->parts);
        free(page->failed);
}

const char *page_language(const char *accept_language) {
        return language_to_string(language_negotiate(accept_language));
}

static const char *print_number(char buffer[static TEMPLATE_BUFFER_SIZE], uint64_t number) {
        (void) snprintf(buffer, TEMPLATE_BUFFER_SIZE, "%" PRIu64, number);
        return buffer;
}

/* Rounded down, and never done before it is. */
static unsigned percent(double progress) {
        return progress >= 1.0 ? 100 : MIN((unsigned) (MAX(progress, 0.0) * 100.0), PERCENT_BUSY_MAX);
}

/* Placeholders of the document */

static const char *get_language(const void *object, const char *rest, char *buffer) {
        return language_to_string(((const Page *) object)->language);
}

static const char *get_nonce(const void *object, const char *rest, char *buffer) {
        return ((const Page *) object)->nonce;
}

static const char *get_path(const void *object, const char *rest, char *buffer) {
        const char *path = strempty(((const Page *) object)->context->path);

        /* A browser takes "//" and "/\\" for the beginning of another host, and leaves control characters out. */
        if (path[0] != '/' || path[1] == '/' || path[1] == '\\')
                return "/";
        for (const char *at = path; *at; at++)
                if ((unsigned char) *at <= ' ' || *at == 0x7f)
                        return "/";
        return path;
}

static const char *get_service(const void *object, const char *rest, char *buffer) {
        const Page *page = object;

        return strempty(page->service->name ?: page->status->service);
}

static const char *get_title(const void *object, const char *rest, char *buffer) {
        const Page *page = object;

        return isempty(page->service->page_title) ? get_service(object, rest, buffer) : page->service->page_title;
}

static const char *get_state(const void *object, const char *rest, char *buffer) {
        return service_state_to_string(((const Page *) object)->status->state);
}

static const char *const headlines[_SERVICE_STATE_MAX] = {
        [SERVICE_ASLEEP] = "WAKING",   [SERVICE_WAKING] = "WAKING", [SERVICE_AWAKE] = "READY",
        [SERVICE_STOPPING] = "WAKING", [SERVICE_FAILED] = "FAILED",
};

static const char *get_headline(const void *object, const char *rest, char *buffer) {
        const Page *page = object;

        return language_text(page->language, headlines[page->status->state]);
}

static const char *get_lead(const void *object, const char *rest, char *buffer) {
        const Page *page = object;
        char name[TEMPLATE_BUFFER_SIZE];

        (void) snprintf(name, sizeof(name), "LEAD_%s", headlines[page->status->state]);
        return language_text(page->language, name);
}

static const char *get_progress(const void *object, const char *rest, char *buffer) {
        return print_number(buffer, percent(status_progress(((const Page *) object)->status)));
}

static const char *get_remaining_ms(const void *object, const char *rest, char *buffer) {
        return print_number(buffer, status_remaining(((const Page *) object)->status) / USEC_PER_MSEC);
}

static const char *get_left(const void *object, const char *rest, char *buffer) {
        const Page *page = object;

        if (page->status->state != SERVICE_WAKING || page->status->n_dependencies == 0)
                return "";
        return language_left(page->language, status_remaining(page->status), buffer);
}

/* The height of the sun of page.html, a number that falls as it rises. */
static const char *get_sun(const void *object, const char *rest, char *buffer) {
        return print_number(buffer, 96 - 56 * percent(status_progress(((const Page *) object)->status)) / 100);
}

static const char *get_refresh(const void *object, const char *rest, char *buffer) {
        return print_number(buffer, ((const Page *) object)->status->state == SERVICE_AWAKE ? REFRESH_AWAKE_SEC
                                                                                            : REFRESH_SEC);
}

static const char *get_retry_after(const void *object, const char *rest, char *buffer) {
        uint64_t after = ((const Page *) object)->context->retry_after_usec;

        return print_number(buffer, usec_add(after, USEC_PER_SEC - 1) / USEC_PER_SEC);
}

static const char *get_retry_in(const void *object, const char *rest, char *buffer) {
        const Page *page = object;
        const char *text = language_text(page->language, "RETRY_IN"), *number = strchr(text, '#');
        char seconds[TEMPLATE_BUFFER_SIZE];

        if (page->status->state != SERVICE_FAILED || page->context->retry_after_usec == 0)
                return "";
        (void) snprintf(buffer, TEMPLATE_BUFFER_SIZE, "%.*s%.20s%s", (int) (number - text), text,
                        get_retry_after(object, rest, seconds), number + 1);
        return buffer;
}

static const char *get_reason(const void *object, const char *rest, char *buffer) {
        const Page *page = object;

        return page->details ? language_reason(page->language, page->status->reason) : "";
}

/* Attributes that hide what does not belong to a state. */
static const char *get_hidden_unless_failed(const void *object, const char *rest, char *buffer) {
        return ((const Page *) object)->status->state == SERVICE_FAILED ? "" : "hidden";
}

static const char *get_hidden_if_failed(const void *object, const char *rest, char *buffer) {
        return ((const Page *) object)->status->state == SERVICE_FAILED ? "hidden" : "";
}

static const char *get_hidden_without_details(const void *object, const char *rest, char *buffer) {
        return ((const Page *) object)->details ? "" : "hidden";
}

static const char *get_text(const void *object, const char *rest, char *buffer) {
        return language_text(((const Page *) object)->language, rest);
}

static const char *get_words(const void *object, const char *rest, char *buffer) {
        return ((const Page *) object)->words;
}

static const char *get_style(const void *object, const char *rest, char *buffer) {
        return ((const Page *) object)->style;
}

static const char *get_script(const void *object, const char *rest, char *buffer) {
        return ((const Page *) object)->script;
}

static const TemplateField page_fields[] = {
        { .name = "HEADLINE", .get = get_headline },
        { .name = "HIDDEN_IF_FAILED", .get = get_hidden_if_failed },
        { .name = "HIDDEN_UNLESS_FAILED", .get = get_hidden_unless_failed },
        { .name = "HIDDEN_WITHOUT_DETAILS", .get = get_hidden_without_details },
        { .name = "LANGUAGE", .get = get_language },
        { .name = "LEAD", .get = get_lead },
        { .name = "LEFT", .get = get_left },
        { .name = "NONCE", .get = get_nonce },
        { .name = "PATH", .get = get_path },
        { .name = "PROGRESS", .get = get_progress },
        { .name = "REASON", .get = get_reason },
        { .name = "REFRESH", .get = get_refresh },
        { .name = "REMAINING_MS", .get = get_remaining_ms },
        { .name = "RETRY_AFTER", .get = get_retry_after },
        { .name = "RETRY_IN", .get = get_retry_in },
        { .name = "SCRIPT", .get = get_script, .raw = true },
        { .name = "SERVICE", .get = get_service },
        { .name = "STATE", .get = get_state },
        { .name = "STYLE", .get = get_style, .raw = true },
        { .name = "SUN", .get = get_sun },
        { .name = "TEXT_", .get = get_text, .prefix = true },
        { .name = "TITLE", .get = get_title },
        { .name = "WORDS", .get = get_words },
        {},
};

/* Placeholders of a dependency */

static const char *get_part_key(const void *object, const char *rest, char *buffer) {
        const Part *part = object;

        return part->name ?: print_number(buffer, part->number);
}

static const char *get_part_name(const void *object, const char *rest, char *buffer) {
        const Part *part = object;

        if (part->name)
                return part->name;
        (void) snprintf(buffer, TEMPLATE_BUFFER_SIZE, "%s %u", language_text(part->page->language, "PART"),
                        part->number);
        return buffer;
}

static const char *get_part_number(const void *object, const char *rest, char *buffer) {
        return print_number(buffer, ((const Part *) object)->number);
}

static const char *get_part_state(const void *object, const char *rest, char *buffer) {
        return dependency_state_to_string(((const Part *) object)->state);
}

static const char *get_part_words(const void *object, const char *rest, char *buffer) {
        const Part *part = object;

        return language_state(part->page->language, part->state);
}

static const char *get_part_reason(const void *object, const char *rest, char *buffer) {
        const Part *part = object;

        return part->page->details && part->state == DEPENDENCY_FAILED
                               ? language_reason(part->page->language, part->reason)
                               : "";
}

static const char *get_part_progress(const void *object, const char *rest, char *buffer) {
        return print_number(buffer, percent(((const Part *) object)->progress));
}

static const char *get_part_remaining_ms(const void *object, const char *rest, char *buffer) {
        return print_number(buffer, ((const Part *) object)->remaining_usec / USEC_PER_MSEC);
}

static const char *get_part_left(const void *object, const char *rest, char *buffer) {
        const Part *part = object;
        DependencyState state = part->state;

        if (state != DEPENDENCY_STARTING && state != DEPENDENCY_CHECKING)
                return "";
        return language_left(part->page->language, part->remaining_usec, buffer);
}

static const char *get_part_optional(const void *object, const char *rest, char *buffer) {
        const Part *part = object;

        return part->required ? "" : language_text(part->page->language, "OPTIONAL");
}

static const TemplateField part_fields[] = {
        { .name = "KEY", .get = get_part_key },
        { .name = "LEFT", .get = get_part_left },
        { .name = "NAME", .get = get_part_name },
        { .name = "NUMBER", .get = get_part_number },
        { .name = "OPTIONAL", .get = get_part_optional },
        { .name = "PROGRESS", .get = get_part_progress },
        { .name = "REASON", .get = get_part_reason },
        { .name = "REMAINING_MS", .get = get_part_remaining_ms },
        { .name = "STATE", .get = get_part_state },
        { .name = "WORDS", .get = get_part_words },
        {},
};

/* Each of the two ways to know the dependencies: from a wake, or before the first one, from the configuration. */

static void page_add_status(Page *page, const DependencyStatus *dependency) {
        double progress = dependency_status_progress(dependency, page->status->elapsed_usec);
        Part *part = &page->parts[page->n_parts];

        *part = (Part){
                .page = page,
                .name = page->details ? strempty(dependency->container) : NULL,
                .number = (unsigned) ++page->n_parts,
                .required = dependency->required,
                .state = dependency->state,
                .reason = dependency->reason,
                .progress = progress,
                .remaining_usec = (uint64_t) ((1.0 - progress) * (double) dependency->estimate_usec),
        };
        if (part->state == DEPENDENCY_FAILED)
                page->failed[page->n_failed++] = *part;
}

static void page_add_configured(Page *page, const Dependency *dependency) {
        Part *part = &page->parts[page->n_parts];

        *part = (Part){
                .page = page,
                .name = page->details ? strempty(dependency->name) : NULL,
                .number = (unsigned) ++page->n_parts,
                .required = dependency->type == DEPENDENCY_REQUIRED,
                .state = DEPENDENCY_PENDING,
                .remaining_usec = dependency->estimated_usec,
        };
}

static int page_add_parts(Page *page) {
        size_t n = MAX(page->status->n_dependencies, page->service->n_dependencies);

        if (n == 0)
                return 0;
        page->parts = new0(Part, n);
        page->failed = new0(Part, n);
        if (!page->parts || !page->failed)
                return -ENOMEM;
        for (size_t i = 0; i < page->status->n_dependencies; i++)
                page_add_status(page, &page->status->dependencies[i]);
        if (page->n_parts == 0)
                for (size_t i = 0; i < page->service->n_dependencies; i++)
                        page_add_configured(page, &page->service->dependencies[i]);
        return 0;
}

static int page_make_nonce(Page *page) {
        uint8_t bytes[NONCE_SIZE];

        if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != (ssize_t) sizeof(bytes))
                return errno > 0 ? -errno : -EIO;
        for (size_t i = 0; i < sizeof(bytes); i++)
                (void) snprintf(page->nonce + 2 * i, 3, "%02x", bytes[i]);
        return 0;
}

typedef enum PageFile {
        FILE_DOCUMENT,
        FILE_STYLE,
        FILE_SCRIPT,
        _FILE_MAX,
} PageFile;

static const char *const file_names[_FILE_MAX] = {
        [FILE_DOCUMENT] = "page.html",
        [FILE_STYLE] = "page.css",
        [FILE_SCRIPT] = "page.js",
};

/* Once: a page is made for each visitor, and a file that is wrong stays so. */
static void warn_of_theme(const char *theme, const char *name, const char *what, size_t offset) {
        static bool warned = false;

        if (warned)
                return;
        warned = true;
        log_warning("Cannot use '%s/%s', showing the page without it: %s (at byte %zu).", theme, name, what,
                    offset);
}

/* The files of a page: each the theme's if it has one, else ours. */
typedef struct Files {
        const char *text[_FILE_MAX];
        size_t size[_FILE_MAX];
        char *own[_FILE_MAX];
} Files;

static void files_done(Files *files) {
        for (int i = 0; i < _FILE_MAX; i++)
                free(files->own[i]);
}

static int files_load(Files *files, const char *theme) {
        for (int i = 0; i < _FILE_MAX; i++) {
                _cleanup_free_ char *path = NULL;
                char name[32];
                int r;

                (void) snprintf(name, sizeof(name), "page/%s", file_names[i]);
                if (!asset_find(name, &files->text[i], &files->size[i], NULL))
                        return -ENOENT;
                if (!theme)
                        continue;
                if (asprintf(&path, "%s/%s", theme, file_names[i]) < 0) {
                        path = NULL;
                        return -ENOMEM;
                }
                r = file_read(path, THEME_FILE_MAX, &files->own[i], &files->size[i]);
                if (r == -ENOENT || r == -ENOTDIR)
                        continue;
                if (r < 0) {
                        warn_of_theme(theme, file_names[i], strerror(-r), 0);
                        return r;
                }
                files->text[i] = files->own[i];
        }
        return 0;
}

static int page_expand(Page *page, const char *theme, char **ret, size_t *ret_size) {
        _cleanup_(files_done) Files files = {};
        size_t offset = 0;
        int r;

        r = files_load(&files, theme);
        if (r < 0)
                return r;
        page->style = files.text[FILE_STYLE];
        page->script = files.text[FILE_SCRIPT];

        const TemplateSection sections[] = {
                { NULL, page_fields, page, sizeof(*page), 1 },
                { "DEPENDENCIES", part_fields, page->parts, sizeof(Part), page->n_parts },
                { "FAILED", part_fields, page->failed, sizeof(Part), page->n_failed },
                { "REFRESHING", page_fields, page, sizeof(*page), page->status->state != SERVICE_FAILED },
                {},
        };
        r = template_expand(ret, ret_size, files.text[FILE_DOCUMENT], files.size[FILE_DOCUMENT], sections,
                            &offset);
        if (r < 0 && theme && r != -ENOMEM)
                warn_of_theme(theme, file_names[FILE_DOCUMENT],
                              r == -ENOENT  ? "no such placeholder"
                              : r == -EFBIG ? "the page would be too long"
                                            : "a tag without its end, or a section in another",
                              offset);
        return r;
}

int page_render(char **ret, size_t *ret_size, char **ret_policy, const PageContext *context,
                const Service *service, const Status *status) {
        _cleanup_(json_object_putp) json_object *words = NULL;
        _cleanup_free_ char *policy = NULL;
        _cleanup_(page_done) Page page = {
                .context = context,
                .service = service,
                .status = status,
                .details = service->page_details,
        };
        int r;

        assert(ret);
        assert(ret_size);
        assert(ret_policy);
        assert(context);
        assert(status->state >= 0 && status->state < _SERVICE_STATE_MAX);

        page.language = MAX(language_from_string(context->language), LANGUAGE_ENGLISH);
        words = language_to_json(page.language);
        if (!words)
                return -ENOMEM;
        page.words = json_object_to_json_string_ext(words,
                                                    JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

        r = page_make_nonce(&page);
        if (r >= 0)
                r = page_add_parts(&page);
        if (r < 0)
                return r;
        if (asprintf(&policy,
                     "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; "
                     "img-src data:; font-src data:; base-uri 'none'; form-action 'none'",
                     page.nonce, page.nonce) < 0) {
                policy = NULL;
                return -ENOMEM;
        }

        r = context->theme ? page_expand(&page, context->theme, ret, ret_size) : -ENOENT;
        if (r < 0 && r != -ENOMEM)
                r = page_expand(&page, NULL, ret, ret_size);
        if (r < 0)
                return r;
        *ret_policy = TAKE_PTR(policy);
        return 0;
}
