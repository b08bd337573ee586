#include "config-text.h"
#include "ctl/drawing.h"

#define FILE_TEXT                                                                        \
        "{'services':{"                                                                  \
        "'wiki':{'name':'nginx','port':8080,'dependencies':["                            \
        "{'container':'db','startOrder':1},{'container':'php','dependsOn':['db']},"      \
        "{'container':'cron','type':'optional','dependsOn':['db','php']},"               \
        "{'container':'nginx','dependsOn':['php','cron']}]},"                            \
        "'blog':{'name':'ghost','port':8081,'dependencies':["                            \
        "{'container':'db','startOrder':1},{'unit':'a\\\\x2db.service','startOrder':1}," \
        "{'service':'wiki','startOrder':1},{'container':'ghost','startOrder':2}]}}}"

static Stacks stacks_of_file(void) {
        Stacks stacks = { .config = load(FILE_TEXT) };

        stacks.stacks = new0(Stack, stacks.config->n_services);
        ASSERT_TRUE(stacks.stacks);
        for (; stacks.n_stacks < stacks.config->n_services; stacks.n_stacks++) {
                Stack *stack = &stacks.stacks[stacks.n_stacks];

                stack->service = &stacks.config->services[stacks.n_stacks];
                ASSERT_OK(plan_new(&stack->plan, stack->service, NULL));
        }
        return stacks;
}

static void expect(DrawingFormat format, bool utf8, const char *expected) {
        _cleanup_(stacks_done) Stacks stacks = stacks_of_file();
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);

        ASSERT_TRUE(file);
        ASSERT_OK(drawing_print(&stacks, format, file, &(Look){ .utf8 = utf8 }));
        ASSERT_EQ(fclose(file), 0);
        ASSERT_STREQ(text, expected);
}

static void test_text(void) {
        expect(DRAWING_TEXT, true,
               "blog\n"
               "└─ ghost\n"
               "   ├─ db\n"
               "   ├─ a\\x2db.service (unit)\n"
               "   └─ wiki (service)\n"
               "\n"
               "wiki\n"
               "└─ nginx\n"
               "   ├─ php\n"
               "   │  └─ db\n"
               "   └─ cron (optional)\n"
               "      ├─ db\n"
               "      └─ php (see above)\n");
}

static void test_ascii(void) {
        expect(DRAWING_TEXT, false,
               "blog\n"
               "`- ghost\n"
               "   |- db\n"
               "   |- a\\x2db.service (unit)\n"
               "   `- wiki (service)\n"
               "\n"
               "wiki\n"
               "`- nginx\n"
               "   |- php\n"
               "   |  `- db\n"
               "   `- cron (optional)\n"
               "      |- db\n"
               "      `- php (see above)\n");
}

/* Each thing once, db and wiki too. */
static void test_dot(void) {
        expect(DRAWING_DOT, true,
               "digraph wakechain {\n"
               "\trankdir=LR;\n"
               "\tn0 [label=\"blog\", shape=box];\n"
               "\tn1 [label=\"ghost\", shape=ellipse];\n"
               "\tn0 -> n1;\n"
               "\tn2 [label=\"db\", shape=ellipse];\n"
               "\tn1 -> n2;\n"
               "\tn3 [label=\"a\\\\x2db.service\", shape=component];\n"
               "\tn1 -> n3;\n"
               "\tn4 [label=\"wiki\", shape=box];\n"
               "\tn1 -> n4;\n"
               "\tn5 [label=\"php\", shape=ellipse];\n"
               "\tn5 -> n2;\n"
               "\tn6 [label=\"cron\", shape=ellipse];\n"
               "\tn6 -> n2;\n"
               "\tn6 -> n5;\n"
               "\tn7 [label=\"nginx\", shape=ellipse];\n"
               "\tn4 -> n7;\n"
               "\tn7 -> n5;\n"
               "\tn7 -> n6 [style=dashed];\n"
               "}\n");
}

static void test_mermaid(void) {
        expect(DRAWING_MERMAID, true,
               "flowchart LR\n"
               "\tn0[\"blog\"]\n"
               "\tn1(\"ghost\")\n"
               "\tn0 --> n1\n"
               "\tn2(\"db\")\n"
               "\tn1 --> n2\n"
               "\tn3[[\"a\\x2db.service\"]]\n"
               "\tn1 --> n3\n"
               "\tn4[\"wiki\"]\n"
               "\tn1 --> n4\n"
               "\tn5(\"php\")\n"
               "\tn5 --> n2\n"
               "\tn6(\"cron\")\n"
               "\tn6 --> n2\n"
               "\tn6 --> n5\n"
               "\tn7(\"nginx\")\n"
               "\tn4 --> n7\n"
               "\tn7 --> n5\n"
               "\tn7 -.-> n6\n");
}

static void test_names_of_formats(void) {
        ASSERT_EQ(drawing_format_from_string("dot"), DRAWING_DOT);
        ASSERT_TRUE(drawing_format_from_string("svg") < 0);
        ASSERT_STREQ(drawing_format_to_string(DRAWING_MERMAID), "mermaid");
}

int main(void) {
        test_text();
        test_ascii();
        test_dot();
        test_mermaid();
        test_names_of_formats();
        return 0;
}
