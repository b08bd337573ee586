#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "util/json-members.h"
#include "util/log.h"
#include "util/safe-file.h"
#include "util/text.h"
#include "web/asset.h"
#include "web/language.h"
#include "web/template.h"
#include "web/wait-page.h"

/* Wait page: a template and the values for its placeholders, which wakechain-page(7) lists for themes. The first answer says all there is to say at
 * that moment, so it is right without a script; page.js then keeps it true, from the same texts. The names in it come from a
 * configuration and an engine and are escaped by the template.
 *
 * The policy allows the style and the script of this document by a number that nobody can know before, and a connection to the origin for
 * the events. It does not say who may show the page in a frame: the page does nothing but ask for itself again, and a site that is
 * meant to be framed by another would be broken while it wakes. */

#define THEME_FILE_MAX (256 * 1024U)
#define NONCE_SIZE 16
#define REFRESH_SEC 3
#define REFRESH_AWAKE_SEC 1

/* Numbers in words: they stay as long as what they are of. */
typedef struct Digits {
        char texts[5][24];
        size_t n;
} Digits;

/* What the placeholders stand for: of a dependency, and of the whole document. */
typedef struct Part {
        const char *key, *name, *number, *state, *words, *progress, *remaining_ms, *left, *optional, *reason;
        Digits digits;
        char own_name[64], own_left[LANGUAGE_LEFT_MAX];
} Part;

typedef struct WaitPage {
        Language language;
        const Status *status; /* borrowed */
        bool details;
        Part *parts;
        size_t n_parts;
        Part *failed; /* those of them that failed */
        size_t n_failed;
        const char *headline, *hidden_if_failed, *hidden_unless_failed, *hidden_without_details, *language_name,
                        *lead, *left, *nonce, *path, *progress, *reason, *refresh, *remaining_ms, *retry_after,
                        *retry_in, *script, *service, *state, *style, *sun, *title, *words;
        Digits digits;
        char own_nonce[2 * NONCE_SIZE + 1], own_left[LANGUAGE_LEFT_MAX], own_retry_in[128];
} WaitPage;

static const char *get_text(const void *object, const char *rest, char *buffer) {
        return language_text(((const WaitPage *) object)->language, rest);
}

static const TemplateField page_fields[] = {
        { "HEADLINE", offsetof(WaitPage, headline) },
        { "HIDDEN_IF_FAILED", offsetof(WaitPage, hidden_if_failed) },
        { "HIDDEN_UNLESS_FAILED", offsetof(WaitPage, hidden_unless_failed) },
        { "HIDDEN_WITHOUT_DETAILS", offsetof(WaitPage, hidden_without_details) },
        { "LANGUAGE", offsetof(WaitPage, language_name) },
        { "LEAD", offsetof(WaitPage, lead) },
        { "LEFT", offsetof(WaitPage, left) },
        { "NONCE", offsetof(WaitPage, nonce) },
        { "PATH", offsetof(WaitPage, path) },
        { "PROGRESS", offsetof(WaitPage, progress) },
        { "REASON", offsetof(WaitPage, reason) },
        { "REFRESH", offsetof(WaitPage, refresh) },
        { "REMAINING_MS", offsetof(WaitPage, remaining_ms) },
        { "RETRY_AFTER", offsetof(WaitPage, retry_after) },
        { "RETRY_IN", offsetof(WaitPage, retry_in) },
        { "SCRIPT", offsetof(WaitPage, script), .raw = true },
        { "SERVICE", offsetof(WaitPage, service) },
        { "STATE", offsetof(WaitPage, state) },
        { "STYLE", offsetof(WaitPage, style), .raw = true },
        { "SUN", offsetof(WaitPage, sun) },
        { "TEXT_", .get = get_text, .prefix = true },
        { "TITLE", offsetof(WaitPage, title) },
        { "WORDS", offsetof(WaitPage, words), .raw = true },
        {},
};

static const TemplateField part_fields[] = {
        { "KEY", offsetof(Part, key) },
        { "LEFT", offsetof(Part, left) },
        { "NAME", offsetof(Part, name) },
        { "NUMBER", offsetof(Part, number) },
        { "OPTIONAL", offsetof(Part, optional) },
        { "PROGRESS", offsetof(Part, progress) },
        { "REASON", offsetof(Part, reason) },
        { "REMAINING_MS", offsetof(Part, remaining_ms) },
        { "STATE", offsetof(Part, state) },
        { "WORDS", offsetof(Part, words) },
        {},
};

static void page_done(WaitPage *page) {
        free(page->parts);
        free(page->failed);
}

const char *wait_page_language(const char *accept_language) {
        return language_to_string(language_negotiate(accept_language));
}

static const char *print_number(Digits *digits, uint64_t number) {
        char *text = digits->texts[digits->n++];

        (void) snprintf(text, sizeof(digits->texts[0]), "%" PRIu64, number);
        return text;
}

/* A browser takes "//" and "/\\" for the beginning of another host, and leaves control characters out. */
static const char *usable_path(const char *path) {
        if (!path || path[0] != '/' || path[1] == '/' || path[1] == '\\')
                return "/";
        for (const char *at = path; *at; at++)
                if ((unsigned char) *at <= ' ' || *at == 0x7f)
                        return "/";
        return path;
}

static void page_describe(WaitPage *page, const PageContext *context, const Service *service) {
        static const char *const headlines[_SERVICE_STATE_MAX] = {
                [SERVICE_ASLEEP] = "WAKING",   [SERVICE_WAKING] = "WAKING", [SERVICE_AWAKE] = "READY",
                [SERVICE_STOPPING] = "WAKING", [SERVICE_FAILED] = "FAILED",
        };
        const Status *status = page->status;
        bool failed = status->state == SERVICE_FAILED;
        unsigned percent = progress_percent(status_progress(status));
        char lead[32];

        (void) snprintf(lead, sizeof(lead), "LEAD_%s", headlines[status->state]);
        page->headline = language_text(page->language, headlines[status->state]);
        page->lead = language_text(page->language, lead);
        page->language_name = language_to_string(page->language);
        page->nonce = page->own_nonce;
        page->path = usable_path(context->path);
        page->service = strempty(service->name ?: status->service);
        page->title = isempty(service->page_title) ? page->service : service->page_title;
        page->state = service_state_to_string(status->state);
        page->progress = print_number(&page->digits, percent);
        page->remaining_ms = print_number(&page->digits, status_remaining(status) / USEC_PER_MSEC);
        /* The height of the sun of page.html, a number that falls as it rises. */
        page->sun = print_number(&page->digits, 96 - 56 * percent / 100);
        page->refresh = print_number(&page->digits,
                                     status->state == SERVICE_AWAKE ? REFRESH_AWAKE_SEC : REFRESH_SEC);
        page->retry_after = print_number(&page->digits,
                                         usec_add(context->retry_after_usec, USEC_PER_SEC - 1) / USEC_PER_SEC);
        page->reason = page->details ? language_reason(page->language, status->reason) : "";

        page->left = "";
        if (status->state == SERVICE_WAKING && status->n_dependencies > 0)
                page->left = status_late_in(status) == 0 ? language_text(page->language, "LEFT_LONGER")
                                                         : language_left(page->language, status_remaining(status),
                                                                         page->own_left);
        page->retry_in = page->own_retry_in;
        if (failed && context->retry_after_usec > 0) {
                const char *text = language_text(page->language, "RETRY_IN"), *number = strchr(text, '#');

                (void) snprintf(page->own_retry_in, sizeof(page->own_retry_in), "%.*s%s%s", (int) (number - text),
                                text, page->retry_after, number + 1);
        }

        /* Attributes that hide what does not belong to a state. */
        page->hidden_if_failed = failed ? "hidden" : "";
        page->hidden_unless_failed = failed ? "" : "hidden";
        page->hidden_without_details = page->details ? "" : "hidden";
}

static void page_add_part(WaitPage *page, const DependencyStatus *dependency) {
        double progress = dependency_status_progress(dependency, page->status->elapsed_usec);
        uint64_t remaining_usec = (uint64_t) ((1.0 - progress) * (double) dependency->estimate_usec);
        bool running = dependency->state == DEPENDENCY_STARTING || dependency->state == DEPENDENCY_CHECKING;
        bool late = running && dependency_status_late_in(dependency, page->status->elapsed_usec) == 0;
        Part *part = &page->parts[page->n_parts++];

        part->number = print_number(&part->digits, page->n_parts);
        if (page->details)
                part->key = part->name = strempty(dependency->container);
        else {
                part->key = part->number;
                part->name = part->own_name;
                (void) snprintf(part->own_name, sizeof(part->own_name), "%s %s",
                                language_text(page->language, "PART"), part->number);
        }
        part->state = dependency_state_to_string(dependency->state);
        part->words = language_state(page->language, dependency->state);
        part->progress = print_number(&part->digits, progress_percent(progress));
        part->remaining_ms = print_number(&part->digits, remaining_usec / USEC_PER_MSEC);
        part->left = late      ? language_text(page->language, "LEFT_LONGER")
                     : running ? language_left(page->language, remaining_usec, part->own_left)
                               : "";
        part->optional = dependency->required ? "" : language_text(page->language, "OPTIONAL");
        part->reason = page->details && dependency->state == DEPENDENCY_FAILED
                                       ? language_reason(page->language, dependency->reason)
                                       : "";
        if (dependency->state == DEPENDENCY_FAILED)
                page->failed[page->n_failed++] = *part;
}

/* The dependencies are known from a wake, and before the first one from the configuration. */
static int page_add_parts(WaitPage *page, const Service *service) {
        size_t n = MAX(page->status->n_dependencies, service->n_dependencies);

        if (n == 0)
                return 0;
        page->parts = new0(Part, n);
        page->failed = new0(Part, n);
        if (!page->parts || !page->failed)
                return -ENOMEM;
        for (size_t i = 0; i < page->status->n_dependencies; i++)
                page_add_part(page, &page->status->dependencies[i]);
        for (size_t i = 0; page->status->n_dependencies == 0 && i < service->n_dependencies; i++)
                page_add_part(page,
                              &(DependencyStatus){
                                              .container = service->dependencies[i].name,
                                              .required = service->dependencies[i].type == DEPENDENCY_REQUIRED,
                                              .estimate_usec = service->dependencies[i].estimated_usec,
                              });
        return 0;
}

static int page_make_nonce(WaitPage *page) {
        uint8_t bytes[NONCE_SIZE];

        if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != (ssize_t) sizeof(bytes))
                return errno > 0 ? -errno : -EIO;
        for (size_t i = 0; i < sizeof(bytes); i++)
                (void) snprintf(page->own_nonce + 2 * i, 3, "%02x", bytes[i]);
        return 0;
}

typedef enum ThemeFile {
        FILE_DOCUMENT,
        FILE_STYLE,
        FILE_SCRIPT,
        _FILE_MAX,
} ThemeFile;

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
typedef struct ThemeFiles {
        const char *text[_FILE_MAX];
        size_t size[_FILE_MAX];
        Bytes *own[_FILE_MAX];
} ThemeFiles;

static void theme_files_done(ThemeFiles *files) {
        for (int i = 0; i < _FILE_MAX; i++)
                bytes_unref(files->own[i]);
}

/* A theme's files as they were the last time: who is shown the same ones shares them, however long he takes to read them. */
static Bytes *last_read[_FILE_MAX];

static int theme_files_take(ThemeFiles *files, ThemeFile i, char *data, size_t size) {
        _cleanup_free_ char *text = data;
        Bytes *last = last_read[i];
        int r;

        if (!last || last->size != size || memcmp(last->data, text, size) != 0) {
                r = bytes_new(&last_read[i], text, size);
                if (r < 0)
                        return r;
                text = NULL;
                bytes_unref(last);
        }
        files->own[i] = bytes_ref(last_read[i]);
        files->text[i] = last_read[i]->data;
        files->size[i] = size;
        return 0;
}

static int theme_files_load(ThemeFiles *files, const char *theme) {
        for (ThemeFile i = 0; i < _FILE_MAX; i++) {
                _cleanup_free_ char *path = NULL, *why = NULL;
                const Asset *asset;
                char name[32], *data;
                size_t size;
                int r;

                (void) snprintf(name, sizeof(name), "page/%s", file_names[i]);
                asset = asset_find(name);
                if (!asset)
                        return -ENOENT;
                files->text[i] = asset->data;
                files->size[i] = asset->size;
                if (!theme)
                        continue;
                path = text_printf("%s/%s", theme, file_names[i]);
                if (!path)
                        return -ENOMEM;
                r = safe_file_read("", path, FILE_OF_FOLDER, THEME_FILE_MAX, &data, &size, &why);
                if (r == -ENOENT || r == -ENOTDIR)
                        continue;
                if (r < 0) {
                        warn_of_theme(theme, file_names[i], why ? why : strerror(-r), 0);
                        return r;
                }
                r = theme_files_take(files, i, data, size);
                if (r < 0)
                        return r;
        }
        return 0;
}

void page_document_done(PageDocument *document) {
        for (size_t i = 0; i < document->n_kept; i++)
                bytes_unref(document->kept[i]);
        free(document->parts);
        free(document->policy);
        *document = (PageDocument){};
}

static void document_keep(PageDocument *document, Bytes *bytes) {
        assert(document->n_kept < PAGE_KEPT_MAX);

        document->kept[document->n_kept++] = bytes;
}

static int page_expand(WaitPage *page, const char *theme, PageDocument *ret) {
        _cleanup_(template_text_done) TemplateText text = {};
        _cleanup_(theme_files_done) ThemeFiles files = {};
        size_t offset = 0;
        Bytes *own;
        int r;

        r = theme_files_load(&files, theme);
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
        r = template_expand(&text, files.text[FILE_DOCUMENT], files.size[FILE_DOCUMENT], sections, &offset);
        if (r < 0 && theme && r != -ENOMEM)
                warn_of_theme(theme, file_names[FILE_DOCUMENT],
                              r == -ENOENT  ? "no such placeholder"
                              : r == -EFBIG ? "the page would be too long"
                                            : "a tag without its end, or a section in another",
                              offset);
        if (r >= 0)
                r = bytes_new(&own, text.own, text.own_size);
        if (r < 0)
                return r;
        text.own = NULL;
        document_keep(ret, own);
        for (ThemeFile i = 0; i < _FILE_MAX; i++)
                if (files.own[i])
                        document_keep(ret, TAKE_PTR(files.own[i]));
        ret->parts = TAKE_PTR(text.parts);
        ret->n_parts = text.n_parts;
        return 0;
}

/* Made once: it is the same for all. NULL: no memory. */
static const char *page_words(Language language) {
        static char *words[_LANGUAGE_MAX];

        if (!words[language]) {
                _cleanup_(json_freep) json_object *object = language_to_json(language);
                const char *text = json_print(object, NULL);

                words[language] = text ? template_escape(text) : NULL;
        }
        return words[language];
}

int wait_page_render(PageDocument *ret, const PageContext *context, const Service *service, const Status *status) {
        _cleanup_(page_document_done) PageDocument document = {};
        _cleanup_(page_done) WaitPage page = { .status = status, .details = service->page_details };
        int r;

        assert(status->state >= 0 && status->state < _SERVICE_STATE_MAX);

        page.language = MAX(language_from_string(context->language), LANGUAGE_ENGLISH);
        page.words = page_words(page.language);
        if (!page.words)
                return -ENOMEM;

        page_describe(&page, context, service);
        r = page_make_nonce(&page);
        if (r >= 0)
                r = page_add_parts(&page, service);
        if (r < 0)
                return r;
        document.policy = text_printf(
                        "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; "
                        "img-src data:; font-src data:; base-uri 'none'; form-action 'none'",
                        page.own_nonce, page.own_nonce);
        if (!document.policy)
                return -ENOMEM;

        r = context->theme ? page_expand(&page, context->theme, &document) : -ENOENT;
        if (r < 0 && r != -ENOMEM)
                r = page_expand(&page, NULL, &document);
        if (r < 0)
                return r;
        *ret = document;
        document = (PageDocument){};
        return 0;
}
